//! Who tells the oracle the truth: one task that looks at all lives again and again, and one that reads the oracle's own
//! slot. Both on direct connections, neither by way of anything of Candor's.

use crate::clock::{Nanos, now, pause};
use crate::schema::SLOT;
use crate::truth::{Commit, Place, Truth};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// What every part of the run shares.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) truth: Mutex<Truth>,
    /// Cleared at the end: everybody stops.
    pub(crate) is_on: AtomicBool,
    /// Cleared when the writers shall rest so that the last answers can be judged.
    pub(crate) is_writing: AtomicBool,
    /// Cleared when the last answers have been asked for.
    pub(crate) is_reading: AtomicBool,
    pub(crate) acknowledged: AtomicU64,
    /// Set before a crash: everybody commits without waiting for the disk, so that the crash has something to take back.
    pub(crate) is_loose: AtomicBool,
    /// Set by the judge when the report has what the run is for.
    pub(crate) is_enough: AtomicBool,
    /// When each door last answered from memory with a proof. What breaks things waits for that, or the cache would not be
    /// what is tried.
    pub(crate) proven: Mutex<BTreeMap<&'static str, Nanos>>,
    /// Why the run itself cannot go on. Whoever sets it is not Candor, and the run is not clean.
    pub(crate) failure: Mutex<Option<String>>,
}

impl Stage {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            truth: Mutex::new(Truth::new()),
            is_on: true.into(),
            is_writing: true.into(),
            is_reading: true.into(),
            acknowledged: AtomicU64::new(0),
            is_loose: false.into(),
            is_enough: false.into(),
            proven: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// The run ends early; the first reason stands.
    pub(crate) fn fail(&self, why: String) {
        self.failure.lock().get_or_insert(why);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.lock().is_some()
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.is_reading.load(Ordering::Relaxed)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.is_writing.load(Ordering::Relaxed)
    }

    pub(crate) fn is_loose(&self) -> bool {
        self.is_loose.load(Ordering::Relaxed)
    }
}

/// How long anything on a direct connection may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A direct connection, and the era it belongs to. A connection does not outlive its era.
pub(crate) async fn connect(stage: &Stage, name: &str) -> Option<(Client, u32)> {
    let url = format!("{}?application_name={name}&connect_timeout=5", stage.url);
    let (client, connection) =
        tokio::time::timeout(PATIENCE, tokio_postgres::connect(&url, NoTls)).await.ok()?.ok()?;
    #[expect(clippy::disallowed_methods, reason = "the oracle stands outside of the engine's world")]
    tokio::spawn(connection);
    let rows =
        tokio::time::timeout(PATIENCE, client.query("SELECT era FROM marker", &[])).await.ok()?.ok()?;
    // Emptied by a recovery that has not been declared yet.
    let era: i64 = rows.first()?.get(0);
    Some((client, era as u32))
}

/// Looks at every life, for as long as the run lasts.
pub(crate) async fn observe(stage: Arc<Stage>, every: Duration) {
    while stage.is_on() {
        if let Some((client, era)) = connect(&stage, "observer").await {
            let _ = look(&stage, &client, era, every).await;
        }
        pause(Duration::from_millis(20)).await;
    }
}

async fn look(
    stage: &Stage,
    client: &Client,
    era: u32,
    every: Duration,
) -> Result<(), tokio_postgres::Error> {
    let all = client.prepare("SELECT id, version, nonce FROM life").await?;
    let mut known = std::collections::HashMap::<i64, i64>::new();
    while stage.is_on() {
        let begun = now();
        let Ok(rows) = tokio::time::timeout(PATIENCE, client.query(&all, &[])).await else { return Ok(()) };
        let rows = rows?;
        let at = now();
        {
            let mut truth = stage.truth.lock();
            for row in rows {
                let (id, version, nonce) = (row.get(0), row.get(1), row.get(2));
                if known.insert(id, version) != Some(version) {
                    truth.seen(era, id, version, nonce, at);
                }
            }
            truth.observed_until = truth.observed_until.max(begun);
        }
        // On a busy machine it takes no more than its half.
        pause(every.max(Duration::from_nanos(now() - begun))).await;
    }
    Ok(())
}

/// Reads the rows before anybody writes.
pub(crate) async fn begin(stage: &Stage) {
    let (client, _) = connect(stage, "observer").await.expect("the server lets us in");
    let rows = client.query("SELECT id, version, nonce, present, shelf, owner FROM life", &[]).await;
    let mut truth = stage.truth.lock();
    for row in rows.expect("the lives can be read") {
        let place = Place { present: row.get(3), shelf: row.get(4), owner: row.get(5) };
        truth.begin(row.get(0), row.get(1), row.get(2), place, now());
    }
}

/// Reads the oracle's slot, for as long as the run lasts.
pub(crate) async fn follow(stage: Arc<Stage>, every: Duration) {
    while stage.is_on() {
        if let Some((client, _)) = connect(&stage, "oracle").await {
            let _ = tokio::time::timeout(Duration::from_secs(3600), decode(&stage, &client, every)).await;
        }
        pause(Duration::from_millis(50)).await;
    }
}

async fn decode(stage: &Stage, client: &Client, every: Duration) -> Result<(), tokio_postgres::Error> {
    while stage.is_on() {
        catch_up(stage, client).await?;
        pause(every).await;
    }
    Ok(())
}

