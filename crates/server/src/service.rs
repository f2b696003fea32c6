//! The service behind every door: views by name, and what can be asked of them.
//!
//! Doors parse and render; the engine decides. Here a name becomes a view, the parts of a key become an entry's key
//! (through the one place where a subject is added: [`auth::key`](crate::auth::key)), and a source's name its cache.

use crate::ask::{AskError, NotOffered};
use crate::assembly::{Prepared, is_by_row};
use crate::audit::{self, Audit, Campaign, Tap};
use crate::auth::{Caller, Subject, key};
use crate::config::{Complaints, Config, ViewDeclaration};
use crate::database::Database;
use crate::entry::{EntryKey, Json};
use crate::invalidate::TagName;
use crate::load::{ViewLoader, ViewLoaders};
use crate::upkeep;
use candor::{
    Answer, Cache, Demanded, FeedStatus, Life, Limits, LoadMany, Memory, ReadError, Tier, Usage, World,
};
use candor_core::{Demand, Derived, Level, ProofKind, SessionToken, Tag};
use candor_postgres::SlotFigures;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// An answer as doors render it.
pub type ServedAnswer = Answer<Json, Demanded>;

/// Running sources and caches. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    memory: Arc<Memory<EntryKey, Json>>,
    sources: Vec<ServedSource>,
    views: Vec<ServedView>,
    names: HashMap<Box<str>, usize>,
    closing: watch::Sender<bool>,
    is_draining: AtomicBool,
    audit: Audit,
}

/// A source, its cache and its protection.
pub struct ServedSource {
    pub(crate) name: Box<str>,
    pub(crate) cache: Cache<EntryKey, Json>,
    pub(crate) is_logged: bool,
    pub(crate) limits: Limits,
    pub(crate) poll: Duration,
    pub(crate) world: World,
    pub(crate) database: Database,
    /// What its replication slot keeps, as of a few seconds ago; `None` where there is none, or nobody could tell.
    pub(crate) slot: watch::Sender<Option<SlotFigures>>,
}

/// Where a source's log stands, for people and probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedHealth {
    /// There is no log; nothing is followed.
    None,
    /// It is followed, and proven complete up to this long ago at most.
    Following(Duration),
    /// It was not followed yet.
    Starting,
    /// It cannot be followed, or does not answer. For whoever runs the service: names files.
    Down(String),
}

/// A view in force.
pub struct ServedView {
    pub(crate) index: u32,
    pub(crate) source: usize,
    pub(crate) cache: Cache<EntryKey, Json>,
    pub(crate) loaders: ViewLoaders,
    pub(crate) declaration: ViewDeclaration,
    pub(crate) derived: Derived,
    /// What its source found out later, if it was not there when the service started and `derived` is empty; `None` for
    /// a view that was held at the start.
    pub(crate) learned: Option<Arc<OnceLock<Derived>>>,
    /// Where the audit hears what is served of it.
    pub(crate) tap: Arc<Tap>,
}

/// Why a source is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// The source; `None` for the service as a whole.
    pub source: Option<Box<str>>,
    /// Why, for whoever runs the service.
    pub why: String,
}

impl Service {
    /// Opens the sources, holds the views against them and starts caches. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// Everything that cannot be kept, with places in the file.
    pub async fn start(config: &Config) -> Result<Self, Complaints> {
        Prepared::open(config).await?.start(config)
    }

    pub(crate) fn new(
        world: World,
        memory: Arc<Memory<EntryKey, Json>>,
        sources: Vec<ServedSource>,
        views: Vec<ServedView>,
        audit: Audit,
    ) -> Self {
        let names = views.iter().enumerate().map(|(at, view)| (view.declaration.name.clone(), at)).collect();
        let closing = watch::Sender::new(false);
        upkeep::begin(&world, &sources, &views, &closing);
        let is_draining = AtomicBool::new(false);
        Self { inner: Arc::new(Inner { world, memory, sources, views, names, closing, is_draining, audit }) }
    }

