//! What a snapshot is certain of: the number up to which every commit is visible in it.
//!
//! ```text
//!  log task ── decoded commits ─► ┌──────────────────────────────────┐
//!                                 │ … 700 ✓  704 ✓  709 ?  712 ✓  W  │
//!  fill ───── its snapshot ─────► └──────────────────▲───────────────┘
//!                                                    └ the first it does not see: certain up to just below
//! ```
//!
//! A commit is in the log before it is visible to new snapshots, so "decoded" says nothing about a fill; only the fill's
//! own snapshot does. Commits leave the list once every fill that may still be under way began after some snapshot saw
//! them: what one snapshot of a primary sees, every later one sees. A transaction that has been open for hours is in no
//! such list until it commits, and so it holds nothing up.
//!
//! Commits logged before the first position followed were never decoded. Those that may not have been visible when the
//! stream began are *unsettled*: where they were logged is not known, so they stand in the list at the very beginning of
//! the log, and a snapshot which does not see them is certain of nothing. The decision behind it: `docs/decisions/0015`.

use super::fill::Visible;
#[cfg(candor_sabotage)]
use candor_core::sabotage;
use candor_core::{LogId, Snapshot, Xid};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;

// Spelled out, because the simulation compiles this file, too.
#[path = "visibility/shown.rs"]
mod shown;

pub(crate) use shown::Era;

/// Commits kept one by one while they are not known to be visible: more than a minute of a thousand commits a second
/// that wait for a synchronous standby.
const COMMITS_MAX: usize = 1 << 16;

/// What the log task decoded lately, and what fills saw of it.
#[derive(Debug, Default)]
pub(crate) struct Visibility {
    state: Mutex<State>,
    shown: Mutex<shown::Shown>,
    /// A commit was decoded, or there is none up to a further position.
    decoded: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The log being followed, once it is known which transactions are unsettled.
    log: Option<LogId>,
    /// Every commit at or below was decoded, or was logged before the first position.
    watermark: u64,
    /// In the order of the log; unsettled ones first.
    commits: VecDeque<Commit>,
    /// Those that were too many, as one.
    crowd: Option<Commit>,
    /// Counts snapshots as they begin and as they are looked at: an order between the two.
    serial: u64,
    /// The serial at which the log began to be followed; what began before knows nothing.
    settled: u64,
    /// How many snapshots under way began at which serial.
    under_way: BTreeMap<u64, usize>,
}

#[derive(Copy, Clone, Debug)]
struct Commit {
    /// Where its record ends; of a crowd, the first one's.
    end: u64,
    /// Of a crowd, the latest one's.
    xid: Xid,
    /// The serial at which a snapshot that sees it was looked at.
    seen_at: Option<u64>,
}

/// A snapshot about to be taken. While it is held, no commit that it may not see is forgotten.
#[derive(Debug)]
pub(crate) struct UnderWay {
    visibility: Arc<Visibility>,
    began: u64,
}

