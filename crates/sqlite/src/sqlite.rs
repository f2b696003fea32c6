//! The handle: what the engine, the server and the command line hold.
//!
//! Behind it stand the log's thread, the readers, and one thread for everything rare (preparing, setup, trimming,
//! status). All of them end when the last handle is dropped. No method blocks: each puts a question into a bounded queue
//! and waits for the answer.

use crate::facets::Facets;
use crate::fault;
use crate::feed::Follower;
use crate::file::{self, Access};
use crate::history::History;
use crate::json::Bounds;
use crate::log::{Ask, LogThread};
use crate::options::SqliteOptions;
use crate::prepare;
use crate::queue::{Queue, Refused};
use crate::reader::{Job, Reader, Ticket, Waiting};
use crate::schema::Schema;
use crate::setup;
use crate::status::{self, Status};
use crate::trim::{Trimmed, Trimmer};
use crate::view::Views;
use crate::watch::Plan;
use candor_core::port::{BoxFuture, Feed, Fence, Fill, Log, Source, SourceError, ViewHandle};
use candor_core::{Derived, Finding, KeyValue, Severity, ViewQuery};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

/// A SQLite database as a source and a log. Cheap to clone; the threads end with the last clone.
#[derive(Clone, Debug)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: SqliteOptions,
    asks: Arc<Queue<Ask>>,
    jobs: Arc<Queue<Job>>,
    chores: Arc<Queue<Chore>>,
    views: Arc<Views>,
    facets: Arc<Facets>,
    watermark: Arc<AtomicU64>,
    trimmer: Arc<Trimmer>,
}

/// Something rare to do on the thread for such things.
struct Chore(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Chore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chore")
    }
}

/// Closes the queue when its thread ends, also by a panic: nobody may wait for an answer that will not come.
struct CloseAtEnd(Arc<Queue<Chore>>);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Rare things that may wait.
const CHORES: usize = 64;

/// What a setup would do, or did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetupPlan {
    /// What is to be watched.
    pub watched: Plan,
    /// The statements, in order; empty if nothing is to do.
    pub statements: Vec<String>,
    /// Views that are refused whatever is set up, with the reasons. Nothing is watched for them.
    pub refused: Vec<(Box<str>, Vec<Finding>)>,
}

impl Sqlite {
    /// Opens the database and starts the threads.
    ///
    /// # Errors
    ///
    /// Down if the file is missing or unreadable, or a thread cannot be started.
    pub fn open(options: SqliteOptions) -> Result<Self, SourceError> {
        drop(file::open(&options.path, Access::Query, options.busy_timeout)?);
        let asks = Arc::new(Queue::new(options.fence_queue));
        let jobs = Arc::new(Queue::new(options.fill_queue));
        let chores: Arc<Queue<Chore>> = Arc::new(Queue::new(CHORES));
        let (history, views, facets) = <(Arc<History>, Arc<Views>, Arc<Facets>)>::default();
        let watermark = Arc::new(AtomicU64::new(0));
        let inner = Inner {
            asks: asks.clone(),
            jobs: jobs.clone(),
            chores: chores.clone(),
            views: views.clone(),
            facets: facets.clone(),
            watermark: watermark.clone(),
            trimmer: Arc::default(),
            options: options.clone(),
        };
        // From here on, dropping `inner` ends whatever was started.
        let handle = Self { inner: Arc::new(inner) };
        let log = LogThread {
            path: options.path.clone(),
            busy_timeout: options.busy_timeout,
            asks: asks.clone(),
            history: history.clone(),
            facets: facets.clone(),
            watermark,
            mailbox_places: options.feed_records,
            record_changes_max: options.record_changes_max,
            open: None,
            known: None,
            mailboxes: Vec::new(),
            grown: 0,
        };
        start("candor-sqlite-log", move || log.run())?;
        for _ in 0..options.readers.max(1) {
            let reader = Reader {
                path: options.path.clone(),
                busy_timeout: options.busy_timeout,
                jobs: jobs.clone(),
                log: asks.clone(),
                history: history.clone(),
                views: views.clone(),
                facets: facets.clone(),
                bounds: Bounds { rows_max: options.rows_max, bytes_max: options.bytes_max },
                running: Arc::new(Mutex::new(Ticket::default())),
                open: None,
            };
            start("candor-sqlite-read", move || reader.run())?;
        }
        start("candor-sqlite-chores", move || {
            let chores = CloseAtEnd(chores);
            while let Some(Chore(chore)) = chores.0.pop() {
                chore();
            }
        })?;
        Ok(handle)
    }

