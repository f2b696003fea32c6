//! What check says of a server as it is found.

use super::bench::{Bench, finding, needs};
use crate::status::{self, Severity};
use candor_testbed::Cluster;

#[tokio::test]
async fn an_application_that_is_broken_already_comes_first_with_the_statement_that_mends_it() {
    let bench = Bench::start("CREATE TABLE t (id int); CREATE PUBLICATION candor FOR TABLE t").await;
    let needs = needs(&[("public.t", &[])]);
    bench.cluster.psql("INSERT INTO t VALUES (1)");
    assert!(bench.cluster.try_psql("UPDATE t SET id = 2").is_err());
    let status = bench.status(&needs).await;
    let found = finding(&status, "UPDATE and DELETE on it fail");
    assert_eq!(found.severity, Severity::Broken);
    bench.cluster.psql(&found.mend);
    bench.cluster.psql("UPDATE t SET id = 2");
}

#[tokio::test]
async fn findings_are_ordered_by_what_to_do_first() {
    let bench = Bench::start("CREATE TABLE t (id int PRIMARY KEY, a int)").await;
    let status = bench.status(&needs(&[("public.t", &["a"])])).await;
    let order: Vec<Severity> = status.findings.iter().map(|finding| finding.severity).collect();
    assert!(order.is_sorted() && order.first() == Some(&Severity::Broken), "{status:#?}");
    assert_eq!(finding(&status, "slot \"candor\" does not exist").mend, "candor setup");
    assert_eq!(finding(&status, "max_slot_wal_keep_size is -1").severity, Severity::Note);
    assert_eq!(finding(&status, "old values").mend, "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL",);
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let bench = Bench::start("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").await;
    let config = format!("host=127.0.0.1 port={} user=postgres dbname=latin", bench.cluster.port());
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own client; the seams belong to the engine")]
    tokio::spawn(connection);
    let status = crate::status::read(&client, "candor", "candor", &needs(&[])).await.unwrap();
    assert!(finding(&status, "LATIN1").mend.contains("UTF8"));
}

#[tokio::test]
async fn a_prepared_transaction_that_was_forgotten_is_named_with_both_ways_to_end_it() {
    let builder = Cluster::builder().setting("max_prepared_transactions", "2");
    let bench = Bench::with(builder, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let needs = needs(&[("public.t", &[])]);
    bench.set_up(&needs).await;
    bench.cluster.psql("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'it''s late'");
    let mut facts = bench.facts(&needs).await;
    assert_eq!(facts.prepared.len(), 1);
    let is_named = |facts: &crate::setup::Facts| {
        let status = status::of(facts, &needs);
        status.findings.into_iter().find(|found| found.what.contains("prepared"))
    };
    assert_eq!(is_named(&facts), None, "its second phase may be under way");
    facts.prepared[0].age_s = 3_600;
    let found = is_named(&facts).expect("a finding");
    assert_eq!(found.severity, Severity::Risk);
    assert!(
        found.what.contains("'it''s late' of role \"postgres\"") && found.what.contains("3600 s"),
        "{found:?}"
    );
    assert!(
        found.mend.contains("COMMIT PREPARED 'it''s late', or ROLLBACK PREPARED 'it''s late'"),
        "{found:?}"
    );
}
