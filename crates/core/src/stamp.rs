//! What a fill saw.
//!
//! Two kinds of stamp, one question: *is this change visible in it?* In a source that commits one transaction after
//! another (SQLite) everything up to a sequence number is visible and nothing after it. In Postgres a snapshot names
//! the transactions it sees; a commit can stand in the log before it is visible, so there only the snapshot decides and
//! no comparison of log positions may.

use crate::position::Position;
use std::sync::Arc;

/// The identity of a transaction as the log reports it.
///
/// For sequence logs this is the change's own sequence number. For Postgres it is the 32-bit id of the log, zero
/// extended; it is only ever compared modulo 2^32.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Xid(pub u64);

/// What a fill saw of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Everything at or below this position, nothing above it.
    Sequence(Position),
    /// A snapshot of a source with concurrent transactions.
    Snapshot(Arc<Snapshot>),
}

/// A Postgres snapshot (`pg_current_snapshot()`) and the log position read in the same statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Upper limit: no transaction that wrote above this position is visible.
    pub upper: Position,
    /// Every change logged at or below this number is visible; zero if the source does not know. (Whoever noted a log
    /// position and then the next transaction id to be given out knows it for every snapshot whose `xmin` is not below
    /// that id. A snapshot's `xmax` will not do instead: a transaction can be logged, unfinished and at or above it.)
    pub certain: u64,
    /// Every transaction below is finished, and visible if it committed.
    pub xmin: u64,
    /// No transaction at or above was finished.
    pub xmax: u64,
    /// The transactions in `xmin..xmax` that were still running, ascending.
    pub in_progress: Box<[u64]>,
}

impl Stamp {
    /// The position no visible transaction lies above.
    pub fn upper(&self) -> Position {
        match self {
            Self::Sequence(position) => *position,
            Self::Snapshot(snapshot) => snapshot.upper,
        }
    }

    /// The number up to which every change is certainly visible, whatever the ledger says: the whole of a sequence
    /// stamp, of a snapshot only what its source vouches for (the log runs ahead of visibility).
    pub fn certain(&self) -> u64 {
        match self {
            Self::Sequence(position) => position.at,
            Self::Snapshot(snapshot) => snapshot.certain,
        }
    }

    /// The same stamp without what can no longer matter. Of a snapshot that is certain up to its upper position every
    /// change at or below that is visible, and none above: it is a sequence. So its transactions are of no interest any
    /// more, and need not be kept for as long as the entry lives.
    pub(crate) fn simplified(self) -> Self {
        match self {
            Self::Snapshot(snapshot) if snapshot.certain >= snapshot.upper.at => {
                Self::Sequence(snapshot.upper)
            }
            other => other,
        }
    }

    /// Whether a committed transaction `xid`, logged at `at`, is visible in this stamp.
    pub fn sees(&self, at: u64, xid: Xid) -> bool {
        match self {
            Self::Sequence(position) => at <= position.at,
            #[cfg(candor_sabotage)]
            Self::Snapshot(snapshot) if crate::sabotage::is(crate::sabotage::Sabotage::VisibilityRule) => {
                at <= snapshot.upper.at
            }
            // An entry outlives its transactions: two thousand million later an id that is given out anew lies below the
            // snapshot, and only its place in the log tells that it cannot be in it.
            Self::Snapshot(snapshot) => at <= snapshot.upper.at && snapshot.sees(xid),
        }
    }
}

impl Snapshot {
    /// Whether the committed transaction `xid` is visible.
    ///
    /// The log gives 32 bits, the snapshot 64. Ids are placed on the ring around `xmin`, which is right as long as they
    /// lie within 2^31 of it; Postgres itself cannot keep transactions further apart that can be seen or run at one time.
    /// For what was logged after the snapshot was taken, see [`Stamp::sees`].
    pub fn sees(&self, xid: Xid) -> bool {
        let xid = self.place(xid);
        if xid < self.xmin {
            return true;
        }
        xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }

    /// The 64-bit id nearest to `xmin` whose low 32 bits are those of `xid`.
    fn place(&self, xid: Xid) -> u64 {
        #[cfg(candor_sabotage)]
        if crate::sabotage::is(crate::sabotage::Sabotage::NoWrap) {
            return xid.0;
        }
        let ahead = (xid.0 as u32).wrapping_sub(self.xmin as u32) as i32;
        self.xmin.wrapping_add_signed(i64::from(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Epoch, LogId};

    fn snapshot(xmin: u64, xmax: u64, in_progress: &[u64]) -> Snapshot {
        let epoch = Epoch { log: LogId(1), era: 0 };
        Snapshot {
            upper: Position { epoch, at: 100 },
            certain: 0,
            xmin,
            xmax,
            in_progress: in_progress.into(),
        }
    }

    #[test]
    fn finished_transactions_are_visible_and_running_or_future_ones_are_not() {
        let snapshot = snapshot(10, 15, &[10, 12]);
        for (xid, visible) in
            [(9, true), (10, false), (11, true), (12, false), (14, true), (15, false), (16, false)]
        {
            assert_eq!(snapshot.sees(Xid(xid)), visible, "xid {xid}");
        }
    }

    #[test]
    fn an_id_given_out_anew_two_thousand_million_transactions_later_is_not_visible() {
        let first = (5_u64 << 32) + 1_000;
        let stamp = Stamp::Snapshot(Arc::new(snapshot(first, first, &[])));
        assert!(stamp.sees(99, Xid(999)) && !stamp.sees(101, Xid(1_000)));
        for later in [1_u64 << 31, (1 << 31) + 5, (1 << 32) - 1, (3 << 31) + 7] {
            let xid = Xid((first + later) & 0xffff_ffff);
            assert!(!stamp.sees(200, xid), "{later} transactions later");
        }
    }

    #[test]
    fn ids_compare_on_the_ring_when_the_low_half_wraps() {
        let base = 7u64 << 32;
        let snapshot = snapshot(base - 2, base + 3, &[base - 1, base + 1]);
        let logged = |full: u64| Xid(full & 0xffff_ffff);
        for (full, visible) in [
            (base - 1_000_000, true),
            (base - 3, true),
            (base - 2, true),
            (base - 1, false),
            (base, true),
            (base + 1, false),
            (base + 2, true),
            (base + 3, false),
            (base + 1_000_000, false),
        ] {
            assert_eq!(snapshot.sees(logged(full)), visible, "xid {full}");
        }
    }

    #[test]
    fn only_a_snapshot_that_is_certain_up_to_its_upper_position_is_a_sequence() {
        let of = |certain| Stamp::Snapshot(Arc::new(Snapshot { certain, ..snapshot(10, 15, &[10]) }));
        assert_eq!(of(99).simplified(), of(99), "transaction 10 may stand at 100 and is not visible");
        for certain in [100, 130] {
            assert_eq!(of(certain).simplified(), Stamp::Sequence(of(certain).upper()), "{certain}");
        }
    }

    #[test]
    fn a_snapshot_is_not_certain_of_its_upper_position() {
        assert_eq!(Stamp::Snapshot(Arc::new(snapshot(1, 2, &[]))).certain(), 0);
    }
}
