//! Taking everything out, and leaving alone what is another's.

use super::bench::{Bench, connect, finding, needs};
use crate::setup::{self, Needs, SetupOptions};
use crate::status::{self, Severity};

const EVERYTHING: &str = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots) \
    + (SELECT count(*) FROM pg_event_trigger) + (SELECT count(*) FROM pg_namespace WHERE nspname = 'candor') \
    + (SELECT count(*) FROM pg_proc WHERE prorettype = 'event_trigger'::regtype AND oid >= 16384)";

#[tokio::test]
async fn removal_leaves_nothing_and_may_be_repeated() {
    let bench = Bench::start("CREATE TABLE t (id int PRIMARY KEY, a int)").await;
    let needs = needs(&[("public.t", &["a"])]);
    let options = SetupOptions { event_trigger: true, ..SetupOptions::default() };
    assert_eq!(bench.remove().await, Vec::<String>::new());
    bench.apply(&bench.plan(&needs, options).await).await.unwrap();
    assert_eq!(bench.cluster.psql(EVERYTHING), "6");
    let statements = bench.remove().await;
    assert_eq!(bench.cluster.psql(EVERYTHING), "0", "{statements:?}");
    assert!(statements.iter().any(|line| line.starts_with("-- replica identities stay")), "{statements:?}");
    assert_eq!(bench.remove().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_anothers_is_neither_used_nor_removed() {
    let bench = Bench::start(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION candor FOR TABLE t; CREATE SCHEMA candor; \
         CREATE DATABASE other",
    )
    .await;
    let needs = needs(&[("public.t", &[])]);
    for theirs in [
        "SELECT pg_create_physical_replication_slot('candor')",
        "\\c other\nSELECT pg_create_logical_replication_slot('candor', 'pgoutput')",
        "SELECT pg_create_logical_replication_slot('candor', 'test_decoding')",
    ] {
        bench.cluster.psql(theirs);
        let statements = bench.plan(&needs, SetupOptions::default()).await;
        assert!(statements.iter().any(|line| line.starts_with("-- slot") && line.contains("another reader")));
        assert!(!statements.iter().any(|line| line.contains("replication_slot(")), "{statements:?}");
        assert_eq!(finding(&bench.status(&needs).await, "another reader").severity, Severity::Broken);
        assert_eq!(bench.remove().await, Vec::<String>::new());
        bench.cluster.psql("SELECT pg_drop_replication_slot('candor')");
    }
    assert_eq!(bench.cluster.psql(EVERYTHING), "2");
}

#[tokio::test]
async fn a_slot_in_use_is_told_and_nothing_is_removed() {
    let bench = Bench::start("CREATE TABLE t (id int PRIMARY KEY)").await;
    let needs = needs(&[("public.t", &[])]);
    bench.set_up(&needs).await;
    let _reader = super::roles::Replication::start(&bench.cluster, "postgres");
    let pid = bench.cluster.psql("SELECT active_pid FROM pg_replication_slots");
    let status = bench.status(&needs).await;
    let found = finding(&status, "is being read by process");
    assert!(found.severity == Severity::Note && found.what.contains(&pid), "{found:?}");
    assert_eq!(status.slot.as_ref().unwrap().active_pid.unwrap().to_string(), pid);
    let statements = setup::removal(&bench.facts(&needs).await);
    assert!(statements.len() == 1 && statements[0].starts_with("-- slot") && statements[0].contains(&pid));
}

#[tokio::test]
async fn a_publication_is_not_made_beside_an_older_slot_that_is_being_read() {
    let bench = Bench::start("CREATE TABLE t (id int PRIMARY KEY)").await;
    let needs = needs(&[("public.t", &[])]);
    bench.set_up(&needs).await;
    let reader = super::roles::Replication::start(&bench.cluster, "postgres");
    assert_eq!(setup::obstacle(&bench.facts(&needs).await, &needs), None);
    bench.cluster.psql("DROP PUBLICATION candor");
    let facts = bench.facts(&needs).await;
    let why = setup::obstacle(&facts, &needs).unwrap();
    assert!(why.contains("is being read by process") && why.contains("stop Candor"), "{why}");
    let statements = setup::plan(&facts, &needs, SetupOptions::default());
    assert_eq!(statements[0], format!("-- {why}"));
    // The slot comes first: where it cannot be dropped, there is no publication that the next run would be content with.
    let error = bench.apply(&statements).await.unwrap_err();
    assert!(
        error.message.contains("stop Candor") && error.message.contains("nothing was changed"),
        "{error:?}"
    );
    assert_eq!(bench.cluster.psql("SELECT count(*) FROM pg_publication"), "0");
    drop(reader);
    candor_testbed::until("nobody reads the slot", || {
        bench.cluster.psql("SELECT count(*) FROM pg_replication_slots WHERE active") == "0"
    });
    assert_eq!(bench.set_up(&needs).await.iter().filter(|line| !setup::is_remark(line)).count(), 4);
    assert_eq!(bench.plan(&needs, SetupOptions::default()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_slot_nobody_reads_is_told_with_what_it_keeps_and_how_to_drop_it() {
    let bench = Bench::start("CREATE TABLE t (id int PRIMARY KEY, pad text)").await;
    let needs = needs(&[("public.t", &[])]);
    assert_eq!(status::slot_figures(&bench.client, "candor").await, Ok(None));
    bench.set_up(&needs).await;
    bench.cluster.psql("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 4000) g");
    let figures = status::slot_figures(&bench.client, "candor").await.unwrap().unwrap();
    let kept = figures.retained_bytes.unwrap();
    assert!(!figures.is_read);
    assert!((1_000_000..100_000_000).contains(&kept), "{kept}");
    let status = bench.status(&needs).await;
    let found = finding(&status, "nobody reads slot");
    assert!(found.severity == Severity::Note && found.what.contains("MiB"), "{found:?}");
    assert!(found.mend.contains("SELECT pg_drop_replication_slot('candor')"), "{found:?}");
    let (client, mut facts) = (connect(&bench.cluster, "postgres").await, bench.facts(&needs).await);
    facts.slot.as_mut().unwrap().retained_bytes = Some(300 << 20);
    let judged = status::of(&facts, &needs);
    assert_eq!(finding(&judged, "nobody reads slot").severity, Severity::Risk);
    client.batch_execute("SELECT pg_drop_replication_slot('candor')").await.unwrap();
    assert_eq!(finding(&bench.status(&needs).await, "does not exist").severity, Severity::Broken);
}

#[tokio::test]
async fn views_that_need_no_log_ask_for_nothing() {
    let bench = Bench::start("SELECT").await;
    assert_eq!(bench.plan(&Needs::default(), SetupOptions::default()).await, Vec::<String>::new());
    assert_eq!(bench.status(&Needs::default()).await.findings, []);
}
