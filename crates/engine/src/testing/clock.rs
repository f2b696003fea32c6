//! A clock that moves only when told to.

use crate::seams::{Clock, SplitMix, TokioSpawn, World};
use candor_core::Moment;
use candor_core::port::BoxFuture;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A clock that moves only when told to, and by one nanosecond whenever it is looked at: as on a real clock, no two
/// looks show the same moment. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    told: Arc<watch::Sender<Moment>>,
    looks: Arc<AtomicU64>,
    moving: Arc<Mutex<()>>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self {
            told: Arc::new(watch::Sender::new(Moment::ZERO)),
            looks: Arc::default(),
            moving: Arc::default(),
        }
    }
}

impl ManualClock {
    /// Moves the clock on; whatever sleeps until then wakes up.
    pub fn advance(&self, by: Duration) {
        let _moving = self.moving.lock();
        let later = self.told.borrow().plus(by);
        self.told.send_replace(later);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let looks = self.looks.fetch_add(1, Ordering::AcqRel) + 1;
        self.told.borrow().plus(Duration::from_nanos(looks))
    }

    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        let mut told = self.told.subscribe();
        let looks = Arc::clone(&self.looks);
        Box::pin(async move {
            let reached =
                |told: &Moment| told.plus(Duration::from_nanos(looks.load(Ordering::Acquire))) >= at;
            if told.wait_for(reached).await.is_err() {
                // The clock is gone: this moment never comes.
                std::future::pending().await
            }
        })
    }
}

/// A world with a manual clock, seeded randomness and the current Tokio runtime.
pub fn manual_world(seed: u64) -> (World, ManualClock) {
    let clock = ManualClock::default();
    (World::new(clock.clone(), SplitMix::seeded(seed), TokioSpawn), clock)
}
