//! A source with concurrent transactions, as its log and its snapshots show it.
//!
//! A transaction begins (and gets an id), is logged, and becomes visible some time after that: the log runs ahead of
//! visibility, as it does in Postgres. The truth about visibility is kept as a moment per transaction and owes nothing
//! to the arithmetic of ids that the core uses.

use candor_core::{Change, Epoch, LogId, Moment, Position, Record, Snapshot, Stamp, Tag, Xid};
use std::sync::Arc;

/// How many tags there are. Few, so that histories meet.
pub(crate) const TAGS: usize = 6;

/// The first three share a shard, and in the smallest ledger a stripe; the next two likewise; the last is alone.
pub(crate) fn tag(index: usize) -> Tag {
    Tag([0x40, 0x80, 0xC0, 0x41, 0xC1, 0x02][index % TAGS])
}

/// How a source vouches for everything below a position.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vouching {
    /// By the next id to be given out, noted after a log position: all that was logged then has a lower id.
    NextId,
    /// By the `xmax` of a snapshot taken after a log position was noted. Plausible and wrong: `xmax` only passes ids
    /// that are finished, and a transaction can be logged and yet unfinished.
    Xmax,
}

#[derive(Debug)]
pub(crate) struct Source {
    /// Concurrent transactions and snapshots, or one transaction after another and sequence numbers.
    pub(crate) concurrent: bool,
    pub(crate) vouching: Vouching,
    pub(crate) epoch: Epoch,
    /// The last position of the log.
    pub(crate) end: u64,
    pub(crate) now: Moment,
    next_id: u64,
    /// One above the highest id that is finished: Postgres's `xmax`.
    xmax: u64,
    running: Vec<Running>,
    /// Everything that was ever logged, in every log.
    pub(crate) logged: Vec<Logged>,
    notes: Vec<Note>,
}

#[derive(Debug)]
struct Running {
    id: u64,
    tags: Vec<Tag>,
}

/// A transaction in the log.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) log: LogId,
    pub(crate) at: u64,
    pub(crate) tags: Vec<Tag>,
    /// When it became visible to new snapshots, if it has.
    pub(crate) visible_since: Option<Moment>,
    id: u64,
    /// Whether its effect arrives as several changes.
    in_parts: bool,
}

/// What a source remembers in order to vouch later.
#[derive(Debug)]
struct Note {
    position: u64,
    next_id: u64,
    xmax: u64,
}

impl Logged {
    /// Whether a fill at `moment` saw it.
    pub(crate) fn is_visible_at(&self, moment: Moment) -> bool {
        self.visible_since.is_some_and(|since| since <= moment)
    }

    pub(crate) fn touches(&self, tags: &[Tag]) -> bool {
        self.tags.iter().any(|tag| tags.contains(tag))
    }
}

