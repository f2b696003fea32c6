//! What was found, before it takes a form.

use super::promise::{self, Promise};
use crate::failure::Failure;
use crate::start;
use candor_core::port::SourceError;
use candor_core::{Derived, ProofKind, Severity, TableRead, ViewQuery};
use candor_postgres::Postgres;
use candor_server::config::{Complaint, SourceDeclaration, ViewDeclaration};
use candor_server::{Config, Database, Survey};
use candor_sqlite::{SetupState, Sqlite};

/// Everything that was found.
pub(super) struct Report<'c> {
    pub(super) config: &'c Config,
    /// Those that could be asked.
    pub(super) sources: Vec<SourceReport<'c>>,
    pub(super) missed: Vec<MissedSource<'c>>,
    pub(super) views: Vec<ViewReport<'c>>,
}

/// A source and its change log.
pub(super) struct SourceReport<'c> {
    pub(super) declared: &'c SourceDeclaration,
    pub(super) status: Status,
    pub(super) setup: Setup,
    /// The statements that `candor setup` would run.
    pub(super) statements: usize,
}

/// What a source says of itself.
pub(super) enum Status {
    Sqlite(candor_sqlite::Status),
    Postgres(candor_postgres::status::Status),
}

/// A source that could not be asked, not of everything at least.
pub(super) struct MissedSource<'c> {
    pub(super) declared: &'c SourceDeclaration,
    /// Why, with the places in the file.
    pub(super) complaints: Vec<Complaint>,
}

/// How the change log stands against what the views need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// No view rests on it.
    NotNeeded,
    /// Everything the views need is recorded.
    Intact,
    /// There is none.
    Missing,
    /// It lacks something, as sentences.
    Incomplete(Vec<String>),
}

/// A view.
pub(super) struct ViewReport<'c> {
    pub(super) declared: &'c ViewDeclaration,
    /// What its source found; `None` where it could not be asked.
    pub(super) derived: Option<&'c Derived>,
    pub(super) verdict: Verdict,
    pub(super) findings: Vec<Found>,
    pub(super) promises: Vec<Promise>,
}

/// What becomes of a view.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It can be served.
    Holds,
    /// It could be, if changes were recorded.
    WaitsForSetup,
    /// Not as it is declared.
    Refused,
    /// Nobody knows: its source could not be asked.
    Unchecked,
}

/// A finding with its place.
pub(super) struct Found {
    pub(super) is_refusal: bool,
    /// Mended by setup, not in the file.
    pub(super) is_setup: bool,
    pub(super) complaint: Complaint,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::WaitsForSetup => "waits-for-setup",
            Self::Refused => "refused",
            Self::Unchecked => "unchecked",
        }
    }
}

impl ViewReport<'_> {
    /// The tables it reads, as far as is known.
    pub(super) fn reads(&self) -> &[TableRead] {
        self.derived.map_or(&[], |derived| &derived.reads)
    }

    /// The columns of its answers, as far as is known.
    pub(super) fn columns(&self) -> &[Box<str>] {
        self.derived.map_or(&[], |derived| &derived.columns)
    }
}

impl Setup {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::NotNeeded => "not-needed",
            Self::Intact => "intact",
            Self::Missing => "missing",
            Self::Incomplete(_) => "incomplete",
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        matches!(self, Self::NotNeeded | Self::Intact)
    }
}

impl<'c> Report<'c> {
    /// Gathers what there is to say of the named views, or of all, and of their sources.
    pub(super) async fn of(config: &'c Config, survey: &'c Survey, only: &[String]) -> Self {
        let is_wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
        let views: Vec<ViewReport<'c>> = config
            .views
            .iter()
            .filter(|declared| is_wanted(&declared.name))
            .map(|declared| {
                let held = survey.views.iter().find(|held| *held.name == *declared.name);
                view(config, declared, held.map(|held| &held.derived))
            })
            .collect();
        let (mut sources, mut missed) = (Vec::new(), Vec::new());
        for declared in &config.sources {
            let is_read = views.iter().any(|view| *view.declared.source == *declared.name);
            if !is_read && !only.is_empty() {
                continue;
            }
            let why = survey.unreachable.iter().filter(|missed| *missed.source == *declared.name);
            let mut complaints: Vec<Complaint> = why.map(|missed| missed.complaint.clone()).collect();
            if let Some(open) = survey.sources.iter().find(|open| *open.name == *declared.name) {
                match source(config, declared, &open.database).await {
                    Ok(source) => sources.push(source),
                    // Said once; what was said of its views is nearer to the matter.
                    Err(_) if !complaints.is_empty() => {}
                    Err(error) => {
                        let message = format!("the source `{}` cannot be asked: {error}", declared.name);
                        let mend = "try again once it can";
                        complaints.push(config.complaint(declared.span.clone(), message, mend));
                    }
                }
            }
            if !complaints.is_empty() {
                missed.push(MissedSource { declared, complaints });
            }
        }
        Self { config, sources, missed, views }
    }

