//! The servers under all contenders: PostgreSQL and Redis, started here, with the same rows each time.

use candor_testbed::{Cluster, Redis, until};
use tokio_postgres::{Client, NoTls, Statement};

pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Rows, of which few are hot.
pub(crate) const KEYS: u32 = 1000;

pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
    pub(crate) redis: Redis,
}

impl Ground {
    pub(crate) fn lay() -> Self {
        let cluster = Cluster::builder()
            .setting("wal_level", "logical")
            .setting("max_replication_slots", "16")
            .setting("max_wal_senders", "16")
            .setting("max_connections", "200")
            .start();
        cluster.psql(&format!(
            "CREATE TABLE item (id int PRIMARY KEY, version bigint NOT NULL, name text NOT NULL);
             INSERT INTO item SELECT i, 0, repeat('x', 200) FROM generate_series(0, {}) i",
            KEYS - 1
        ));
        // It saves every second in which something changed: what teams that want their cache to be warm after a restart do.
        Self { cluster, redis: Redis::start(&["--save", "1 1", "--dbfilename", "cache.rdb"]) }
    }

    /// All rows as they were, an empty cache, and no slot that somebody left.
    pub(crate) fn level(&self) -> Result<(), Trouble> {
        self.cluster.psql("UPDATE item SET version = 0 WHERE version <> 0");
        let mut redis = redis::Client::open(self.redis.url())?.get_connection()?;
        let _: () = redis::cmd("FLUSHALL").query(&mut redis)?;
        until("the slots of the last contender can be dropped", || {
            let dropped = self.cluster.try_psql(
                "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE active;
                 SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots",
            );
            dropped.is_ok()
        });
        Ok(())
    }
}

/// A connection with the statements everybody uses.
pub(crate) struct Database {
    pub(crate) client: Client,
    read: Statement,
    read_with_position: Statement,
    write: Statement,
}

impl Database {
    pub(crate) async fn connect(url: &str) -> Result<Self, Trouble> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(async move {
            // Its end is told by the next statement.
            let _ = connection.await;
        });
        let read = client.prepare("SELECT version, name FROM item WHERE id = $1").await?;
        // The position as a number, so that a script in Redis can compare it.
        let positioned = "SELECT version, (pg_current_wal_flush_lsn() - '0/0')::text FROM item WHERE id = $1";
        let read_with_position = client.prepare(positioned).await?;
        let write = client.prepare("UPDATE item SET version = $2 WHERE id = $1").await?;
        Ok(Self { client, read, read_with_position, write })
    }

    pub(crate) async fn read(&self, key: u32) -> Result<u64, Trouble> {
        let row = self.client.query_one(&self.read, &[&(key as i32)]).await?;
        Ok(row.get::<_, i64>(0) as u64)
    }

    pub(crate) async fn read_with_position(&self, key: u32) -> Result<(u64, String), Trouble> {
        let row = self.client.query_one(&self.read_with_position, &[&(key as i32)]).await?;
        Ok((row.get::<_, i64>(0) as u64, row.get(1)))
    }

    pub(crate) async fn write(&self, key: u32, version: u64) -> Result<(), Trouble> {
        self.client.execute(&self.write, &[&(key as i32), &(version as i64)]).await?;
        Ok(())
    }
}
