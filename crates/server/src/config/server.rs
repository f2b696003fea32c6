//! `[server]`: the doors, who may use them, and what they can bear.

use super::origin::Span;
use super::section::Section;
use super::size;
use crate::auth::exposure;
use crate::session::Sessions;
use ::http::HeaderName;
use candor_core::token::TokenSecret;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What `[server]` says.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where the HTTP door listens. Source: `http`, default `127.0.0.1:7070`.
    pub http: SocketAddr,
    /// Who may use the doors; `None` for everybody on this machine.
    pub auth: Option<AuthSettings>,
    /// What a request may cost.
    pub limits: RequestLimits,
    /// What session tokens are signed with. Source: `session_secret`; without one they only carry a checksum.
    pub session_secret: Option<TokenSecret>,
    /// Whether session tokens that a database wrote are taken. Source: `sessions_from_sql`; if left out, they are where
    /// there is no secret.
    pub sessions_from_sql: Option<bool>,
    /// How long requests in progress may take after the order to stop. Source: `drain`, default 10 s.
    pub drain_timeout: Duration,
}

/// `auth`: who may use the doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    /// The file with the tokens; relative paths were resolved against the configuration's directory.
    pub tokens_file: PathBuf,
    /// Where it is named, for complaints about it.
    pub span: Span,
    /// The header in which a token with `may_impersonate` names the subject it acts for.
    pub subject_header: Option<HeaderName>,
}

/// `limits`: what a request may cost. Rationale: keys are short and answers are not sent to us, so a request that needs
/// more than these is a mistake or an attack.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of a request body. Source: `body`, default 1 MiB: ten thousand keys of a hundred bytes.
    pub body_bytes_max: u64,
    /// Bytes of the request line and headers together. Source: `headers`, default 16 KiB.
    pub header_bytes_max: u64,
    /// How long a client may take to send its headers. Source: `header_timeout`, default 10 s.
    pub header_timeout: Duration,
    /// How long a request may take altogether. Source: `request_timeout`, default 30 s.
    pub request_timeout: Duration,
    /// Connections open at one time. Source: `connections`, default 4096.
    pub connections_max: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            http: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070),
            auth: None,
            limits: RequestLimits::default(),
            session_secret: None,
            sessions_from_sql: None,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl ServerSettings {
    /// Which session tokens the doors take, and how they sign their own.
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.session_secret.clone(), self.sessions_from_sql)
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            header_bytes_max: 16 << 10,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            connections_max: 4096,
        }
    }
}

pub(super) fn read(section: Section<'_>) -> ServerSettings {
    let default = ServerSettings::default();
    section.refuse("resp", "the Redis protocol is not available yet", "remove resp and use http");
    let http =
        section.expanded("http").and_then(|(text, _)| read_address(&section, &text)).unwrap_or(default.http);
    let auth = section.table("auth").and_then(read_auth);
    // An `auth` with faults is complained about already; it does not mean that none was wanted.
    if !section.has("auth")
        && let Err(error) = exposure::check(http, false)
    {
        section.reader.complain(section.span_of("http"), error.message(), error.mend());
    }
    let settings = ServerSettings {
        http,
        auth,
        limits: section.table("limits").map_or(default.limits, read_limits),
        session_secret: read_secret(&section),
        sessions_from_sql: section.flag("sessions_from_sql"),
        drain_timeout: section.duration("drain").unwrap_or(default.drain_timeout),
    };
    section.finish();
    settings
}

fn read_address(section: &Section<'_>, text: &str) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        let mend = match text.strip_prefix("localhost:") {
            Some(port) => format!("write http = \"127.0.0.1:{port}\""),
            None => "write an address and a port, such as 127.0.0.1:7070 or [::1]:7070".to_owned(),
        };
        section.complain("http", format!("`{text}` is not an address with a port"), mend);
    }
    address
}

fn read_auth(section: Section<'_>) -> Option<AuthSettings> {
    section.require("tokens_file", "write tokens_file = \"tokens.toml\", relative to this file");
    let subject_header = section.parsed("subject_header", |text| {
        let refused =
            |why: &str| Err(format!("`{text}` {why}; write a header of your own, such as X-Subject"));
        match HeaderName::from_bytes(text.as_bytes()) {
            Err(_) => refused("cannot be the name of a header"),
            Ok(name) if name == http::header::AUTHORIZATION || name.as_str().starts_with("candor-") => {
                refused("has a meaning already")
            }
            Ok(name) => Ok(name),
        }
    });
    let file = section.expanded("tokens_file");
    let settings = file.map(|(path, span)| AuthSettings {
        tokens_file: section.reader.origin.resolve(&path),
        span,
        subject_header,
    });
    section.finish();
    settings
}

fn read_limits(section: Section<'_>) -> RequestLimits {
    let default = RequestLimits::default();
    let bytes = |field, low: u64, high: u64| {
        let bytes = section.parsed(field, size::parse)?;
        if (low..=high).contains(&bytes) {
            return Some(bytes);
        }
        section.complain(
            field,
            format!("`{field}` is not between {low} and {high} bytes"),
            "choose a size in between",
        );
        None
    };
    let limits = RequestLimits {
        body_bytes_max: bytes("body", 1 << 10, 1 << 30).unwrap_or(default.body_bytes_max),
        // The HTTP parser cannot work with less than 8 KiB.
        header_bytes_max: bytes("headers", 8 << 10, 1 << 20).unwrap_or(default.header_bytes_max),
        header_timeout: section.duration("header_timeout").unwrap_or(default.header_timeout),
        request_timeout: section.duration("request_timeout").unwrap_or(default.request_timeout),
        connections_max: section
            .whole("connections", 1..=1_000_000)
            .map_or(default.connections_max, |max| max as usize),
    };
    section.finish();
    limits
}

fn read_secret(section: &Section<'_>) -> Option<TokenSecret> {
    let (secret, _) = section.expanded("session_secret")?;
    let secret = TokenSecret::new(secret.as_bytes());
    if secret.is_none() {
        section.complain(
            "session_secret",
            "the session secret is shorter than 16 bytes",
            "set it to something long and random, such as the output of: openssl rand -hex 32",
        );
    }
    secret
}
