//! Following a source's log: what an instance keeps per source.
//!
//! A [`Follower`] owns the ledger and two background tasks. One takes records from the feed into the ledger. The other
//! asks the source for its position (a fence) whenever a reader needs to know that nothing was missed up to now, and
//! from time to time by itself; everyone who waits when it asks shares the answer.
//!
//! ```text
//!   reader ── wants proof ──► waiting ──► asked_at = now; F = log.fence() ──► watermark ≥ F? ──► proven until asked_at
//!                                                                                  ▲
//!   log ───── records ──────► feed ─────► ledger.apply ────────────────────────────┘
//! ```
//!
//! The moment is noted before the question is asked, and a reader only joins a question that has not been asked yet.
//! So once the watermark reaches F, everything that was visible when the reader arrived is in the ledger. No clock but
//! this instance's own is ever looked at; if the feed or the source goes silent, the proven moment stands still and
//! every bound grows by itself.
//!
//! A source without a log has a follower too. Its ledger holds only what applications invalidate, in a local sequence
//! that starts with the process, and proves nothing about the source.

mod fences;
mod known_logs;
mod told;

use fences::{Fence, SendsEverybodyAway, Waiter};
pub use known_logs::KnownLogs;

use crate::seams::World;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use candor_core::port::{Feed, Log, SourceError};
use candor_core::{
    Applied, Change, Epoch, Ledger, LedgerSize, LogId, Moment, Position, Record, Sight, Tag, Xid,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Changes kept for explaining what happened. Not part of any proof.
const RECENT_CHANGES: usize = 8192;
/// Logs that are remembered as having been this source's.
const FORMER_LOGS: usize = 64;
/// Between two attempts to follow a log that is down.
const RETRY: Duration = Duration::from_millis(250);

/// How a log is followed.
#[derive(Copy, Clone, Debug)]
pub struct FollowOptions {
    /// How often the source is asked for its position when no reader asks. Shorter means that changes are noticed
    /// sooner by reads that do not demand it.
    pub pulse: Duration,
    /// How long one fence may take before the log counts as down.
    pub fence_timeout: Duration,
    /// What the ledger remembers.
    pub ledger: LedgerSize,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            pulse: Duration::from_millis(50),
            fence_timeout: Duration::from_secs(1),
            ledger: LedgerSize::default(),
        }
    }
}

/// Whether the log is being followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedStatus {
    /// There is no log; nothing is followed.
    None,
    /// Not yet.
    Starting,
    /// Yes.
    Following,
    /// No, for this reason. It is tried again all the time.
    Down(String),
}

/// A change as it arrived, for explanations.
#[derive(Clone, Debug)]
pub struct Noted {
    /// When it arrived here.
    pub arrived: Moment,
    /// Its position.
    pub position: Position,
    /// What it touched, for people.
    pub note: Box<str>,
    tags: Box<[Tag]>,
    xid: Xid,
}

/// What an instance keeps per source: the ledger and the tasks that feed it.
#[derive(Clone)]
pub struct Follower {
    shared: Arc<Shared>,
    /// Shared by all handles and by no task: the tasks end with the last handle.
    _ends: Arc<EndsTasks>,
}

struct EndsTasks(Arc<Shared>);

impl Drop for EndsTasks {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Shared {
    world: World,
    log: Option<Arc<dyn Log>>,
    options: FollowOptions,
    ledger: Ledger,
    known: KnownLogs,
    state: Mutex<State>,
    /// The ledger changed; waiters look again. Not a `watch`, which wakes in an order that it draws by itself: several may
    /// wait in one task, and a seeded world must be able to repeat it.
    advanced: Notify,
    status: watch::Sender<FeedStatus>,
    wanted: Notify,
    /// How often the source was asked for its position.
    fences: AtomicU64,
    /// The same as the status, for the fast path.
    down: AtomicBool,
    /// Where the watermark stood at most two [`fences::LATELY`] ago.
    lately: AtomicU64,
    closing: watch::Sender<bool>,
    used_up: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

#[derive(Default)]
struct State {
    /// Readers that wait for the next fence.
    waiting: Vec<Waiter>,
    /// Nobody asks any more, or ever did.
    no_more_fences: bool,
    /// Fences whose position the watermark has not reached yet: the oldest and the latest. Were only the latest kept, a
    /// feed that lags by more than a pulse would never prove anything.
    unproven: VecDeque<Fence>,
    recent: VecDeque<Noted>,
    /// Every change up to here that was not forgotten stands in `recent`.
    noted: Option<Position>,
    /// The latest change that no longer does.
    forgotten: Option<Position>,
    registered: Option<LogId>,
    /// Logs that this source had before, the latest last.
    former: VecDeque<LogId>,
}

impl Follower {
    /// Begins to follow a log. Runs until [`Follower::close`].
    pub fn follow(world: World, log: Arc<dyn Log>, options: FollowOptions, known: KnownLogs) -> Self {
        let follower = Self::new(world, Some(log), options, known, FeedStatus::Starting);
        let shared = Arc::clone(&follower.shared);
        follower.shared.world.spawn(async move { shared.take_records().await });
        let last = SendsEverybodyAway(Arc::clone(&follower.shared));
        follower.shared.world.spawn(async move {
            let SendsEverybodyAway(shared) = &last;
            shared.ask_fences().await;
        });
        follower
    }

