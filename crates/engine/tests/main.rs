//! The engine against a source in memory, on a clock that moves only when told to.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail loudly and are the outside world"
)]

mod allocations;
mod degraded;
mod flights;
mod invalidation;
mod levels;
mod lifetime;
mod snapshots;
mod together;
mod vouched;

use candor::testing::{ManualClock, MemorySource, manual_world};
use candor::{Cache, CacheBuilder, Contract};

/// A cache over a source of numbers.
pub(crate) struct Bench {
    pub(crate) source: MemorySource<u32, u64>,
    pub(crate) cache: Cache<u32, u64>,
    pub(crate) clock: ManualClock,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Contract::default())
    }

    pub(crate) fn with(contract: Contract) -> Self {
        Self::built(|builder| builder.contract(contract))
    }

    pub(crate) fn built(build: impl FnOnce(CacheBuilder<u32, u64>) -> CacheBuilder<u32, u64>) -> Self {
        let (world, clock) = manual_world(1);
        let source = MemorySource::new();
        let cache = build(Cache::builder().world(world).log(source.log())).build();
        Self { source, cache, clock }
    }

    pub(crate) fn write(&self, key: u32, value: u64) {
        self.source.commit([(key, Some(value))]);
    }

    /// Lets background tasks run until nothing moves any more.
    pub(crate) async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}
