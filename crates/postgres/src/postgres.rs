//! The handle: what the engine, the server and the command line hold.
//!
//! Opening it connects to nothing: a service may start before its database does, and is not ready until the log is
//! followed. Behind the handle stand a pool for fills, a few connections for everything else, and the log's task, which
//! ends with the last handle.

use crate::facets::Facets;
use crate::fill::{self, Bounds, FillPlan, Reading, Seen, Unfilled};
use crate::log::Log as LogTask;
use crate::names::Names;
use crate::options::PostgresOptions;
use crate::pool::{Conn, Pool, PoolFigures};
use crate::setup::{self, Needs, SetupOptions};
use crate::standby::{Standby, StandbyFigures};
use crate::status::{self, SlotFigures, Status};
use crate::view::{View, Views};
use crate::visibility::UnderWay;
use candor_core::port::{BoxFuture, Feed, Fence, Fill, Log, Source, SourceError, ViewHandle};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{Derived, Epoch, Finding, KeyValue, Position, Severity, Stamp, ViewQuery};
use std::sync::{Arc, OnceLock};

/// A Postgres database as a source and a log. Cheap to clone; everything ends with the last clone.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    options: PostgresOptions,
    pool: Pool,
    standby: Option<Standby>,
    /// For everything rare.
    chores: Pool,
    /// What names mean to whoever fills.
    names: Arc<Names>,
    views: Arc<Views>,
    facets: Arc<Facets>,
    log: OnceLock<Arc<LogTask>>,
}

/// What a setup would do, or did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetupPlan {
    /// The statements, in order; empty if nothing is to do. Some are remarks: see [`crate::is_remark`].
    pub statements: Vec<String>,
    /// Views that are refused whatever is set up, with the reasons. Nothing is published for them.
    pub refused: Vec<(Box<str>, Vec<Finding>)>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("connect", &self.inner.options.connect).finish_non_exhaustive()
    }
}

