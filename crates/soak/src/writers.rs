//! Writers that know when their COMMIT returned: tasks with direct connections, and transactions of many kinds.
//!
//! What a transaction did to which row it asks the lives for, before it commits: they carry its number.

use crate::clock::{now, pause};
use crate::observer::{Stage, connect};
use crate::random::Random;
use crate::schema::{ACCOUNTS, ITEMS, OWNERS, SHELVES};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_postgres::{Client, Error};

/// What a transaction does at its end.
#[derive(Copy, Clone, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
    /// Prepared first, and committed by another statement.
    TwoPhases,
}

/// Writes for as long as the run lasts; `every` is the pause between transactions.
pub(crate) async fn write(stage: Arc<Stage>, number: u64, seed: u64, every: Duration) {
    let mut random = Random::of(seed, 100 + number);
    let mut gid = 0;
    while stage.is_on() {
        let Some((client, era)) = connect(&stage, "writer").await else {
            pause(Duration::from_millis(50)).await;
            continue;
        };
        while stage.is_on() {
            gid += 1;
            let done = if stage.is_writing() {
                let gid = format!("soak-{number}-{gid}");
                let transaction = transact(&stage, &client, era, &mut random, &gid);
                tokio::time::timeout(Duration::from_secs(30), transaction).await
            } else {
                Ok(Ok(()))
            };
            match done {
                Ok(Ok(())) => {}
                // A deadlock, a key that is taken: the next one.
                Ok(Err(error)) if !client.is_closed() && error.code().is_some() => {
                    if client.batch_execute("ROLLBACK").await.is_err() {
                        break;
                    }
                }
                _ => break,
            }
            let every = if stage.is_loose() { every / 20 } else { every };
            pause(every.mul_f64(random.below(1000) as f64 / 500.0)).await;
        }
    }
}

async fn transact(
    stage: &Stage,
    client: &Client,
    era: u32,
    random: &mut Random,
    gid: &str,
) -> Result<(), Error> {
    let is_loose = stage.is_loose();
    let synchronous = if random.once_in(3) || is_loose { "off" } else { "on" };
    client
        .batch_execute(&format!(
            "BEGIN; SET LOCAL synchronous_commit = {synchronous}; SET LOCAL lock_timeout = '3s'"
        ))
        .await?;
    client.batch_execute(&statements(random)).await?;
    if random.once_in(150) {
        pause(Duration::from_millis(300 + random.below(1500))).await;
    }
    let mine = "SELECT id, version, nonce FROM life WHERE xid = pg_current_xact_id()::text::int8";
    let mine = client.query(mine, &[]).await?;
    let end = match random.below(20) {
        0..=1 => End::Rollback,
        // Its first phase always waits for the disk, for all that was logged before it too.
        2 if !is_loose => End::TwoPhases,
        _ => End::Commit,
    };
    match end {
        End::Rollback => return client.batch_execute("ROLLBACK").await,
        End::Commit => client.batch_execute("COMMIT").await?,
        End::TwoPhases => {
            client.batch_execute(&format!("PREPARE TRANSACTION '{gid}'")).await?;
            pause(Duration::from_millis(random.below(20))).await;
            client.batch_execute(&format!("COMMIT PREPARED '{gid}'")).await?;
        }
    }
    let at = now();
    {
        let mut truth = stage.truth.lock();
        for row in mine {
            truth.seen(era, row.get(0), row.get(1), row.get(2), at);
        }
    }
    stage.acknowledged.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Ends what was prepared and left by a writer that lost its connection between the two phases: its locks stop all others,
/// and while it is open nothing that is dead can be cleared away.
pub(crate) async fn tidy(stage: Arc<Stage>) {
    while stage.is_on() {
        if let Some((client, _)) = connect(&stage, "tidy").await {
            while stage.is_on()
                && tokio::time::timeout(Duration::from_secs(10), resolve(&client)).await == Ok(true)
            {
                pause(Duration::from_secs(1)).await;
            }
        }
        pause(Duration::from_millis(500)).await;
    }
}

/// Whether the server still answers.
async fn resolve(client: &Client) -> bool {
    let left = "SELECT gid FROM pg_prepared_xacts WHERE prepared < now() - interval '3 s'";
    let Ok(left) = client.query(left, &[]).await else { return false };
    for row in left {
        let gid: &str = row.get(0);
        // Its writer may be faster.
        let _ = client.batch_execute(&end_of(gid)).await;
    }
    !client.is_closed()
}

/// How a transaction ends that was prepared and left.
pub(crate) fn end_of(gid: &str) -> String {
    let end = if gid.len().is_multiple_of(2) { "COMMIT" } else { "ROLLBACK" };
    format!("{end} PREPARED '{gid}'")
}

/// What happens between BEGIN and the end.
fn statements(random: &mut Random) -> String {
    let (one, other) = (random.hot(ITEMS), random.hot(ITEMS));
    let (shelf, owner) = (random.hot(SHELVES), random.hot(OWNERS));
    match random.below(20) {
        0..=4 => format!("UPDATE item SET amount = amount + 1 WHERE id = {one}"),
        5..=6 => format!("UPDATE item SET shelf = {shelf} WHERE id = {one}"),
        7 => format!("UPDATE item SET owner = {owner} WHERE id = {one}"),
        // A key changes: both the old and the new one have a new version.
        8 => format!(
            "UPDATE item SET id = {other} WHERE id = {one} AND NOT EXISTS (SELECT FROM item WHERE id = {other})"
        ),
        9..=10 => format!("DELETE FROM item WHERE id = {one}"),
        11..=12 => format!("{}; {}", insert(one, shelf, owner), insert(one.max(1) - 1, shelf, owner)),
        13..=15 => transfer(random, ""),
        16 => {
            // What is rolled back to a savepoint never was.
            let undone = format!("UPDATE item SET amount = -1 WHERE id = {other}; {}", transfer(random, ""));
            format!(
                "UPDATE item SET amount = 7 WHERE id = {one}; SAVEPOINT a; {undone}; ROLLBACK TO a; \
                 SAVEPOINT b; {}; RELEASE b",
                transfer(random, "")
            )
        }
        17 => format!("UPDATE owner SET amount = amount + 1 WHERE id = {owner}"),
        18 => format!(
            "DELETE FROM owner WHERE id = {owner} AND id > 4; INSERT INTO owner SELECT 5 + {owner} % 3 WHERE NOT EXISTS (SELECT FROM owner WHERE id = 5 + {owner} % 3)"
        ),
        _ => {
            format!("UPDATE item SET shelf = ({shelf} + id) % {SHELVES} WHERE id BETWEEN {one} AND {one} + 5")
        }
    }
}

fn insert(id: i64, shelf: i64, owner: i64) -> String {
    format!(
        "INSERT INTO item SELECT {id}, {shelf}, {owner}, 1 WHERE NOT EXISTS (SELECT FROM item WHERE id = {id})"
    )
}

/// From one account to another; the sum stays.
fn transfer(random: &mut Random, more: &str) -> String {
    let (from, to) = (random.below(ACCOUNTS as u64), random.below(ACCOUNTS as u64));
    format!(
        "UPDATE account SET amount = amount - 1 WHERE id = {from}; UPDATE account SET amount = amount + 1 WHERE id = {to}{more}"
    )
}
