//! The model of a source: what its server holds, and what may happen to it.
//!
//! Of PostgreSQL it keeps what races: a commit is in the log before it is visible; commits become visible in another
//! order than they were logged; asynchronous commits are visible before they are flushed, and a crash takes them back,
//! so that positions go backwards and numbers of transactions are given out twice; a slot remembers how far it was
//! confirmed; a standby that is promoted lacks what it had not received, and has no slot; a log goes on and is silent about
//! a table (see `publication`). Of SQLite it keeps that there is one writer, that a commit is logged and visible in one
//! instant, and that a file may be replaced by an older one.

use super::link::{row_tag, table_tag};
use super::plan::{Kind, Plan};
use super::publication::{Coverage, Publication, may_be_silent};
use super::truth::Truth;
use candor::core::{Epoch, LogId, Position, Snapshot, Stamp, Tag, Xid};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// A source.
pub struct Server {
    kind: Kind,
    state: Mutex<State>,
    /// The truth about it.
    pub truth: Mutex<Truth>,
    /// Counts what a walsender would look up for.
    pub news: watch::Sender<u64>,
}

struct State {
    log: LogId,
    /// Counts logs; a connection of an earlier one is dead.
    incarnation: u64,
    insert: u64,
    flushed: u64,
    next_xid: u64,
    /// No transaction at or above is finished.
    xmax: u64,
    running: BTreeSet<u64>,
    /// The log, from the beginning; what was lost is cut off.
    commits: Vec<Commit>,
    locked: Vec<bool>,
    /// Where each instance's slot was confirmed; nothing while it is gone.
    slots: Vec<Option<u64>>,
    publication: Publication,
}

/// A commit in the log.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Where its record ends.
    pub end: u64,
    /// Which transaction, as the log reports it.
    pub xid: Xid,
    /// What it is told to have touched; nothing if it is not told.
    pub tags: Box<[Tag]>,
    full_xid: u64,
    versions: Box<[u32]>,
    visible: bool,
}

/// A transaction that writes.
pub struct Writing {
    incarnation: u64,
    xid: u64,
    versions: Vec<u32>,
    rows: Vec<u32>,
    /// Whether the log leaves out what it writes to the table that may be silent.
    is_silent: bool,
}

/// What a statement read.
pub struct Read {
    /// Versions, `None` for absent, in the order asked.
    pub values: Vec<Option<u32>>,
    /// The snapshot, without its upper end; nothing for a sequence.
    pub snapshot: Option<Snapshot>,
    /// What it finds in the catalogs.
    pub coverage: Coverage,
    incarnation: u64,
    at: Position,
}

/// How a log ends and the next begins.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything flushed is kept. Slots survive.
    Crash,
    /// Everything is kept.
    Restart,
    /// Only what a standby had received is kept; slots are gone.
    FailOver {
        /// How many bytes of log it lacked.
        lag: u64,
    },
    /// The source is put back by this many bytes of log, its slots with it.
    RollBack {
        /// How many.
        by: u64,
    },
}

impl Server {
    /// A source of so many empty rows.
    pub fn new(plan: &Plan) -> Arc<Self> {
        let log = LogId(super::chance::mix(plan.seed ^ 0x10e));
        let state = State {
            log,
            incarnation: 0,
            insert: 1000,
            flushed: 1000,
            next_xid: plan.first_xid,
            xmax: plan.first_xid,
            running: BTreeSet::new(),
            commits: Vec::new(),
            locked: vec![false; plan.rows() as usize],
            slots: vec![Some(1000); plan.instances],
            publication: Publication::default(),
        };
        let truth = Mutex::new(Truth::new(plan.rows(), log));
        Arc::new(Self { kind: plan.kind, state: Mutex::new(state), truth, news: watch::Sender::new(0) })
    }

    /// Begins a transaction that writes these rows; `None` while another holds one of them.
    pub fn begin(&self, rows: &[u32]) -> Option<Writing> {
        let mut state = self.state.lock();
        let busy = match self.kind {
            Kind::Postgres => rows.iter().any(|row| state.locked[*row as usize]),
            Kind::Sequence => state.locked.iter().any(|locked| *locked),
        };
        if busy {
            return None;
        }
        rows.iter().for_each(|row| state.locked[*row as usize] = true);
        Some(state.begin(rows))
    }

    /// Begins a transaction that takes a table out of the publication or puts it back; `None` while another one changes it, and
    /// where there is nothing to change.
    pub fn begin_change(&self, silences: bool) -> Option<Writing> {
        let mut state = self.state.lock();
        let next = state.next_xid;
        let may = self.kind == Kind::Postgres && state.publication.begin(next, silences);
        may.then(|| state.begin(&[]))
    }