    /// Why not everything could be asked, if so.
    pub(super) fn failure(&self) -> Option<Failure> {
        let complaints = self.missed.iter().flat_map(|missed| &missed.complaints).cloned();
        (!self.missed.is_empty()).then(|| Failure::sources(complaints.collect()))
    }

    /// Whether everything can be served.
    pub(super) fn is_sound(&self) -> bool {
        self.missed.is_empty()
            && self.sources.iter().all(|source| source.setup.is_sound())
            && self.count(Verdict::Holds) == self.views.len()
    }

    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.views.iter().filter(|view| view.verdict == verdict).count()
    }

    pub(super) fn warnings(&self) -> usize {
        self.views.iter().flat_map(|view| &view.findings).filter(|found| !found.is_refusal).count()
    }
}

fn view<'c>(config: &Config, declared: &'c ViewDeclaration, derived: Option<&'c Derived>) -> ViewReport<'c> {
    let Some(derived) = derived else {
        let verdict = Verdict::Unchecked;
        return ViewReport { declared, derived, verdict, findings: Vec::new(), promises: Vec::new() };
    };
    let findings: Vec<Found> = derived
        .findings
        .iter()
        .map(|finding| {
            // The declared dependencies have their own place; everything else speaks of the SQL.
            let field = if finding.message.contains("invalidated_by") { "invalidated_by" } else { "sql" };
            let span = declared.span(field);
            Found {
                is_refusal: finding.severity == Severity::Refused,
                is_setup: finding.mend.contains("candor setup"),
                complaint: config.complaint(span, finding.message.clone(), finding.mend.clone()),
            }
        })
        .collect();
    let is_refused = findings.iter().any(|found| found.is_refusal && !found.is_setup);
    let verdict = match (is_refused, derived.is_refused()) {
        (true, _) => Verdict::Refused,
        (false, true) => Verdict::WaitsForSetup,
        (false, false) => Verdict::Holds,
    };
    let promises = promise::of(&declared.contract, verdict == Verdict::Refused);
    ViewReport { declared, derived: Some(derived), verdict, findings, promises }
}

async fn source<'c>(
    config: &Config,
    declared: &'c SourceDeclaration,
    database: &Database,
) -> Result<SourceReport<'c>, SourceError> {
    let mut queries = start::queries(config, &declared.name);
    queries.retain(|query| query.proof == ProofKind::Log);
    match database {
        Database::Sqlite(database) => sqlite(declared, database, &queries).await,
        Database::Postgres(database) => postgres(declared, database, &queries).await,
    }
}

async fn postgres<'c>(
    declared: &'c SourceDeclaration,
    postgres: &Postgres,
    queries: &[ViewQuery],
) -> Result<SourceReport<'c>, SourceError> {
    let status = postgres.status(queries).await?;
    let broken: Vec<String> = status
        .findings
        .iter()
        .filter(|finding| finding.severity == candor_postgres::status::Severity::Broken)
        .map(|finding| finding.what.clone())
        .collect();
    let (setup, statements) = if queries.is_empty() {
        (Setup::NotNeeded, 0)
    } else {
        let plan = postgres.setup_plan(queries).await?;
        let statements = plan.statements.iter().filter(|line| !candor_postgres::is_remark(line)).count();
        let setup = match (&status.slot, broken.is_empty()) {
            (None, _) => Setup::Missing,
            (Some(_), false) => Setup::Incomplete(broken),
            (Some(_), true) => Setup::Intact,
        };
        (setup, statements)
    };
    Ok(SourceReport { declared, status: Status::Postgres(status), setup, statements })
}

async fn sqlite<'c>(
    declared: &'c SourceDeclaration,
    sqlite: &Sqlite,
    queries: &[ViewQuery],
) -> Result<SourceReport<'c>, SourceError> {
    let status = sqlite.status().await?;
    if queries.is_empty() {
        let status = Status::Sqlite(status);
        return Ok(SourceReport { declared, status, setup: Setup::NotNeeded, statements: 0 });
    }
    let plan = sqlite.setup_plan(queries).await?;
    let setup = match &status.setup {
        SetupState::Missing => Setup::Missing,
        SetupState::Broken(why) => Setup::Incomplete(why.clone()),
        SetupState::Intact => {
            let lacking = status.watched.lacks(&plan.watched);
            let mut why: Vec<String> = lacking
                .iter()
                .map(|table| format!("changes of `{table}` are not recorded as the views need them"))
                .collect();
            if status.journal_mode != "wal" {
                why.push(format!("the journal mode is `{}`, not `wal`", status.journal_mode));
            }
            if why.is_empty() { Setup::Intact } else { Setup::Incomplete(why) }
        }
    };
    let status = Status::Sqlite(status);
    Ok(SourceReport { declared, status, setup, statements: plan.statements.len() })
}
