//! The feed's unit: a link in the chain of what changed.

use crate::position::Epoch;
use crate::stamp::Xid;
use crate::tag::Tag;

/// One committed transaction's effect, or a part of it; parts of one transaction share the `xid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where in the log.
    pub at: u64,
    /// Which transaction.
    pub xid: Xid,
    /// What it touched.
    pub tags: Box<[Tag]>,
    /// The same for people, e.g. `update track trackid=5`. Never interpreted.
    pub note: Box<str>,
}

/// A link of the chain: all changes above `previous`, up to and including `at`.
///
/// Records are a function of the log, so duplicates, overlaps and a second sender are harmless. A record without
/// changes carries progress through quiet times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The stretch of log in which the numbers count.
    pub epoch: Epoch,
    /// The record tells everything above this number. A reader that has not reached it has missed something.
    pub previous: u64,
    /// And everything up to this one.
    pub at: u64,
    /// Ascending by `at`.
    pub changes: Vec<Change>,
}

impl Record {
    /// The first record of an epoch: it tells nothing about what was before `at`.
    pub fn opening(epoch: Epoch, at: u64) -> Self {
        Self { epoch, previous: at, at, changes: Vec::new() }
    }
}