impl Source {
    pub(crate) fn new(concurrent: bool, vouching: Vouching, first_id: u64) -> Self {
        Self {
            concurrent,
            vouching,
            epoch: Epoch { log: LogId(1), era: 0 },
            end: 0,
            now: Moment::ZERO,
            next_id: first_id,
            xmax: first_id,
            running: Vec::new(),
            logged: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn tick(&mut self) {
        self.now = Moment::from_nanos(self.now.as_nanos() + 1);
    }

    /// A transaction from begin to end, with nothing in between.
    pub(crate) fn write(&mut self, tags: Vec<Tag>, skip: u64, in_parts: bool) {
        self.begin(tags);
        self.log(usize::MAX, skip, in_parts);
        self.show(usize::MAX);
    }

    pub(crate) fn begin(&mut self, tags: Vec<Tag>) {
        self.running.push(Running { id: self.next_id, tags });
        self.next_id += 1;
    }

    /// The commit of a running transaction reaches the log, `skip` positions further than it needs to.
    pub(crate) fn log(&mut self, which: usize, skip: u64, in_parts: bool) {
        let Some(index) = pick(which, self.running.len()) else { return };
        let Running { id, tags } = self.running.remove(index);
        self.end += 1 + skip;
        let (log, at) = (self.epoch.log, self.end);
        self.logged.push(Logged { log, at, tags, visible_since: None, id, in_parts });
    }

    /// A logged transaction becomes visible to new snapshots.
    pub(crate) fn show(&mut self, which: usize) {
        let hidden: Vec<_> =
            (0..self.logged.len()).filter(|index| self.logged[*index].visible_since.is_none()).collect();
        let Some(chosen) = pick(which, hidden.len()) else { return };
        let logged = &mut self.logged[hidden[chosen]];
        logged.visible_since = Some(self.now);
        self.xmax = self.xmax.max(logged.id + 1);
    }

    pub(crate) fn abort(&mut self, which: usize) {
        let Some(index) = pick(which, self.running.len()) else { return };
        let id = self.running.remove(index).id;
        self.xmax = self.xmax.max(id + 1);
    }

    /// Notes what is needed to vouch for the present end of the log.
    pub(crate) fn note(&mut self) {
        self.notes.push(Note { position: self.end, next_id: self.next_id, xmax: self.xmax });
    }

    /// What a fill sees now. `vouches`: whether the source says what it is certain of.
    pub(crate) fn stamp(&self, vouches: bool) -> Stamp {
        let upper = Position { epoch: self.epoch, at: self.end };
        if !self.concurrent {
            return Stamp::Sequence(upper);
        }
        let hidden = self.logged.iter().filter(|logged| logged.visible_since.is_none());
        let mut in_progress: Vec<u64> = hidden.map(|logged| logged.id).collect();
        in_progress.extend(self.running.iter().map(|running| running.id));
        in_progress.retain(|id| *id < self.xmax);
        in_progress.sort_unstable();
        let xmin = in_progress.first().copied().unwrap_or(self.xmax);
        let certain = if vouches { self.certain(xmin) } else { 0 };
        let in_progress = in_progress.into();
        Stamp::Snapshot(Arc::new(Snapshot { upper, certain, xmin, xmax: self.xmax, in_progress }))
    }

    fn certain(&self, xmin: u64) -> u64 {
        let vouched = self.notes.iter().filter(|note| match self.vouching {
            Vouching::NextId => note.next_id <= xmin,
            Vouching::Xmax => note.xmax <= xmin,
        });
        vouched.map(|note| note.position).max().unwrap_or(0)
    }

    /// What the log says of `(previous, at]`. Transaction ids have 32 bits there.
    pub(crate) fn record(&self, previous: u64, at: u64) -> Record {
        let told = |logged: &&Logged| logged.log == self.epoch.log && logged.at > previous && logged.at <= at;
        let changes = self.logged.iter().filter(told).flat_map(Logged::changes).collect();
        Record { epoch: self.epoch, previous, at, changes }
    }

    /// A crash and a restart into another log. What was logged survives, what was running does not.
    pub(crate) fn restart(&mut self, end: u64) {
        while !self.running.is_empty() {
            self.abort(0);
        }
        while self.logged.iter().any(|logged| logged.visible_since.is_none()) {
            self.show(0);
        }
        self.epoch = Epoch { log: LogId(self.epoch.log.0 + 1), era: 0 };
        self.end = end;
        self.notes.clear();
    }

    /// The numbering goes on, the shape of what is watched has changed.
    pub(crate) fn reshape(&mut self) {
        self.epoch.era += 1;
    }
}

impl Logged {
    fn changes(&self) -> Vec<Change> {
        let xid = self.id & 0xffff_ffff;
        let parts = if self.in_parts { 1 } else { self.tags.len() };
        let part = |tags: &[Tag]| Change { at: self.at, xid: Xid(xid), tags: tags.into(), note: "".into() };
        self.tags.chunks(parts).map(part).collect()
    }
}

/// An index below `length`, the last for the highest.
pub(crate) fn pick(which: usize, length: usize) -> Option<usize> {
    let last = length.checked_sub(1)?;
    Some(if which == usize::MAX { last } else { which % length })
}
