//! What a read asks for: the level from `Candor-Consistency`, the token from `Candor-Session`, both against the contract.
//!
//! Nothing is guessed. A level that cannot be read, that the contract does not offer or that lacks its token is refused
//! with 400; a token that is broken, forged or of another version is refused too, never ignored, because an ignored
//! token would answer with something older than its holder has seen.

use super::problem::{Kind, Problem};
use crate::session::Sessions;
use ::http::{HeaderMap, HeaderName};
use candor_core::{Contract, Demand, Level, SessionToken};

/// The header with the level of a read.
pub const CONSISTENCY_HEADER: HeaderName = HeaderName::from_static("candor-consistency");

/// The header with the session token, in requests and answers.
pub const SESSION_HEADER: HeaderName = HeaderName::from_static("candor-session");

/// What a read of several keys asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManyDemand {
    /// The level each answer must meet, and the token.
    pub each: Demand,
    /// Whether all answers must hold together at one position: `snapshot`.
    pub is_snapshot: bool,
}

/// The demand of a read of one key.
///
/// # Errors
///
/// A problem of kind [`Kind::BadLevel`], [`Kind::BadSession`] or [`Kind::BadRequest`].
pub fn one(headers: &HeaderMap, contract: &Contract, sessions: &Sessions) -> Result<Demand, Problem> {
    let level = single(headers, &CONSISTENCY_HEADER)?;
    let token = single(headers, &SESSION_HEADER)?;
    if level == Some("snapshot") {
        return Err(Problem::new(
            Kind::BadLevel,
            "`snapshot` is a level of reads of several keys",
            "send the keys with POST /v1/views/{view}, or ask for strong",
        ));
    }
    demand(level, token, contract, sessions)
}

/// The demand of a read of several keys. What the body says (`consistency`, `session`) goes before the headers.
///
/// # Errors
///
/// As [`one`].
pub fn many(
    consistency: Option<&str>,
    session: Option<&str>,
    headers: &HeaderMap,
    contract: &Contract,
    sessions: &Sessions,
) -> Result<ManyDemand, Problem> {
    let level = match consistency {
        Some(level) => Some(level),
        None => single(headers, &CONSISTENCY_HEADER)?,
    };
    let token = match session {
        Some(token) => Some(token),
        None => single(headers, &SESSION_HEADER)?,
    };
    // A snapshot says that the answers belong together; how old they may be together is the contract's own level.
    let is_snapshot = level == Some("snapshot");
    let each = demand(level.filter(|_| !is_snapshot), token, contract, sessions)?;
    Ok(ManyDemand { each, is_snapshot })
}

fn demand(
    level: Option<&str>,
    token: Option<&str>,
    contract: &Contract,
    sessions: &Sessions,
) -> Result<Demand, Problem> {
    let level = match level {
        Some(text) => Level::parse(text.trim()).map_err(|sentence| {
            let (detail, mend) = sentence
                .rsplit_once("; ")
                .unwrap_or((&sentence, "the levels are strong, bounded=<duration>, session and any"));
            Problem::new(Kind::BadLevel, detail, mend)
        })?,
        None => contract.level,
    };
    if contract.critical && level != Level::Strong {
        return Err(Problem::new(
            Kind::BadLevel,
            format!("the view `{}` is critical and only read at strong, not at {level}", contract.view),
            "leave the level out, or ask for strong",
        ));
    }
    let token = token.map(|text| session(text, sessions)).transpose()?;
    if level == Level::Session && token.is_none() {
        return Err(Problem::new(
            Kind::BadSession,
            "the level `session` needs a session token, and none was sent",
            "send the last Candor-Session you were given, or take one with POST /v1/fence",
        ));
    }
    Ok(Demand { level, token })
}

fn session(text: &str, sessions: &Sessions) -> Result<SessionToken, Problem> {
    sessions.read(text).map_err(|refusal| {
        let sentence = refusal.to_string();
        let (detail, mend) = sentence.rsplit_once("; ").unwrap_or((&sentence, ""));
        Problem::new(Kind::BadSession, detail, mend)
    })
}

