//! Writers, fills, fences and a real ledger at the same time: strong reads never go back.
#![expect(clippy::disallowed_methods, reason = "real threads are the point here; nothing is simulated")]

use crate::world::{World, by_id, connect, int};
use candor_core::port::{Feed, Log, Source};
use candor_core::{Entry, EntryParts, Ledger, LedgerSize, Moment, Verdict};
use candor_sqlite::Sqlite;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Both columns change in every transaction.
const PAIR: &str =
    "SELECT track.name, album.title FROM track JOIN album ON album.id = track.album_id WHERE track.id = $1";
const WRITES: i64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strong_reads_reflect_every_commit_before_them_and_no_half_of_one() {
    let world = World::new();
    let handle = world.view(by_id(PAIR)).await;
    world.write("UPDATE track SET name = '0' WHERE id = 1; UPDATE album SET title = '0' WHERE id = 1");
    let ledger = Arc::new(Ledger::new(LedgerSize::default()));
    let feed = world.sqlite.follow().await.unwrap();
    let pump = tokio::task::spawn(pump(feed, ledger.clone()));
    let committed = Arc::new(AtomicI64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (path, committed, done) = (world.path.clone(), committed.clone(), done.clone());
        std::thread::spawn(move || {
            let connection = connect(&path);
            for n in 1..=WRITES {
                let sql = format!(
                    "BEGIN IMMEDIATE; UPDATE track SET name = '{n}' WHERE id = 1; UPDATE album SET title = '{n}' WHERE id = 1; COMMIT"
                );
                connection.execute_batch(&sql).unwrap();
                committed.store(n, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        })
    };
    let hits = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (sqlite, ledger) = (world.sqlite.clone(), ledger.clone());
            let (committed, done, hits) = (committed.clone(), done.clone(), hits.clone());
            tokio::task::spawn(async move {
                let mut kept = None;
                while !done.load(Ordering::SeqCst) {
                    let wanted = committed.load(Ordering::SeqCst);
                    let value = strong(&sqlite, &ledger, handle, &mut kept, &hits).await;
                    let (name, title) = value;
                    assert_eq!(name, title, "half a transaction");
                    assert!(name >= wanted, "read {name} after {wanted} was committed");
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    writer.join().unwrap();
    // When it is quiet, the cache answers.
    let mut kept = None;
    for _ in 0..10 {
        assert_eq!(strong(&world.sqlite, &ledger, handle, &mut kept, &hits).await, (WRITES, WRITES));
    }
    assert!(hits.load(Ordering::Relaxed) >= 9);
    drop(world);
    pump.await.unwrap();
}

async fn pump(mut feed: Box<dyn Feed>, ledger: Arc<Ledger>) {
    while let Ok(record) = feed.next().await {
        ledger.apply(&record);
    }
}

/// One strong read, as an engine would do it.
async fn strong(
    sqlite: &Sqlite,
    ledger: &Ledger,
    handle: candor_core::port::ViewHandle,
    kept: &mut Option<Entry<(i64, i64)>>,
    hits: &AtomicU64,
) -> (i64, i64) {
    let fence = sqlite.fence().await.unwrap().position;
    let sight = loop {
        match ledger.sight() {
            Some(sight) if sight.position().reaches(fence) => break sight,
            _ => tokio::task::yield_now().await,
        }
    };
    if let Some(entry) = kept
        && matches!(ledger.judge(&sight, entry), Verdict::Current { .. })
    {
        hits.fetch_add(1, Ordering::Relaxed);
        return *entry.value().unwrap();
    }
    let mut fill = sqlite.fill(handle, [int(1).into_boxed_slice()].into()).await.unwrap();
    let answer = fill.answers.remove(0);
    let value: serde_json::Value = serde_json::from_slice(&answer.value.unwrap()).unwrap();
    let number = |name: &str| value[name].as_str().unwrap().parse::<i64>().unwrap();
    let value = (number("name"), number("title"));
    assert_eq!(fill.stamp.upper().epoch, sight.epoch);
    *kept = Some(Entry::new(EntryParts {
        value: Some(value),
        filled_at: Moment::ZERO,
        stamp: fill.stamp,
        tags: answer.tags,
        generation: sight.generation,
        ttl: Duration::MAX,
    }));
    value
}