    /// Holds a view against the live schema and keeps it for fills, unless it is refused.
    ///
    /// Prepare views before following the log. One prepared later ends every feed at the next fence, because changes that
    /// went by were not tagged for it, and entries of it may lie in a shared tier that another instance filled.
    pub fn prepare(&self, view: &ViewQuery) -> BoxFuture<'_, Result<Derived, SourceError>> {
        let view = view.clone();
        let (views, facets) = (self.inner.views.clone(), self.inner.facets.clone());
        self.chore(move |options| {
            let mut compiled = prepare::compile(&options.path, options.busy_timeout, &view)?;
            let mut derived = compiled.derived.clone();
            if !derived.is_refused() {
                // Before the handle exists: no fill can be older than the registration of its facets.
                facets.register(&compiled.registrations);
                compiled.derived.handle = None;
                derived.handle = Some(views.keep(&view, Arc::new(compiled)));
            }
            Ok(derived)
        })
    }

    /// What [`Self::setup`] would do.
    pub fn setup_plan(&self, views: &[ViewQuery]) -> BoxFuture<'_, Result<SetupPlan, SourceError>> {
        let views = views.to_vec();
        self.chore(move |options| {
            let mut plan = watched(&options, &views)?;
            let (connection, _) = file::open(&options.path, Access::Query, options.busy_timeout)?;
            let schema =
                Schema::read(&connection).map_err(|error| fault::of("planning the setup", &error))?;
            plan.statements = setup::statements(&connection, &schema, &plan.watched)?;
            Ok(plan)
        })
    }

    /// Brings the change log to what these views need: no less, and nothing that only former views needed.
    pub fn setup(&self, views: &[ViewQuery]) -> BoxFuture<'_, Result<SetupPlan, SourceError>> {
        let views = views.to_vec();
        self.chore(move |options| {
            let mut plan = watched(&options, &views)?;
            let (connection, _) = file::open(&options.path, Access::Write, options.busy_timeout)?;
            plan.statements = setup::apply(&connection, |connection, schema| {
                setup::statements(connection, schema, &plan.watched)
            })?;
            Ok(plan)
        })
    }

    /// The statements that [`Self::remove`] would run.
    pub fn removal_plan(&self) -> BoxFuture<'_, Result<Vec<String>, SourceError>> {
        self.chore(|options| {
            let (connection, _) = file::open(&options.path, Access::Query, options.busy_timeout)?;
            let schema =
                Schema::read(&connection).map_err(|error| fault::of("planning the removal", &error))?;
            setup::removal(&connection, &schema)
        })
    }

    /// Takes everything out that setup put in, except that the write-ahead log stays on.
    pub fn remove(&self) -> BoxFuture<'_, Result<Vec<String>, SourceError>> {
        self.chore(|options| {
            let (connection, _) = file::open(&options.path, Access::Write, options.busy_timeout)?;
            setup::apply(&connection, setup::removal)
        })
    }

    /// The state of the database, for `candor check`.
    pub fn status(&self) -> BoxFuture<'_, Result<Status, SourceError>> {
        self.chore(|options| status::read(&options.path, options.busy_timeout))
    }

    /// One round of trimming. Call it now and then, on every instance: it is also the sign of life of this one.
    pub fn trim_once(&self) -> BoxFuture<'_, Result<Trimmed, SourceError>> {
        let (trimmer, watermark) = (self.inner.trimmer.clone(), self.inner.watermark.clone());
        self.chore(move |options| {
            let read = watermark.load(Ordering::Acquire);
            trimmer.round(&options.path, options.busy_timeout, options.trim, read)
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.options.path
    }

    fn chore<T: Send + 'static>(
        &self,
        work: impl FnOnce(SqliteOptions) -> Result<T, SourceError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, SourceError>> {
        let (answer, wait) = oneshot::channel();
        let options = self.inner.options.clone();
        // Whoever asked may have gone.
        let chore = Chore(Box::new(move || drop(answer.send(work(options)))));
        let pushed =
            self.inner.chores.push(chore).map_err(|refused| self.refusal(refused, "rare work", CHORES));
        Box::pin(async move {
            pushed?;
            wait.await.map_err(|_| fault::closed())?
        })
    }

    fn refusal(&self, refused: Refused, what: &str, places: usize) -> SourceError {
        match refused {
            Refused::Full => fault::full(what, places),
            Refused::Closed => fault::closed(),
        }
    }
}

impl Log for Sqlite {
    fn fence(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        Box::pin(async move {
            let (answer, wait) = oneshot::channel();
            let asks = &self.inner.asks;
            asks.push(Ask::Fence(answer))
                .map_err(|refused| self.refusal(refused, "fences", asks.places()))?;
            // Without its triggers a table would be left out; but whoever drops them changes the schema, and so the epoch.
            wait.await.map_err(|_| fault::closed())?.map(Fence::whole)
        })
    }

    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn Feed>, SourceError>> {
        Box::pin(async move {
            let (answer, wait) = oneshot::channel::<Result<Follower, SourceError>>();
            let asks = &self.inner.asks;
            asks.push(Ask::Follow(answer))
                .map_err(|refused| self.refusal(refused, "fences", asks.places()))?;
            let follower = wait.await.map_err(|_| fault::closed())??;
            Ok(Box::new(follower) as Box<dyn Feed>)
        })
    }
}

impl Source for Sqlite {
    fn fill(
        &self,
        view: ViewHandle,
        keys: Arc<[Box<[KeyValue]>]>,
    ) -> BoxFuture<'_, Result<Fill, SourceError>> {
        Box::pin(async move {
            let (answer, wait) = oneshot::channel();
            let ticket = Ticket::default();
            let waiting = Waiting(ticket.clone());
            let jobs = &self.inner.jobs;
            jobs.push(Job { view, keys, ticket, answer })
                .map_err(|refused| self.refusal(refused, "fills", jobs.places()))?;
            let result = wait.await.map_err(|_| fault::closed());
            drop(waiting);
            result?
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.asks.close();
        self.jobs.close();
        self.chores.close();
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), SourceError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
        .map_err(|error| SourceError::down(format!("starting the thread {name}: {error}")))
}

/// What these views need watched, and which of them cannot be helped.
fn watched(options: &SqliteOptions, views: &[ViewQuery]) -> Result<SetupPlan, SourceError> {
    let mut plan = SetupPlan::default();
    for view in views {
        let compiled = prepare::compile(&options.path, options.busy_timeout, view)?;
        if compiled.is_refused_anyway {
            let refused = compiled.derived.findings.into_iter();
            let refused = refused.filter(|finding| finding.severity == Severity::Refused).collect();
            plan.refused.push((view.name.clone(), refused));
        } else {
            plan.watched.merge(&compiled.needs);
        }
    }
    Ok(plan)
}
