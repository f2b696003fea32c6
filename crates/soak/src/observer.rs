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
    let changes = format!(
        "SELECT lsn::text, data FROM pg_logical_slot_get_changes('{SLOT}', NULL, NULL)
         WHERE data LIKE 'table public.life: UPDATE: %' OR data LIKE 'COMMIT%'"
    );
    while stage.is_on() {
        let begun = now();
        // Everything committed before it is on disk once this has returned, asynchronous commits too.
        client.execute("SELECT pg_logical_emit_message(true, 'oracle', '')", &[]).await?;
        let rows = client.query(&changes, &[]).await?;
        take(stage, &rows, begun);
        pause(every).await;
    }
    Ok(())
}

fn take(stage: &Stage, rows: &[tokio_postgres::Row], begun: Nanos) {
    let mut changes: Vec<(i64, i64, i64, Place)> = Vec::new();
    let mut truth = stage.truth.lock();
    for row in rows {
        let (lsn, data): (&str, &str) = (row.get(0), row.get(1));
        if data.starts_with("COMMIT") {
            truth.logged(&Commit { lsn: lsn_of(lsn), changes: std::mem::take(&mut changes) });
        } else if let Some(change) = change_of(data) {
            // Of several versions by one transaction nobody else sees but the last.
            changes.retain(|known| known.0 != change.0);
            changes.push(change);
        } else {
            truth.contradictions.push(format!("not understood: {data}"));
        }
    }
    truth.logged_until = truth.logged_until.max(begun);
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

    #[test]
    fn a_line_of_the_log_is_read_as_it_is_written() {
        let line = "table public.life: UPDATE: id[bigint]:7 version[bigint]:2 nonce[bigint]:99 present[boolean]:true \
                    shelf[bigint]:-1 owner[bigint]:3 xid[bigint]:743";
        let place = Place { present: true, shelf: -1, owner: 3 };
        assert_eq!(change_of(line), Some((7, 2, 99, place)));
        assert_eq!(lsn_of("1/F"), 0x1_0000_000F);
    }
}
