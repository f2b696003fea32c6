//! The cache: what users hold.

use crate::answer::{Answer, Any, Consistency, Declared};
use crate::builder::CacheBuilder;
use crate::error::ReadError;
use crate::flight::Flights;
use crate::follow::Follower;
use crate::life::{EntryFacts, Happening, Life, Notes};
use crate::limit::{Limiter, Limits, SpareTurn};
use crate::load::{Load, LoadContext, Loaded};
use crate::reading::Reading;
use crate::seams::World;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::view::{Event, View};
use candor_core::{Contract, Demand, Level, SessionToken, Tag};
use candor_tiers::{Memory, Tier, Usage};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

/// A read-through cache of one source's answers under one contract.
///
/// Cheap to clone; clones share everything. See the [crate documentation](crate) for a tour.
pub struct Cache<K, V> {
    pub(crate) shared: Arc<Shared<K, V>>,
    pub(crate) view: Arc<View>,
}

/// What all views of a source share.
pub(crate) struct Shared<K, V> {
    pub(crate) world: World,
    pub(crate) tier: Arc<Memory<K, V>>,
    pub(crate) follower: Follower,
    pub(crate) flights: Flights<K, V>,
    pub(crate) limiter: Arc<Limiter>,
    /// Counts invalidations by applications, for loads that are not flights.
    pub(crate) invalidations: AtomicU64,
    notes: Notes,
    closed: AtomicBool,
}

