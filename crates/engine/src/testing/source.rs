//! A source in memory, with a log.

use crate::error::LoadError;
use crate::load::{Load, LoadContext, Loaded};
use crate::many::{LoadMany, ManyLoaded};
use candor_core::port::{BoxFuture, Feed, Fence, Log, SourceError};
use candor_core::{Change, Epoch, LogId, Position, Record, Stamp, Tag, Xid};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;
use tokio::sync::watch;

/// A map with transactions and a log, as a source for tests. Clones are the same source.
pub struct MemorySource<K, V> {
    inner: Arc<Inner<K, V>>,
}

/// The log of a [`MemorySource`].
pub struct MemoryLog<K, V> {
    inner: Arc<Inner<K, V>>,
}

struct Inner<K, V> {
    state: Mutex<State<K, V>>,
    /// Where the log ends, and whether it is delivered; followers wait for it.
    head: watch::Sender<Head>,
}

struct State<K, V> {
    rows: HashMap<K, V>,
    changes: Vec<Change>,
    epoch: Epoch,
    down: bool,
    fences: u64,
}

#[derive(Copy, Clone, PartialEq, Eq)]
struct Head {
    at: u64,
    frozen: bool,
    epoch: Epoch,
}

impl<K, V> Clone for MemorySource<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K, V> Default for MemorySource<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> MemorySource<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty source. Each has a log of its own.
    pub fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let log = LogId(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let epoch = Epoch { log, era: 0 };
        let state = State { rows: HashMap::new(), changes: Vec::new(), epoch, down: false, fences: 0 };
        let head = watch::Sender::new(Head { at: 0, frozen: false, epoch });
        Self { inner: Arc::new(Inner { state: Mutex::new(state), head }) }
    }

    /// Commits one transaction: each key gets the value, or loses its own for `None`. Returns its position.
    pub fn commit(&self, writes: impl IntoIterator<Item = (K, Option<V>)>) -> Position {
        let mut state = self.inner.state.lock();
        let at = state.changes.len() as u64 + 1;
        let mut tags = Vec::new();
        for (key, value) in writes {
            tags.push(Self::tag(&key));
            match value {
                Some(value) => state.rows.insert(key, value),
                None => state.rows.remove(&key),
            };
        }
        state.changes.push(Change { at, xid: Xid(at), tags: tags.into(), note: "commit".into() });
        let epoch = state.epoch;
        self.inner.head.send_modify(|head| head.at = at);
        Position { epoch, at }
    }

    /// The tag of a key.
    pub fn tag(key: &K) -> Tag {
        Tag::of_hash(BuildHasherDefault::<DefaultHasher>::default().hash_one(key))
    }

    /// The log, for [`CacheBuilder::log`](crate::CacheBuilder::log).
    pub fn log(&self) -> Arc<MemoryLog<K, V>> {
        Arc::new(MemoryLog { inner: Arc::clone(&self.inner) })
    }

    /// Reads a key as a loader would: the value and the stamp together.
    ///
    /// # Errors
    ///
    /// While the source is down.
    pub fn read(&self, key: &K) -> Result<(Option<V>, Stamp), SourceError> {
        let state = self.inner.state.lock();
        if state.down {
            return Err(SourceError::down("the memory source was told to be down"));
        }
        let at = state.changes.len() as u64;
        let stamp = Stamp::Sequence(Position { epoch: state.epoch, at });
        Ok((state.rows.get(key).cloned(), stamp))
    }

    /// A loader that reads from this source, for [`Cache::get`](crate::Cache::get).
    pub fn reader(
        &self,
    ) -> impl Fn(LoadContext<K, V>) -> std::future::Ready<Result<Loaded<V>, SourceError>> + Send + Sync + 'static
    {
        let source = self.clone();
        move |context: LoadContext<K, V>| {
            let loaded = source
                .read(context.key())
                .map(|(value, stamp)| Loaded::maybe(value).stamped(stamp).tagged(Self::tag(context.key())));
            std::future::ready(loaded)
        }
    }

    /// The same as an object, for [`Cache::read_with`](crate::Cache::read_with).
    pub fn loader(&self) -> Arc<dyn Load<K, V>> {
        Arc::new(self.reader())
    }

    /// Loads several keys in one transaction, for [`Cache::snapshot`](crate::Cache::snapshot).
    pub fn many_loader(&self) -> Arc<dyn LoadMany<K, V>> {
        Arc::new(self.clone())
    }

    /// Stops or resumes the delivery of the log. The source itself goes on; fences do, too.
    pub fn freeze_log(&self, frozen: bool) {
        self.inner.head.send_modify(|head| head.frozen = frozen);
    }

    /// Lets reads and fences fail, or work again.
    pub fn set_down(&self, down: bool) {
        self.inner.state.lock().down = down;
    }

    /// How often the source was asked for its position.
    pub fn fences(&self) -> u64 {
        self.inner.state.lock().fences
    }

    /// Rewrites history, as a restore from a backup does: keeps the first `at` positions' worth of log, gives the rows
    /// these values, and begins a new log.
    pub fn restore(&self, at: u64, rows: impl IntoIterator<Item = (K, V)>) {
        let fresh = Self::new();
        let mut state = self.inner.state.lock();
        state.changes.truncate(usize::try_from(at).unwrap_or(usize::MAX));
        state.rows = rows.into_iter().collect();
        state.epoch = fresh.inner.state.lock().epoch;
        let (at, epoch) = (state.changes.len() as u64, state.epoch);
        self.inner.head.send_modify(|head| *head = Head { at, epoch, ..*head });
    }
}

