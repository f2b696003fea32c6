//! Time, randomness and tasks, as the engine receives them.
//!
//! Nothing in the engine reads a clock, draws a random number or spawns a task by itself. All three come through the
//! [`World`], so that the same code runs in production and under a seeded simulation with virtual time. The engine
//! otherwise only uses executor-independent primitives.

use candor_core::Moment;
use candor_core::port::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// This instance's monotonic clock.
pub trait Clock: Send + Sync + 'static {
    /// The moment.
    fn now(&self) -> Moment;

    /// A cheap earlier moment: not after [`Clock::now`], and not before it by more than [`Clock::coarse_lag`].
    fn coarse(&self) -> Moment {
        self.now()
    }

    /// How far [`Clock::coarse`] may lie back. Added to every bound that was computed with it.
    fn coarse_lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Ready at that moment or soon after.
    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()>;
}

/// A source of randomness; for jitter and early refresh, never for secrets.
pub trait Entropy: Send + Sync + 'static {
    /// Sixty-four random bits.
    fn draw(&self) -> u64;
}

/// Where background work runs.
pub trait Spawn: Send + Sync + 'static {
    /// Runs the future to its end, independently of the caller.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Everything ambient that the engine needs.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    spawn: Arc<dyn Spawn>,
}

impl World {
    /// A world of the given parts.
    pub fn new(clock: impl Clock, entropy: impl Entropy, spawn: impl Spawn) -> Self {
        Self { clock: Arc::new(clock), entropy: Arc::new(entropy), spawn: Arc::new(spawn) }
    }

    /// The real one: the system's monotonic clock, a randomly seeded generator and the current Tokio runtime.
    ///
    /// Its coarse clock is the kernel's, which costs a fifth of an exact one and lags by up to one tick (1 to 10 ms);
    /// bounds of in-memory hits grow by as much. Two things it cannot know: on a virtual machine whose processor is
    /// taken away a tick may come late, and while a machine is suspended this clock stands still, so that until the
    /// first fence after waking up a bound may be short by as much. Use [`World::exact`] where that matters; the
    /// service does.
    pub fn system() -> Self {
        Self::new(SystemClock::coarse(), SplitMix::seeded_by_system(), TokioSpawn)
    }

    /// Like [`World::system`] with a clock that counts suspended time and never lags, at some 15 ns more per hit.
    pub fn exact() -> Self {
        Self::new(SystemClock::exact(), SplitMix::seeded_by_system(), TokioSpawn)
    }

    /// The moment.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The clock.
    #[inline]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Random bits.
    pub fn draw(&self) -> u64 {
        self.entropy.draw()
    }

    /// A random number in `0..1`.
    pub fn draw_unit(&self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Runs `task` in the background.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn.spawn(Box::pin(task));
    }

    /// Ready at `at`.
    pub fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(at)
    }

    /// The output of `work`, or `None` once `deadline` has passed.
    pub async fn within<T>(&self, deadline: Moment, work: impl Future<Output = T>) -> Option<T> {
        let work = std::pin::pin!(work);
        match futures_util::future::select(work, self.sleep_until(deadline)).await {
            futures_util::future::Either::Left((output, _)) => Some(output),
            futures_util::future::Either::Right(((), _)) => None,
        }
    }
}

/// The kernel's monotonic clock.
#[derive(Debug)]
pub struct SystemClock {
    kind: ClockKind,
    lag: Duration,
}

#[derive(Debug)]
enum ClockKind {
    #[cfg(target_os = "linux")]
    Linux { now: rustix::time::ClockId, coarse: rustix::time::ClockId },
    #[cfg(not(target_os = "linux"))]
    Portable { start: std::time::Instant },
}

impl SystemClock {
    /// Hits are timed by the kernel's tick.
    pub fn coarse() -> Self {
        #[cfg(target_os = "linux")]
        {
            use rustix::time::{ClockId, clock_getres};
            let lag = duration_of(clock_getres(ClockId::MonotonicCoarse));
            Self { kind: ClockKind::Linux { now: ClockId::Monotonic, coarse: ClockId::MonotonicCoarse }, lag }
        }
        #[cfg(not(target_os = "linux"))]
        Self::exact()
    }

    /// Every read of the clock is exact and counts suspended time where the kernel can.
    pub fn exact() -> Self {
        #[cfg(target_os = "linux")]
        {
            use rustix::time::ClockId;
            Self {
                kind: ClockKind::Linux { now: ClockId::Boottime, coarse: ClockId::Boottime },
                lag: Duration::ZERO,
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            #[expect(clippy::disallowed_methods, reason = "this is the one home of ambient time")]
            let start = std::time::Instant::now();
            Self { kind: ClockKind::Portable { start }, lag: Duration::ZERO }
        }
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Moment {
        match self.kind {
            #[cfg(target_os = "linux")]
            ClockKind::Linux { now, .. } => read(now),
            #[cfg(not(target_os = "linux"))]
            ClockKind::Portable { start } => Moment::from_nanos(start.elapsed().as_nanos() as u64),
        }
    }

    #[inline]
    fn coarse(&self) -> Moment {
        match self.kind {
            #[cfg(target_os = "linux")]
            ClockKind::Linux { coarse, .. } => read(coarse),
            #[cfg(not(target_os = "linux"))]
            ClockKind::Portable { .. } => self.now(),
        }
    }

    fn coarse_lag(&self) -> Duration {
        self.lag
    }

    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        let wait = at.since(self.now());
        #[expect(clippy::disallowed_methods, reason = "this is the one home of ambient time")]
        Box::pin(async move { tokio::time::sleep(wait).await })
    }
}

#[cfg(target_os = "linux")]
#[inline]
fn read(clock: rustix::time::ClockId) -> Moment {
    let time = rustix::time::clock_gettime(clock);
    Moment::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(target_os = "linux")]
fn duration_of(time: rustix::time::Timespec) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A small counter-based generator (SplitMix64, Steele et al., OOPSLA 2014): one atomic addition per draw.
#[derive(Debug)]
pub struct SplitMix(AtomicU64);

impl SplitMix {
    /// The same seed gives the same sequence.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Seeded by the randomness the standard library takes from the system for its hash maps.
    pub fn seeded_by_system() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self::seeded(RandomState::new().hash_one(0u64))
    }
}

impl Entropy for SplitMix {
    fn draw(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The Tokio runtime in whose context the spawning call runs.
#[derive(Debug)]
pub struct TokioSpawn;

impl Spawn for TokioSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        #[expect(clippy::disallowed_methods, reason = "this is the one home of ambient tasks")]
        tokio::spawn(task);
    }
}