impl<K, V> Shared<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(world: World, tier: Arc<Memory<K, V>>, follower: Follower, limits: Limits) -> Self {
        Self {
            limiter: Limiter::new(limits, world.clone()),
            world,
            tier,
            follower,
            flights: Flights::new(),
            invalidations: AtomicU64::new(0),
            notes: Notes::new(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn note(&self, key: &K, what: Happening) {
        self.notes.note(hash(key), self.world.now(), what);
    }
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), view: Arc::clone(&self.view) }
    }
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Begins to build a cache.
    pub fn builder() -> CacheBuilder<K, V> {
        CacheBuilder::new()
    }

    /// The same source and memory under another contract. The keys of two views must never be alike.
    pub fn with_contract(&self, contract: Contract) -> Self {
        Self { shared: Arc::clone(&self.shared), view: Arc::new(View::new(contract)) }
    }

    /// The value for `key`, from memory or from `loader`; `None` where the source has none.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn get<F, Fut, T, E>(&self, key: &K, loader: F) -> Result<Option<V>, ReadError>
    where
        F: Fn(LoadContext<K, V>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.read(key, loader).await.map(Answer::into_value)
    }

    /// Like [`Cache::get`], with the receipt.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    #[inline]
    pub fn read<'a, F, Fut, T, E>(
        &'a self,
        key: &'a K,
        loader: F,
    ) -> Reading<'a, K, V, Declared, impl FnOnce() -> Arc<dyn Load<K, V>>>
    where
        F: Fn(LoadContext<K, V>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.read_with(key, Declared, || Arc::new(loader) as Arc<dyn Load<K, V>>)
    }

    /// Reads at another level than the contract's.
    pub fn at<L: Consistency>(&self, level: L) -> At<'_, K, V, L> {
        At { cache: self, level }
    }

    /// What memory holds if it is current as far as is known: no source, no waiting. Nothing for critical views.
    #[inline]
    pub fn peek(&self, key: &K) -> Option<Answer<V, Any>> {
        self.plain_hit(key, &Any)
    }

    /// Reads with a loader that is only made on a miss.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    #[inline]
    pub fn read_with<'a, L: Consistency, M: FnOnce() -> Arc<dyn Load<K, V>>>(
        &'a self,
        key: &'a K,
        level: L,
        loader: M,
    ) -> Reading<'a, K, V, L, M> {
        Reading::new(self, key, level, loader)
    }

    /// The token for everything visible at the source now: what a writer takes after its own commit. The source alone
    /// gives it; the log need not have arrived here.
    ///
    /// # Errors
    ///
    /// Where there is no log, or the source does not tell its position.
    pub async fn fence(&self) -> Result<SessionToken, ReadError> {
        self.check_open()?;
        let level = Level::Session;
        if !self.shared.follower.has_log() {
            let why = "the source has no log, so there are no positions to wait for".to_owned();
            return Err(ReadError::LevelUnmet { level, why });
        }
        let deadline = self.shared.world.now().plus(self.view.contract().timeout);
        match self.shared.follower.ask(deadline).await {
            Ok(position) => Ok(SessionToken::at(position)),
            Err(why) => Err(ReadError::LevelUnmet { level, why }),
        }
    }

    /// Drops what is known of a key: what is in memory, and what is being loaded is given to its readers and not kept.
    ///
    /// For sources without a log this is how changes become known. Elsewhere it is a hint that saves nothing but time.
    pub fn invalidate(&self, key: &K) {
        self.view.figures().event(Event::Invalidated);
        self.note(key, Happening::Invalidated);
        if !self.shared.follower.has_log() {
            self.shared.follower.invalidate_locally(vec![self.key_tag(key)]);
        }
        self.shared.invalidations.fetch_add(1, Ordering::AcqRel);
        self.shared.flights.doom(key);
        self.shared.tier.remove(key);
    }

    /// Drops everything that depends on any of these tags. Where the source has a log this looks at every entry once,
    /// and finds each of its tags among the named ones by halving.
    ///
    /// Counted for this view. Others of the same source lose entries as well; [`View::invalidated`] counts for them.
    pub fn invalidate_tags(&self, tags: &[Tag]) {
        self.view.figures().event(Event::Invalidated);
        if !self.shared.follower.has_log() {
            return self.shared.follower.invalidate_locally(tags.to_vec());
        }
        self.shared.invalidations.fetch_add(1, Ordering::AcqRel);
        self.shared.flights.doom_all();
        let mut named = tags.to_vec();
        named.sort_unstable();
        self.shared
            .tier
            .retain(&mut |_, entry| !entry.tags().iter().any(|tag| named.binary_search(tag).is_ok()));
    }

    /// Everything known of a key.
    pub fn explain(&self, key: &K) -> Life {
        let ledger = self.shared.follower.ledger();
        let sight = ledger.sight();
        let entry = self.shared.tier.get(key);
        let changes =
            entry.as_ref().map(|entry| self.shared.follower.recent_changes(entry.tags())).unwrap_or_default();
        let facts = entry.map(|entry| EntryFacts {
            filled_at: entry.filled_at(),
            upper: entry.upper(),
            proven: entry.proven(),
            expires_at: entry.expires_at(),
            absent: entry.value().is_none(),
            tags: entry.tags().len(),
            verdict: sight.map(|sight| ledger.judge(&sight, &entry)),
        });
        Life {
            now: self.shared.world.now(),
            entry: facts,
            feed: self.shared.follower.status(),
            watermark: sight.map(|sight| sight.position()),
            horizon: sight.map(|sight| sight.horizon),
            proven_until: sight.and_then(|sight| sight.proven_until),
            happenings: self.shared.notes.of(hash(key)),
            changes,
        }
    }

    /// The contract and its figures.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The source's log, as followed here.
    pub fn follower(&self) -> &Follower {
        &self.shared.follower
    }

    /// What memory holds.
    pub fn usage(&self) -> Usage {
        self.shared.tier.usage()
    }

    /// Loads running at the source, and loads waiting for their turn.
    pub fn load(&self) -> (usize, usize) {
        self.shared.limiter.occupancy()
    }

    /// A turn at the source that no reader misses, for whoever looks at the source past memory: only while nobody waits
    /// and at least half of the turns are free. It counts as a load as long as it is held.
    pub fn spare_turn(&self) -> Option<SpareTurn> {
        if self.is_closed() { None } else { self.shared.limiter.spare() }
    }

    /// Refuses new reads, lets what is being loaded finish until `deadline` has passed, and stops following the log.
    /// Returns whether everything finished.
    pub async fn close(&self, within: Duration) -> bool {
        self.shared.closed.store(true, Ordering::Release);
        let deadline = self.shared.world.now().plus(within);
        let drained = self.shared.world.within(deadline, self.shared.flights.landed()).await.is_some();
        self.shared.follower.close();
        if !drained {
            tracing::warn!(aloft = self.shared.flights.aloft(), "closed while loads were still running");
        }
        drained
    }

    pub(crate) fn note(&self, key: &K, what: Happening) {
        self.shared.note(key, what);
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    pub(crate) fn check_open(&self) -> Result<(), ReadError> {
        if self.is_closed() { Err(ReadError::ShuttingDown) } else { Ok(()) }
    }

    pub(crate) fn demand<L: Consistency>(&self, level: &L) -> Demand {
        level.demand().unwrap_or_else(|| Demand::from(self.view.contract().level))
    }

    fn key_tag(&self, key: &K) -> Tag {
        Tag::of_hash(hash(key))
    }
}

pub(crate) fn hash<K: Hash>(key: &K) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}

/// Reads of a cache at a chosen level; see [`Cache::at`].
pub struct At<'a, K, V, L> {
    cache: &'a Cache<K, V>,
    level: L,
}

impl<K, V, L> At<'_, K, V, L>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    L: Consistency,
{
    /// The value for `key`; see [`Cache::get`].
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn get<F, Fut, T, E>(&self, key: &K, loader: F) -> Result<Option<V>, ReadError>
    where
        F: Fn(LoadContext<K, V>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.read(key, loader).await.map(Answer::into_value)
    }

    /// The answer for `key`, with its receipt and its level in the type.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    #[inline]
    pub fn read<'a, F, Fut, T, E>(
        &'a self,
        key: &'a K,
        loader: F,
    ) -> Reading<'a, K, V, L, impl FnOnce() -> Arc<dyn Load<K, V>>>
    where
        F: Fn(LoadContext<K, V>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.cache.read_with(key, self.level.clone(), || Arc::new(loader) as Arc<dyn Load<K, V>>)
    }
}