    /// The view of that name.
    pub fn view(&self, name: &str) -> Option<&ServedView> {
        self.inner.names.get(name).map(|at| &self.inner.views[*at])
    }

    /// All views, in the order of the file.
    pub fn views(&self) -> &[ServedView] {
        &self.inner.views
    }

    /// The source of that name.
    pub fn source(&self, name: &str) -> Option<&ServedSource> {
        self.inner.sources.iter().find(|source| *source.name == *name)
    }

    /// All sources, in the order of the file.
    pub fn sources(&self) -> &[ServedSource] {
        &self.inner.sources
    }

    /// The source of a view.
    pub fn source_of(&self, view: &ServedView) -> &ServedSource {
        &self.inner.sources[view.source]
    }

    /// Reads one key.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn read(
        &self,
        view: &ServedView,
        key: &EntryKey,
        demand: Demand,
    ) -> Result<ServedAnswer, ReadError> {
        let ear = view.tap.listen(std::slice::from_ref(key), false, demand.level, &self.inner.world);
        // Only a read that is no plain hit needs the loader.
        let from = view.loaders.of(&demand);
        let loader = || -> Arc<dyn candor::Load<EntryKey, Json>> { Arc::<ViewLoader>::clone(from) };
        let answer = view.cache.read_with(key, Demanded(demand), loader).await?;
        if let Some(ear) = ear {
            ear.heard(std::slice::from_ref(&answer));
        }
        Ok(answer)
    }

    /// Reads several keys, each at the demanded level; as a snapshot all answers hold together. In the order asked.
    /// One that fails fails all: half an answer would have to be read with as much care as none.
    ///
    /// # Errors
    ///
    /// A snapshot without a log; else the first failure, and of which key.
    pub async fn read_many(
        &self,
        view: &ServedView,
        keys: &[EntryKey],
        demand: Demand,
        is_snapshot: bool,
    ) -> Result<Vec<ServedAnswer>, AskError> {
        if is_snapshot && !view.is_logged() {
            return Err(AskError::Refused(NotOffered::Snapshot { view: view.name().into() }));
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if is_snapshot {
            let loader: Arc<dyn LoadMany<EntryKey, Json>> = view.loaders.of(&demand).clone();
            let ear = view.tap.listen(keys, true, demand.level, &self.inner.world);
            let answers =
                view.cache.snapshot(keys, Demanded(demand), loader).await.map_err(AskError::of_all)?;
            if let Some(ear) = ear {
                ear.heard(&answers);
            }
            return Ok(answers);
        }
        let loader: Arc<dyn LoadMany<EntryKey, Json>> = view.loaders.of(&demand).clone();
        let listen = |key| view.tap.listen(std::slice::from_ref(key), false, demand.level, &self.inner.world);
        let ears: Vec<_> = keys.iter().enumerate().filter_map(|(at, key)| Some((at, listen(key)?))).collect();
        let answers = view.cache.read_many(keys, Demanded(demand), loader).await;
        let answers =
            answers.map_err(|failed| AskError::Failed { at: Some(failed.at), error: failed.error })?;
        for (at, ear) in ears {
            ear.heard(&answers[at..=at]);
        }
        Ok(answers)
    }

    /// Lets the audit hear what memory holds of keys, without a change to it. Of snapshots it holds nothing.
    pub(crate) fn peek(&self, view: &ServedView, keys: &[EntryKey], is_snapshot: bool) {
        let ([key], false) = (keys, is_snapshot) else { return };
        let ear = view.tap.listen(keys, false, Level::Any, &self.inner.world);
        if let (Some(ear), Some(answer)) = (ear, view.cache.peek(key)) {
            ear.heard(&[answer]);
        }
    }

    /// Begins to hold served answers against the source, at the pace of the configuration.
    pub fn begin_audit(&self) {
        audit::begin(self, self.inner.closing.subscribe());
    }

    /// Does so more often for a while.
    pub fn campaign(&self, campaign: Campaign) {
        self.begin_audit();
        self.inner.audit.campaign(campaign, self.inner.world.now());
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// What the audit has found, for whoever may read everything.
    pub fn audited(&self) -> serde_json::Value {
        audit::tell(self, &Caller::anonymous())
    }

    /// The token for everything visible at the source now.
    ///
    /// # Errors
    ///
    /// A source without a log; else see [`Cache::fence`].
    pub async fn fence(&self, source: &ServedSource) -> Result<SessionToken, AskError> {
        if !source.is_logged() {
            return Err(AskError::Refused(NotOffered::Fence { source_name: source.name.clone() }));
        }
        source.cache.fence().await.map_err(AskError::of_all)
    }

    /// Drops what is known of a key.
    pub fn invalidate(&self, view: &ServedView, key: &EntryKey) {
        view.cache.invalidate(key);
    }

    /// Drops everything that depends on what is named. Returns the views concerned, in the order of the file.
    ///
    /// A table names every entry of the views that read it. A row names the entries that were found by that column's
    /// value, and those that depend on the whole table.
    pub fn invalidate_tags(&self, names: &[TagName]) -> Vec<&ServedView> {
        let mut concerned = BTreeSet::new();
        for (at, source) in self.inner.sources.iter().enumerate() {
            let mut tags: Vec<Tag> = Vec::new();
            let mut whole: Vec<u32> = Vec::new();
            for view in self.inner.views.iter().filter(|view| view.source == at) {
                for name in names {
                    let found = name.tags(&view.declaration.query, view.derived());
                    if !found.is_empty() {
                        concerned.insert(view.index);
                    }
                    tags.extend(found);
                    let reads = view.derived().reads.iter();
                    let by_row = reads
                        .filter(|read| name.is_table(&read.table))
                        .any(|read| is_by_row(&read.tagged_by));
                    // Nobody here knows what such a view reads; it may be this.
                    let may_read = view.is_awaited() && !matches!(name, TagName::Application(_));
                    if by_row || may_read {
                        concerned.insert(view.index);
                        whole.push(view.index);
                    }
                }
            }
            if tags.is_empty() && whole.is_empty() {
                continue;
            }
            tags.sort_unstable();
            tags.dedup();
            whole.dedup();
            // First what is being loaded, then what is kept: whatever begins in between has seen the change.
            source.cache.invalidate_tags(&tags);
            if !whole.is_empty() {
                self.inner.memory.retain(&mut |key, _| !whole.contains(&key.view()));
            }
        }
        let concerned: Vec<_> =
            self.inner.views.iter().filter(|view| concerned.contains(&view.index)).collect();
        concerned.iter().for_each(|view| view.cache.view().invalidated());
        concerned
    }

    /// The life of an entry.
    pub fn explain(&self, view: &ServedView, key: &EntryKey) -> Life {
        view.cache.explain(key)
    }

    /// What stands in the way of serving with proofs; empty when ready.
    pub fn unready(&self) -> Vec<Unready> {
        let mut reasons = Vec::new();
        if self.is_draining() {
            reasons.push(Unready { source: None, why: "the server is stopping".into() });
        }
        for source in &self.inner.sources {
            let why = match source.feed() {
                FeedHealth::Following(_) | FeedHealth::None => continue,
                FeedHealth::Starting => "its log is not followed yet".to_owned(),
                FeedHealth::Down(why) => format!("its log cannot be followed: {why}"),
            };
            reasons.push(Unready { source: Some(source.name.clone()), why });
        }
        reasons
    }

    /// Ready once every log is followed.
    pub async fn followed(&self) {
        for source in &self.inner.sources {
            source.cache.follower().following().await;
        }
    }

    /// What memory holds.
    pub fn usage(&self) -> Usage {
        self.inner.memory.usage()
    }

    /// Time, randomness and tasks.
    pub(crate) fn world(&self) -> &World {
        &self.inner.world
    }

    /// Says that the end is near; [`Service::unready`] tells it.
    pub(crate) fn begin_draining(&self) {
        self.inner.is_draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.inner.is_draining.load(Ordering::Acquire)
    }

    /// Refuses new reads, lets loads finish for as long as `within`, and stops following the logs. Returns whether
    /// everything finished.
    pub async fn close(&self, within: Duration) -> bool {
        self.begin_draining();
        self.inner.closing.send_replace(true);
        let deadline = self.inner.world.now().plus(within);
        let mut drained = true;
        for source in &self.inner.sources {
            drained &= source.cache.close(deadline.since(self.inner.world.now())).await;
        }
        drained
    }
}

impl ServedSource {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has a log that is followed.
    pub fn is_logged(&self) -> bool {
        self.is_logged
    }

    /// Where its log stands. A log that is followed and cannot be asked where it stands counts as down: it may have
    /// changed without our knowing.
    pub fn feed(&self) -> FeedHealth {
        /// A fence may take a second; twice that without a proof is no longer a hiccup.
        const PATIENCE: Duration = Duration::from_secs(2);
        let proven = self.cache.follower().ledger().sight().and_then(|sight| sight.proven_until);
        match (self.cache.follower().status(), proven) {
            (FeedStatus::None, _) => FeedHealth::None,
            (FeedStatus::Down(why), _) => FeedHealth::Down(why),
            (FeedStatus::Starting, _) | (FeedStatus::Following, None) => FeedHealth::Starting,
            (FeedStatus::Following, Some(until)) => {
                let age = self.world.now().since(until);
                if age <= PATIENCE + self.poll * 2 {
                    return FeedHealth::Following(age);
                }
                FeedHealth::Down(format!(
                    "the source has not told where its log stands for {} s",
                    age.as_secs()
                ))
            }
        }
    }

    /// The cache that all its views share.
    pub fn cache(&self) -> &Cache<EntryKey, Json> {
        &self.cache
    }

    /// What protects it.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What its replication slot keeps on the server's disk, as of a few seconds ago; `None` where there is none, or
    /// nobody could tell.
    pub fn slot(&self) -> Option<SlotFigures> {
        *self.slot.borrow()
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }
}

impl ServedView {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.declaration.name
    }

    /// As it was declared.
    pub fn declaration(&self) -> &ViewDeclaration {
        &self.declaration
    }

    /// What its source found out about it: nothing yet, while it is [awaited](Self::is_awaited).
    pub fn derived(&self) -> &Derived {
        self.learned.as_deref().and_then(OnceLock::get).unwrap_or(&self.derived)
    }

    /// Whether its source was not there when the service started, and has not been asked about it since.
    pub fn is_awaited(&self) -> bool {
        self.learned.as_ref().is_some_and(|learned| learned.get().is_none())
    }

    /// Its cache, under its contract.
    pub fn cache(&self) -> &Cache<EntryKey, Json> {
        &self.cache
    }

    /// Whether its answers are proven by the log.
    pub fn is_logged(&self) -> bool {
        self.declaration.contract.proof == ProofKind::Log
    }

    /// Whether it belongs to a subject.
    pub fn is_private(&self) -> bool {
        self.declaration.private.is_some()
    }

    /// The entry's key for the parts a request gave, completed with the authenticated subject where the view is
    /// private.
    ///
    /// # Errors
    ///
    /// See [`key::KeyRefusal`].
    pub fn key(
        &self,
        parts: &[impl AsRef<str>],
        subject: Option<&Subject>,
    ) -> Result<EntryKey, key::KeyRefusal> {
        let values = key::complete(&self.declaration.query, self.declaration.private, parts, subject)?;
        Ok(EntryKey::new(self.index, &values))
    }
}
