//! Lost slots, locks, and servers that are not ready.

use super::bench::{Bench, connect, finding, needs};
use crate::setup::SetupOptions;
use crate::status::Severity;
use candor_core::port::Fault;
use candor_testbed::Cluster;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_slot_whose_log_is_gone_is_made_anew_and_the_plan_says_so() {
    let builder = Cluster::builder().setting("max_slot_wal_keep_size", "1MB");
    let bench = Bench::with(builder, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let needs = needs(&[("public.t", &[])]);
    bench.set_up(&needs).await;
    let status = bench.status(&needs).await;
    assert!(!status.findings.iter().any(|finding| finding.what.contains("max_slot_wal_keep_size")));
    for _ in 0..4 {
        bench.cluster.psql("SELECT pg_logical_emit_message(false, 'x', 'x'); SELECT pg_switch_wal()");
    }
    assert_eq!(finding(&bench.status(&needs).await, "about to be lost").severity, Severity::Risk);
    bench.cluster.psql("CHECKPOINT");
    let status = bench.status(&needs).await;
    assert_eq!(status.slot.as_ref().unwrap().wal_status.as_deref(), Some("lost"));
    assert_eq!(finding(&status, "is lost").severity, Severity::Broken);
    let statements = bench.set_up(&needs).await;
    assert!(
        statements.len() == 3 && statements[0].starts_with("-- slot \"candor\" is lost"),
        "{statements:?}"
    );
    assert_eq!(bench.cluster.psql("SELECT wal_status FROM pg_replication_slots"), "reserved");
    assert_eq!(bench.plan(&needs, SetupOptions::default()).await, Vec::<String>::new());
}

#[tokio::test]
async fn setup_gives_up_on_a_locked_table_before_it_blocks_the_application() {
    let bench = Bench::start("CREATE TABLE t (id int PRIMARY KEY, a int); CREATE TABLE a (id int)").await;
    let needs = needs(&[("public.a", &[]), ("public.t", &["a"])]);
    let statements = bench.plan(&needs, SetupOptions::default()).await;
    let mut reader = connect(&bench.cluster, "postgres").await;
    let transaction = reader.transaction().await.unwrap();
    transaction.query("SELECT * FROM t", &[]).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test measures a real server")]
    let begun = Instant::now();
    let error = bench.apply(&statements).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(error.fault, Fault::Slow);
    for part in
        ["REPLICA IDENTITY FULL", "run it again", "done before it, and kept: ALTER TABLE \"public\".\"a\""]
    {
        assert!(error.message.contains(part), "{error:?}");
    }
    transaction.commit().await.unwrap();
    assert_eq!(bench.cluster.psql("SHOW lock_timeout"), "0");
    assert_eq!(bench.client.query_one("SHOW lock_timeout", &[]).await.unwrap().get::<_, String>(0), "0");
    // The second run goes on from where the first stopped.
    assert_eq!(bench.set_up(&needs).await, statements[1..]);
}

#[tokio::test]
async fn a_server_whose_log_tells_no_rows_is_told_to_change_and_setup_fails_loudly() {
    let builder = Cluster::builder().setting("wal_level", "replica").setting("max_replication_slots", "0");
    let bench = Bench::with(builder, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let needs = needs(&[("public.t", &[])]);
    let status = bench.status(&needs).await;
    assert!(status.findings[0].mend.starts_with("ALTER SYSTEM SET wal_level = logical"), "{status:#?}");
    assert_eq!(finding(&status, "all 0 replication slots").severity, Severity::Broken);
    let statements = bench.plan(&needs, SetupOptions::default()).await;
    let error = bench.apply(&statements).await.unwrap_err();
    assert!(error.message.contains("ALTER SYSTEM SET wal_level = logical"), "{error:?}");
    assert_eq!(error.fault, Fault::Contract);
}

#[tokio::test]
async fn tables_that_are_in_no_log_are_named_and_left_out() {
    let bench = Bench::start(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE UNLOGGED TABLE u (id int PRIMARY KEY); \
         CREATE VIEW v AS SELECT * FROM t; CREATE MATERIALIZED VIEW m AS SELECT * FROM t; \
         CREATE TABLE p (id int) PARTITION BY RANGE (id); \
         CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; \
         CREATE FOREIGN TABLE pf PARTITION OF p FOR VALUES FROM (0) TO (9) SERVER s",
    )
    .await;
    let needs = needs(&[
        ("public.t", &["id"]),
        ("public.u", &["id"]),
        ("public.v", &["id"]),
        ("public.m", &["id"]),
        ("public.p", &["id"]),
        ("public.gone", &["id"]),
    ]);
    let statements = bench.plan(&needs, SetupOptions::default()).await;
    bench.apply(&statements).await.unwrap();
    assert_eq!(statements.iter().filter(|line| line.starts_with("--")).count(), 5, "{statements:?}");
    assert_eq!(bench.cluster.psql("SELECT tablename FROM pg_publication_tables"), "t");
    let status = bench.status(&needs).await;
    for about in ["is unlogged", "is a view", "is a materialized view", "has the part", "does not exist"] {
        assert_eq!(finding(&status, about).severity, Severity::Broken);
    }
}
