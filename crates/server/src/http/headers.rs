//! The headers of an answer besides [`Cache-Control`](super::freshness) and [`ETag`](super::etag).

use ::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use candor_core::Receipt;
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

/// `Age` in seconds: how long ago the answer was "generated or successfully validated" at the source (RFC 9111, 5.1).
/// Proving an entry against the log is that validation, so this is the bound; without a proof it is the time since the
/// fill. An entry filled an hour ago and proven just now has age zero; the receipt tells both times.
pub fn age_secs(receipt: &Receipt) -> u64 {
    receipt.bound.unwrap_or(receipt.age).as_secs()
}

/// `Vary`: an answer to one level, session or caller is not an answer to another. `subject` is the header that names
/// the subject a service acts for.
pub fn vary(subject: Option<&HeaderName>) -> HeaderValue {
    match subject {
        None => HeaderValue::from_static("candor-consistency, candor-session, authorization"),
        Some(name) => {
            let [value] =
                values([&format_args!("candor-consistency, candor-session, authorization, {name}")]);
            value
        }
    }
}

/// The value of `Cache-Status`.
impl Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("candor")?;
        match self {
            Self::Hit { ttl: None } => f.write_str("; hit"),
            Self::Hit { ttl: Some(ttl) } => {
                f.write_str("; hit; ttl=")?;
                ttl.as_secs().fmt(f)
            }
            Self::Forwarded { why, stored, collapsed } => {
                let flag = |set: bool, text: &'static str| if set { text } else { "" };
                f.write_str("; fwd=")?;
                f.write_str(why.word())?;
                f.write_str(flag(*stored, "; stored"))?;
                f.write_str(flag(*collapsed, "; collapsed"))
            }
        }
    }
}

/// Header values from texts that we wrote ourselves and that are therefore visible ASCII. Should that ever be wrong, an
/// empty header claims nothing.
///
/// All of them share one allocation: every answer has half a dozen, and an allocation for each would cost more than what is
/// written into it.
pub(super) fn values<const N: usize>(texts: [&dyn Display; N]) -> [HeaderValue; N] {
    let mut page = String::with_capacity(PAGE_BYTES);
    let lines = texts.map(|text| {
        let begin = page.len();
        // Neither memory nor any of our texts refuses to be written.
        let written = write!(page, "{text}");
        debug_assert!(written.is_ok(), "`{text}` cannot be written");
        begin..page.len()
    });
    let page = Bytes::from(page);
    lines.map(|line| {
        HeaderValue::from_maybe_shared(page.slice(line)).unwrap_or_else(|_| {
            debug_assert!(false, "{page:?} holds what is no header value");
            HeaderValue::from_static("")
        })
    })
}

/// Room for what an answer usually says, with a token of one log.
const PAGE_BYTES: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;
    use candor_core::{Epoch, LogId, Origin, Position, ProofKind, SessionToken, TokenSecret};

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
        let [shown] = values([&example(Some(Duration::from_millis(38)))]);
        assert_eq!(shown, "from=l1, proof=log, bound=38, age=5120, position=\"1034\"");
    }

    #[test]
    fn a_header_is_whole_however_long_it_is_and_whatever_stands_before_it() {
        for length in [0, 1, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, 3000] {
            let text = "x".repeat(length);
            let [first, empty, second] = values([&text, &"", &text]);
            assert_eq!(
                (first, empty, second),
                (text.parse().unwrap(), "".parse().unwrap(), text.parse().unwrap())
            );
        }
    }

    #[test]
    fn age_is_the_time_since_the_last_proof_and_without_one_since_the_fill() {
        assert_eq!(age_secs(&example(Some(Duration::from_millis(38)))), 0);
        assert_eq!(age_secs(&example(Some(Duration::from_millis(2999)))), 2);
        assert_eq!(age_secs(&example(None)), 5);
    }

    #[test]
    fn a_session_token_travels_there_and_back() {
        let token = SessionToken::at(example(None).position.unwrap());
        let secret = TokenSecret::new(&[7; 16]);
        let [header] = values([&token.encoded(secret.as_ref())]);
        assert_eq!(SessionToken::decode(header.to_str().unwrap(), secret.as_ref()), Ok(token));
    }

    #[test]
    fn cache_status_follows_the_standard() {
        let forwarded = |why, stored, collapsed| Passage::Forwarded { why, stored, collapsed }.to_string();
        let hit = |ttl| Passage::Hit { ttl }.to_string();
        assert_eq!(hit(Some(Duration::from_millis(30_900))), "candor; hit; ttl=30");
        assert_eq!(hit(None), "candor; hit");
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
