//! The cache: what users hold.

use crate::answer::{Answer, Any, Consistency, Declared};
use crate::error::{LoadError, ReadError};
use crate::flight::{Flight, FlightError, Flights, Landed, Outcome};
use crate::follow::{FollowOptions, Follower, KnownLogs, local_stamp};
use crate::life::{EntryFacts, Happening, Life, Notes};
use crate::limit::{Limiter, Limits, Priority};
use crate::load::{Load, LoadContext, Loaded};
use crate::read::jittered;
use crate::seams::World;
use crate::view::{Event, View};
use candor_core::port::Log;
use candor_core::{
    Contract, Demand, Entry, EntryParts, Level, Moment, Position, ProofKind, SessionToken, Stamp, Tag,
    Verdict,
};
use candor_tiers::{Memory, Tier, Usage};
use futures_util::FutureExt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    /// How far a coarse moment may lie back, in nanoseconds.
    pub(crate) coarse_lag: u64,
    /// Counts invalidations by applications, for loads that are not flights.
    pub(crate) invalidations: AtomicU64,
    notes: Notes,
    closed: AtomicBool,
}

/// Builds a [`Cache`].
#[must_use]
pub struct CacheBuilder<K, V> {
    contract: Contract,
    world: Option<World>,
    tier: Option<Arc<Memory<K, V>>>,
    bytes_max: u64,
    limits: Limits,
    log: Option<Arc<dyn Log>>,
    follow: FollowOptions,
    known: KnownLogs,
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), view: Arc::clone(&self.view) }
    }
}

