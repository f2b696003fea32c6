//! How fast changes become knowledge: from the replication stream into the ledger, and into the ledger alone.

use crate::library;
use crate::world::{LIBRARY, ROWS, Way, World, cpu_nanos};
use candor::core::{Applied, Change, Epoch, Ledger, LedgerSize, LogId, Record, Tag, Xid};
use candor_core::port::Log;
use std::time::{Duration, Instant};

/// Transactions in the log before anybody reads it.
const TRANSACTIONS: u64 = 100_000;

pub fn run() {
    println!("\n### Changes into the ledger\n");
    alone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(from_the_stream());
}

/// `Ledger::apply` and nothing else: one tag per change, a record per change, as a stream of small transactions gives.
fn alone() {
    const CHANGES: u64 = 2_000_000;
    let size = LedgerSize::default();
    let ledger = Ledger::new(size);
    let epoch = Epoch { log: LogId(1), era: 0 };
    ledger.apply(&Record::opening(epoch, 1));
    let record = |at: u64| {
        let tag = Tag(at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let change = Change { at, xid: Xid(at), tags: Box::new([tag]), note: "".into() };
        Record { epoch, previous: at - 1, at, changes: vec![change] }
    };
    let records: Vec<Record> = (2..2 + size.changes as u64).map(record).collect();
    let filled_from = resident_bytes();
    for record in &records {
        ledger.apply(record);
    }
    let grown = resident_bytes() - filled_from;
    println!("* a remembered tag: {} bytes, with {} of them in a ledger of the default size", grown / size.changes as u64, size.changes);
    drop(records);
    let mut spent = Duration::ZERO;
    let mut at = 2 + size.changes as u64;
    while at < CHANGES {
        let batch: Vec<Record> = (at..at + 10_000).map(record).collect();
        let began = Instant::now();
        for record in &batch {
            assert_eq!(ledger.apply(record), Applied::Advanced);
        }
        spent += began.elapsed();
        at += 10_000;
    }
    let applied = (at - 2 - size.changes as u64) as f64;
    println!("* `Ledger::apply` of a full ledger: {:.2} million changes a second on one core", applied / spent.as_secs_f64() / 1e6);
}

/// A backlog of small transactions, read as fast as one thread can: socket, protocol, pgoutput, tags, mailbox, ledger.
async fn from_the_stream() {
    let world = World::start().await;
    let postgres = library::open(&world, LIBRARY).await;
    postgres.prepare(&library::view()).await.expect("asked");
    let client = world.client("postgres", Way::Socket).await;
    let body = format!(
        "DO $$ BEGIN FOR i IN 1..{TRANSACTIONS} LOOP UPDATE item SET seen = i, name = 'changed ' || i WHERE id = 1 + i % {ROWS}; COMMIT; END LOOP; END $$"
    );
    client.batch_execute(&body).await.expect("written");
    let ledger = Ledger::new(LedgerSize::default());
    let mut feed = loop {
        match postgres.follow().await {
            Ok(feed) => break feed,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let (mut changes, mut gaps) = (0u64, 0u64);
    let mut began: Option<(Instant, u64)> = None;
    let mut ended = (Instant::now(), 0);
    while let Ok(Ok(record)) = tokio::time::timeout(Duration::from_secs(3), feed.next()).await {
        gaps += u64::from(matches!(ledger.apply(&record), Applied::Gap { .. }));
        if record.changes.is_empty() {
            continue;
        }
        changes += record.changes.len() as u64;
        began.get_or_insert_with(|| (Instant::now(), cpu_nanos(std::process::id())));
        if changes % 1024 == 0 || changes + 2048 > TRANSACTIONS {
            ended = (Instant::now(), cpu_nanos(std::process::id()));
        }
    }
    let Some((began, cpu)) = began else { return println!("* from the stream: nothing arrived") };
    let (wall, cpu) = (ended.0.duration_since(began).as_secs_f64(), (ended.1 - cpu) as f64 / 1e9);
    println!(
        "* from the stream: {changes} of {TRANSACTIONS} transactions of one row, {gaps} gaps; {:.0} a second, {:.0} per second of our processor time",
        changes as f64 / wall,
        changes as f64 / cpu
    );
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
