//! Contracts: what is promised of a view, by whom, and what happens when the promise cannot be kept.

use crate::duration;
use crate::level::Level;
use crate::receipt::ProofKind;
use std::fmt;
use std::time::Duration;

/// The declared promises of a view, as far as the read path needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Name of the view.
    pub view: Box<str>,
    /// Who answers for it.
    pub owner: Box<str>,
    /// The level of reads that do not ask for one.
    pub level: Level,
    /// Only `strong` exists for the view.
    pub critical: bool,
    /// The best evidence there can be: the log, or only the clock.
    pub proof: ProofKind,
    /// How long an entry may live, whatever the log says.
    pub ttl: Duration,
    /// The same for "absent".
    pub absent_ttl: Duration,
    /// How entries are renewed before they end.
    pub refresh: Refresh,
    /// When the source cannot answer.
    pub on_source_down: OnSourceDown,
    /// When the log cannot be followed.
    pub on_feed_down: OnFeedDown,
    /// How long one read may take altogether.
    pub timeout: Duration,
}

/// How entries are renewed before they end.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Probabilistic early refresh (XFetch, Vattani et al., VLDB 2015): the nearer the end and the dearer the fill, the
    /// likelier a read renews the entry in the background.
    Early,
    /// Serve an entry that has ended or changed for this long while it is renewed in the background, always within
    /// what the read's own level allows.
    WhileRevalidate(Duration),
    /// Only when a read misses.
    None,
}

/// What to do when the source cannot answer. Never applies to `strong` and `session` reads, nor to critical views.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OnSourceDown {
    /// Say so.
    Error,
    /// Answer with an entry no older than this, marked as degraded.
    Stale(Duration),
}

/// What to do when the log cannot be followed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OnFeedDown {
    /// Ask the source.
    Source,
    /// Answer with an entry no older than this, marked as degraded.
    Stale(Duration),
    /// Say so.
    Error,
}

/// A promise that another part of the contract makes impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The field that should change.
    pub field: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Default for Contract {
    /// Two seconds of staleness at most, an hour to live, early refresh; errors rather than stale answers.
    fn default() -> Self {
        Self {
            view: "".into(),
            owner: "".into(),
            level: Level::Bounded(Duration::from_secs(2)),
            critical: false,
            proof: ProofKind::Log,
            ttl: Duration::from_secs(3600),
            absent_ttl: Duration::from_secs(30),
            refresh: Refresh::Early,
            on_source_down: OnSourceDown::Error,
            on_feed_down: OnFeedDown::Source,
            timeout: Duration::from_secs(5),
        }
    }
}

impl Contract {
    /// What cannot be kept together. Empty for a sound contract.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let mut say = |field, message: String| found.push(Contradiction { field, message });
        if self.critical {
            if self.level != Level::Strong {
                say(
                    "consistency",
                    format!(
                        "a critical view is only read at `strong`, not at `{}`; write consistency = \"strong\" or drop critical",
                        self.level
                    ),
                );
            }
            if matches!(self.on_source_down, OnSourceDown::Stale(_)) {
                say(
                    "on_source_down",
                    "a critical view never answers stale; write on_source_down = \"error\" or drop critical"
                        .into(),
                );
            }
            if matches!(self.on_feed_down, OnFeedDown::Stale(_)) {
                say("on_feed_down", "a critical view never answers stale; write on_feed_down = \"source\" or \"error\", or drop critical".into());
            }
            if matches!(self.refresh, Refresh::WhileRevalidate(_)) {
                say("refresh", "a critical view never answers stale; write refresh = \"early\" or \"none\", or drop critical".into());
            }
        }
        if self.level == Level::Session {
            say("consistency", "`session` needs a token with each read and cannot be a default; write bounded:<duration>, which honours a token too".into());
        }
        if self.ttl.is_zero() {
            say("ttl", "a ttl of zero keeps nothing; give it a length".into());
        }
        if self.timeout.is_zero() {
            say("timeout", "a timeout of zero answers nothing; give it a length".into());
        }
        if let (Refresh::WhileRevalidate(grace), Level::Bounded(bound)) = (self.refresh, self.level)
            && grace > bound
        {
            say(
                "refresh",
                format!(
                    "entries may be served {} past their end while they are renewed, but the default level bounded:{} never allows more than its bound; lower it to swr:{}",
                    duration::format(grace),
                    duration::format(bound),
                    duration::format(bound)
                ),
            );
        }
        found
    }
}

