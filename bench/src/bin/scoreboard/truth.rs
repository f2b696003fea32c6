//! What the database held, and since when everybody could see it. The same for every contender.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Versions remembered per key. A reader that is further behind is told the oldest of them, which flatters it.
const REMEMBERED: usize = 64;

/// The history of every key.
pub(crate) struct Truth {
    keys: Vec<Key>,
}

#[derive(Default)]
struct Key {
    /// The version of the last write whose commit was acknowledged.
    visible: AtomicU64,
    /// Whether it was written and not read since.
    is_exposed: AtomicBool,
    /// Versions and the moment their commit was acknowledged, in order.
    history: Mutex<VecDeque<(u64, Instant)>>,
    /// One writer at a time, so that the order of versions is the order of commits.
    writing: tokio::sync::Mutex<()>,
}

impl Truth {
    pub(crate) fn of(keys: u32) -> Self {
        Self { keys: (0..keys).map(|_| Key::default()).collect() }
    }

    /// Every reader that begins from now on has to see this version.
    pub(crate) fn visible(&self, key: u32) -> u64 {
        self.keys[key as usize].visible.load(Ordering::SeqCst)
    }

    /// Keeps other writers away from a key.
    pub(crate) async fn write(&self, key: u32) -> (tokio::sync::MutexGuard<'_, ()>, u64) {
        let guard = self.keys[key as usize].writing.lock().await;
        (guard, self.visible(key) + 1)
    }

    /// The commit of a version was acknowledged.
    pub(crate) fn acknowledged(&self, key: u32, version: u64, at: Instant) {
        let key = &self.keys[key as usize];
        let mut history = key.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() == REMEMBERED {
            history.pop_front();
        }
        history.push_back((version, at));
        key.visible.fetch_max(version, Ordering::SeqCst);
        key.is_exposed.store(true, Ordering::SeqCst);
    }

    /// Whether this read is the first since the key was written.
    pub(crate) fn exposes(&self, key: u32) -> bool {
        let exposed = &self.keys[key as usize].is_exposed;
        exposed.load(Ordering::Relaxed) && exposed.swap(false, Ordering::SeqCst)
    }

    /// How long the first version that an answer missed had been visible when its read began.
    pub(crate) fn staleness(&self, key: u32, answered: u64, begun: Instant) -> Duration {
        let history = self.keys[key as usize].history.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = history.iter().find(|(version, _)| *version > answered);
        missed.map_or(Duration::ZERO, |(_, since)| begun.saturating_duration_since(*since))
    }
}
