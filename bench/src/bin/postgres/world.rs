//! The database: a private cluster with one table, somebody else who writes to it, and what the server says it did.
//!
//! Each contender connects as a role of its own. By the role its connections are found in `pg_stat_activity`, and from
//! `/proc` comes the processor time of exactly these; statements are counted by `pg_stat_statements`, which is switched
//! on for Candor's roles alone, so that direct reads do not pay for being counted.

use crate::keys::Keys;
use candor_testbed::Cluster;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, Config, NoTls};

/// Rows of the table.
pub const ROWS: u64 = 100_000;

/// The statement every contender runs for a key.
pub const SQL: &str = "SELECT id, name, email, about FROM item WHERE id = $1";

/// Contenders' roles.
pub const DIRECT: &str = "direct";
pub const LIBRARY: &str = "candor_library";
pub const DOOR: &str = "candor_door";
pub const PGBENCH: &str = "pgbench";
const WRITER: &str = "writer";

const SCHEMA: &str = "
    CREATE EXTENSION pg_stat_statements;
    CREATE ROLE direct LOGIN SUPERUSER;
    CREATE ROLE pgbench LOGIN SUPERUSER;
    CREATE ROLE writer LOGIN SUPERUSER;
    CREATE ROLE candor_library LOGIN SUPERUSER;
    CREATE ROLE candor_door LOGIN SUPERUSER;
    ALTER ROLE candor_library SET pg_stat_statements.track = 'top';
    ALTER ROLE candor_door SET pg_stat_statements.track = 'top';
    CREATE TABLE item (id int8 PRIMARY KEY, name text NOT NULL, email text NOT NULL, about text NOT NULL, seen int8 NOT NULL)
        WITH (fillfactor = 70);
    INSERT INTO item SELECT i, 'item ' || i, 'item' || i || '@example.com', repeat(md5(i::text), 3), 0
        FROM generate_series(1, 100000) AS i;
    VACUUM (FREEZE, ANALYZE) item;
    CHECKPOINT;";

pub struct World {
    pub cluster: Cluster,
    pub keys: Keys,
    admin: Client,
    written: Arc<AtomicU64>,
}

/// How a client reaches the database.
#[derive(Copy, Clone)]
pub enum Way {
    /// The Unix socket, which is the fastest there is.
    Socket,
    /// Loopback, as the clients of the HTTP door.
    Tcp,
}

/// What a role had done and spent at one moment.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    pub statements: u64,
    /// Of the role's connections at the database.
    pub cpu_nanos: u64,
    /// Of a server before them.
    pub server_nanos: u64,
}

impl World {
    pub async fn start() -> Self {
        let cluster = Cluster::builder()
            .setting("shared_preload_libraries", "pg_stat_statements")
            .setting("pg_stat_statements.track", "none")
            .setting("shared_buffers", "256MB")
            .setting("max_connections", "700")
            .setting("max_wal_size", "4GB")
            .start();
        cluster.psql(SCHEMA);
        let admin = connect(&cluster, "postgres", Way::Socket).await;
        Self { cluster, keys: Keys::new(ROWS), admin, written: Arc::default() }
    }

    /// A connection of that role.
    pub async fn client(&self, role: &str, way: Way) -> Client {
        connect(&self.cluster, role, way).await
    }

    /// As a connection string.
    pub fn url(&self, role: &str) -> String {
        let folder = self.cluster.socket_dir().display().to_string().replace('/', "%2F");
        format!("postgres://{role}@{folder}:{}/postgres", self.cluster.port())
    }

    /// Writes `per_second` rows from two connections until the process ends: keys as they are read, so that what is asked
    /// for is what changes.
    pub async fn write(&self, per_second: u64) {
        const WRITERS: u64 = 2;
        let every = Duration::from_nanos(1_000_000_000 * WRITERS / per_second.max(1));
        for writer in 0..WRITERS {
            let client = self.client(WRITER, Way::Socket).await;
            let update = client.prepare("UPDATE item SET seen = seen + 1, name = 'item ' || seen WHERE id = $1").await.expect("prepared");
            let mut walk = self.keys.walk(1000 + writer as usize);
            let written = Arc::clone(&self.written);
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(every);
                tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
                loop {
                    tick.tick().await;
                    // At the end the cluster stops first.
                    if client.execute(&update, &[&walk.next()]).await.is_err() {
                        return;
                    }
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }

    /// Rows written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// What the server did for a role so far.
    pub async fn spent(&self, role: &str) -> Spent {
        let counted = "SELECT coalesce(sum(calls), 0)::int8 FROM pg_stat_statements WHERE userid = $1::text::regrole";
        let calls: i64 = self.admin.query_one(counted, &[&role]).await.expect("counted").get(0);
        let live = "SELECT pid FROM pg_stat_activity WHERE usename = $1::text::name";
        let rows = self.admin.query(live, &[&role]).await.expect("listed");
        let pids = rows.iter().map(|row| row.get::<_, i32>(0) as u32);
        Spent { statements: calls as u64, cpu_nanos: pids.map(cpu_nanos).sum(), server_nanos: 0 }
    }

    /// Begins to count statements anew.
    pub async fn forget_statements(&self) {
        self.admin.batch_execute("SELECT pg_stat_statements_reset()").await.expect("forgotten");
    }

    /// What a role asked most, with the time that it took the server.
    pub async fn print_statements(&self, role: &str) {
        let asked = "SELECT calls, mean_exec_time * 1000, total_exec_time, left(regexp_replace(query, '\\s+', ' ', 'g'), 160) \
                     FROM pg_stat_statements WHERE userid = $1::text::regrole ORDER BY total_exec_time DESC LIMIT 8";
        println!("\n{role}: calls, mean in µs, all in ms");
        for row in self.admin.query(asked, &[&role]).await.expect("listed") {
            let (calls, mean, all, text): (i64, f64, f64, &str) = (row.get(0), row.get(1), row.get(2), row.get(3));
            println!("{calls:>9} {mean:>8.1} {all:>8.0}  {text}");
        }
    }
}

/// Processor time a process used, all its threads together. (Of threads that have ended the kernel tells ticks only.)
pub fn cpu_nanos(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let spent = |path: PathBuf| -> Option<u64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    threads.filter_map(|thread| spent(thread.path())).sum()
}

async fn connect(cluster: &Cluster, role: &str, way: Way) -> Client {
    let mut config = Config::new();
    match way {
        Way::Socket => config.host_path(cluster.socket_dir()),
        Way::Tcp => config.host("127.0.0.1"),
    };
    config.port(cluster.port()).user(role).dbname("postgres").application_name(role);
    let (client, connection) = config.connect(NoTls).await.expect("connected");
    tokio::spawn(connection);
    client
}
