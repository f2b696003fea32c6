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
    match draw % 8 {
        0..=4 => {}
        5 | 6 => pause(Duration::from_micros(100)).await,
        _ => pause(Duration::from_micros(1500)).await,
    }
}

/// The longest wait for a change that is to come between a value and its stamp. The writer may have ended before a load
/// in the background has.
const CHANGE_WITHIN: Duration = Duration::from_secs(2);

/// How an answer lingers whose loader is wrong on purpose: one in eight, until a commit changed its key. The fault then
/// takes effect however seldom the machine lets the writer run. Begun after the value was read; the change that was just
/// being recorded then is one the value may reflect, so that two are waited for.
pub async fn linger_until_changed(draw: u64, world: &World, history: &History, key: u32) {
    if !draw.is_multiple_of(8) {
        return;
    }
    let wanted = history.changes_of(key) + 2;
    let deadline = world.now().plus(CHANGE_WITHIN);
    while history.changes_of(key) < wanted && world.now() < deadline {
        pause(Duration::from_micros(200)).await;
    }
}

async fn pause(wait: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the readers run in real time")]
    tokio::time::sleep(wait).await;
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
        let history = Arc::clone(&self.history);
        Arc::new(move |context: LoadContext<u32, u64>| {
            let (source, world, history) = (source.clone(), world.clone(), Arc::clone(&history));
            async move {
                let (value, mut stamp) = source.read(context.key())?;
                match fault {
                    LoadFault::None => linger(world.draw()).await,
                    LoadFault::StampAfterRead => {
                        linger_until_changed(world.draw(), &world, &history, *context.key()).await;
                        stamp = source.read(context.key())?.1;
                    }
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