impl Refresh {
    /// Reads `early`, `swr:10s`, `none`.
    ///
    /// # Errors
    ///
    /// A sentence that names the text and lists what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "early" => Ok(Self::Early),
            None if text == "none" => Ok(Self::None),
            Some(("swr", grace)) => duration::parse(grace).map(Self::WhileRevalidate),
            _ => Err(format!("`{text}` is not a way to refresh; write early, swr:<duration> or none")),
        }
    }
}

impl OnSourceDown {
    /// Reads `error`, `stale:10m`.
    ///
    /// # Errors
    ///
    /// A sentence that names the text and lists what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "error" => Ok(Self::Error),
            Some(("stale", limit)) => duration::parse(limit).map(Self::Stale),
            _ => Err(format!("`{text}` is not a behaviour; write error or stale:<duration>")),
        }
    }
}

impl OnFeedDown {
    /// Reads `source`, `error`, `stale:10m`.
    ///
    /// # Errors
    ///
    /// A sentence that names the text and lists what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "source" => Ok(Self::Source),
            None if text == "error" => Ok(Self::Error),
            Some(("stale", limit)) => duration::parse(limit).map(Self::Stale),
            _ => Err(format!("`{text}` is not a behaviour; write source, error or stale:<duration>")),
        }
    }
}

impl fmt::Display for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early => f.write_str("early"),
            Self::WhileRevalidate(grace) => write!(f, "swr:{}", duration::format(*grace)),
            Self::None => f.write_str("none"),
        }
    }
}

impl fmt::Display for OnSourceDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("error"),
            Self::Stale(limit) => write!(f, "stale:{}", duration::format(*limit)),
        }
    }
}

impl fmt::Display for OnFeedDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("source"),
            Self::Error => f.write_str("error"),
            Self::Stale(limit) => write!(f, "stale:{}", duration::format(*limit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(contract: &Contract) -> Vec<&'static str> {
        contract.contradictions().into_iter().map(|contradiction| contradiction.field).collect()
    }

    #[test]
    fn the_default_contract_is_sound() {
        assert_eq!(fields(&Contract::default()), [""; 0]);
    }

    #[test]
    fn critical_views_allow_nothing_weaker() {
        let stale = Duration::from_secs(60);
        let contract = Contract {
            critical: true,
            refresh: Refresh::WhileRevalidate(Duration::from_secs(1)),
            on_source_down: OnSourceDown::Stale(stale),
            on_feed_down: OnFeedDown::Stale(stale),
            ..Contract::default()
        };
        assert_eq!(fields(&contract), ["consistency", "on_source_down", "on_feed_down", "refresh"]);
        let sound = Contract { critical: true, level: Level::Strong, ..Contract::default() };
        assert_eq!(fields(&sound), [""; 0]);
    }

    #[test]
    fn revalidation_stays_inside_the_bound() {
        let contract =
            Contract { refresh: Refresh::WhileRevalidate(Duration::from_secs(10)), ..Contract::default() };
        assert_eq!(fields(&contract), ["refresh"]);
    }

    #[test]
    fn words_read_back() {
        for text in ["early", "swr:10s", "none"] {
            assert_eq!(Refresh::parse(text).unwrap().to_string(), text);
        }
        for text in ["error", "stale:10m"] {
            assert_eq!(OnSourceDown::parse(text).unwrap().to_string(), text);
        }
        for text in ["source", "error", "stale:10m"] {
            assert_eq!(OnFeedDown::parse(text).unwrap().to_string(), text);
        }
        assert!(
            Refresh::parse("swr").is_err()
                && OnSourceDown::parse("source").is_err()
                && OnFeedDown::parse("stale:").is_err()
        );
    }
}
