//! A million mixed reads against a writer, each answer checked against the history of the source; and the same audit
//! with a defence taken out, which it must notice.
//!
//! Sabotage inside the engine is compiled in only by `cargo x sabotage`; without it those tests are not there.

#![expect(clippy::print_stdout, reason = "the audit shows its figures to whoever runs it with --nocapture")]

mod seeded;
mod sqlite;

use candor_sim::auditor::{Audit, Broken};
use candor_sim::readers::{Size, run};
use candor_sim::{LoadFault, MemoryWorld};
use sqlite::SqliteWorld;
use std::sync::Arc;
use std::time::Duration;

const KEYS: u32 = 24;

fn size(reads: u64, pause: Duration) -> Size {
    Size { tasks: 8, reads, keys: KEYS, pause }
}

async fn in_memory(reads: u64, fault: LoadFault) -> Audit {
    let audit = run(Arc::new(MemoryWorld::new(fault)), size(reads, Duration::from_micros(200)), 11).await;
    println!("memory, {fault:?}: {audit}");
    audit
}

async fn on_sqlite(reads: u64, fault: LoadFault) -> Audit {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let world = SqliteWorld::new(folder.path(), fault).await;
    let audit = run(Arc::new(world), size(reads, Duration::from_millis(1)), 12).await;
    println!("sqlite, {fault:?}: {audit}");
    audit
}

/// Whether there was anything to get wrong.
fn assert_raced(audit: &Audit, reads: u64) {
    assert!(audit.answers >= reads, "{audit}");
    assert!(audit.stale > reads / 1000, "too little happened for the audit to mean anything: {audit}");
}

#[cfg(not(candor_sabotage))]
mod honest {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_million_reads_of_a_source_in_memory_carry_no_false_receipt() {
        let audit = in_memory(500_000, LoadFault::None).await;
        assert_raced(&audit, 500_000);
        assert_eq!(audit.violations(), 0, "{audit}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_million_reads_of_sqlite_carry_no_false_receipt() {
        let audit = on_sqlite(1_000_000, LoadFault::None).await;
        assert_raced(&audit, 1_000_000);
        assert_eq!(audit.violations(), 0, "{audit}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stamps_taken_after_the_read_are_noticed() {
        for audit in [
            in_memory(50_000, LoadFault::StampAfterRead).await,
            on_sqlite(50_000, LoadFault::StampAfterRead).await,
        ] {
            assert!(audit.broken.contains_key(&Broken::Position), "{audit}");
            assert!(
                audit.broken.contains_key(&Broken::Bounded) || audit.broken.contains_key(&Broken::Strong),
                "{audit}"
            );
        }
    }
}

#[cfg(candor_sabotage)]
mod sabotaged {
    use super::*;
    use candor::sabotage::{Sabotage, set};

    /// On a quick machine readers outrun the writer, and a few writes are all that can be missed.
    const READS: u64 = 200_000;

    /// One after another: the sabotage is of the whole process.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn defences_that_are_taken_out_are_noticed() {
        set(Sabotage::Nothing);
        for audit in [in_memory(READS, LoadFault::None).await, on_sqlite(READS, LoadFault::None).await] {
            assert_raced(&audit, READS);
            assert_eq!(audit.violations(), 0, "{audit}");
        }
        set(Sabotage::JudgeAlwaysCurrent);
        for audit in [in_memory(READS, LoadFault::None).await, on_sqlite(READS, LoadFault::None).await] {
            assert!(audit.broken.contains_key(&Broken::Strong), "{audit}");
            assert!(audit.broken.contains_key(&Broken::Position), "{audit}");
        }
        set(Sabotage::JoinAnyFlight);
        for audit in [in_memory(READS, LoadFault::None).await, on_sqlite(READS, LoadFault::None).await] {
            assert!(audit.broken.contains_key(&Broken::Strong), "{audit}");
        }
        set(Sabotage::Nothing);
        let searched = tokio::task::spawn_blocking(seeded::every_defence_that_is_taken_out_is_missed).await;
        searched.expect("every defence is missed in the seeded world, too");
    }
}
