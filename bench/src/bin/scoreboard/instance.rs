//! One instance of an application: a thread with a runtime of its own, so that it can be stopped as a whole.
//!
//! Everything that belongs to it (readers, writers, whatever follows logs or listens) runs on that one thread. A pause
//! blocks the thread, as a machine that is suspended or starved does, in the midst of whatever was under way.

use crate::ground::{KEYS, Trouble};
use crate::patterns::{Kind, Pattern, Places, zipf};
use crate::truth::Truth;
use candor::seams::{Entropy, SplitMix};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const READERS: u64 = 3;
const WRITERS: u64 = 2;

/// Between two writes of one writer.
const WRITE_EVERY: Duration = Duration::from_millis(4);

/// After this many reads a reader lets the others have a turn.
const TURN: u64 = 32;

/// What instances are told to do, in order.
pub(crate) const WAIT: u8 = 0;
pub(crate) const RUN: u8 = 1;
pub(crate) const REST: u8 = 2;
pub(crate) const SWEEP: u8 = 3;

/// What came of reading.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) reads: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) writes: AtomicU64,
    /// Answers that missed a write which everybody could see when the read began.
    pub(crate) stale: AtomicU64,
    /// Writes that were read before the next one of the same key.
    pub(crate) exposed: AtomicU64,
    /// How long the missed write had been visible, at worst; nanoseconds.
    pub(crate) longest: AtomicU64,
    /// Answers staler than their receipt or their level promised.
    pub(crate) broken: AtomicU64,
    /// Keys answered stale after everything had been quiet for a while.
    pub(crate) left: AtomicU64,
    pub(crate) queries: AtomicU64,
}

/// What a cache has for mending behind its reader's back, once everything is quiet.
const MENDING: Duration = Duration::from_millis(500);

pub(crate) struct Orders {
    pub(crate) kind: Kind,
    pub(crate) places: Places,
    pub(crate) truth: Arc<Truth>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) phase: Arc<AtomicU8>,
    /// How long this instance stands still, again and again, and for how long it runs in between.
    pub(crate) pauses: Option<(Duration, Duration)>,
}

/// Runs an instance; each phase's end is told through `done`.
pub(crate) fn run(orders: Orders, done: mpsc::Sender<Result<(), Trouble>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(done.send(Err(error.into()))),
    };
    runtime.block_on(async {
        let pattern = match Pattern::start(orders.kind, &orders.places).await {
            Ok(pattern) => pattern,
            Err(error) => return drop(done.send(Err(error))),
        };
        let _ = done.send(Ok(()));
        until(&orders.phase, RUN).await;
        work(&orders, &pattern).await;
        orders.tally.queries.fetch_add(pattern.source_queries(), Ordering::Relaxed);
        let _ = done.send(Ok(()));
        until(&orders.phase, SWEEP).await;
        sweep(&orders, &pattern).await;
        pattern.close().await;
        drop(pattern);
        // What was aborted ends at its next turn; connections are closed then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = done.send(Ok(()));
    });
}

async fn until(phase: &AtomicU8, wanted: u8) {
    while phase.load(Ordering::Acquire) < wanted {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn work(orders: &Orders, pattern: &Arc<Pattern>) {
    let mut tasks = Vec::new();
    let seed = 1000 * orders.places.instance as u64;
    for number in 0..READERS {
        tasks.push(tokio::spawn(read_on(Shared::of(orders, pattern), SplitMix::seeded(seed + number))));
    }
    for number in 0..WRITERS {
        tasks.push(tokio::spawn(write_on(Shared::of(orders, pattern), SplitMix::seeded(seed + 100 + number))));
    }
    if let Some((still, between)) = orders.pauses {
        let phase = Arc::clone(&orders.phase);
        tasks.push(tokio::spawn(async move {
            while phase.load(Ordering::Acquire) == RUN {
                tokio::time::sleep(between).await;
                std::thread::sleep(still);
            }
        }));
    }
    for task in tasks {
        let _ = task.await;
    }
}

struct Shared {
    kind: Kind,
    pattern: Arc<Pattern>,
    truth: Arc<Truth>,
    tally: Arc<Tally>,
    phase: Arc<AtomicU8>,
}

impl Shared {
    fn of(orders: &Orders, pattern: &Arc<Pattern>) -> Self {
        Self {
            kind: orders.kind,
            pattern: Arc::clone(pattern),
            truth: Arc::clone(&orders.truth),
            tally: Arc::clone(&orders.tally),
            phase: Arc::clone(&orders.phase),
        }
    }

    fn is_running(&self) -> bool {
        self.phase.load(Ordering::Acquire) == RUN
    }
}

async fn read_on(shared: Shared, random: SplitMix) {
    let tally = &shared.tally;
    for count in 1_u64.. {
        if count.is_multiple_of(TURN) {
            if !shared.is_running() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let key = zipf(unit(&random));
        if shared.truth.exposes(key) {
            tally.exposed.fetch_add(1, Ordering::Relaxed);
        }
        let (visible, begun) = (shared.truth.visible(key), Instant::now());
        let Ok(answered) = shared.pattern.read(key).await else {
            tally.errors.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        tally.reads.fetch_add(1, Ordering::Relaxed);
        if answered.version >= visible {
            continue;
        }
        let staleness = shared.truth.staleness(key, answered.version, begun);
        tally.stale.fetch_add(1, Ordering::Relaxed);
        tally.longest.fetch_max(u64::try_from(staleness.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let is_broken = match shared.kind {
            Kind::Candor(candor::Level::Strong) => true,
            Kind::Candor(candor::Level::Bounded(limit)) => staleness > limit,
            _ => false,
        } || answered.bound.is_some_and(|bound| staleness > bound);
        if is_broken {
            tally.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn write_on(shared: Shared, random: SplitMix) {
    let Ok(database) = shared.pattern.writer().await else { return };
    while shared.is_running() {
        let key = zipf(unit(&random));
        shared.pattern.before_write(key).await;
        {
            let (_guard, version) = shared.truth.write(key).await;
            // Whether a write that failed was committed nobody knows; its version is taken by the next one.
            if database.write(key, version).await.is_ok() {
                shared.truth.acknowledged(key, version, Instant::now());
                shared.tally.writes.fetch_add(1, Ordering::Relaxed);
            }
        }
        shared.pattern.after_write(key).await;
        tokio::time::sleep(WRITE_EVERY).await;
    }
}

/// Everything has been quiet for a while: whoever is still wrong now, twice, stays so until a time to live ends. The first
/// question is for those who answer with what they know to be outdated and mend it behind the reader's back.
async fn sweep(orders: &Orders, pattern: &Arc<Pattern>) {
    for key in 0..KEYS {
        let _ = pattern.read(key).await;
    }
    tokio::time::sleep(MENDING).await;
    for key in 0..KEYS {
        if let Ok(answered) = pattern.read(key).await
            && answered.version < orders.truth.visible(key)
        {
            orders.tally.left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn unit(random: &SplitMix) -> f64 {
    (random.draw() >> 11) as f64 / (1_u64 << 53) as f64
}
