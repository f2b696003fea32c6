//! Errors as RFC 9457 problem details, sorted by whose fault they are.
//!
//! ```json
//! {"type":"/problems/bad-key","title":"The key does not fit the view","status":400,
//!  "detail":"key column `id`: `x` is not a whole number of 64 bits (int8), such as 42",
//!  "whose":"caller","mend":"send one path segment for each key column"}
//! ```
//!
//! `whose` and `mend` are ours: a program branches on `type`, a person wants to know whom to wake. A detail never holds
//! what a source said about itself (paths, SQL, credentials in URLs); that goes to the log.

use crate::ask::NotOffered;
use crate::auth::Refusal;
use crate::auth::key::KeyRefusal;
use ::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use ::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use std::time::Duration;

/// The content type of problem details.
pub const CONTENT: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What went wrong, as far as a program needs to know.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The key has the wrong number of parts, or a part is not of its column's type.
    BadKey,
    /// The consistency level cannot be read, or the contract does not offer it.
    BadLevel,
    /// The session token is missing, broken, forged or of another version.
    BadSession,
    /// The session token is sound, but what it stands for is no longer there: the source's history was rewritten.
    LostSession,
    /// The body or the headers cannot be read.
    BadRequest,
    /// No token, or an unknown one.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// The source has no row for this key. An answer, and a cached one, rather than a fault.
    Absent,
    /// There is no such view.
    UnknownView,
    /// There is no such source.
    UnknownSource,
    /// There is no such page.
    NotFound,
    /// The page exists, the method does not.
    MethodNotAllowed,
    /// The body is larger than the server takes.
    BodyTooLarge,
    /// The path is longer than any key can be.
    PathTooLong,
    /// The body is not JSON.
    NotJson,
    /// The level asked for cannot be proven now, and the contract allows nothing less.
    LevelUnmet,
    /// The source cannot be reached.
    SourceDown,
    /// The source did not answer in time.
    SourceSlow,
    /// The request as a whole took longer than the server allows.
    TimedOut,
    /// The source is protected from more load.
    Overloaded,
    /// The server is stopping.
    Draining,
    /// The contract asks for what the source cannot give.
    BadContract,
    /// A fault of ours.
    Internal,
}

/// Whose fault it is, and so who can mend it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Whoever sent the request.
    Caller,
    /// Whoever wrote the contract or the configuration.
    Contract,
    /// Whoever runs the source.
    Source,
    /// We ourselves.
    Candor,
    /// Nobody's: the answer is simply no.
    Nobody,
}

/// An error as it leaves through the HTTP door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub kind: Kind,
    /// What exactly, in this case.
    pub detail: String,
    /// What to do about it.
    pub mend: String,
    /// After how long trying again makes sense; rounded up to seconds.
    pub retry_after: Option<Duration>,
    /// The methods that exist, for [`Kind::MethodNotAllowed`].
    pub allow: Option<&'static str>,
}

impl Kind {
    /// All kinds, for the pages behind their type URIs.
    pub const ALL: [Self; 23] = [
        Self::BadKey,
        Self::BadLevel,
        Self::BadSession,
        Self::LostSession,
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Absent,
        Self::UnknownView,
        Self::UnknownSource,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::PathTooLong,
        Self::NotJson,
        Self::LevelUnmet,
        Self::SourceDown,
        Self::SourceSlow,
        Self::TimedOut,
        Self::Overloaded,
        Self::Draining,
        Self::BadContract,
        Self::Internal,
    ];

    /// The type URI, relative to the server.
    pub fn uri(self) -> &'static str {
        self.row().0
    }

    /// The status code.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// The title: the same for every problem of the kind.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// Whose fault it is.
    pub fn whose(self) -> Whose {
        self.row().3
    }

    fn row(self) -> (&'static str, StatusCode, &'static str, Whose) {
        use StatusCode as S;
        use Whose::{Caller, Candor, Contract, Nobody, Source};
        match self {
            Self::BadKey => ("/problems/bad-key", S::BAD_REQUEST, "The key does not fit the view", Caller),
            Self::BadLevel => {
                ("/problems/bad-level", S::BAD_REQUEST, "The consistency level is not offered", Caller)
            }
            Self::BadSession => {
                ("/problems/bad-session", S::BAD_REQUEST, "The session token is not valid", Caller)
            }
            Self::LostSession => {
                ("/problems/lost-session", S::CONFLICT, "What the session token stands for is gone", Caller)
            }
            Self::BadRequest => {
                ("/problems/bad-request", S::BAD_REQUEST, "The request cannot be read", Caller)
            }
            Self::Unauthenticated => {
                ("/problems/unauthenticated", S::UNAUTHORIZED, "A valid token is needed", Caller)
            }
            Self::Forbidden => ("/problems/forbidden", S::FORBIDDEN, "The caller may not do this", Caller),
            Self::Absent => ("/problems/absent", S::NOT_FOUND, "The source has no row for this key", Nobody),
            Self::UnknownView => ("/problems/unknown-view", S::NOT_FOUND, "There is no such view", Caller),
            Self::UnknownSource => {
                ("/problems/unknown-source", S::NOT_FOUND, "There is no such source", Caller)
            }
            Self::NotFound => ("/problems/not-found", S::NOT_FOUND, "There is nothing here", Caller),
            Self::MethodNotAllowed => (
                "/problems/method-not-allowed",
                S::METHOD_NOT_ALLOWED,
                "The method does not exist here",
                Caller,
            ),
            Self::BodyTooLarge => {
                ("/problems/body-too-large", S::PAYLOAD_TOO_LARGE, "The body is too large", Caller)
            }
            Self::PathTooLong => ("/problems/path-too-long", S::URI_TOO_LONG, "The path is too long", Caller),
            Self::NotJson => {
                ("/problems/not-json", S::UNSUPPORTED_MEDIA_TYPE, "The body is not JSON", Caller)
            }
            Self::LevelUnmet => {
                ("/problems/level-unmet", S::SERVICE_UNAVAILABLE, "The level cannot be proven now", Source)
            }
            Self::SourceDown => {
                ("/problems/source-down", S::SERVICE_UNAVAILABLE, "The source cannot be reached", Source)
            }
            Self::SourceSlow => {
                ("/problems/source-slow", S::GATEWAY_TIMEOUT, "The source did not answer in time", Source)
            }
            Self::TimedOut => ("/problems/timed-out", S::GATEWAY_TIMEOUT, "The answer took too long", Source),
            Self::Overloaded => (
                "/problems/overloaded",
                S::SERVICE_UNAVAILABLE,
                "The source is protected from more load",
                Source,
            ),
            Self::Draining => {
                ("/problems/draining", S::SERVICE_UNAVAILABLE, "The server is stopping", Candor)
            }
            Self::BadContract => {
                ("/problems/bad-contract", S::INTERNAL_SERVER_ERROR, "The contract cannot be kept", Contract)
            }
            Self::Internal => {
                ("/problems/internal", S::INTERNAL_SERVER_ERROR, "Something broke on our side", Candor)
            }
        }
    }
}

