//! Loaders: how a missing answer is obtained, and what a loader is told and may say.

use crate::error::LoadError;
use crate::sync::{AtomicUsize, Ordering};
use candor_core::port::BoxFuture;
use candor_core::{Stamp, Tag};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Obtains the answer for a key.
///
/// Implemented by closures of the form `|context| async move { Ok::<_, E>(value) }`. The future is polled by a
/// background task that every waiting reader shares: it must own what it uses, and a reader that goes away does not
/// stop it.
pub trait Load<K, V>: Send + Sync {
    /// Begins a load. Everything it reads must be read after this call.
    fn load(&self, context: LoadContext<K, V>) -> BoxFuture<'static, Result<Loaded<V>, LoadError>>;
}

impl<K, V, F, Fut, T, E> Load<K, V> for F
where
    F: Fn(LoadContext<K, V>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Into<Loaded<V>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn load(&self, context: LoadContext<K, V>) -> BoxFuture<'static, Result<Loaded<V>, LoadError>> {
        let work = self(context);
        Box::pin(async move { work.await.map(Into::into).map_err(|error| LoadError::of_any(error.into())) })
    }
}

/// What a loader is told.
#[derive(Debug)]
pub struct LoadContext<K, V> {
    pub(crate) key: K,
    pub(crate) previous: Option<V>,
    pub(crate) interest: Arc<Interest>,
}

impl<K, V> LoadContext<K, V> {
    /// The key to load.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The answer that is being replaced, if one is still around; for conditional requests.
    pub fn previous(&self) -> Option<&V> {
        self.previous.as_ref()
    }

    /// Whether every reader has gone away. The load may then stop; nobody minds if it goes on.
    pub fn is_abandoned(&self) -> bool {
        self.interest.readers.load(Ordering::Acquire) == 0
    }

    /// Ready once every reader has gone away.
    pub async fn abandoned(&self) {
        loop {
            let changed = self.interest.changed.notified();
            if self.is_abandoned() {
                return;
            }
            changed.await;
        }
    }
}

/// Counts who still waits for a load.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    readers: AtomicUsize,
    changed: Notify,
}

/// One reader's interest, until dropped.
#[derive(Debug)]
pub(crate) struct Interested(Arc<Interest>);

impl Interest {
    /// Whether anybody beside the flight itself waits.
    pub(crate) fn is_wanted_by_others(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 1
    }

    pub(crate) fn take(self: &Arc<Self>) -> Interested {
        self.readers.fetch_add(1, Ordering::AcqRel);
        Interested(Arc::clone(self))
    }
}

impl Drop for Interested {
    fn drop(&mut self) {
        if self.0.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

/// What a loader brings back. Anything that converts into it may be returned: a bare value does.
#[derive(Clone, Debug)]
#[must_use]
pub struct Loaded<V> {
    pub(crate) value: Option<V>,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) ttl: Option<Duration>,
}

impl<V> Loaded<V> {
    /// The source has this value.
    pub fn value(value: V) -> Self {
        Self::maybe(Some(value))
    }

    /// The source has no value; this is remembered too, with a time to live of its own.
    pub fn absent() -> Self {
        Self::maybe(None)
    }

    /// One or the other.
    pub fn maybe(value: Option<V>) -> Self {
        Self { value, stamp: None, tags: Vec::new(), ttl: None }
    }

    /// Takes the value out.
    pub fn into_value(self) -> Option<V> {
        self.value
    }

    /// What the load saw of its source. Required where the source has a log: without it the answer is given to its
    /// readers and not kept.
    pub fn stamped(mut self, stamp: Stamp) -> Self {
        self.stamp = Some(stamp);
        self
    }

    /// The answer depends on this, too.
    pub fn tagged(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// How long this answer may live, instead of the contract's time to live.
    pub fn lives(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl<V> From<V> for Loaded<V> {
    fn from(value: V) -> Self {
        Self::value(value)
    }
}
