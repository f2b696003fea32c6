//! Who is asking, from a request's headers.
//!
//! With tokens: `Authorization: Bearer <token>`, and, for a token that may act for others, the configured subject
//! header. Without tokens the door stands on loopback and lets in this machine's programs, but no browser page from
//! elsewhere: see [`exposure`].

use super::problem::{Kind, Problem};
use crate::auth::{Caller, Refusal, Subject, Tokens, exposure};
use crate::config::{Complaints, Config, Environment};
use ::http::header::{AUTHORIZATION, HOST, ORIGIN};
use ::http::{HeaderMap, HeaderName, Uri};

/// Who is let in.
#[derive(Clone, Debug)]
pub enum Gate {
    /// No tokens are configured: every program on this machine.
    Open,
    /// Whoever presents a known token.
    Tokens {
        /// The known tokens.
        tokens: Tokens,
        /// The header in which a token that may act for others names the subject.
        subject_header: Option<HeaderName>,
    },
}

impl Gate {
    /// The gate a configuration asks for.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the tokens file; all is the author's to mend.
    pub fn of(config: &Config, environment: &Environment<'_>) -> Result<Self, Complaints> {
        let Some(auth) = &config.server.auth else { return Ok(Self::Open) };
        let views: Vec<&str> = config.views.iter().map(|view| &*view.name).collect();
        let tokens = Tokens::read(&auth.tokens_file, &views, environment)?;
        if auth.subject_header.is_none() && tokens.any_may_impersonate() {
            tracing::warn!(
                "a token may act for other subjects, but [server] auth names no subject_header to say for whom"
            );
        }
        Ok(Self::Tokens { tokens, subject_header: auth.subject_header.clone() })
    }

    /// Who is asking.
    ///
    /// # Errors
    ///
    /// A problem of kind [`Kind::Unauthenticated`], [`Kind::Forbidden`] or [`Kind::BadRequest`].
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<Caller, Problem> {
        match self {
            Self::Open => admit_local(uri, headers),
            Self::Tokens { tokens, subject_header } => {
                let caller = tokens
                    .caller(bearer(headers)?)
                    .ok_or(Refusal::Unauthenticated("the token is not one that is let in"))?;
                match subject_header.as_ref().map(|name| subject(headers, name)).transpose()?.flatten() {
                    Some(subject) => Ok(caller.acting_for(subject)?),
                    None => Ok(caller),
                }
            }
        }
    }

    /// Whether answers are given to callers one by one, so that no shared cache may pass them on.
    pub fn is_authenticating(&self) -> bool {
        matches!(self, Self::Tokens { .. })
    }
}

/// The presented token. The scheme's name is compared without regard to case, as the standard wants.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Unauthenticated("no token was sent"))?;
    if values.next().is_some() {
        return Err(Refusal::Unclear("the header `authorization` was sent more than once"));
    }
    match value.as_bytes().split_first_chunk::<7>() {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Ok(token.trim_ascii()),
        _ => Err(Refusal::Unauthenticated("the header `authorization` holds no bearer token")),
    }
}

/// The subject the request names. An empty or unreadable one is refused: it is not the same as none.
fn subject(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Subject>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Unclear("the subject header was sent more than once"));
    }
    let subject = std::str::from_utf8(value.as_bytes()).ok().and_then(Subject::new);
    subject.map(Some).ok_or(Refusal::Unclear("the subject header does not name a subject"))
}