    /// Whether somebody took a table out of the publication, and nobody has put it back.
    pub fn is_silent(&self) -> bool {
        self.state.lock().publication.is_in_force()
    }

    /// Logs the commit: each row gets a new version, or is removed. `told` are those of its rows that the log tells of.
    /// Whether the server is still the same.
    pub fn commit(&self, writing: &mut Writing, removed: &[bool], told: &[u32], bytes: u64) -> bool {
        let mut state = self.state.lock();
        if state.incarnation != writing.incarnation {
            return false;
        }
        let mut truth = self.truth.lock();
        state.insert += if self.kind == Kind::Sequence { 1 } else { bytes };
        let end = state.insert;
        for (row, removed) in writing.rows.iter().zip(removed) {
            let version = truth.write(*row, *removed);
            truth.logged(version, end);
            writing.versions.push(version);
        }
        let xid = if self.kind == Kind::Sequence { Xid(end) } else { Xid(writing.xid & 0xffff_ffff) };
        let versions = writing.versions.clone().into();
        let told = told.iter().filter(|row| !(writing.is_silent && may_be_silent(**row)));
        let mut tags: Vec<Tag> = told.flat_map(|row| [row_tag(*row), table_tag(*row)]).collect();
        tags.sort_unstable();
        tags.dedup();
        let tags = tags.into();
        state.publication.logged(writing.xid, end);
        state.commits.push(Commit { end, xid, tags, full_xid: writing.xid, versions, visible: false });
        true
    }

    /// Makes a logged commit visible and gives up its locks. Whether the server is still the same.
    pub fn show(&self, writing: &Writing, now: u64) -> bool {
        let mut state = self.state.lock();
        if state.incarnation != writing.incarnation {
            return false;
        }
        state.finish(writing);
        state.publication.show(writing.xid);
        if let Some(commit) = state.commits.iter_mut().rev().find(|commit| commit.full_xid == writing.xid) {
            commit.visible = true;
        }
        self.truth.lock().visible(writing.versions.iter().copied(), now);
        true
    }

    /// Gives a transaction up.
    pub fn abort(&self, writing: &Writing) {
        let mut state = self.state.lock();
        if state.incarnation == writing.incarnation {
            state.finish(writing);
            state.publication.abort(writing.xid);
        }
    }

    /// Flushes the log as far as it is written.
    pub fn flush(&self) {
        let mut state = self.state.lock();
        if state.flushed != state.insert {
            state.flushed = state.insert;
            drop(state);
            self.news.send_modify(|count| *count += 1);
        }
    }

    /// Writes something of no concern into the log.
    pub fn fill_log(&self, bytes: u64) {
        if self.kind == Kind::Postgres {
            self.state.lock().insert += bytes;
        }
    }

    /// Where the log is written, and which log it is.
    pub fn position(&self) -> Position {
        let state = self.state.lock();
        Position { epoch: Epoch { log: state.log, era: 0 }, at: state.insert }
    }

    /// One statement reads these rows.
    pub fn read(&self, rows: &[u32]) -> Read {
        let state = self.state.lock();
        let truth = self.truth.lock();
        let value = |row: &u32| {
            let current = truth.current(*row);
            truth.version(current).is_some_and(|version| !version.absent).then_some(current)
        };
        let at = Position { epoch: Epoch { log: state.log, era: 0 }, at: state.insert };
        let snapshot = (self.kind == Kind::Postgres).then(|| state.snapshot(at));
        let (coverage, incarnation) = (state.publication.coverage(), state.incarnation);
        Read { values: rows.iter().map(value).collect(), snapshot, coverage, incarnation, at }
    }

    /// The end of that statement: its stamp, or nothing if the server is no longer the same.
    pub fn stamp(&self, read: &Read, certain: impl FnOnce(&Snapshot) -> u64) -> Option<Stamp> {
        let (incarnation, insert) = {
            let state = self.state.lock();
            (state.incarnation, state.insert)
        };
        match &read.snapshot {
            // The file may be replaced while the answer is on its way; it still was the answer of the former one.
            None => Some(Stamp::Sequence(read.at)),
            Some(_) if incarnation != read.incarnation => None,
            Some(snapshot) => {
                let mut snapshot = snapshot.clone();
                snapshot.upper.at = insert;
                snapshot.certain = certain(&snapshot);
                Some(Stamp::Snapshot(Arc::new(snapshot)))
            }
        }
    }

    /// Which log it is, and what the catalogs say of what it tells.
    pub fn coverage(&self) -> (LogId, Coverage) {
        let state = self.state.lock();
        (state.log, state.publication.coverage())
    }

