//! What check says of a server as it is found.

use super::bench::{Bench, finding, needs};
use crate::status::Severity;

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
