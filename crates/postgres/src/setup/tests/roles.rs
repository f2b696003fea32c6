//! The roles of the documentation: what each may, and that it suffices.

use super::bench::{Bench, PUBLICATION, SLOT, broken, connect, facts, finding, needs};
use crate::setup::{self, SetupOptions};
use crate::status;
use bytes::BytesMut;
use candor_core::port::Fault;
use candor_testbed::Cluster;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const ROLES: &str = "
CREATE ROLE shop_owner LOGIN;
CREATE DATABASE shop OWNER shop_owner;
CREATE ROLE candor LOGIN REPLICATION;
CREATE ROLE nobody_special LOGIN;
CREATE SCHEMA shop AUTHORIZATION shop_owner;
CREATE TABLE shop.users (id int PRIMARY KEY, name text);
ALTER TABLE shop.users OWNER TO shop_owner;
";

const GRANTS: &str = "
GRANT USAGE ON SCHEMA shop TO candor;
GRANT SELECT ON shop.users TO candor;
GRANT CREATE ON DATABASE postgres TO shop_owner;
";

/// A connection in replication mode that has begun to read the slot.
pub(super) struct Replication(#[expect(dead_code, reason = "open as long as the value lives")] TcpStream);

impl Replication {
    pub(super) fn start(cluster: &Cluster, user: &str) -> Self {
        let mut stream = TcpStream::connect(cluster.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut out, mut buffer) = (BytesMut::new(), BytesMut::new());
        let parameters = [("user", user), ("database", "postgres"), ("replication", "database")];
        frontend::startup_message(parameters, &mut out).unwrap();
        stream.write_all(&out).unwrap();
        while !matches!(next(&mut stream, &mut buffer), Some(Message::ReadyForQuery(_))) {}
        out.clear();
        let start = format!(
            "START_REPLICATION SLOT \"{SLOT}\" LOGICAL 0/0 (proto_version '1', publication_names '{PUBLICATION}')"
        );
        frontend::query(&start, &mut out).unwrap();
        stream.write_all(&out).unwrap();
        // CopyBothResponse, which the library does not know: a `W`.
        assert!(next(&mut stream, &mut buffer).is_none(), "the server did not begin to stream");
        Self(stream)
    }
}

/// The next message; `None` for CopyBothResponse.
fn next(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<Message> {
    loop {
        if buffer.first() == Some(&b'W') {
            return None;
        }
        match Message::parse(buffer).unwrap() {
            Some(Message::ErrorResponse(_)) => panic!("the server refused"),
            Some(message) => return Some(message),
            None => {
                let mut chunk = [0; 4096];
                let read = stream.read(&mut chunk).unwrap();
                assert!(read > 0, "the server closed the connection");
                buffer.extend_from_slice(&chunk[..read]);
            }
        }
    }
}

#[tokio::test]
async fn the_owner_publishes_and_a_role_with_replication_and_select_does_all_the_rest() {
    let bench = Bench::start(ROLES).await;
    bench.cluster.psql(GRANTS);
    let needs = needs(&[("shop.users", &["id", "name"])]);
    let (owner, candor) =
        (connect(&bench.cluster, "shop_owner").await, connect(&bench.cluster, "candor").await);
    let statements = setup::plan(&facts(&owner, &needs).await, &needs, SetupOptions::default());

    // The owner has no REPLICATION: everything but the slot.
    let error = setup::apply(&owner, &statements).await.unwrap_err();
    assert!(error.fault == Fault::Contract && error.message.contains("a role with REPLICATION"), "{error:?}");
    let rest = setup::plan(&facts(&candor, &needs).await, &needs, SetupOptions::default());
    assert_eq!(rest, ["SELECT pg_create_logical_replication_slot('candor', 'pgoutput')"]);
    setup::apply(&candor, &rest).await.unwrap();

    let status = status::read(&candor, SLOT, PUBLICATION, &needs).await.unwrap();
    assert_eq!((broken(&status), status.needs_setup), (Vec::new(), false));
    assert_eq!(status.role, "candor");
    let fill = "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text, pg_is_in_recovery(), u.* \
        FROM shop.users u";
    candor.query(fill, &[]).await.unwrap();
    candor.batch_execute("SELECT pg_logical_emit_message(false, 'candor', '')").await.unwrap();
    assert!(candor.batch_execute("DELETE FROM shop.users").await.is_err());
    let _reading = Replication::start(&bench.cluster, "candor");
    let facts = facts(&candor, &needs).await;
    assert!(facts.slot.unwrap().active_pid.is_some());
    assert_eq!(facts.server.senders_used, 1);
}

#[tokio::test]
async fn a_role_that_may_too_little_is_told_the_statements_that_give_it() {
    let bench = Bench::start(ROLES).await;
    let needs = needs(&[("shop.users", &["id"])]);
    let client = connect(&bench.cluster, "nobody_special").await;
    let status = status::read(&client, SLOT, PUBLICATION, &needs).await.unwrap();
    bench.cluster.psql(&finding(&status, "may not read the log").mend);
    bench.cluster.psql(&finding(&status, "may not read \"shop\".\"users\"").mend);
    // CREATE is of no use to who owns no table, and is offered to who does.
    let may_not_publish = "may not make the publication";
    assert!(!finding(&status, may_not_publish).mend.contains("GRANT"), "{status:#?}");
    bench.cluster.psql("GRANT CREATE ON DATABASE postgres TO nobody_special");
    let after = status::read(&client, SLOT, PUBLICATION, &needs).await.unwrap();
    let left: Vec<&str> = after.findings.iter().map(|finding| &*finding.what).collect();
    let left: Vec<&str> = left.into_iter().filter(|what| what.contains("may not")).collect();
    assert_eq!(left, ["role \"nobody_special\" may not make the publication"]);
    let statements = setup::plan(&facts(&client, &needs).await, &needs, SetupOptions::default());
    let error = setup::apply(&client, &statements).await.unwrap_err();
    assert!(error.message.contains("run this as the owner of the tables"), "{error:?}");
    let owner = connect(&bench.cluster, "shop_owner").await;
    let status = status::read(&owner, SLOT, PUBLICATION, &needs).await.unwrap();
    bench.cluster.psql(finding(&status, may_not_publish).mend.split_once("or: ").unwrap().1);
    let status = status::read(&owner, SLOT, PUBLICATION, &needs).await.unwrap();
    assert!(!status.findings.iter().any(|finding| finding.what.contains(may_not_publish)), "{status:#?}");
}
