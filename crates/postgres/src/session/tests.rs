//! Sessions with real servers, and with servers that no good one would be.

#![expect(clippy::disallowed_methods, reason = "tests play servers, which run beside them")]

mod entrance;
mod follow;
mod strange;
mod workload;

use super::*;
use crate::connect::tests::options;
use candor_testbed::Cluster;
use std::time::Duration;

/// How a test reaches its server by TCP.
fn by_tcp(cluster: &Cluster) -> ConnectOptions {
    options(&[("127.0.0.1", cluster.port())])
}

/// A slot `s` of our plugin and a publication `p` of all tables.
fn prepare(cluster: &Cluster) {
    cluster.psql(
        "CREATE PUBLICATION p FOR ALL TABLES;
         SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
    );
}

async fn follow(cluster: &Cluster) -> Stream {
    let session = Session::connect(&by_tcp(cluster)).await.unwrap();
    session.start("s", "p", Lsn(0)).await.unwrap()
}

/// The next thing told, soon.
async fn soon(stream: &mut Stream) -> Incoming {
    timeout(Duration::from_secs(30), stream.next()).await.expect("nothing was told").unwrap()
}

/// Waits until nobody streams from the slot: a walsender notices a little later that its client is gone.
fn until_free(cluster: &Cluster) {
    candor_testbed::until("the slot to be free", || {
        cluster.psql("SELECT active FROM pg_replication_slots") == "f"
    });
}