/// The text of a header that may be sent once. Two values could only be reconciled by guessing.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let detail = format!("the header `{name}` was sent more than once");
        return Err(Problem::new(Kind::BadRequest, detail, "send it once"));
    }
    value.to_str().map(Some).map_err(|_| {
        Problem::new(
            Kind::BadRequest,
            format!("the header `{name}` is not plain text"),
            "send visible ASCII characters",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;
    use candor_core::{Epoch, LogId, Position, TokenSecret};
    use std::time::Duration;

    fn contract(critical: bool) -> Contract {
        let level = if critical { Level::Strong } else { Level::Bounded(Duration::from_secs(2)) };
        Contract { view: "user".into(), critical, level, ..Contract::default() }
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn token() -> SessionToken {
        SessionToken::at(Position { epoch: Epoch { log: LogId(1), era: 0 }, at: 7 })
    }

    fn ask(critical: bool, pairs: &[(HeaderName, &str)]) -> Result<Demand, Problem> {
        one(&headers(pairs), &contract(critical), &Sessions::default())
    }

    #[test]
    fn a_read_that_says_nothing_gets_the_contract_s_level() {
        assert_eq!(ask(false, &[]), Ok(Level::Bounded(Duration::from_secs(2)).into()));
        assert_eq!(ask(true, &[]), Ok(Level::Strong.into()));
    }

    #[test]
    fn levels_are_read_in_the_forms_of_the_header() {
        for (text, level) in [
            ("strong", Level::Strong),
            ("bounded=500ms", Level::Bounded(Duration::from_millis(500))),
            ("bounded:500ms", Level::Bounded(Duration::from_millis(500))),
            (" any ", Level::Any),
        ] {
            assert_eq!(ask(false, &[(CONSISTENCY_HEADER, text)]), Ok(level.into()), "{text}");
        }
        for text in ["", "STRONG", "bounded", "bounded=2", "eventual", "snapshot", "strong, any"] {
            let problem = ask(false, &[(CONSISTENCY_HEADER, text)]).unwrap_err();
            assert_eq!(problem.kind, Kind::BadLevel, "{text}");
            assert!(!problem.mend.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_critical_view_refuses_every_weaker_level() {
        assert!(ask(true, &[(CONSISTENCY_HEADER, "strong")]).is_ok());
        for text in ["bounded=1ms", "any", "session"] {
            assert_eq!(ask(true, &[(CONSISTENCY_HEADER, text)]).unwrap_err().kind, Kind::BadLevel, "{text}");
        }
    }

    #[test]
    fn a_token_is_honoured_at_every_level_and_required_by_session() {
        let text = token().encode(None);
        for level in ["session", "any", "strong"] {
            let demand = ask(false, &[(CONSISTENCY_HEADER, level), (SESSION_HEADER, &text)]).unwrap();
            assert_eq!(demand.token, Some(token()), "{level}");
        }
        let problem = ask(false, &[(CONSISTENCY_HEADER, "session")]).unwrap_err();
        assert_eq!(problem.kind, Kind::BadSession);
    }

    #[test]
    fn a_token_that_cannot_be_believed_is_refused_at_every_level() {
        let secret = TokenSecret::new(&[1; 16]);
        let other = TokenSecret::new(&[2; 16]);
        let whole = token().encode(secret.as_ref());
        let checked = |text: &str| {
            one(&headers(&[(SESSION_HEADER, text)]), &contract(false), &Sessions::new(secret.clone(), None))
                .map_err(|problem| problem.kind)
        };
        assert!(checked(&whole).is_ok());
        for text in
            ["", "x", &whole[1..], &token().encode(other.as_ref()), &token().encode(None), &"A".repeat(9000)]
        {
            assert_eq!(checked(text), Err(Kind::BadSession), "{text:.20}");
        }
    }

    #[test]
    fn a_header_sent_twice_or_not_as_text_is_refused() {
        for name in [CONSISTENCY_HEADER, SESSION_HEADER] {
            let twice = ask(false, &[(name.clone(), "any"), (name.clone(), "any")]).unwrap_err();
            assert_eq!(twice.kind, Kind::BadRequest);
            let mut map = HeaderMap::new();
            map.insert(name, HeaderValue::from_bytes(b"\xff").unwrap());
            assert_eq!(one(&map, &contract(false), &Sessions::default()).unwrap_err().kind, Kind::BadRequest);
        }
    }

    #[test]
    fn several_keys_may_be_asked_to_hold_together_and_the_body_goes_first() {
        let map = headers(&[(CONSISTENCY_HEADER, "any")]);
        let asked =
            |consistency| many(consistency, None, &map, &contract(false), &Sessions::default()).unwrap();
        assert_eq!(asked(None), ManyDemand { each: Level::Any.into(), is_snapshot: false });
        assert_eq!(asked(Some("strong")), ManyDemand { each: Level::Strong.into(), is_snapshot: false });
        let default = Level::Bounded(Duration::from_secs(2));
        assert_eq!(asked(Some("snapshot")), ManyDemand { each: default.into(), is_snapshot: true });
        let critical =
            many(Some("snapshot"), None, &HeaderMap::new(), &contract(true), &Sessions::default()).unwrap();
        assert_eq!(critical, ManyDemand { each: Level::Strong.into(), is_snapshot: true });
        let text = token().encode(None);
        let with_token =
            many(Some("session"), Some(&text), &HeaderMap::new(), &contract(false), &Sessions::default())
                .unwrap();
        assert_eq!(with_token.each.token, Some(token()));
    }
}