    /// For a source without a log: only what applications invalidate.
    pub fn local(world: World, known: KnownLogs) -> Self {
        let epoch = Epoch { log: LogId(world.draw()), era: 0 };
        let options = FollowOptions::default();
        let follower = Self::new(world, None, options, known, FeedStatus::None);
        follower.shared.take(&Record::opening(epoch, 1));
        follower
    }

    fn new(
        world: World,
        log: Option<Arc<dyn Log>>,
        options: FollowOptions,
        known: KnownLogs,
        status: FeedStatus,
    ) -> Self {
        let shared = Shared {
            world,
            log,
            options,
            ledger: Ledger::new(options.ledger),
            known,
            state: Mutex::default(),
            advanced: Notify::new(),
            status: watch::Sender::new(status),
            wanted: Notify::new(),
            fences: AtomicU64::new(0),
            down: AtomicBool::new(false),
            lately: AtomicU64::new(0),
            closing: watch::Sender::new(false),
            used_up: Mutex::default(),
        };
        shared.state.lock().no_more_fences = shared.log.is_none();
        let shared = Arc::new(shared);
        Self { _ends: Arc::new(EndsTasks(Arc::clone(&shared))), shared }
    }

    /// Whether there is a log to prove things with.
    #[inline]
    pub fn has_log(&self) -> bool {
        self.shared.log.is_some()
    }

    /// The ledger.
    #[inline]
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// How often the source was asked for its position so far.
    pub fn fences(&self) -> u64 {
        self.shared.fences.load(Ordering::Relaxed)
    }

    /// Whether the log is being followed.
    pub fn status(&self) -> FeedStatus {
        self.shared.status.borrow().clone()
    }

    /// Ready when the log is followed, or there is none.
    pub async fn following(&self) {
        let mut status = self.shared.status.subscribe();
        let _ = status.wait_for(|status| matches!(status, FeedStatus::Following | FeedStatus::None)).await;
    }

    /// An entry proven below is worth proving further in its tier, so that it outlives what the ledger forgets.
    #[inline]
    pub(crate) fn lately(&self) -> u64 {
        self.shared.lately.load(Ordering::Relaxed)
    }

    /// Whether the log is known to be down.
    #[inline]
    pub(crate) fn is_down(&self) -> bool {
        self.shared.down.load(Ordering::Relaxed)
    }

    /// Entries name their generation by sixteen bits. Before these repeat, whoever keeps entries drops them all.
    pub(crate) fn on_generations_used_up(&self, drop_entries: impl Fn() + Send + Sync + 'static) {
        self.shared.used_up.lock().push(Box::new(drop_entries));
    }

    /// The positions after which this token's holder would see nothing older, in this log.
    pub(crate) fn known(&self) -> &KnownLogs {
        &self.shared.known
    }

    /// Whether this source had that log before the one it has now. Another follower of the same database may know it still.
    pub(crate) fn has_left(&self, log: LogId) -> bool {
        #[cfg(candor_sabotage)]
        if crate::sabotage::is(crate::sabotage::Sabotage::FormerLogForgotten) {
            return false;
        }
        self.shared.state.lock().former.contains(&log)
    }

    /// Takes an application's invalidation into the ledger of a source without a log.
    pub(crate) fn invalidate_locally(&self, tags: Vec<Tag>) {
        let _writers = self.shared.state.lock();
        let Some(sight) = self.shared.ledger.sight() else { return };
        let at = sight.watermark + 1;
        let change =
            Change { at, xid: Xid(at), tags: tags.into(), note: "invalidated by an application".into() };
        self.shared.ledger.apply(&Record {
            epoch: sight.epoch,
            previous: sight.watermark,
            at,
            changes: vec![change],
        });
    }

