//! The source: transactions that are logged, durable, decoded, visible and acknowledged, each at a time of its own.
//!
//! ```text
//!   writing ──► logged ──► visible ──► acknowledged
//!                 │ durable ─► decoded       (an asynchronous commit may be visible before it is durable)
//!                 └ a crash or a promotion loses what was not durable, or not replayed, seen or not
//! ```
//!
//! A value is the set of the transactions it reflects, so that "stale" needs no comparison of contents. Positions count
//! commits; the first one is at 2, so that an empty log ends at 1 and zero means nothing.

use crate::defence::Variant;
use crate::set::Set;
use crate::size::Size;
use candor_core::{Change, Epoch, LogId, Position, Record, Snapshot, Stamp, Tag, Xid};
use std::sync::Arc;

/// Where a transaction is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Idle,
    Writing,
    Logged,
    Visible,
    Acknowledged,
    /// It was running, or its commit was not kept, when a crash or a promotion came.
    Lost,
}

/// A commit as it stands in a log.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub(crate) transaction: u8,
    pub(crate) xid: u8,
}

/// The log of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct History {
    pub(crate) commits: Vec<Commit>,
    /// Commits up to this position would survive a crash.
    pub(crate) durable: u8,
    /// Commits up to this position have been read by whoever feeds the instances.
    pub(crate) decoded: u8,
}

/// What was visible, and what had been lost, from one moment to the next.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instant {
    pub(crate) visible: Set,
    pub(crate) lost: Set,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) phases: Vec<Phase>,
    /// The transactions in the order of their first write. A crash gives numbers out again.
    pub(crate) xids: Vec<u8>,
    /// By epoch; the last one goes on.
    pub(crate) histories: Vec<History>,
    /// A new one whenever the visible set changes: the clock of the model.
    pub(crate) instants: Vec<Instant>,
    /// How far the standby is; `None` without one.
    pub(crate) replayed: Option<u8>,
}

/// What a fill saw.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) epoch: u8,
    pub(crate) upper: u8,
    pub(crate) basis: Basis,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Basis {
    /// A snapshot.
    Snapshot { xmin: u8, xmax: u8, running: Vec<u8> },
    /// Everything up to the upper position.
    Position,
}

/// The position at which a log without commits ends.
pub(crate) const FIRST: u8 = 1;
/// The first id a transaction gets.
const XID: u8 = 10;

impl History {
    /// Where the next commit would be inserted after.
    pub(crate) fn end(&self) -> u8 {
        FIRST + self.commits.len() as u8
    }

    /// The commits above one position, up to another, with theirs.
    pub(crate) fn between(&self, above: u8, to: u8) -> impl Iterator<Item = (u8, Commit)> {
        let placed =
            self.commits.iter().enumerate().map(|(index, commit)| (FIRST + 1 + index as u8, *commit));
        placed.filter(move |(at, _)| *at > above && *at <= to)
    }

    /// The transactions up to a position.
    pub(crate) fn up_to(&self, at: u8) -> Set {
        Set::of(self.between(0, at).map(|(_, commit)| commit.transaction))
    }
}

impl Source {
    pub(crate) fn new(size: &Size) -> Self {
        Self {
            phases: vec![Phase::Idle; size.writers.len()],
            xids: Vec::new(),
            histories: vec![History { commits: Vec::new(), durable: FIRST, decoded: FIRST }],
            instants: vec![Instant { visible: Set::NONE, lost: Set::NONE }],
            replayed: size.standby.then_some(FIRST),
        }
    }

    pub(crate) fn epoch(&self) -> u8 {
        self.histories.len() as u8 - 1
    }

    pub(crate) fn history(&self) -> &History {
        &self.histories[self.histories.len() - 1]
    }

    pub(crate) fn history_mut(&mut self) -> &mut History {
        let last = self.histories.len() - 1;
        &mut self.histories[last]
    }

    /// The model's time.
    pub(crate) fn now(&self) -> u8 {
        self.instants.len() as u8 - 1
    }

    pub(crate) fn visible(&self) -> Set {
        self.instants[self.instants.len() - 1].visible
    }

    /// Where a transaction's commit stands in the present log.
    pub(crate) fn position(&self, transaction: u8) -> Option<u8> {
        self.history()
            .between(0, u8::MAX)
            .find(|(_, commit)| commit.transaction == transaction)
            .map(|(at, _)| at)
    }

    /// Whether a transaction may write: nobody else holds a lock on its keys.
    pub(crate) fn may_write(&self, size: &Size, transaction: u8) -> bool {
        let keys = size.writers[usize::from(transaction)].keys;
        let holds =
            |other: u8| self.is_running(other) && !size.writers[usize::from(other)].keys.and(keys).is_empty();
        self.phases[usize::from(transaction)] == Phase::Idle && !(0..self.phases.len() as u8).any(holds)
    }

    pub(crate) fn is_running(&self, transaction: u8) -> bool {
        matches!(self.phases[usize::from(transaction)], Phase::Writing | Phase::Logged)
    }

    /// Those that have begun and are not visible.
    pub(crate) fn running(&self) -> Set {
        Set::of((0..self.phases.len() as u8).filter(|transaction| self.is_running(*transaction)))
    }

