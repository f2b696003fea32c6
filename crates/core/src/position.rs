//! Points in a source's log.
//!
//! A position is only comparable within one log. An [`Epoch`] names an unbroken stretch of a log: its [`LogId`] changes
//! when history may have been rewritten (restore, failover, crash), its `era` when history goes on but what is watched
//! has changed shape (a schema change). A new epoch of either kind makes every older proof void; a session token
//! survives a new era, because the numbering does, and does not survive a new log.

use std::fmt;

/// Identity of a log whose positions are comparable. Opaque: a hash of whatever the source has that changes when
/// history may have been rewritten.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

/// Identity of an unbroken stretch of a log.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// The log this stretch belongs to.
    pub log: LogId,
    /// Counts the breaks within which the numbering continued, for instance the schema version.
    pub era: u32,
}

/// A point in a source's log: everything up to and including `at` within `epoch`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The stretch of log in which `at` counts.
    pub epoch: Epoch,
    /// The source's own number: a change sequence, or a log sequence number in bytes.
    pub at: u64,
}

impl Position {
    /// Whether having everything up to `self` includes having everything up to `other`.
    ///
    /// False across logs. Across eras of one log both the era and the number must be at least as high.
    pub fn reaches(self, other: Self) -> bool {
        self.epoch.log == other.epoch.log && self.epoch.era >= other.epoch.era && self.at >= other.at
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.log, self.era)
    }
}

/// The number alone, as receipts show it.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(log: u64, era: u32, at: u64) -> Position {
        Position { epoch: Epoch { log: LogId(log), era }, at }
    }

    #[test]
    fn a_position_of_another_log_is_never_reached() {
        assert!(!position(1, 0, u64::MAX).reaches(position(2, 0, 0)));
    }

    #[test]
    fn a_later_era_of_the_same_log_reaches_an_earlier_one_but_not_the_reverse() {
        assert!(position(1, 5, 10).reaches(position(1, 4, 10)));
        assert!(!position(1, 4, 10).reaches(position(1, 5, 10)));
        assert!(!position(1, 5, 9).reaches(position(1, 4, 10)), "an unbroken log never counts backwards");
    }
}