impl Visibility {
    /// Notes that a snapshot is about to be taken. Called before the question is sent.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state.lock();
        let began = state.tick();
        *state.under_way.entry(began).or_default() += 1;
        UnderWay { visibility: Arc::clone(self), began }
    }

    /// Nothing is certain until [`Visibility::settle`] says where the log is followed from and what was running.
    pub(crate) fn restart(&self) {
        let mut state = self.state.lock();
        state.log = None;
        state.watermark = 0;
        state.commits.clear();
        state.crowd = None;
        self.shown.lock().restart();
    }

    /// The log is followed from `from`. Of all transactions logged at or below, only `unsettled` may be invisible to
    /// snapshots that begin from now on.
    pub(crate) fn settle(&self, log: LogId, from: u64, unsettled: impl IntoIterator<Item = Xid>) {
        let mut state = self.state.lock();
        state.settled = state.tick();
        state.log = Some(log);
        state.watermark = state.watermark.max(from);
        let nowhere = 0;
        #[cfg(candor_sabotage)]
        let nowhere = if sabotage::is(sabotage::Sabotage::UnsettledAtBeginning) { from } else { nowhere };
        for xid in unsettled {
            // One that was decoded meanwhile was logged after the first position.
            if !state.commits.iter().any(|commit| is_same(commit.xid, xid)) {
                state.commits.push_front(Commit { end: nowhere, xid, seen_at: None });
            }
        }
    }

    /// A commit was decoded. Commits come in the order of the log.
    pub(crate) fn decoded(&self, end: u64, xid: Xid) {
        let mut state = self.state.lock();
        state.watermark = state.watermark.max(end);
        if state.commits.len() >= COMMITS_MAX {
            state.prune();
            state.crowd_together();
        }
        state.commits.push_back(Commit { end, xid, seen_at: None });
        drop(state);
        self.shown.lock().decoded(end, xid);
        self.decoded.notify_waiters();
    }

    /// Everything up to `at` was decoded.
    pub(crate) fn progressed(&self, at: u64) {
        let mut state = self.state.lock();
        state.watermark = state.watermark.max(at);
        drop(state);
        self.decoded.notify_waiters();
    }

    /// A position at or above everything that `snapshot` shows, and no further than needed as far as is known. `at` is one
    /// such position, read by the statement that took the snapshot. What is visible is decoded within a moment; whoever
    /// asks gives it that, and takes `at` if it is not enough.
    pub(crate) async fn shown(&self, era: Era, snapshot: &Visible, at: u64) -> u64 {
        loop {
            let decoded = self.decoded.notified();
            let told = self.state.lock().watermark;
            if let Some(position) = self.shown.lock().position(era, snapshot, at, told) {
                return position;
            }
            if told >= at {
                return at;
            }
            decoded.await;
        }
    }

    /// Waits until everything up to `at` of this log was decoded, or until it is not followed any more.
    pub(crate) async fn reached(&self, log: LogId, at: u64) {
        loop {
            let decoded = self.decoded.notified();
            let is_over = |state: &State| state.log != Some(log) || state.watermark >= at;
            if is_over(&self.state.lock()) {
                return;
            }
            decoded.await;
        }
    }

    /// Up to where this log was decoded; zero if another is followed.
    pub(crate) fn told_to(&self, log: LogId) -> u64 {
        let state = self.state.lock();
        if state.log == Some(log) { state.watermark } else { 0 }
    }

    /// Whether everything up to `at` of this log was decoded already.
    pub(crate) fn has_reached(&self, log: LogId, at: u64) -> bool {
        let state = self.state.lock();
        state.log == Some(log) && state.watermark >= at
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Forgets what every snapshot still under way sees, as far as nothing unseen stands before it.
    fn prune(&mut self) {
        let oldest = self.under_way.keys().next().copied().unwrap_or(u64::MAX);
        #[cfg(candor_sabotage)]
        let oldest = if sabotage::is(sabotage::Sabotage::ForgetUnderWay) { u64::MAX } else { oldest };
        let is_known = |commit: &Commit| commit.seen_at.is_some_and(|seen| seen < oldest);
        while self.commits.front().is_some_and(is_known) {
            self.commits.pop_front();
        }
        if self.crowd.as_ref().is_some_and(is_known) {
            self.crowd = None;
        }
    }

    /// Makes room for one commit by joining the oldest with the crowd.
    fn crowd_together(&mut self) {
        if self.commits.len() < COMMITS_MAX {
            return;
        }
        let Some(oldest) = self.commits.pop_front() else { return };
        self.crowd = Some(match self.crowd {
            None => Commit { seen_at: None, ..oldest },
            Some(crowd) => {
                let xid = if is_after(oldest.xid, crowd.xid) { oldest.xid } else { crowd.xid };
                Commit { end: crowd.end.min(oldest.end), xid, seen_at: None }
            }
        });
    }
}

impl UnderWay {
    /// The number up to which every commit is visible in the snapshot that was taken, in this log; `None` where the log is
    /// not followed, or was not yet when the snapshot began.
    pub(crate) fn certain(&self, log: LogId, snapshot: &Snapshot) -> Option<u64> {
        let mut state = self.visibility.state.lock();
        if state.log != Some(log) || self.began <= state.settled {
            return None;
        }
        let now = state.tick();
        let began = self.began;
        let mut first_unseen: Option<u64> = None;
        let State { commits, crowd, .. } = &mut *state;
        if let Some(crowd) = crowd {
            look(crowd, is_past(snapshot, crowd.xid), began, now, &mut first_unseen);
        }
        for commit in commits {
            look(commit, snapshot.sees(commit.xid), began, now, &mut first_unseen);
        }
        #[cfg(candor_sabotage)]
        let first_unseen = first_unseen.filter(|_| !sabotage::is(sabotage::Sabotage::CertainOfDecoded));
        Some(first_unseen.map_or(state.watermark, |end| end.saturating_sub(1)))
    }
}

fn look(commit: &mut Commit, sees: bool, began: u64, now: u64, first_unseen: &mut Option<u64>) {
    if commit.seen_at.is_some_and(|seen| seen < began) {
        return;
    }
    if sees {
        commit.seen_at.get_or_insert(now);
    } else {
        *first_unseen = Some(first_unseen.map_or(commit.end, |first| first.min(commit.end)));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.visibility.state.lock();
        if let Some(count) = state.under_way.get_mut(&self.began) {
            *count -= 1;
            if *count == 0 {
                state.under_way.remove(&self.began);
                state.prune();
            }
        }
    }
}

/// Transaction ids of the log have 32 bits and wrap around.
fn is_same(a: Xid, b: Xid) -> bool {
    #[cfg(candor_sabotage)]
    if sabotage::is(sabotage::Sabotage::NoWrap) {
        return a == b;
    }
    a.0 as u32 == b.0 as u32
}

fn is_after(a: Xid, b: Xid) -> bool {
    #[cfg(candor_sabotage)]
    if sabotage::is(sabotage::Sabotage::NoWrap) {
        return a.0 > b.0;
    }
    (a.0 as u32).wrapping_sub(b.0 as u32) as i32 > 0
}