    pub(crate) fn log(&mut self, transaction: u8) {
        let index = self.xids.iter().position(|other| *other == transaction).unwrap_or_default();
        let xid = XID + index as u8;
        self.history_mut().commits.push(Commit { transaction, xid });
        self.phases[usize::from(transaction)] = Phase::Logged;
    }

    /// Whether a logged commit may become visible now.
    pub(crate) fn may_show(&self, size: &Size, transaction: u8) -> bool {
        let durable = || self.position(transaction).is_some_and(|at| at <= self.history().durable);
        self.phases[usize::from(transaction)] == Phase::Logged
            && (size.writers[usize::from(transaction)].asynchronous || durable())
    }

    pub(crate) fn show(&mut self, transaction: u8) {
        self.phases[usize::from(transaction)] = Phase::Visible;
        let last = self.instants[self.instants.len() - 1];
        self.instants.push(Instant { visible: last.visible.with(transaction), ..last });
    }

    /// A new epoch that begins with what the log held up to `kept`.
    pub(crate) fn break_at(&mut self, kept: u8) {
        let survivors = self.history().up_to(kept);
        for (transaction, phase) in self.phases.iter_mut().enumerate() {
            *phase = match *phase {
                Phase::Idle => Phase::Idle,
                Phase::Logged if survivors.has(transaction as u8) => Phase::Visible,
                kept if survivors.has(transaction as u8) => kept,
                _ => Phase::Lost,
            };
        }
        let lost =
            Set::of((0..self.phases.len() as u8).filter(|at| self.phases[usize::from(*at)] == Phase::Lost));
        while self.xids.last().is_some_and(|last| lost.has(*last)) {
            self.xids.pop();
        }
        let mut commits = self.history().commits.clone();
        commits.truncate(usize::from(kept - FIRST));
        self.histories.push(History { commits, durable: kept, decoded: kept });
        self.instants.push(Instant { visible: survivors, lost });
    }

    /// What the primary answers a fill: what it sees, with the snapshot and the position in the same instant.
    pub(crate) fn read(&self) -> (Set, Seen) {
        let running: Vec<u8> = self.xids_where(|transaction| self.is_running(transaction));
        let ended = self.xids_where(|transaction| !self.is_running(transaction));
        let xmax = ended.last().map_or(XID, |last| last + 1);
        let xmin = running.first().copied().unwrap_or(xmax).min(xmax);
        let running = running.into_iter().filter(|xid| *xid < xmax).collect();
        let basis = Basis::Snapshot { xmin, xmax, running };
        (self.visible(), Seen { epoch: self.epoch(), upper: self.history().end(), basis })
    }

    /// What the standby answers: everything it has replayed. Its snapshot lists no transaction in progress.
    pub(crate) fn read_standby(&self, replayed: u8, variant: Variant) -> (Set, Seen) {
        let basis = if variant == Variant::StandbySnapshotBelieved {
            let next = XID + self.xids.len() as u8;
            Basis::Snapshot { xmin: next, xmax: next, running: Vec::new() }
        } else {
            Basis::Position
        };
        (self.history().up_to(replayed), Seen { epoch: self.epoch(), upper: replayed, basis })
    }

    fn xids_where(&self, is_wanted: impl Fn(u8) -> bool) -> Vec<u8> {
        let numbered = self.xids.iter().enumerate();
        numbered
            .filter(|(_, transaction)| is_wanted(**transaction))
            .map(|(index, _)| XID + index as u8)
            .collect()
    }

    /// A record of the chain, as a ledger is told it. It tells the changes above `from`.
    pub(crate) fn record(&self, size: &Size, variant: Variant, told: &crate::instance::Link) -> Record {
        let changes = self.histories[usize::from(told.epoch)].between(told.from, told.at);
        let change = |(at, commit): (u8, Commit)| Change {
            at: u64::from(at),
            xid: Xid(u64::from(commit.xid)),
            tags: size.writers[usize::from(commit.transaction)].keys.iter().map(tag).collect(),
            note: Box::default(),
        };
        Record {
            epoch: epoch(variant, told.epoch),
            previous: u64::from(told.previous),
            at: u64::from(told.at),
            changes: changes.map(change).collect(),
        }
    }
}

impl Seen {
    /// As the rule judges it.
    pub(crate) fn stamp(&self, variant: Variant, certain: u8) -> Stamp {
        let upper = Position { epoch: epoch(variant, self.epoch), at: u64::from(self.upper) };
        match &self.basis {
            Basis::Snapshot { xmin, xmax, running } if variant != Variant::LogPosition => {
                Stamp::Snapshot(Arc::new(Snapshot {
                    upper,
                    certain: u64::from(certain),
                    xmin: u64::from(*xmin),
                    xmax: u64::from(*xmax),
                    in_progress: running.iter().map(|xid| u64::from(*xid)).collect(),
                }))
            }
            _ => Stamp::Sequence(upper),
        }
    }

    /// Whether this commit is visible in it.
    pub(crate) fn sees(&self, variant: Variant, at: u8, xid: u8) -> bool {
        self.stamp(variant, 0).sees(u64::from(at), Xid(u64::from(xid)))
    }
}

pub(crate) fn epoch(variant: Variant, number: u8) -> Epoch {
    Epoch { log: LogId(variant.log_of(number)), era: 0 }
}

/// The tag of a key. They share a stripe and a shard, so that keys collide wherever they can.
pub(crate) fn tag(key: u8) -> Tag {
    Tag(64 * u64::from(key))
}
