//! The rule.
//!
//! *An entry may be served as current at watermark W if and only if every change at or below W on any of its tags is
//! visible in the entry's stamp.*
//!
//! That is all. No lease, no generation, no comparison of the time of a delete with the time of a fill: a commit can be
//! in the log before new snapshots see it, so only visibility decides. Everything else in this crate exists to answer
//! this question fast, or to notice that it cannot be answered.

use crate::moment::Moment;
use crate::stamp::{Stamp, Xid};

/// A change on a tag, as a ledger remembers it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Where in the log.
    pub at: u64,
    /// Which transaction.
    pub xid: Xid,
    /// When the change arrived, everything visible at this moment was already in the ledger. So an entry for which this
    /// is the first unseen change is still proven to reflect this moment.
    pub proven_before: Option<Moment>,
}

/// The change that makes an entry outdated.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Where in the log the first unseen change stands.
    pub by: u64,
    /// The latest moment which the entry is still proven to reflect.
    pub proven_before: Option<Moment>,
}

/// Whether an entry with this stamp is current at `watermark`, given all the changes on its tags.
///
/// `proven` is the number up to which an earlier judgement already found every change visible; changes at or below it
/// need not be given. Of several unseen changes the earliest is reported.
///
/// # Errors
///
/// [`Outdated`] names the first change that the stamp does not see.
pub fn judge<'a>(
    stamp: &Stamp,
    proven: u64,
    watermark: u64,
    changes: impl IntoIterator<Item = &'a Remembered>,
) -> Result<(), Outdated> {
    let unseen = changes
        .into_iter()
        .filter(|change| change.at > proven && change.at <= watermark && !stamp.sees(change.at, change.xid))
        .min_by_key(|change| change.at);
    match unseen {
        None => Ok(()),
        Some(change) => Err(Outdated { by: change.at, proven_before: change.proven_before }),
    }
}