impl Postgres {
    /// A handle. Connects to nothing yet.
    pub fn open(options: PostgresOptions) -> Self {
        let bounds = Bounds { rows_max: options.rows_max, bytes_max: options.bytes_max };
        let rare = PostgresOptions { connections_max: 2, ..options.direct() };
        let inner = Inner {
            pool: Pool::new(options.clone()),
            standby: Standby::of(&options),
            chores: Pool::new(rare),
            names: Arc::new(Names::of(&options)),
            views: Arc::new(Views::new(bounds)),
            facets: Arc::default(),
            log: OnceLock::new(),
            options,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Holds a view against the live schema and keeps it for fills, unless it is refused.
    ///
    /// Prepare views before following the log. One that could not be held against the schema because the server was not
    /// there is kept all the same, by [`Postgres::declare`].
    ///
    /// # Errors
    ///
    /// The server cannot be asked.
    pub async fn prepare(&self, query: &ViewQuery) -> Result<Derived, SourceError> {
        let inner = &self.inner;
        let mut held = inner.chores.acquire().await?;
        let path = inner.names.path().await?;
        let handle = inner.views.declare(query);
        let view = inner.views.at(handle)?;
        held.busy();
        let (mut derived, plan) =
            inner.views.compile(&view, &mut held, &path, &inner.options.publication, &inner.facets).await?;
        held.settled();
        derived.handle = plan.is_ok().then_some(handle);
        Ok(derived)
    }

    /// Keeps a view that could not be prepared yet. Fills fail until the log is followed and the view holds.
    pub fn declare(&self, query: &ViewQuery) -> ViewHandle {
        self.inner.views.declare(query)
    }

    /// What [`Self::setup`] would do.
    ///
    /// # Errors
    ///
    /// The server cannot be asked.
    pub async fn setup_plan(&self, views: &[ViewQuery]) -> Result<SetupPlan, SourceError> {
        self.setup_plan_with(views, SetupOptions::default()).await
    }

    /// What [`Self::setup_with`] would do.
    ///
    /// # Errors
    ///
    /// The server cannot be asked.
    pub async fn setup_plan_with(
        &self,
        views: &[ViewQuery],
        options: SetupOptions,
    ) -> Result<SetupPlan, SourceError> {
        Ok(self.planned(views, options).await?.0)
    }

    /// Brings publication and slot to what these views need.
    ///
    /// # Errors
    ///
    /// The server cannot be asked or is not ready, or refuses a statement; the message says which were done and are left.
    pub async fn setup(&self, views: &[ViewQuery]) -> Result<SetupPlan, SourceError> {
        self.setup_with(views, SetupOptions::default()).await
    }

    /// The same, and what is not necessary but wished for.
    ///
    /// # Errors
    ///
    /// As [`Self::setup`].
    pub async fn setup_with(
        &self,
        views: &[ViewQuery],
        options: SetupOptions,
    ) -> Result<SetupPlan, SourceError> {
        let (plan, obstacle) = self.planned(views, options).await?;
        if let Some(why) = obstacle {
            return Err(SourceError::contract(why));
        }
        self.apply(&plan.statements).await?;
        Ok(plan)
    }

    /// The plan, and why nothing of it may be run yet.
    async fn planned(
        &self,
        views: &[ViewQuery],
        options: SetupOptions,
    ) -> Result<(SetupPlan, Option<String>), SourceError> {
        let (needs, refused) = self.needs(views).await?;
        let facts = self.facts(&needs).await?;
        let options = SetupOptions { standby: options.standby || self.inner.standby.is_some(), ..options };
        let plan = SetupPlan { statements: setup::plan(&facts, &needs, options), refused };
        Ok((plan, setup::obstacle(&facts, &needs)))
    }

    /// The statements that [`Self::remove`] would run.
    ///
    /// # Errors
    ///
    /// The server cannot be asked.
    pub async fn removal_plan(&self) -> Result<Vec<String>, SourceError> {
        Ok(setup::removal(&self.facts(&Needs::default()).await?))
    }

    /// Takes out what setup made. Replica identities stay as they are.
    ///
    /// # Errors
    ///
    /// The server cannot be asked, the slot is being read, or a statement is refused.
    pub async fn remove(&self) -> Result<Vec<String>, SourceError> {
        let facts = self.facts(&Needs::default()).await?;
        if let Some(why) = setup::removal_obstacle(&facts) {
            return Err(SourceError::contract(why));
        }
        let statements = setup::removal(&facts);
        self.apply(&statements).await?;
        Ok(statements)
    }

    /// The state of the server, for `candor check`.
    ///
    /// # Errors
    ///
    /// The server cannot be asked.
    pub async fn status(&self, views: &[ViewQuery]) -> Result<Status, SourceError> {
        let (needs, _) = self.needs(views).await?;
        let mut held = self.inner.chores.acquire().await?;
        held.busy();
        let options = &self.inner.options;
        let mut status = status::read(&held.client, &options.slot, &options.publication, &needs).await?;
        if let Some(standby) = &self.inner.standby {
            let (primary, _) = Conn::identity(&held).await?;
            status.standby = Some(standby.pool().options().connect.describe());
            status.findings.extend(status::standby::findings(standby.pool(), &primary).await);
            status.findings.sort_by_key(|finding| finding.severity);
        }
        held.settled();
        Ok(status)
    }

    /// Several queries that all see the same, in one REPEATABLE READ transaction that cannot write, and the stamp of what
    /// they saw. For loaders of one's own: typed rows, more than one statement.
    ///
    /// # Errors
    ///
    /// What `work` returns, and the server that cannot be asked.
    pub async fn reading<T>(
        &self,
        work: impl AsyncFnOnce(&tokio_postgres::Transaction<'_>) -> Result<T, SourceError>,
    ) -> Result<(T, Stamp), SourceError> {
        let inner = &self.inner;
        let under_way = inner.under_way();
        let mut held = inner.pool.acquire().await?;
        let reading = Reading::begin(&inner.pool, &mut held, None).await?;
        let value = work(reading.transaction()).await?;
        let seen = reading.end().await?;
        let is_refused = seen.in_recovery;
        #[cfg(candor_sabotage)]
        let is_refused = is_refused && !is(Sabotage::StandbyAnswers);
        if is_refused {
            return Err(SourceError::down("only a standby answers, and nothing bounds how far behind it is"));
        }
        Ok((value, inner.stamp(seen, under_way)))
    }

    /// What the slot keeps on the server's disk, and whether anybody reads it; `None` where there is no slot.
    ///
    /// # Errors
    ///
    /// The server cannot be asked.
    pub async fn slot_figures(&self) -> Result<Option<SlotFigures>, SourceError> {
        let mut held = self.inner.chores.acquire().await?;
        held.busy();
        let figures = status::slot_figures(&held.client, &self.inner.options.slot).await?;
        held.settled();
        Ok(figures)
    }

    /// What the pool for fills holds and did.
    pub fn pool_figures(&self) -> PoolFigures {
        self.inner.pool.figures()
    }

    /// What the standby for fills did; `None` where there is none.
    pub fn standby_figures(&self) -> Option<StandbyFigures> {
        self.inner.standby.as_ref().map(Standby::figures)
    }

    /// How it was set up.
    pub fn options(&self) -> &PostgresOptions {
        &self.inner.options
    }

    async fn facts(&self, needs: &Needs) -> Result<setup::Facts, SourceError> {
        let mut held = self.inner.chores.acquire().await?;
        held.busy();
        let options = &self.inner.options;
        let tables: Vec<String> = needs.tables.keys().cloned().collect();
        let facts = setup::facts(&held.client, &options.slot, &options.publication, &tables).await?;
        held.settled();
        Ok(facts)
    }

    async fn apply(&self, statements: &[String]) -> Result<(), SourceError> {
        if statements.is_empty() {
            return Ok(());
        }
        let mut held = self.inner.chores.acquire().await?;
        held.busy();
        let doing = |error: tokio_postgres::Error| crate::fault::of("setting up the database", &error);
        held.client
            .batch_execute("SET default_transaction_read_only = off; SET statement_timeout = 0")
            .await
            .map_err(doing)?;
        let applied = setup::apply(&held.client, statements).await;
        // Nobody else gets a connection that may write.
        held.discard();
        applied.map(drop)
    }

    /// What these views need of the server, and which of them cannot be helped.
    async fn needs(
        &self,
        views: &[ViewQuery],
    ) -> Result<(Needs, Vec<(Box<str>, Vec<Finding>)>), SourceError> {
        let mut held = self.inner.chores.acquire().await?;
        let path = self.inner.names.path().await?;
        held.busy();
        let mut needs = Needs::default();
        let mut refused = Vec::new();
        for view in views {
            let publication = &self.inner.options.publication;
            let needed = crate::derive::needs(&held.client, &path, publication, view).await?;
            match needed {
                Ok(tables) => needs.merge(tables),
                Err(derived) => {
                    let findings = derived.findings.into_iter();
                    let findings = findings.filter(|finding| finding.severity == Severity::Refused).collect();
                    refused.push((view.name.clone(), findings));
                }
            }
        }
        held.settled();
        Ok((needs, refused))
    }
}

impl Inner {
    fn log(&self) -> &Arc<LogTask> {
        self.log.get_or_init(|| {
            let (names, facets) = (Arc::clone(&self.names), Arc::clone(&self.facets));
            LogTask::start(&self.options.direct(), names, facets, Arc::clone(&self.views))
        })
    }

    async fn fill(&self, view: ViewHandle, keys: Arc<[Box<[KeyValue]>]>) -> Result<Fill, SourceError> {
        let view = self.views.at(view)?;
        let mut outdated: Option<Arc<FillPlan>> = None;
        let (under_way, plan, filled) = loop {
            // Before the plan is looked at, so that what is certain later was planned for the same schema.
            let under_way = self.under_way();
            let plan = match view.plan() {
                Some(plan) if outdated.as_ref().is_none_or(|outdated| !Arc::ptr_eq(outdated, &plan)) => plan,
                _ => self.compile(&view, outdated.as_ref()).await?,
            };
            match fill::fill(&self.pool, &plan, &keys).await {
                Ok(filled) => break (under_way, plan, filled),
                Err(Unfilled::OtherSchema(_)) if outdated.is_none() => outdated = Some(plan),
                Err(unfilled) => return Err(unfilled.into()),
            }
        };
        let is_refused = filled.seen.in_recovery && plan.compiled.is_logged;
        #[cfg(candor_sabotage)]
        let is_refused = is_refused && !is(Sabotage::StandbyAnswers);
        if is_refused {
            return Err(SourceError::down(
                "only a standby answers, and nothing bounds how far behind it is; list the primary first in `url`",
            ));
        }
        Ok(Fill { stamp: self.stamp(filled.seen, under_way), answers: filled.answers })
    }

    async fn fill_from_copy(
        &self,
        view: ViewHandle,
        keys: Arc<[Box<[KeyValue]>]>,
    ) -> Result<Fill, SourceError> {
        if let Some((standby, log)) = self.standby.as_ref().zip(self.log.get())
            && self.facets.is_told_all()
            && let Some(fill) = standby.fill(log, &*self.views.at(view)?, &keys).await
        {
            return Ok(fill);
        }
        self.fill(view, keys).await
    }

    /// What a statement saw, as the ledger judges it. It is certain of nothing while the log does not tell all that views depend
    /// on, or did not when the statement was sent.
    fn stamp(&self, seen: Seen, under_way: Option<UnderWay>) -> Stamp {
        let under_way = under_way.filter(|_| self.facets.is_told_all());
        let log = seen.identity.log();
        let upper = Position { epoch: Epoch { log, era: 0 }, at: seen.upper.0 };
        let mut snapshot = seen.snapshot.into_snapshot(upper, 0);
        snapshot.certain = under_way.and_then(|under_way| under_way.certain(log, &snapshot)).unwrap_or(0);
        Stamp::Snapshot(Arc::new(snapshot))
    }

    /// Taken before a statement is sent: what it may not see must not be forgotten meanwhile.
    fn under_way(&self) -> Option<UnderWay> {
        self.log.get().map(|log| log.visibility.begin())
    }

    /// Holds a view against the schema, unless somebody else did meanwhile and it has a plan that is not `outdated`.
    async fn compile(
        &self,
        view: &View,
        outdated: Option<&Arc<FillPlan>>,
    ) -> Result<Arc<FillPlan>, SourceError> {
        let mut held = self.chores.acquire().await?;
        if let Some(plan) = view.plan()
            && outdated.is_none_or(|outdated| !Arc::ptr_eq(outdated, &plan))
        {
            return Ok(plan);
        }
        let path = self.names.path_known().await?;
        held.busy();
        let (_, plan) =
            self.views.compile(view, &mut held, &path, &self.options.publication, &self.facets).await?;
        held.settled();
        plan
    }
}

impl Log for Postgres {
    fn fence(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        Box::pin(async move { self.inner.log().fence().await })
    }

    fn fence_visible(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        Box::pin(async move { self.inner.log().fence_visible().await })
    }

    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn Feed>, SourceError>> {
        Box::pin(async move { self.inner.log().follow().await })
    }
}

impl Source for Postgres {
    fn fill(
        &self,
        view: ViewHandle,
        keys: Arc<[Box<[KeyValue]>]>,
    ) -> BoxFuture<'_, Result<Fill, SourceError>> {
        Box::pin(async move { self.inner.fill(view, keys).await })
    }

    fn fill_from_copy(
        &self,
        view: ViewHandle,
        keys: Arc<[Box<[KeyValue]>]>,
    ) -> BoxFuture<'_, Result<Fill, SourceError>> {
        Box::pin(async move { self.inner.fill_from_copy(view, keys).await })
    }
}
