//! The sources under test: what they must do, and the one in memory. The real database is in `tests/sqlite.rs`, so that
//! the simulation can be built without it.

use crate::history::{Commit, History};
use candor::core::port::{Log, SourceError};
use candor::testing::MemorySource;
use candor::{Load, LoadContext, LoadMany, Loaded, World};
use std::sync::Arc;
use std::time::Duration;

/// A way for a loader to be wrong on purpose.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LoadFault {
    /// None: the stamp is taken with the value.
    None,
    /// The stamp is taken after the value was read.
    StampAfterRead,
}

/// A source whose every commit is known.
pub trait Source: Send + Sync + 'static {
    /// Commits one transaction and records it.
    fn commit(&self, writes: &[(u32, Option<u64>)], world: &World);

    /// Its log.
    fn log(&self) -> Arc<dyn Log>;

    /// Loads one key; the answer lingers before it returns, as on a real network.
    fn loader(&self, world: &World) -> Arc<dyn Load<u32, u64>>;

    /// Loads several keys in one transaction.
    fn many_loader(&self) -> Arc<dyn LoadMany<u32, u64>>;

    /// The truth.
    fn history(&self) -> &History;
}

/// How long a loaded answer lingers: usually not at all, sometimes long enough for several commits.
pub async fn linger(draw: u64) {
    let micros = match draw % 8 {
        0..=4 => return,
        5 | 6 => 100,
        _ => 1500,
    };
    #[expect(clippy::disallowed_methods, reason = "the readers run in real time")]
    tokio::time::sleep(Duration::from_micros(micros)).await;
}

/// The source in memory.
pub struct MemoryWorld {
    source: MemorySource<u32, u64>,
    history: Arc<History>,
    fault: LoadFault,
}

impl MemoryWorld {
    /// An empty source.
    pub fn new(fault: LoadFault) -> Self {
        Self { source: MemorySource::new(), history: Arc::default(), fault }
    }
}

impl Source for MemoryWorld {
    fn commit(&self, writes: &[(u32, Option<u64>)], world: &World) {
        let at = self.source.commit(writes.iter().copied()).at;
        let visible = world.now();
        for (key, value) in writes {
            self.history.record(*key, Commit { at, value: *value, visible });
        }
    }

    fn log(&self) -> Arc<dyn Log> {
        self.source.log()
    }

    fn loader(&self, world: &World) -> Arc<dyn Load<u32, u64>> {
        let (source, world, fault) = (self.source.clone(), world.clone(), self.fault);
        Arc::new(move |context: LoadContext<u32, u64>| {
            let (source, world) = (source.clone(), world.clone());
            async move {
                let (value, mut stamp) = source.read(context.key())?;
                linger(world.draw()).await;
                if fault == LoadFault::StampAfterRead {
                    stamp = source.read(context.key())?.1;
                }
                let tag = MemorySource::<u32, u64>::tag(context.key());
                Ok::<_, SourceError>(Loaded::maybe(value).stamped(stamp).tagged(tag))
            }
        })
    }

    fn many_loader(&self) -> Arc<dyn LoadMany<u32, u64>> {
        self.source.many_loader()
    }

    fn history(&self) -> &History {
        &self.history
    }
}