/// Takes in what the slot holds, and only then lets the slot forget it: what is lost on the way comes again.
async fn catch_up(stage: &Stage, client: &Client) -> Result<(), tokio_postgres::Error> {
    let begun = now();
    // Everything committed before it is on disk once this has returned, asynchronous commits too. It waits for the disk
    // itself even while nobody else does.
    let flush = "SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'oracle', '')";
    client.batch_execute(flush).await?;
    let changes = format!(
        "SELECT lsn::text, data FROM pg_logical_slot_peek_changes('{SLOT}', NULL, NULL)
         WHERE data LIKE 'table public.life: UPDATE: %' OR data LIKE 'COMMIT%'"
    );
    let rows = client.query(&changes, &[]).await?;
    if let Some(end) = take(stage, &rows, begun) {
        client.batch_execute(&format!("SELECT pg_replication_slot_advance('{SLOT}', '{end}')")).await?;
    }
    Ok(())
}

/// Takes in what the log says, and tells where its last transaction ends.
fn take(stage: &Stage, rows: &[tokio_postgres::Row], begun: Nanos) -> Option<String> {
    let mut end = None;
    let mut changes: Vec<(i64, i64, i64, Place)> = Vec::new();
    let mut truth = stage.truth.lock();
    for row in rows {
        let (lsn, data): (&str, &str) = (row.get(0), row.get(1));
        if data.starts_with("COMMIT") {
            truth.logged(&Commit { lsn: lsn_of(lsn), changes: std::mem::take(&mut changes) });
            end = Some(lsn.to_owned());
        } else if let Some(change) = change_of(data) {
            // Of several versions by one transaction nobody else sees but the last.
            changes.retain(|known| known.0 != change.0);
            changes.push(change);
        } else {
            truth.contradictions.push(format!("not understood: {data}"));
        }
    }
    truth.logged_until = truth.logged_until.max(begun);
    end
}

/// `id[bigint]:1 version[bigint]:2 …`, as `test_decoding` writes a row.
fn change_of(data: &str) -> Option<(i64, i64, i64, Place)> {
    let field = |name: &str| {
        let words = data.split(' ');
        words
            .filter_map(|word| word.strip_prefix(name)?.strip_prefix('[')?.split_once("]:"))
            .map(|(_, value)| value)
            .next()
    };
    let number = |name| field(name)?.parse::<i64>().ok();
    let place =
        Place { present: field("present")? == "true", shelf: number("shelf")?, owner: number("owner")? };
    Some((number("id")?, number("version")?, number("nonce")?, place))
}

/// `16/B374D848` as a number.
pub(crate) fn lsn_of(text: &str) -> u64 {
    let half = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
    text.split_once('/').map_or(0, |(high, low)| half(high) << 32 | half(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::SCHEMA;
    use candor_testbed::{Cluster, Proxy};

    #[test]
    fn a_line_of_the_log_is_read_as_it_is_written() {
        let line = "table public.life: UPDATE: id[bigint]:7 version[bigint]:2 nonce[bigint]:99 present[boolean]:true \
                    shelf[bigint]:-1 owner[bigint]:3 xid[bigint]:743";
        let place = Place { present: true, shelf: -1, owner: 3 };
        assert_eq!(change_of(line), Some((7, 2, 99, place)));
        assert_eq!(lsn_of("1/F"), 0x1_0000_000F);
    }

    /// A server with the shop on it, and what the oracle knows before anybody writes.
    async fn shop() -> (Cluster, Stage) {
        // The server itself puts nothing on disk meanwhile.
        let cluster = Cluster::builder().setting("wal_writer_delay", "10s").durable(false).start();
        cluster.psql(SCHEMA);
        cluster.psql(&format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'test_decoding')"));
        let stage = Stage::new(cluster.url("postgres"));
        begin(&stage).await;
        (cluster, stage)
    }

    /// Every life has another version.
    const ONE_EACH: &str = "UPDATE life SET version = version + 1, nonce = nonce + 1";

    #[tokio::test]
    async fn what_the_log_said_to_a_connection_that_broke_is_said_again() {
        let (cluster, stage) = shop().await;
        cluster.psql(ONE_EACH);
        let proxy = Proxy::to(cluster.address());
        let through = Stage::new(cluster.url_through(proxy.address(), "postgres"));
        let (client, _) = connect(&through, "oracle").await.expect("the server lets us in");
        proxy.cut_after(6_000);
        assert!(catch_up(&stage, &client).await.is_err(), "the answer came through whole");
        assert_eq!(stage.truth.lock().versions, 0);
        let (client, _) = connect(&stage, "oracle").await.expect("the server lets us in");
        for _ in 0..2 {
            catch_up(&stage, &client).await.expect("the slot can be read");
            assert_eq!(stage.truth.lock().versions, 112);
        }
    }

    #[tokio::test]
    async fn what_was_committed_without_waiting_for_the_disk_is_in_the_log_that_was_read() {
        let (cluster, stage) = shop().await;
        cluster.psql("ALTER SYSTEM SET synchronous_commit = off");
        cluster.psql("SELECT pg_reload_conf()");
        cluster.psql(ONE_EACH);
        let (client, _) = connect(&stage, "oracle").await.expect("the server lets us in");
        catch_up(&stage, &client).await.expect("the slot can be read");
        assert_eq!(stage.truth.lock().versions, 112);
    }
}
