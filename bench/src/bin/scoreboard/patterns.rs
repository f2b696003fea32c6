//! The contenders: each as its advocates describe it, over the same statements, with the same connections.
//!
//! Where Redis fails, all of them ask the database, as applications do that want to stay up.

use crate::ground::{Database, KEYS, Trouble};
use crate::shelf::{Shelf, name};
use redis::Script;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

mod follower;
mod local;
mod proven;

pub(crate) use follower::Follower;
pub(crate) use local::Local;
pub(crate) use proven::Proven;

/// Teams that only trust the clock choose it short.
const TTL_SHORT: Duration = Duration::from_secs(2);
/// Teams that trust their deletes choose a longer one.
pub(crate) const TTL_LONG: Duration = Duration::from_secs(60);
/// The second delete of a delayed double delete.
const DELAY: Duration = Duration::from_millis(500);
/// How long a lease to fill lasts, and how long the others wait for it.
const LEASE: Duration = Duration::from_secs(3);
const LEASE_WAIT: Duration = Duration::from_millis(5);
const LEASE_WAITS: usize = 20;

/// Connections to the database per instance.
const CONNECTIONS: usize = 4;

/// All contenders, in the order of the table.
pub(crate) const ALL: &[(&str, Kind)] = &[
    ("TTL only (2 s)", Kind::Ttl),
    ("write, then delete", Kind::Aside),
    ("delete, write, delayed delete", Kind::DoubleDelete),
    ("lease per key", Kind::Lease),
    ("Redis client-side caching", Kind::Tracking),
    ("moka get_with + invalidate", Kind::Moka),
    ("log-driven delete", Kind::LogDelete),
    ("log-driven delete, LSN-fenced fill", Kind::LogFenced),
    ("candor any", Kind::Candor(candor::Level::Any)),
    ("candor session", Kind::Candor(candor::Level::Session)),
    ("candor bounded:100ms", Kind::Candor(candor::Level::Bounded(Duration::from_millis(100)))),
    ("candor strong", Kind::Candor(candor::Level::Strong)),
];

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ttl,
    Aside,
    DoubleDelete,
    Lease,
    Tracking,
    Moka,
    LogDelete,
    LogFenced,
    Candor(candor::Level),
}

/// Where the servers are.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) database: String,
    pub(crate) redis: String,
    pub(crate) instance: usize,
}

/// One instance of an application that caches in one of these ways.
pub(crate) struct Pattern {
    kind: Kind,
    database_url: String,
    databases: Vec<Database>,
    turn: AtomicU64,
    /// Queries the source has seen for reading.
    pub(crate) queries: AtomicU64,
    shelf: Arc<Shelf>,
    own: Own,
    lease_set: Script,
    fenced_set: Script,
}