    /// The transactions that write now, and where the slot of this instance was confirmed; `None` while it has none.
    pub fn stand(&self, slot: usize) -> Option<(LogId, u64, Vec<Xid>)> {
        let state = self.state.lock();
        let running = state.running.iter().map(|xid| Xid(xid & 0xffff_ffff)).collect();
        Some((state.log, state.slots[slot]?, running))
    }

    /// What the walsender sends of this log above `from`: commits of which something is told, and how far it has read. `None`
    /// if the log is no more.
    pub fn send(&self, log: LogId, from: u64) -> Option<(Vec<Commit>, u64)> {
        let state = self.state.lock();
        if state.log != log {
            return None;
        }
        let flushed = state.flushed;
        let first = state.commits.partition_point(|commit| commit.end <= from);
        let read = state.commits[first..].iter().take_while(|commit| commit.end <= flushed);
        Some((read.filter(|commit| !commit.tags.is_empty()).cloned().collect(), flushed))
    }

    /// The instance says how far it has everything.
    pub fn confirm(&self, slot: usize, log: LogId, at: u64) {
        let mut state = self.state.lock();
        if state.log == log {
            state.slots[slot] = state.slots[slot].map(|confirmed| confirmed.max(at));
        }
    }

    /// The slot is dropped.
    pub fn lose_slot(&self, slot: usize) {
        self.state.lock().slots[slot] = None;
    }

    /// A slot is made anew: it tells nothing of what was before.
    pub fn make_slot(&self, slot: usize) {
        let mut state = self.state.lock();
        state.slots[slot] = Some(state.flushed);
    }

    /// Ends the log and begins another.
    pub fn end_log(&self, ending: Ending, now: u64) {
        let mut state = self.state.lock();
        let is_sequence = self.kind == Kind::Sequence;
        let kept = match ending {
            Ending::Restart => state.insert,
            Ending::Crash if is_sequence => state.insert,
            Ending::Crash => state.flushed,
            Ending::FailOver { lag } => state.flushed.saturating_sub(lag).max(1000),
            Ending::RollBack { by } => {
                state.flushed.saturating_sub(if is_sequence { by / 64 } else { by }).max(1000)
            }
        };
        // A file that nothing happened to but a restart of its users is the same log.
        if is_sequence && kept == state.insert {
            return;
        }
        let numbers = state.commits.partition_point(|commit| commit.end <= kept);
        let lost: Vec<u32> =
            state.commits[numbers..].iter().flat_map(|commit| commit.versions.iter().copied()).collect();
        state.commits.truncate(numbers);
        state.publication.end_log(kept);
        let hidden = state.commits.iter_mut().filter(|commit| !commit.visible);
        let shown: Vec<u32> = hidden
            .flat_map(|commit| {
                commit.visible = true;
                commit.versions.to_vec()
            })
            .collect();
        state.incarnation += 1;
        state.log = LogId(super::chance::mix(state.log.0 ^ state.incarnation));
        (state.insert, state.flushed) = (kept, kept);
        state.running.clear();
        state.locked.fill(false);
        // Numbers beyond the last one in the log that is kept are given out again.
        let last = state.commits.last().map(|commit| commit.full_xid);
        if !is_sequence && let Some(last) = last.filter(|_| ending != Ending::Restart) {
            let highest = state.commits.iter().map(|commit| commit.full_xid).max().unwrap_or(last);
            state.next_xid = highest + 1;
        }
        state.xmax = state.next_xid;
        if matches!(ending, Ending::FailOver { .. }) {
            state.slots.fill(Some(kept));
        }
        if matches!(ending, Ending::RollBack { .. }) {
            state.slots.iter_mut().flatten().for_each(|slot| *slot = (*slot).min(kept));
        }
        let mut truth = self.truth.lock();
        truth.lose(&lost, state.log, &shown, now);
        drop(truth);
        drop(state);
        self.news.send_modify(|count| *count += 1);
    }
}

impl State {
    fn begin(&mut self, rows: &[u32]) -> Writing {
        let xid = self.next_xid;
        self.next_xid += 1;
        self.running.insert(xid);
        let is_silent = self.publication.is_in_force();
        Writing { incarnation: self.incarnation, xid, versions: Vec::new(), rows: rows.to_vec(), is_silent }
    }

    fn finish(&mut self, writing: &Writing) {
        writing.rows.iter().for_each(|row| self.locked[*row as usize] = false);
        self.running.remove(&writing.xid);
        self.xmax = self.xmax.max(writing.xid + 1);
    }

    fn snapshot(&self, at: Position) -> Snapshot {
        let xmax = self.xmax;
        let xmin = self.running.first().copied().unwrap_or(xmax).min(xmax);
        let in_progress = self.running.range(..xmax).copied().collect();
        Snapshot { upper: at, certain: 0, xmin, xmax, in_progress }
    }
}
