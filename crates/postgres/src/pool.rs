//! Connections for fills: few, made when needed, each lent to one fill at a time.
//!
//! ```text
//! fill ──► a permit (bounded; waits at most acquire_timeout) ──► an idle connection, or a new one
//!              ▲                                                        │
//!              └────── given back when the fill ends ◄──────────────────┘  dropped if broken or still busy
//! ```
//!
//! Invariants:
//! * There are never more connections than permits.
//! * A connection goes back only when the server owes it nothing: whoever drops a fill half way also ends the statement
//!   at the server and gives up the connection.
//! * Every statement runs read-only, under a time limit, and with the same spelling of values, whatever the settings of
//!   the role or the database. A direct connection brings these settings along when it begins. Behind a pooler each
//!   statement brings them along in a transaction of its own ([`Route`]).

mod cancel;
mod connect;
mod held;
mod settings;

use crate::fault;
use crate::identity::Identity;
use crate::options::PostgresOptions;
use candor_core::port::SourceError;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

pub(crate) use connect::Conn;
pub(crate) use held::Held;
pub(crate) use settings::local_settings;

/// What stands between us and the server.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Nothing: the session is ours.
    Direct,
    /// A pooler: each transaction may meet another session, perhaps one that others used.
    Pooler,
}

/// The connections of one source.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    options: PostgresOptions,
    permits: Arc<Semaphore>,
    /// The last one given back is the first to be lent again, so that surplus ones stay idle.
    idle: Mutex<Vec<Conn>>,
    /// Found out once; a pooler does not come and go between two connections to the same address.
    is_pooled: AtomicBool,
    /// Of the server that answered last.
    identity: Mutex<Option<Identity>>,
    figures: Counters,
}

#[derive(Default)]
struct Counters {
    size: AtomicU64,
    waiting: AtomicU64,
    acquired: AtomicU64,
    acquire_micros: AtomicU64,
}

/// What a pool has done and holds.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// Connections that stand.
    pub size: u64,
    /// Connections that nobody uses.
    pub idle: u64,
    /// Fills that wait for one.
    pub waiting: u64,
    /// Connections lent so far.
    pub acquired: u64,
    /// Microseconds waited for them altogether, the making of connections included.
    pub acquire_micros: u64,
}

impl Pool {
    /// A pool without connections.
    pub(crate) fn new(options: PostgresOptions) -> Self {
        let is_pooled = AtomicBool::new(options.pooler);
        let permits = Arc::new(Semaphore::new(options.connections_max.max(1)));
        let (idle, identity, figures) = (Mutex::default(), Mutex::default(), Counters::default());
        Self { shared: Arc::new(Shared { options, permits, idle, is_pooled, identity, figures }) }
    }

    /// How it was set up.
    pub(crate) fn options(&self) -> &PostgresOptions {
        &self.shared.options
    }

    /// Lends a connection.
    ///
    /// # Errors
    ///
    /// `Slow` if all are busy for longer than `acquire_timeout`; `Down` if none can be made.
    pub(crate) async fn acquire(&self) -> Result<Held, SourceError> {
        let shared = &self.shared;
        let began = Instant::now();
        let waiting = Waiting::new(&shared.figures.waiting);
        let permit =
            timeout(shared.options.acquire_timeout, Arc::clone(&shared.permits).acquire_owned()).await;
        drop(waiting);
        let permit =
            permit.map_err(|_| self.exhausted())?.map_err(|_| SourceError::down("the pool is closed"))?;
        let idle = self.pop_idle();
        let is_reused = idle.is_some();
        let conn = match idle {
            Some(conn) => conn,
            None => connect::connect(shared).await?,
        };
        let waited = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.figures.acquired.fetch_add(1, Ordering::Relaxed);
        shared.figures.acquire_micros.fetch_add(waited, Ordering::Relaxed);
        Ok(Held::new(conn, is_reused, permit, Arc::clone(shared)))
    }

    /// Gives up every idle connection: one was found broken, so the others probably are.
    pub(crate) fn forget_idle(&self) {
        let forgotten = std::mem::take(&mut *self.shared.idle.lock());
        drop(forgotten);
    }

    /// The log of the server that answered last; `None` before the first connection.
    #[cfg(test)]
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.shared.identity.lock().clone()
    }

    /// The figures now.
    pub(crate) fn figures(&self) -> PoolFigures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let figures = &self.shared.figures;
        PoolFigures {
            size: of(&figures.size),
            idle: self.shared.idle.lock().len() as u64,
            waiting: of(&figures.waiting),
            acquired: of(&figures.acquired),
            acquire_micros: of(&figures.acquire_micros),
        }
    }

    fn pop_idle(&self) -> Option<Conn> {
        let mut idle = self.shared.idle.lock();
        while let Some(conn) = idle.pop() {
            if !conn.client.is_closed() {
                return Some(conn);
            }
        }
        None
    }

    fn exhausted(&self) -> SourceError {
        let options = &self.shared.options;
        SourceError::slow(format!(
            "pool exhausted: {} connections busy for {} ms; raise connections_max, or look for slow views",
            options.connections_max,
            options.acquire_timeout.as_millis()
        ))
    }
}

impl Shared {
    fn route(&self) -> Route {
        if self.is_pooled.load(Ordering::Relaxed) { Route::Pooler } else { Route::Direct }
    }

    /// A failure of the client library while connecting, with where to.
    fn connect_failed(&self, place: &str, error: &tokio_postgres::Error) -> SourceError {
        let connect = &self.options.connect;
        let doing = format!("connecting to {place}, database `{}`, as `{}`", connect.database, connect.user);
        let mut failed = fault::of(&doing, error);
        failed.message.push_str(settings::advice(error));
        failed
    }
}

/// Counts a waiter for as long as it lives, also when it is dropped while waiting.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
