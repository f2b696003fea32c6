//! Why a command failed: what happened, whose fault it is, what to do next. The exit code follows from it.
//!
//! People read it on stderr. With `--json` stdout holds
//! `{"error":{"code":3,"kind":"config","what":"…","whose":"contract","next":"…","complaints":[…]}}`,
//! `complaints` only where a file has faults, each with `file`, `line`, `column`, `message` and `mend`.

use crate::exit::Code;
use crate::terminal::Terminal;
use candor::{ReadError, SessionError};
use candor_core::port::{Fault, SourceError};
use candor_server::auth::key::KeyRefusal;
use candor_server::config::Complaint;
use candor_server::http::{Kind, Problem};
use candor_server::{AskError, Complaints, ListenError};
use serde_json::{Value, json};

/// How a command ends.
pub(crate) type Outcome = Result<Code, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    what: String,
    whose: &'static str,
    next: String,
    complaints: Option<Box<Complaints>>,
}

/// Whose fault it is: the words of the HTTP door, and one for the machine this runs on.
const CALLER: &str = "caller";
const CONTRACT: &str = "contract";
const SOURCE: &str = "source";
const CANDOR: &str = "candor";
const MACHINE: &str = "machine";

impl Failure {
    fn new(code: Code, whose: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code, what: what.into(), whose, next: next.into(), complaints: None }
    }

    /// The command names what does not exist, or contradicts itself.
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Code::Usage, CALLER, what, next)
    }

    /// The source cannot be reached, or is too slow.
    pub(crate) fn source(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, SOURCE, what, next)
    }

    /// The service cannot be reached, or what answers is something else.
    pub(crate) fn service(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, MACHINE, what, next)
    }

    /// The caller may not do this.
    pub(crate) fn unauthorised(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Code::Unauthorised, CALLER, what, next)
    }

    /// A fault of ours, or of the system under us.
    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::new(Code::Internal, CANDOR, what, "please report it, with the command and its output")
    }

    /// Faults of the configuration.
    pub(crate) fn config(complaints: Complaints) -> Self {
        Self::complaining(Code::Config, CONTRACT, complaints)
    }

    /// What only the source could have said, with places in the configuration.
    pub(crate) fn sources(complaints: Complaints) -> Self {
        Self::complaining(Code::Unavailable, SOURCE, complaints)
    }

    fn complaining(code: Code, whose: &'static str, complaints: Complaints) -> Self {
        let what = match (complaints.list(), complaints.count()) {
            ([one], _) => one.message.clone(),
            (_, count) => format!("{count} things stand in the way"),
        };
        let next = match complaints.list() {
            [one] => one.mend.clone(),
            _ => "mend each as told".to_owned(),
        };
        Self { complaints: Some(Box::new(complaints)), ..Self::new(code, whose, what, next) }
    }

    /// A failed call of a source outside of a read.
    pub(crate) fn of_source(name: &str, error: &SourceError) -> Self {
        let what = format!("the source `{name}`: {error}");
        match error.fault {
            Fault::Down => Self::source(what, "check that the source can be reached, then try again"),
            Fault::Slow => Self::source(what, "try again when it has less to do"),
            Fault::Contract => {
                Self::new(Code::Config, CONTRACT, what, "run `candor check`, which says what is missing")
            }
        }
    }

    /// A read that failed in this process.
    pub(crate) fn of_read(error: &ReadError) -> Self {
        let what = error.to_string();
        match error {
            ReadError::Load(load) => match load.fault {
                Fault::Contract => {
                    Self::new(Code::Config, CONTRACT, what, "run `candor check`, which says what is wrong")
                }
                Fault::Down | Fault::Slow => Self::source(what, "check the source, then try again"),
            },
            ReadError::Overloaded(_) | ReadError::Timeout(_) | ReadError::ShuttingDown => {
                Self::source(what, "try again later, or accept an older answer with --level")
            }
            ReadError::LevelUnmet { .. } | ReadError::SnapshotUnmet { .. } => {
                Self::new(Code::Level, SOURCE, what, "try again, or ask for less with --level")
            }
            ReadError::Critical { .. } => Self::usage(what, "leave --level out, or ask for strong"),
            ReadError::Session(SessionError::UnknownLog | SessionError::Ahead { .. }) => {
                Self::new(Code::Level, CALLER, what, "take a new token with `candor fence`")
            }
            ReadError::Session(_) => Self::usage(what, "take a token with `candor fence`"),
            _ => Self::internal(what),
        }
    }

    /// What the HTTP door, or one of its functions, says.
    pub(crate) fn of_problem(kind: Kind, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        use Kind as K;
        let code = match kind {
            K::Absent => Code::No,
            K::Unauthenticated | K::Forbidden => Code::Unauthorised,
            K::LevelUnmet | K::LostSession => Code::Level,
            K::SourceDown | K::SourceSlow | K::TimedOut | K::Overloaded | K::Draining => Code::Unavailable,
            K::BadContract => Code::Config,
            K::Internal => Code::Internal,
            K::BadKey
            | K::BadLevel
            | K::BadSession
            | K::BadRequest
            | K::UnknownView
            | K::UnknownSource
            | K::NotFound
            | K::MethodNotAllowed
            | K::BodyTooLarge
            | K::PathTooLong
            | K::NotJson => Code::Usage,
        };
        Self::new(code, kind.whose().word(), detail, mend)
    }

    /// The same, with another mend.
    pub(crate) fn next(self, next: impl Into<String>) -> Self {
        Self { next: next.into(), ..self }
    }

    /// Says it: for people on stderr, with `--json` as JSON on stdout.
    pub(crate) fn tell(&self, terminal: &Terminal) {
        if terminal.is_json() {
            terminal.json(&json!({ "error": self.json() }));
        }
        self.tell_people(terminal);
    }

    /// Says it on stderr.
    pub(crate) fn tell_people(&self, terminal: &Terminal) {
        let paint = terminal.err();
        match &self.complaints {
            Some(complaints) => {
                for complaint in complaints.list() {
                    eprint!("{} {complaint}", paint.bad("refused:"));
                }
                let more = complaints.count() - complaints.list().len();
                if more > 0 {
                    eprintln!("and {more} more");
                }
            }
            None => {
                eprintln!("{} {}", paint.bad("candor:"), crate::terminal::plain(&self.what));
                if !self.next.is_empty() {
                    eprintln!("  {} {}", paint.dim("next:"), crate::terminal::plain(&self.next));
                }
            }
        }
    }

    /// What stands under `error`.
    pub(crate) fn json(&self) -> Value {
        let mut error = json!({
            "code": self.code as u8,
            "kind": self.code.word(),
            "what": self.what,
            "whose": self.whose,
            "next": self.next,
        });
        if let Some(complaints) = &self.complaints {
            error["complaints"] = complaints.list().iter().map(complaint).collect();
        }
        error
    }
}

/// A complaint as JSON.
pub(crate) fn complaint(complaint: &Complaint) -> Value {
    json!({
        "file": complaint.file.display().to_string(),
        "line": complaint.place.map(|place| place.line),
        "column": complaint.place.map(|place| place.column),
        "message": complaint.message,
        "mend": complaint.mend,
    })
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::of_problem(problem.kind, problem.detail, problem.mend)
    }
}

impl From<KeyRefusal> for Failure {
    fn from(refusal: KeyRefusal) -> Self {
        Problem::from(refusal).into()
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => Problem::from(refusal).into(),
            AskError::Failed { error, .. } => Self::of_read(&error),
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let text = error.to_string();
        // The sentence holds its own mend.
        let (what, next) =
            text.split_once("; ").unwrap_or((&text, "choose another address in [server] http"));
        let (code, whose) = match error {
            ListenError::Exposed(_) => (Code::Config, CONTRACT),
            _ => (Code::Unavailable, MACHINE),
        };
        Self::new(code, whose, what, next)
    }
}