/// What a contender has beside a database and Redis.
enum Own {
    Nothing,
    Follower(#[expect(dead_code, reason = "it works until it is dropped")] Follower),
    Local(Local),
    Proven(Proven),
}

/// An answer, and what its receipt claims if there is one.
pub(crate) struct Answered {
    pub(crate) version: u64,
    pub(crate) bound: Option<Duration>,
}

impl Pattern {
    pub(crate) async fn start(kind: Kind, places: &Places) -> Result<Arc<Self>, Trouble> {
        let mut databases = Vec::new();
        for _ in 0..CONNECTIONS {
            databases.push(Database::connect(&places.database).await?);
        }
        let tracked = kind == Kind::Tracking;
        let shelf = if tracked { Shelf::tracked(&places.redis) } else { Shelf::new(&places.redis) };
        let shelf = Arc::new(shelf?);
        let own = match kind {
            // One service follows the log for all instances, as such teams have it.
            Kind::LogDelete | Kind::LogFenced if places.instance == 0 => {
                Own::Follower(Follower::start(places, Arc::clone(&shelf), kind == Kind::LogFenced).await?)
            }
            Kind::Moka => Own::Local(Local::start(Arc::clone(&shelf))),
            Kind::Candor(level) => Own::Proven(Proven::start(places, level).await?),
            _ => Own::Nothing,
        };
        Ok(Arc::new(Self {
            kind,
            database_url: places.database.clone(),
            databases,
            turn: AtomicU64::new(0),
            queries: AtomicU64::new(0),
            shelf,
            own,
            // Stored only by whoever still has the lease.
            lease_set: Script::new(
                "if redis.call('GET', KEYS[2]) == ARGV[2] then
                   redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3]); redis.call('DEL', KEYS[2]) end",
            ),
            // Stored only if it was read at a position at or behind the last change that was deleted for.
            fenced_set: Script::new(
                "local last = redis.call('GET', KEYS[2])
                 if not last or tonumber(ARGV[2]) >= tonumber(last) then
                   redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3]) end",
            ),
        }))
    }

    /// A connection for one writer: its commits may wait, and no read shall wait behind them.
    pub(crate) async fn writer(&self) -> Result<Database, Trouble> {
        Database::connect(&self.database_url).await
    }

    fn database(&self) -> &Database {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        &self.databases[turn % self.databases.len()]
    }

    async fn load(&self, key: u32) -> Result<u64, Trouble> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.database().read(key).await
    }

    pub(crate) async fn read(self: &Arc<Self>, key: u32) -> Result<Answered, Trouble> {
        let version = match self.kind {
            Kind::Ttl => self.aside(key, TTL_SHORT).await?,
            Kind::Aside | Kind::DoubleDelete | Kind::Tracking | Kind::LogDelete => self.aside(key, TTL_LONG).await?,
            Kind::Lease => self.leased(key).await?,
            Kind::LogFenced => self.fenced(key).await?,
            Kind::Moka => {
                let Own::Local(local) = &self.own else { return Err("no local cache".into()) };
                local.read(key, self.load(key)).await?
            }
            Kind::Candor(_) => {
                let Own::Proven(proven) = &self.own else { return Err("no cache".into()) };
                return proven.read(key).await;
            }
        };
        Ok(Answered { version, bound: None })
    }

    /// Cache-aside: look, else load and store.
    async fn aside(&self, key: u32, ttl: Duration) -> Result<u64, Trouble> {
        if let Ok(Some(version)) = self.shelf.get(key).await {
            return Ok(version);
        }
        let version = self.load(key).await?;
        let _ = self.shelf.set(key, version, ttl).await;
        Ok(version)
    }

    /// Whoever misses takes a lease; a delete ends it, and then nothing is stored.
    async fn leased(&self, key: u32) -> Result<u64, Trouble> {
        let lease = format!("lease:{key}");
        for _ in 0..LEASE_WAITS {
            match self.shelf.get(key).await {
                Ok(Some(version)) => return Ok(version),
                Ok(None) => {}
                Err(_) => return self.load(key).await,
            }
            let token = (u64::from(std::process::id()) << 32) + self.turn.fetch_add(1, Ordering::Relaxed);
            let token = format!("{token}:{:p}", self);
            let mut command = redis::cmd("SET");
            command.arg(&lease).arg(&token).arg("NX").arg("PX").arg(LEASE.as_millis() as u64);
            let taken: Option<String> = self.shelf.run(&command).await.unwrap_or(None);
            if taken.is_some() {
                let version = self.load(key).await?;
                let arguments = [version.to_string(), token, TTL_LONG.as_millis().to_string()];
                let _ = self.shelf.script::<()>(&self.lease_set, &[name(key), lease], &arguments).await;
                return Ok(version);
            }
            tokio::time::sleep(LEASE_WAIT).await;
        }
        self.load(key).await
    }

    async fn fenced(&self, key: u32) -> Result<u64, Trouble> {
        if let Ok(Some(version)) = self.shelf.get(key).await {
            return Ok(version);
        }
        self.queries.fetch_add(1, Ordering::Relaxed);
        let (version, position) = self.database().read_with_position(key).await?;
        let arguments = [version.to_string(), position, TTL_LONG.as_millis().to_string()];
        let _ = self.shelf.script::<()>(&self.fenced_set, &[name(key), format!("last:{key}")], &arguments).await;
        Ok(version)
    }

    /// Before the application writes.
    pub(crate) async fn before_write(&self, key: u32) {
        if self.kind == Kind::DoubleDelete {
            let _ = self.shelf.delete(key).await;
        }
    }

    /// After its commit was acknowledged.
    pub(crate) async fn after_write(self: &Arc<Self>, key: u32) {
        match self.kind {
            Kind::Aside | Kind::Tracking => drop(self.shelf.delete(key).await),
            Kind::DoubleDelete => {
                let pattern = Arc::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep(DELAY).await;
                    let _ = pattern.shelf.delete(key).await;
                });
            }
            Kind::Lease => {
                let mut command = redis::cmd("DEL");
                command.arg(name(key)).arg(format!("lease:{key}"));
                let _: Result<(), _> = self.shelf.run(&command).await;
            }
            Kind::Moka => {
                if let Own::Local(local) = &self.own {
                    local.wrote(key).await;
                }
            }
            Kind::Candor(candor::Level::Session) => {
                if let Own::Proven(proven) = &self.own {
                    proven.wrote().await;
                }
            }
            Kind::Ttl | Kind::LogDelete | Kind::LogFenced | Kind::Candor(_) => {}
        }
    }

    /// Queries the source has seen for reading, positions asked included.
    pub(crate) fn source_queries(&self) -> u64 {
        let own = if let Own::Proven(proven) = &self.own { proven.queries() } else { 0 };
        self.queries.load(Ordering::Relaxed) + own
    }

    pub(crate) async fn close(&self) {
        if let Own::Proven(proven) = &self.own {
            proven.close().await;
        }
    }
}

/// Zipf(0.99) over the keys, from a random number in 0..1.
pub(crate) fn zipf(unit: f64) -> u32 {
    // The inverse of the continuous distribution; close enough, and without a table.
    let exponent = 0.01_f64;
    let span = f64::from(KEYS).powf(exponent) - 1.0;
    let rank = (1.0 + unit * span).powf(1.0 / exponent);
    (rank as u32).clamp(1, KEYS) - 1
}
