//! Time, randomness and tasks, as the engine receives them.
//!
//! Nothing in the engine reads a clock, draws a random number or spawns a task by itself. All three come through the
//! [`World`], so that the same code runs in production and under a seeded simulation with virtual time. The engine
//! otherwise only uses executor-independent primitives.

use candor_core::Moment;
use candor_core::port::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// This instance's monotonic clock.
pub trait Clock: Send + Sync + 'static {
    /// The moment. It must not lag, not even by a tick: a bound is the difference of two moments, and a late one makes
    /// it too small.
    fn now(&self) -> Moment;

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
    pub fn system() -> Self {
        Self::new(SystemClock::default(), SplitMix::seeded_by_system(), TokioSpawn)
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

/// The system's monotonic clock: on Linux the one that counts suspended time, elsewhere that of the standard library.
///
/// The kernel's coarse clock would cost a quarter of it in a hit, and lags by a tick that may itself be late by any time.
#[derive(Debug)]
pub struct SystemClock {
    #[cfg(not(target_os = "linux"))]
    start: std::time::Instant,
}

#[expect(clippy::derivable_impls, reason = "outside Linux it begins to count now")]
impl Default for SystemClock {
    fn default() -> Self {
        Self {
            #[cfg(not(target_os = "linux"))]
            #[expect(clippy::disallowed_methods, reason = "this is the one home of ambient time")]
            start: std::time::Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[cfg(target_os = "linux")]
    #[inline]
    fn now(&self) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Moment::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    #[cfg(not(target_os = "linux"))]
    #[inline]
    fn now(&self) -> Moment {
        Moment::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        let wait = at.since(self.now());
        #[expect(clippy::disallowed_methods, reason = "this is the one home of ambient time")]
        Box::pin(async move { tokio::time::sleep(wait).await })
    }
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::time::{ClockId, clock_gettime};

    /// A lagging clock would have to be as good as the kernel's own by chance, ten thousand times.
    #[test]
    fn the_systems_clock_does_not_lag() {
        let kernel = || {
            let time = clock_gettime(ClockId::Boottime);
            Moment::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
        };
        let clock = SystemClock::default();
        for _ in 0..10_000 {
            let (before, now, after) = (kernel(), clock.now(), kernel());
            assert!(before <= now && now <= after, "{now:?} is not between {before:?} and {after:?}");
        }
    }
}