impl<K, V> LoadMany<K, V> for MemorySource<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn load_many(&self, keys: Vec<K>) -> BoxFuture<'static, Result<ManyLoaded<V>, LoadError>> {
        let state = self.inner.state.lock();
        let outcome = if state.down {
            Err(SourceError::down("the memory source was told to be down").into())
        } else {
            let at = state.changes.len() as u64;
            let answer = |key: &K| Loaded::maybe(state.rows.get(key).cloned()).tagged(Self::tag(key));
            Ok(ManyLoaded {
                stamp: Stamp::Sequence(Position { epoch: state.epoch, at }),
                answers: keys.iter().map(answer).collect(),
            })
        };
        Box::pin(std::future::ready(outcome))
    }
}

impl<K, V> Log for MemoryLog<K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn fence(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        let mut state = self.inner.state.lock();
        state.fences += 1;
        let answer = if state.down {
            Err(SourceError::down("the memory source was told to be down"))
        } else {
            Ok(Fence::whole(Position { epoch: state.epoch, at: state.changes.len() as u64 }))
        };
        Box::pin(std::future::ready(answer))
    }

    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn Feed>, SourceError>> {
        let inner = Arc::clone(&self.inner);
        let head = inner.head.subscribe();
        let feed: Box<dyn Feed> = Box::new(MemoryFeed { inner, head, reached: None });
        Box::pin(std::future::ready(Ok(feed)))
    }
}

struct MemoryFeed<K, V> {
    inner: Arc<Inner<K, V>>,
    head: watch::Receiver<Head>,
    reached: Option<(Epoch, u64)>,
}

impl<K, V> Feed for MemoryFeed<K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn next(&mut self) -> BoxFuture<'_, Result<Record, SourceError>> {
        Box::pin(async move {
            let reached = self.reached;
            let news = |head: &Head| !head.frozen && reached != Some((head.epoch, head.at));
            if self.head.wait_for(news).await.is_err() {
                return Err(SourceError::down("the memory source is gone"));
            }
            let state = self.inner.state.lock();
            let (epoch, at) = (state.epoch, state.changes.len() as u64);
            let record = match self.reached {
                Some((known, previous)) if known == epoch => {
                    let from = usize::try_from(previous).unwrap_or(usize::MAX).min(state.changes.len());
                    Record { epoch, previous, at, changes: state.changes[from..].to_vec() }
                }
                _ => Record::opening(epoch, at),
            };
            self.reached = Some((epoch, at));
            Ok(record)
        })
    }
}