impl Whose {
    /// The word in the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Contract => "contract",
            Self::Source => "source",
            Self::Candor => "candor",
            Self::Nobody => "nobody",
        }
    }
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), mend: mend.into(), retry_after: None, allow: None }
    }

    /// The same, with a time after which trying again makes sense.
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The JSON body.
    pub fn body(&self) -> serde_json::Value {
        serde_json::json!({
            "type": self.kind.uri(),
            "title": self.kind.title(),
            "status": self.kind.status().as_u16(),
            "detail": self.detail,
            "whose": self.kind.whose().word(),
            "mend": self.mend,
        })
    }

    /// The whole response. Never stored on the way, except an absence, whose `Cache-Control` its receipt decides.
    pub fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.body().to_string()));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, CONTENT);
        if self.kind != Kind::Absent {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.kind == Kind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"candor\""));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated(why) => {
                Self::new(Kind::Unauthenticated, why, "send the header Authorization: Bearer <token>")
            }
            Refusal::Forbidden { message, mend } => Self::new(Kind::Forbidden, message, mend),
            Refusal::Unclear(why) => Self::new(Kind::BadRequest, why, "send each header once"),
        }
    }
}

impl From<KeyRefusal> for Problem {
    fn from(refusal: KeyRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            KeyRefusal::Bad(_) => {
                Self::new(Kind::BadKey, detail, "send one value for each key column, in order")
            }
            KeyRefusal::NoSubject { .. } => Self::new(
                Kind::Forbidden,
                detail,
                "use a token with a subject, or one that may act for a subject",
            ),
            KeyRefusal::WrongSubject { .. } => {
                Self::new(Kind::Forbidden, detail, "give the token a subject of the column's type")
            }
        }
    }
}

impl From<NotOffered> for Problem {
    fn from(refusal: NotOffered) -> Self {
        let mend = match refusal {
            NotOffered::Snapshot { .. } => "read the keys at another level",
            NotOffered::Fence { .. } => "nothing to mend here: there is no position to wait for",
        };
        Self::new(Kind::BadLevel, refusal.to_string(), mend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_problem_is_json_with_the_members_of_the_standard_and_ours() {
        let problem = Problem::new(Kind::BadKey, "\"x\"", "send 42");
        assert_eq!(
            problem.body().to_string(),
            r#"{"type":"/problems/bad-key","title":"The key does not fit the view","status":400,"detail":"\"x\"","whose":"caller","mend":"send 42"}"#
        );
        let response = problem.response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn every_kind_has_its_own_type_and_a_status_that_fits_whose_fault_it_is() {
        let uris: HashSet<&str> = Kind::ALL.iter().map(|kind| kind.uri()).collect();
        assert_eq!(uris.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            let is_server_error = kind.status().is_server_error();
            let is_theirs = matches!(kind.whose(), Whose::Caller | Whose::Nobody);
            assert_ne!(is_server_error, is_theirs, "{kind:?}");
        }
    }

    #[test]
    fn headers_follow_the_kind() {
        let unauthenticated = Problem::from(Refusal::Unauthenticated("who?")).response();
        assert_eq!(unauthenticated.headers()[WWW_AUTHENTICATE], "Bearer realm=\"candor\"");
        let wait = |millis| {
            let problem = Problem::new(Kind::Overloaded, "", "").retry_after(Duration::from_millis(millis));
            problem.response().headers()[RETRY_AFTER].to_str().unwrap().to_owned()
        };
        assert_eq!((wait(0), wait(1000), wait(1001)), ("1".into(), "1".into(), "2".into()));
        let absent = Problem::new(Kind::Absent, "", "").response();
        assert!(!absent.headers().contains_key(CACHE_CONTROL));
        let mut method = Problem::new(Kind::MethodNotAllowed, "", "");
        method.allow = Some("GET, HEAD");
        assert_eq!(method.response().headers()[ALLOW], "GET, HEAD");
    }

    #[test]
    fn a_missing_subject_is_the_token_s_fault_and_a_bad_key_the_request_s() {
        assert_eq!(Problem::from(KeyRefusal::Bad("x".into())).kind, Kind::BadKey);
        assert_eq!(Problem::from(KeyRefusal::NoSubject { view: "v".into() }).kind, Kind::Forbidden);
        let wrong = KeyRefusal::WrongSubject { view: "v".into(), why: "w".into() };
        assert_eq!(Problem::from(wrong).kind, Kind::Forbidden);
    }
}
