//! The headers of an answer besides [`Cache-Control`](super::freshness) and [`ETag`](super::etag).

use ::http::{HeaderName, HeaderValue};
use candor_core::{Receipt, SessionToken, TokenSecret};
use std::fmt::{self, Display, Write};
use std::time::Duration;

/// The header with the receipt.
pub const RECEIPT_HEADER: HeaderName = HeaderName::from_static("candor-receipt");

/// The header of RFC 9211, which [`http`] does not name.
pub const CACHE_STATUS_HEADER: HeaderName = HeaderName::from_static("cache-status");

/// How an answer came about, as `Cache-Status` (RFC 9211) tells it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Passage {
    /// From an entry. `ttl` is how much longer it may live.
    Hit {
        /// The rest of its time to live; `None` for no end.
        ttl: Option<Duration>,
    },
    /// From the source.
    Forwarded {
        /// Why the entry, if any, was not enough.
        why: Why,
        /// Whether the fill was kept.
        stored: bool,
        /// Whether another read had begun the fill.
        collapsed: bool,
    },
}

/// Why a read went to the source.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// There was no entry.
    Miss,
    /// There was one, and it had ended or a change was not visible in it.
    Stale,
    /// There was one, and the read asked for more than could be proven of it.
    Request,
    /// The view is not cached at this level, or the log cannot be followed.
    Bypass,
}

impl Why {
    /// The token of RFC 9211.
    pub fn word(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Bypass => "bypass",
        }
    }
}

/// `Candor-Receipt`.
pub fn receipt(receipt: &Receipt) -> HeaderValue {
    ascii(receipt)
}

/// `Candor-Session`.
pub fn session(token: &SessionToken, secret: Option<&TokenSecret>) -> HeaderValue {
    ascii(&token.encode(secret))
}

/// `Age` in seconds: how long ago the answer was "generated or successfully validated" at the source (RFC 9111, 5.1).
/// Proving an entry against the log is that validation, so this is the bound; without a proof it is the time since the
/// fill. An entry filled an hour ago and proven just now has age zero; the receipt tells both times.
pub fn age(receipt: &Receipt) -> HeaderValue {
    HeaderValue::from(receipt.bound.unwrap_or(receipt.age).as_secs())
}

/// `Vary`: an answer to one level, session or caller is not an answer to another. `subject` is the header that names
/// the subject a service acts for.
pub fn vary(subject: Option<&HeaderName>) -> HeaderValue {
    match subject {
        None => HeaderValue::from_static("candor-consistency, candor-session, authorization"),
        Some(name) => ascii(&format!("candor-consistency, candor-session, authorization, {name}")),
    }
}

/// `Cache-Status`.
pub fn cache_status(passage: &Passage) -> HeaderValue {
    match passage {
        Passage::Hit { ttl: None } => HeaderValue::from_static("candor; hit"),
        Passage::Hit { ttl: Some(ttl) } => ascii(&format!("candor; hit; ttl={}", ttl.as_secs())),
        Passage::Forwarded { why, stored, collapsed } => {
            let flag = |set: bool, text: &'static str| if set { text } else { "" };
            let (stored, collapsed) = (flag(*stored, "; stored"), flag(*collapsed, "; collapsed"));
            ascii(&format!("candor; fwd={}{stored}{collapsed}", why.word()))
        }
    }
}

/// A header from text that we wrote ourselves and that is therefore visible ASCII. Should that ever be wrong, an empty
/// header claims nothing.
pub(super) fn ascii(text: &impl Display) -> HeaderValue {
    let mut line = Line { bytes: [0; LINE_BYTES], length: 0 };
    let value = match write!(line, "{text}") {
        // Every answer has half a dozen of these: written in place and copied once, at its length.
        Ok(()) => HeaderValue::from_bytes(&line.bytes[..line.length]),
        Err(fmt::Error) => HeaderValue::from_bytes(text.to_string().as_bytes()),
    };
    value.unwrap_or_else(|_| {
        debug_assert!(false, "`{text}` is not a header value");
        HeaderValue::from_static("")
    })
}

/// Longer than all but session tokens of several logs.
const LINE_BYTES: usize = 128;

/// Room for a line on the stack.
struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_core::{Epoch, LogId, Origin, Position, ProofKind};

    fn example(bound: Option<Duration>) -> Receipt {
        Receipt {
            origin: Origin::L1,
            proof: if bound.is_some() { ProofKind::Log } else { ProofKind::None },
            bound,
            age: Duration::from_millis(5120),
            position: Some(Position { epoch: Epoch { log: LogId(1), era: 0 }, at: 1034 }),
            upper: None,
            degraded: None,
        }
    }

    #[test]
    fn the_receipt_travels_as_it_is_written() {
        let shown = receipt(&example(Some(Duration::from_millis(38))));
        assert_eq!(shown, "from=l1, proof=log, bound=38, age=5120, position=\"1034\"");
    }

    #[test]
    fn a_header_is_whole_however_long_it_is() {
        for length in [0, 1, LINE_BYTES - 1, LINE_BYTES, LINE_BYTES + 1, 1000] {
            let text = "x".repeat(length);
            assert_eq!(ascii(&format!("{text}{text}")), format!("{text}{text}"), "{length}");
            assert_eq!(ascii(&text), text, "{length}");
        }
    }

    #[test]
    fn age_is_the_time_since_the_last_proof_and_without_one_since_the_fill() {
        assert_eq!(age(&example(Some(Duration::from_millis(38)))), "0");
        assert_eq!(age(&example(Some(Duration::from_millis(2999)))), "2");
        assert_eq!(age(&example(None)), "5");
    }

    #[test]
    fn a_session_token_travels_there_and_back() {
        let token = SessionToken::at(example(None).position.unwrap());
        let secret = TokenSecret::new(&[7; 16]);
        let header = session(&token, secret.as_ref());
        assert_eq!(SessionToken::decode(header.to_str().unwrap(), secret.as_ref()), Ok(token));
    }

    #[test]
    fn cache_status_follows_the_standard() {
        let forwarded = |why, stored, collapsed| cache_status(&Passage::Forwarded { why, stored, collapsed });
        assert_eq!(
            cache_status(&Passage::Hit { ttl: Some(Duration::from_millis(30_900)) }),
            "candor; hit; ttl=30"
        );
        assert_eq!(cache_status(&Passage::Hit { ttl: None }), "candor; hit");
        assert_eq!(forwarded(Why::Miss, true, false), "candor; fwd=miss; stored");
        assert_eq!(forwarded(Why::Stale, true, true), "candor; fwd=stale; stored; collapsed");
        assert_eq!(forwarded(Why::Request, false, false), "candor; fwd=request");
        assert_eq!(forwarded(Why::Bypass, false, false), "candor; fwd=bypass");
    }

    #[test]
    fn answers_vary_by_whatever_changes_them() {
        assert_eq!(vary(None), "candor-consistency, candor-session, authorization");
        let name = HeaderName::from_static("x-subject");
        assert_eq!(vary(Some(&name)), "candor-consistency, candor-session, authorization, x-subject");
    }
}