/// A program on this machine addresses this machine. A page in a browser cannot hide where it came from.
fn admit_local(uri: &Uri, headers: &HeaderMap) -> Result<Caller, Problem> {
    let refuse = |detail: &str| {
        Err(Problem::new(
            Kind::Forbidden,
            detail,
            "configure auth = { tokens_file = \"…\" } and send a token; without tokens only this machine is let in",
        ))
    };
    if uri.authority().is_some_and(|authority| !exposure::is_local_host(authority.as_str())) {
        return refuse("the request was addressed to another host");
    }
    // Requests have few headers, so to compare them all is cheaper than to look each of ours up.
    if headers.keys().any(|name| exposure::FORWARDED_BY.contains(&name.as_str())) {
        return refuse("the request comes through a proxy, so from somebody unknown");
    }
    // Every value has to be local: which of several a proxy would believe is not ours to guess.
    let is_local = |value: &http::HeaderValue| value.to_str().is_ok_and(exposure::is_local_host);
    if !headers.get_all(HOST).iter().all(is_local) {
        return refuse("the request was addressed to another host");
    }
    let is_local_page = |value: &http::HeaderValue| {
        let host = value.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        host.is_some_and(exposure::is_local_host)
    };
    if !headers.get_all(ORIGIN).iter().all(is_local_page) {
        return refuse("the request comes from a page of another host");
    }
    Ok(Caller::anonymous())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;
    use ::http::HeaderValue;

    fn gate(subject_header: bool) -> Gate {
        let environment = |name: &str| Some(format!("a long token of {name}"));
        let text = "[[token]]\nname = \"web\"\ntoken = \"${web}\"\nviews = [\"*\"]\nmay_impersonate = true\n\
                    [[token]]\nname = \"alice\"\ntoken = \"${alice}\"\nviews = [\"*\"]\nsubject = \"7\"\n";
        let tokens = Tokens::parse(&Origin::new("tokens.toml", text), &[], &environment).unwrap();
        Gate::Tokens { tokens, subject_header: subject_header.then(|| HeaderName::from_static("x-subject")) }
    }

    fn admit(gate: &Gate, pairs: &[(&'static str, &[u8])]) -> Result<Caller, Kind> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        gate.admit(&Uri::from_static("/v1/views/user/1"), &headers).map_err(|problem| problem.kind)
    }

    const WEB: (&str, &[u8]) = ("authorization", b"Bearer a long token of web");
    const ALICE: (&str, &[u8]) = ("authorization", b"bEARER  a long token of alice ");

    #[test]
    fn an_open_door_refuses_what_a_proxy_brings() {
        assert!(admit(&Gate::Open, &[("host", b"127.0.0.1:7070")]).is_ok());
        for name in exposure::FORWARDED_BY {
            let refused = admit(&Gate::Open, &[("host", b"127.0.0.1:7070"), (name, b"203.0.113.7")]);
            assert_eq!(refused.unwrap_err(), Kind::Forbidden, "{name}");
        }
    }

    #[test]
    fn a_known_token_is_let_in_and_nothing_else() {
        assert_eq!(admit(&gate(false), &[WEB]).unwrap().name(), "web");
        assert_eq!(admit(&gate(false), &[ALICE]).unwrap().subject().unwrap().as_str(), "7");
        for value in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer x",
            b"Basic eDp5",
            b"a long token of web",
            b"Bearer\ta long token of web",
            b"Bearer \xff",
        ] {
            let refused = admit(&gate(false), &[("authorization", value)]);
            assert_eq!(refused.unwrap_err(), Kind::Unauthenticated, "{value:?}");
        }
        assert_eq!(admit(&gate(false), &[]).unwrap_err(), Kind::Unauthenticated);
        assert_eq!(admit(&gate(false), &[WEB, ALICE]).unwrap_err(), Kind::BadRequest);
    }

    #[test]
    fn a_subject_is_named_only_by_a_token_that_may() {
        let named = ("x-subject", &b"42"[..]);
        assert_eq!(admit(&gate(true), &[WEB, named]).unwrap().subject().unwrap().as_str(), "42");
        assert_eq!(admit(&gate(true), &[WEB]).unwrap().subject(), None);
        assert_eq!(admit(&gate(true), &[ALICE, named]).unwrap_err(), Kind::Forbidden);
        assert_eq!(admit(&gate(true), &[named]).unwrap_err(), Kind::Unauthenticated);
        assert_eq!(admit(&gate(true), &[WEB, named, named]).unwrap_err(), Kind::BadRequest);
        for value in [&b""[..], b"\xff", b"a\tb"] {
            assert_eq!(
                admit(&gate(true), &[WEB, ("x-subject", value)]).unwrap_err(),
                Kind::BadRequest,
                "{value:?}"
            );
        }
        let unconfigured = admit(&gate(false), &[WEB, named]).unwrap();
        assert_eq!(unconfigured.subject(), None, "a header that nobody configured means nothing");
    }

    #[test]
    fn an_open_door_serves_this_machine_and_no_page_from_elsewhere() {
        let open = |pairs: &[(&'static str, &[u8])]| {
            admit(&Gate::Open, pairs).map(|caller| caller.name().to_owned())
        };
        let host = ("host", &b"127.0.0.1:7070"[..]);
        assert_eq!(open(&[]).as_deref(), Ok("anonymous"));
        assert_eq!(open(&[host]).as_deref(), Ok("anonymous"));
        assert_eq!(open(&[host, ("origin", b"http://localhost:7070")]).as_deref(), Ok("anonymous"));
        for pairs in [
            &[("host", &b"example.com"[..])][..],
            &[host, ("host", b"example.com")],
            &[host, ("origin", b"https://example.com")],
            &[host, ("origin", b"null")],
            &[("host", b"\xff")],
        ] {
            assert_eq!(open(pairs), Err(Kind::Forbidden), "{pairs:?}");
        }
        let absolute = Gate::Open.admit(&Uri::from_static("http://example.com/"), &HeaderMap::new());
        assert_eq!(absolute.unwrap_err().kind, Kind::Forbidden);
        assert_eq!(admit(&Gate::Open, &[]).unwrap().subject(), None);
    }
}