impl<K, V> CacheBuilder<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn new() -> Self {
        Self {
            contract: Contract::default(),
            world: None,
            tier: None,
            bytes_max: 64 << 20,
            limits: Limits::default(),
            log: None,
            follow: FollowOptions::default(),
            known: KnownLogs::default(),
        }
    }

    /// The promises. Default: [`Contract::default`].
    pub fn contract(mut self, contract: Contract) -> Self {
        self.contract = contract;
        self
    }

    /// How long an answer may live, whatever the log says. Default: one hour.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.contract.ttl = ttl;
        self
    }

    /// The level of reads that do not ask for one. Default: `bounded:2s`.
    pub fn level(mut self, level: Level) -> Self {
        self.contract.level = level;
        self
    }

    /// Memory for entries, in bytes of keys, answers and their slots. Default: 64 MiB. What answers own on the heap is
    /// not counted; use [`CacheBuilder::tier`] for a tier that weighs it.
    pub fn capacity(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Keep entries here; caches may share a tier if their keys cannot be alike.
    pub fn tier(mut self, tier: Arc<Memory<K, V>>) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Protect the source. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Prove answers with the source's log. Without one, receipts say `proof: clock`.
    pub fn log(mut self, log: Arc<dyn Log>) -> Self {
        self.log = Some(log);
        self
    }

    /// How the log is followed. Default: [`FollowOptions::default`].
    pub fn follow(mut self, options: FollowOptions) -> Self {
        self.follow = options;
        self
    }

    /// Share session tokens with other caches of this process.
    pub fn known_logs(mut self, known: KnownLogs) -> Self {
        self.known = known;
        self
    }

    /// Time, randomness and tasks. Default: [`World::system`].
    pub fn world(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    /// Builds the cache and, with a log, begins to follow it. Must be called where the world can spawn tasks: with the
    /// default world, inside a Tokio runtime.
    pub fn build(self) -> Cache<K, V> {
        let world = self.world.unwrap_or_else(World::system);
        let follower = match self.log {
            Some(log) => Follower::follow(world.clone(), log, self.follow, self.known),
            None => Follower::local(world.clone(), self.known),
        };
        let tier = self.tier.unwrap_or_else(|| Arc::new(Memory::new(self.bytes_max, |_, _| 0)));
        let shared = Shared {
            limiter: Limiter::new(self.limits, world.clone()),
            coarse_lag: u64::try_from(world.clock().coarse_lag().as_nanos()).unwrap_or(u64::MAX),
            world,
            tier,
            follower,
            flights: Flights::new(),
            invalidations: AtomicU64::new(0),
            notes: Notes::new(),
            closed: AtomicBool::new(false),
        };
        let tier = Arc::downgrade(&shared.tier);
        shared.follower.on_generations_used_up(move || {
            if let Some(tier) = tier.upgrade() {
                tier.retain(&mut |_, _| false);
            }
        });
        Cache { shared: Arc::new(shared), view: Arc::new(View::new(self.contract)) }
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
    pub async fn read<F, Fut, T, E>(&self, key: &K, loader: F) -> Result<Answer<V>, ReadError>
    where
        F: Fn(LoadContext<K, V>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.read_with(key, Declared, || Arc::new(loader)).await
    }

    /// Reads at another level than the contract's.
    pub fn at<L: Consistency>(&self, level: L) -> At<'_, K, V, L> {
        At { cache: self, level }
    }

    /// What memory holds if it is current as far as is known: no source, no waiting. Nothing for critical views.
    pub fn peek(&self, key: &K) -> Option<Answer<V, Any>> {
        if self.view.contract().critical || self.check_open().is_err() {
            return None;
        }
        self.hit(key, Level::Any).map(|(answer, _)| answer.weaken())
    }

    /// Reads with a loader that is only made on a miss.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    #[inline]
    pub async fn read_with<L: Consistency>(
        &self,
        key: &K,
        level: L,
        loader: impl FnOnce() -> Arc<dyn Load<K, V>>,
    ) -> Result<Answer<V, L>, ReadError> {
        self.check_open()?;
        let demand = self.demand(&level);
        self.read_demanding(key, demand, loader).await.map(Answer::at)
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

    /// Drops everything that depends on any of these tags. Where the source has a log this looks at every entry.
    pub fn invalidate_tags(&self, tags: &[Tag]) {
        self.view.figures().event(Event::Invalidated);
        if !self.shared.follower.has_log() {
            return self.shared.follower.invalidate_locally(tags.to_vec());
        }
        self.shared.invalidations.fetch_add(1, Ordering::AcqRel);
        self.shared.flights.doom_all();
        self.shared.tier.retain(&mut |_, entry| !entry.tags().iter().any(|tag| tags.contains(tag)));
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

    pub(crate) fn check_open(&self) -> Result<(), ReadError> {
        if self.shared.closed.load(Ordering::Acquire) { Err(ReadError::ShuttingDown) } else { Ok(()) }
    }

    pub(crate) fn demand<L: Consistency>(&self, level: &L) -> Demand {
        level.demand().unwrap_or_else(|| Demand::from(self.view.contract().level))
    }

    fn key_tag(&self, key: &K) -> Tag {
        Tag::of_hash(hash(key))
    }
}

fn hash<K: Hash>(key: &K) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}

/// A load that succeeded, before its answer is judged.
pub(crate) struct Fill<'a, K> {
    pub(crate) key: &'a K,
    pub(crate) view: &'a View,
    /// Where the local ledger stood before the load began; the stamp of sources without a log.
    pub(crate) local: Option<Stamp>,
    pub(crate) begun: Moment,
    pub(crate) took: Duration,
}

/// Why an answer is given to its readers and not kept.
pub(crate) enum NotKept {
    Outdated,
    Void,
    Unstamped,
    Untagged,
    Invalidated,
}

impl NotKept {
    fn event(&self) -> Event {
        match self {
            Self::Outdated => Event::NotKeptOutdated,
            Self::Void => Event::NotKeptVoid,
            Self::Unstamped => Event::NotKeptUnstamped,
            Self::Untagged => Event::NotKeptUntagged,
            Self::Invalidated => Event::NotKeptInvalidated,
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Self::Outdated => "a change is already known that it does not reflect",
            Self::Void => "the ledger cannot judge it",
            Self::Unstamped => "its loader did not say what it saw",
            Self::Untagged => "its loader did not say what it depends on",
            Self::Invalidated => "an application invalidated the key while it was loading",
        }
    }
}

impl<K, V> Shared<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn note(&self, key: &K, what: Happening) {
        self.notes.note(hash(key), self.world.now(), what);
    }

    /// Runs a flight: waits for a turn at the source, loads, judges, keeps.
    pub(crate) async fn fill(&self, flight: &Arc<Flight<K, V>>) -> Outcome<V> {
        // A refresh is wanted although nobody waits for it.
        let _wanted = (flight.priority == Priority::Refresh).then(|| flight.interest.take());
        let permit = match self.limiter.acquire(flight.priority).await {
            Ok(permit) => permit,
            Err(overload) => {
                flight.view.figures().event(Event::FillRefused);
                return Err(FlightError::Overloaded(overload));
            }
        };
        // The order is the proof: the moment and the local stamp first, then the question to the source.
        let begun = self.world.now();
        flight.begin(begun);
        let local = self.follower.ledger().sight().map(|sight| local_stamp(&sight));
        let context = LoadContext {
            key: flight.key.clone(),
            previous: self.tier.get(&flight.key).and_then(Entry::into_value),
            interest: Arc::clone(&flight.interest),
        };
        let work = AssertUnwindSafe(async { flight.loader.load(context).await }).catch_unwind();
        let limit = flight.view.contract().timeout;
        let loaded = self.world.within(begun.plus(limit), work).await;
        drop(permit);
        let took = self.world.now().since(begun);
        let error = match loaded {
            Some(Ok(Ok(loaded))) => {
                flight.view.filled(took);
                let fill = Fill { key: &flight.key, view: &flight.view, local, begun, took };
                return Ok(self.keep(&fill, loaded, &|| flight.is_doomed()));
            }
            Some(Ok(Err(error))) => FlightError::Load(error),
            Some(Err(_panic)) => FlightError::Load(LoadError::panicked()),
            None => FlightError::Timeout(limit),
        };
        flight.view.figures().event(Event::FillFailed);
        self.note(&flight.key, Happening::FillFailed { why: ReadError::from(error.clone()).to_string() });
        Err(error)
    }

    /// Keeps an answer if the rule allows it.
    ///
    /// `doomed` says whether an application has invalidated the key since the load began.
    pub(crate) fn keep(&self, fill: &Fill<'_, K>, loaded: Loaded<V>, doomed: &dyn Fn() -> bool) -> Landed<V> {
        let contract = fill.view.contract();
        let absent = loaded.value.is_none();
        let declared = if absent { contract.absent_ttl } else { contract.ttl };
        let ttl = jittered(loaded.ttl.unwrap_or(declared), self.world.draw_unit());
        let logged = self.follower.has_log() && contract.proof == ProofKind::Log;
        let mut tags = loaded.tags;
        let untagged = logged && tags.is_empty();
        if !logged {
            tags.push(Tag::of_hash(hash(fill.key)));
        }
        let upper = loaded.stamp.as_ref().filter(|_| logged).map(Stamp::upper);
        let stamp = if logged { loaded.stamp } else { fill.local.clone() };
        let (stamp, unstamped) = match stamp {
            Some(stamp) => (stamp, false),
            None => (fill.local.clone().unwrap_or(Stamp::Sequence(NOWHERE)), true),
        };
        let (sight, epoch) = (self.follower.ledger().sight(), stamp.upper().epoch);
        let generation = sight.map_or(0, |sight| sight.generation);
        let entry = Entry::new(EntryParts {
            value: loaded.value,
            filled_at: fill.begun,
            stamp,
            tags,
            generation,
            ttl,
        });
        let not_kept = if unstamped {
            Some(NotKept::Unstamped)
        } else if untagged {
            Some(NotKept::Untagged)
        } else if doomed() {
            Some(NotKept::Invalidated)
        } else {
            match sight.filter(|sight| sight.epoch == epoch) {
                None => Some(NotKept::Void),
                Some(sight) => match self.judge_fill(&sight, &entry) {
                    Verdict::Current { .. } => None,
                    Verdict::Outdated(_) => Some(NotKept::Outdated),
                    Verdict::Void(_) => Some(NotKept::Void),
                },
            }
        };
        match &not_kept {
            None => {
                self.tier.put(fill.key.clone(), entry.clone());
                // Asked again: an invalidation between the question above and the put removed nothing.
                if doomed() {
                    self.tier.remove(fill.key);
                }
                fill.view.figures().event(Event::Kept);
            }
            Some(reason) => fill.view.figures().event(reason.event()),
        }
        let kept = not_kept.is_none();
        let not_kept = not_kept.map(|reason| reason.words());
        self.note(fill.key, Happening::Filled { position: upper, took: fill.took, absent, not_kept });
        Landed { entry, upper, kept }
    }

    fn judge_fill(&self, sight: &candor_core::Sight, entry: &Entry<V>) -> Verdict {
        #[cfg(candor_sabotage)]
        if crate::sabotage::is(crate::sabotage::Sabotage::JudgeAlwaysCurrent) {
            return Verdict::Current { proven: sight.watermark };
        }
        self.follower.ledger().judge(sight, entry)
    }
}

/// The position of an entry that is never kept.
const NOWHERE: Position =
    Position { epoch: candor_core::Epoch { log: candor_core::LogId(0), era: 0 }, at: 0 };

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
    pub async fn read<F, Fut, T, E>(&self, key: &K, loader: F) -> Result<Answer<V, L>, ReadError>
    where
        F: Fn(LoadContext<K, V>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Loaded<V>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.cache.read_with(key, self.level.clone(), || Arc::new(loader)).await
    }
}
