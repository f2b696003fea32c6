//! What every answer carries: where it came from, as of when, and what proves it.

use crate::duration::{millis_down, millis_up};
use crate::position::Position;
use std::fmt;
use std::time::Duration;

/// Where an answer was found.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This instance's memory.
    L1,
    /// The shared second tier.
    L2,
    /// A fill that another read had begun.
    Flight,
    /// A fill that this read began.
    Source,
}

/// What kind of evidence the bound rests on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProofKind {
    /// The source's own log.
    Log,
    /// Only the time at which the source was asked.
    Clock,
    /// Nothing; there is no bound.
    None,
}

/// Why an answer is less than what was asked for. The contract allowed it, or it would have been an error.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Degraded {
    /// The log cannot be followed.
    FeedDown,
    /// The source cannot be reached.
    SourceDown,
    /// The source did not answer in time.
    SourceSlow,
    /// The source is protected from more load.
    Overloaded,
}

/// The metadata of an answer. No receipt claims more than was proven.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the answer was found.
    pub origin: Origin,
    /// What kind of evidence the bound rests on.
    pub proof: ProofKind,
    /// The answer reflects everything visible at the source this long before it was given. `None` where nothing is
    /// proven.
    pub bound: Option<Duration>,
    /// Time since the fill began.
    pub age: Duration,
    /// The position in the source's log at which the answer was proven.
    pub position: Option<Position>,
    /// No transaction reflected in the answer lies above this position: what a session must not go behind.
    pub upper: Option<Position>,
    /// Why the answer is less than what was asked for.
    pub degraded: Option<Degraded>,
}

impl Origin {
    /// The word used in receipts and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Flight => "flight",
            Self::Source => "source",
        }
    }
}

impl ProofKind {
    /// The word used in receipts and contracts.
    pub fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::None => "none",
        }
    }
}

impl Degraded {
    /// The word used in receipts and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::FeedDown => "feed-down",
            Self::SourceDown => "source-down",
            Self::SourceSlow => "source-slow",
            Self::Overloaded => "overloaded",
        }
    }
}

/// An RFC 8941 dictionary; `bound` (rounded up) and `age` (rounded down) in milliseconds.
/// Piece by piece rather than by one pattern: every answer of a door says its receipt, and this takes a third of the time.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("from=")?;
        f.write_str(self.origin.word())?;
        f.write_str(", proof=")?;
        f.write_str(self.proof.word())?;
        if let Some(bound) = self.bound {
            f.write_str(", bound=")?;
            millis_up(bound).fmt(f)?;
        }
        f.write_str(", age=")?;
        millis_down(self.age).fmt(f)?;
        if let Some(position) = self.position {
            f.write_str(", position=\"")?;
            position.fmt(f)?;
            f.write_str("\"")?;
        }
        if let Some(degraded) = self.degraded {
            f.write_str(", degraded=")?;
            f.write_str(degraded.word())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, LogId};

    #[test]
    fn a_receipt_reads_as_a_dictionary_and_rounds_against_itself() {
        let position = Position { epoch: Epoch { log: LogId(1), era: 2 }, at: 1034 };
        let mut receipt = Receipt {
            origin: Origin::L1,
            proof: ProofKind::Log,
            bound: Some(Duration::from_micros(37_100)),
            age: Duration::from_micros(5_120_999),
            position: Some(position),
            upper: Some(position),
            degraded: None,
        };
        assert_eq!(receipt.to_string(), r#"from=l1, proof=log, bound=38, age=5120, position="1034""#);
        receipt.degraded = Some(Degraded::FeedDown);
        receipt.bound = None;
        receipt.position = None;
        receipt.proof = ProofKind::None;
        assert_eq!(receipt.to_string(), "from=l1, proof=none, age=5120, degraded=feed-down");
    }
}
