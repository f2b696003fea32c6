//! How stale a read is willing to accept.

use crate::duration;
use crate::token::SessionToken;
use std::fmt;
use std::time::Duration;

/// The consistency level of a read, without its session token.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// Reflects every transaction visible at the source before the read began.
    Strong,
    /// Reflects every transaction visible at the source this long or more before the answer was given.
    Bounded(Duration),
    /// Reflects at least what the session token's holder has seen or written.
    Session,
    /// Whatever is there within the contract's limits.
    Any,
}

/// What a read asks for: a level, and the token it must not go behind, which is honoured at every level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The level.
    pub level: Level,
    /// The session token, if the reader has one.
    pub token: Option<SessionToken>,
}

impl From<Level> for Demand {
    fn from(level: Level) -> Self {
        Self { level, token: None }
    }
}

impl Level {
    /// Reads `strong`, `bounded:2s` (or `bounded=2s`), `session`, `any`.
    ///
    /// # Errors
    ///
    /// A sentence that names the text and lists the levels.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "strong" => return Ok(Self::Strong),
            "session" => return Ok(Self::Session),
            "any" => return Ok(Self::Any),
            "bounded" => return Err("`bounded` needs a duration: bounded:2s".to_owned()),
            _ => {}
        }
        match text.split_once([':', '=']) {
            None => Err(format!(
                "`{text}` is not a level; the levels are strong, bounded:<duration>, session and any"
            )),
            Some(("bounded", limit)) => match duration::parse(limit)? {
                limit if limit.is_zero() => {
                    Err("a bound of zero cannot be met by anything; ask for strong".to_owned())
                }
                limit => Ok(Self::Bounded(limit)),
            },
            Some((name, _)) => Err(format!(
                "`{name}` takes no duration or is not a level; the levels are strong, bounded:<duration>, session and any"
            )),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strong => f.write_str("strong"),
            Self::Bounded(limit) => write!(f, "bounded:{}", duration::format(*limit)),
            Self::Session => f.write_str("session"),
            Self::Any => f.write_str("any"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_reads_back_what_it_writes() {
        for level in [Level::Strong, Level::Bounded(Duration::from_millis(1500)), Level::Session, Level::Any]
        {
            assert_eq!(Level::parse(&level.to_string()), Ok(level));
        }
        assert_eq!(Level::parse("bounded=500ms"), Ok(Level::Bounded(Duration::from_millis(500))));
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "",
            "STRONG",
            "bounded",
            "bounded:",
            "bounded:2",
            "strong:2s",
            "eventual",
            "bounded=-1s",
            "bounded:0s",
        ] {
            assert!(Level::parse(text).is_err(), "{text}");
        }
    }
}
