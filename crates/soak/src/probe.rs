//! How long after its COMMIT returned a change still finds the old answer in memory.

use crate::clock::{millis, now, pause};
use crate::embedded::Embedded;
use crate::observation::Content;
use crate::observer::{Stage, connect};
use crate::schema::{ITEM, ITEMS};
use candor::Level;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// Beyond, the log is not being followed, and what is measured is the fault.
const LIMIT_MS: f64 = 10_000.0;

/// Measures until the writers rest.
pub(crate) async fn probe(stage: Arc<Stage>, embedded: Embedded, found: Arc<Mutex<Vec<f64>>>) {
    while stage.is_writing() {
        if let Some((client, _)) = connect(&stage, "probe").await {
            while stage.is_writing() {
                let Ok(Some(late)) =
                    tokio::time::timeout(Duration::from_secs(20), once(&embedded, &client)).await
                else {
                    break;
                };
                found.lock().extend(late);
                pause(Duration::from_millis(20)).await;
            }
        }
        pause(Duration::from_millis(100)).await;
    }
}

/// One change of a row that is in memory. `None` where the server does not answer, an empty answer where there was nothing
/// to measure.
async fn once(embedded: &Embedded, client: &Client) -> Option<Option<f64>> {
    let id = ITEMS - 2;
    let _ = embedded.read(ITEM, id, Level::Any, None).await;
    let served = |version: i64| {
        let answer = embedded.cache.peek(&(ITEM, id))?;
        match Content::of(ITEM, id, answer.value().map(|json| &**json)) {
            Content::Row(row) if row.version < version => Some(()),
            _ => None,
        }
    };
    let was_kept = served(i64::MAX).is_some();
    let sql = "UPDATE item SET amount = amount + 1 WHERE id = $1 RETURNING version";
    let rows = client.query(sql, &[&id]).await.ok()?;
    let Some(version) = rows.first().map(|row| row.get(0)) else { return Some(None) };
    let committed = now();
    while was_kept && served(version).is_some() && millis(now() - committed) < LIMIT_MS {
        tokio::task::yield_now().await;
    }
    Some(was_kept.then(|| millis(now() - committed)))
}