/// Whether every transaction up to `xid` is finished in the snapshot.
fn is_past(snapshot: &Snapshot, xid: Xid) -> bool {
    is_after(Xid(snapshot.xmin), xid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_core::{Epoch, Position};

    const LOG: LogId = LogId(7);

    fn snapshot(xmin: u64, xmax: u64, in_progress: &[u64]) -> Snapshot {
        let upper = Position { epoch: Epoch { log: LOG, era: 0 }, at: 0 };
        Snapshot { upper, certain: 0, xmin, xmax, in_progress: in_progress.into() }
    }

    fn followed(from: u64, unsettled: &[u64]) -> Arc<Visibility> {
        let visibility = Arc::new(Visibility::default());
        visibility.settle(LOG, from, unsettled.iter().copied().map(Xid));
        visibility
    }

    fn pending(visibility: &Visibility) -> usize {
        visibility.state.lock().commits.len()
    }

    #[test]
    fn a_commit_in_the_log_that_the_snapshot_does_not_see_bounds_what_is_certain() {
        let visibility = followed(100, &[]);
        visibility.decoded(110, Xid(5));
        visibility.decoded(120, Xid(7));
        visibility.progressed(130);
        assert_eq!(visibility.begin().certain(LOG, &snapshot(5, 8, &[5, 7])), Some(109));
        assert_eq!(visibility.begin().certain(LOG, &snapshot(7, 8, &[7])), Some(119));
        assert_eq!(visibility.begin().certain(LOG, &snapshot(8, 8, &[])), Some(130));
    }

    #[test]
    fn a_transaction_that_never_ends_holds_nothing_up() {
        let visibility = followed(100, &[]);
        for commit in 0..1000 {
            visibility.decoded(110 + commit, Xid(20 + commit));
            let certain = visibility.begin().certain(LOG, &snapshot(3, 21 + commit, &[3]));
            assert_eq!(certain, Some(110 + commit));
        }
        assert_eq!(pending(&visibility), 0);
    }

    #[test]
    fn a_snapshot_taken_early_and_looked_at_late_is_held_to_what_it_saw() {
        let visibility = followed(100, &[]);
        let slow = visibility.begin();
        visibility.decoded(110, Xid(5));
        assert_eq!(visibility.begin().certain(LOG, &snapshot(6, 6, &[])), Some(110));
        assert_eq!(slow.certain(LOG, &snapshot(5, 6, &[5])), Some(109), "forgotten too early");
        drop(slow);
        assert_eq!(visibility.begin().certain(LOG, &snapshot(6, 6, &[])), Some(110));
        assert_eq!(pending(&visibility), 0, "and forgotten once nobody needs it");
    }

    #[test]
    fn what_was_logged_before_the_beginning_and_may_be_invisible_leaves_nothing_certain() {
        let visibility = followed(100, &[5]);
        visibility.progressed(200);
        assert_eq!(
            visibility.begin().certain(LOG, &snapshot(5, 9, &[5])),
            Some(0),
            "it may be logged anywhere"
        );
        assert_eq!(visibility.begin().certain(LOG, &snapshot(9, 9, &[])), Some(200));
    }

    #[test]
    fn a_snapshot_that_began_before_the_beginning_is_certain_of_nothing() {
        let visibility = Arc::new(Visibility::default());
        let early = visibility.begin();
        visibility.settle(LOG, 100, []);
        assert_eq!(early.certain(LOG, &snapshot(9, 9, &[])), None);
        assert_eq!(
            visibility.begin().certain(LogId(8), &snapshot(9, 9, &[])),
            None,
            "nor one of another log"
        );
        let before_restart = visibility.begin();
        visibility.restart();
        visibility.settle(LOG, 300, []);
        assert_eq!(before_restart.certain(LOG, &snapshot(9, 9, &[])), None);
    }

    #[test]
    fn too_many_invisible_commits_are_held_together_and_bounded() {
        let visibility = followed(1, &[]);
        let total = COMMITS_MAX as u64 + 500;
        for commit in 0..total {
            visibility.decoded(10 + commit, Xid(1000 + commit));
        }
        assert_eq!(pending(&visibility), COMMITS_MAX);
        let waits: Vec<u64> = (1000..1000 + total).collect();
        assert_eq!(visibility.begin().certain(LOG, &snapshot(1000, 1000 + total, &waits)), Some(9));
        // All but the very first are visible: the crowd cannot tell, and stays on the safe side.
        assert_eq!(visibility.begin().certain(LOG, &snapshot(1000, 1000 + total, &waits[..1])), Some(9));
        let all = snapshot(1000 + total, 1000 + total, &[]);
        assert_eq!(visibility.begin().certain(LOG, &all), Some(9 + total));
    }

    #[test]
    fn ids_are_compared_across_the_wrap() {
        let base = 3u64 << 32;
        let visibility = followed(100, &[]);
        visibility.decoded(110, Xid((base - 1) & 0xffff_ffff));
        visibility.decoded(120, Xid((base + 1) & 0xffff_ffff));
        assert_eq!(visibility.begin().certain(LOG, &snapshot(base + 1, base + 2, &[base + 1])), Some(119));
    }
}