    /// Changes on any of these tags that arrived lately, oldest first.
    pub fn recent_changes(&self, tags: &[Tag]) -> Vec<Noted> {
        let state = self.shared.state.lock();
        let concerns = |noted: &&Noted| noted.tags.iter().any(|tag| tags.contains(tag));
        state.recent.iter().filter(concerns).cloned().collect()
    }

    /// Ends the tasks. What is proven stays proven and ages.
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Shared {
    fn close(&self) {
        let mut state = self.state.lock();
        self.closing.send_replace(true);
        self.known.forget(state.registered.take());
    }

    fn set_status(&self, status: FeedStatus) {
        self.down.store(matches!(status, FeedStatus::Down(_)), Ordering::Relaxed);
        self.status.send_replace(status);
    }

    async fn take_records(&self) {
        let Some(log) = &self.log else { return };
        let mut closing = self.closing.subscribe();
        loop {
            let ended = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => return,
                ended = self.take_records_once(&**log) => ended,
            };
            let down = FeedStatus::Down(ended.message.clone());
            // Said once; it is tried several times a second.
            if *self.status.borrow() == down {
                tracing::debug!(error = %ended, "the log still cannot be followed");
            } else {
                tracing::warn!(error = %ended, "the log cannot be followed; trying again");
            }
            self.set_status(down);
            self.advanced.notify_waiters();
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => return,
                () = self.world.sleep_until(self.world.now().plus(RETRY)) => {}
            }
        }
    }

    /// Follows the log until it fails.
    async fn take_records_once(&self, log: &dyn Log) -> SourceError {
        let mut feed: Box<dyn Feed> = match log.follow().await {
            Ok(feed) => feed,
            Err(error) => return error,
        };
        loop {
            match feed.next().await {
                Ok(record) => self.take(&record),
                Err(error) => return error,
            }
            if self.log.is_some() && *self.status.borrow() != FeedStatus::Following {
                self.set_status(FeedStatus::Following);
            }
        }
    }

    fn take(&self, record: &Record) {
        self.leave_for(record.epoch.log);
        match self.ledger.apply(record) {
            Applied::NewEpoch => {
                tracing::info!(epoch = %record.epoch, at = record.at, "a new epoch; older proofs are void");
                self.register(record.epoch.log);
                self.count_generation();
                // Until somebody asks, the log vouches for nothing, and receipts have no position to cite.
                self.wanted.notify_one();
            }
            Applied::Gap { from, to } => {
                tracing::warn!(from, to, "records are missing; entries proven before the gap are void");
            }
            Applied::Advanced | Applied::Duplicate => {}
        }
        self.note(record);
        self.prove_latest();
        self.advanced.notify_waiters();
    }

    fn count_generation(&self) {
        const ALIKE: u64 = 1 << 16;
        if self.ledger.sight().is_some_and(|sight| sight.generation % (ALIKE / 2) == 0) {
            self.used_up.lock().iter().for_each(|drop_entries| drop_entries());
        }
    }

    fn note(&self, record: &Record) {
        let arrived = self.world.now();
        let mut state = self.state.lock();
        for change in &record.changes {
            if state.recent.len() == RECENT_CHANGES {
                state.forgotten = state.recent.pop_front().map(|noted| noted.position);
            }
            let position = Position { epoch: record.epoch, at: change.at };
            let (note, tags) = (change.note.clone(), change.tags.clone());
            state.recent.push_back(Noted { arrived, position, note, tags, xid: change.xid });
        }
        state.noted = Some(Position { epoch: record.epoch, at: record.at });
    }

    /// Before the ledger enters another log: whoever finds it there must no longer find the former one known, or a token
    /// of a lost history would pass for one that asks nothing of this source.
    fn leave_for(&self, next: LogId) {
        let former = {
            let mut state = self.state.lock();
            let former = state.registered.take_if(|log| *log != next);
            if let Some(former) = former {
                if state.former.len() == FORMER_LOGS {
                    state.former.pop_front();
                }
                state.former.push_back(former);
            }
            former
        };
        self.known.forget(former);
    }

    fn register(&self, log: LogId) {
        let mut state = self.state.lock();
        // Whoever has closed has forgotten its log, and learns none any more.
        if *self.closing.borrow() {
            return;
        }
        self.known.learn(log);
        self.known.forget(state.registered.replace(log));
    }
}

/// Reads the ledger without a log the way one with a log is read.
pub(crate) fn local_stamp(sight: &Sight) -> candor_core::Stamp {
    candor_core::Stamp::Sequence(sight.position())
}
