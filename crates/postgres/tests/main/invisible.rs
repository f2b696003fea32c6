//! Commits that are logged and not visible yet while the log breaks: whoever misses one keeps the old row for good, for
//! nobody will tell of it again.
//!
//! Otherwise the chain of records shows a follower that something is missing, and what was kept before is void. What is
//! filled afterwards is safe only because the source of the log knows what may still be invisible.

use super::world::{Waiting, World, options, view};
use candor_core::{Rows, ViewQuery};
use candor_postgres::Postgres;
use candor_testbed::{Cluster, Proxy};
use std::sync::Arc;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int, about text);
    ALTER TABLE item REPLICA IDENTITY FULL;
    INSERT INTO item SELECT i, 1, repeat(md5(i::text), 9) FROM generate_series(1, 2000) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

async fn world() -> (World, Proxy) {
    let cluster = Cluster::start();
    let proxy = Proxy::to(cluster.address());
    let world = World::through(&proxy, cluster, SCHEMA, &views()).await;
    world.warm(0, 1).await;
    (world, proxy)
}

/// Reads what everybody still sees, so that it would be kept, and then what a commit changed that was waiting.
async fn is_noticed_when_it_becomes_visible(world: &World, waiting: Waiting) {
    world.only_tells(1, 0, 1).await;
    waiting.becomes_visible().await;
    world.told().await;
    world.only_tells(2, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_whose_telling_was_cut_off_is_told_again() {
    let (world, proxy) = world().await;
    // Both images of 2,000 rows are more than a megabyte.
    proxy.cut_after(400_000);
    let waiting = world.waits_for_a_standby("UPDATE item SET price = 2").await;
    world.followed_anew().await;
    is_noticed_when_it_becomes_visible(&world, waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_somebody_moved_on_leaves_open_what_is_not_visible_yet() {
    let (world, proxy) = world().await;
    proxy.refuse();
    proxy.cut();
    let waiting = world.waits_for_a_standby("UPDATE item SET price = 2 WHERE id = 1").await;
    candor_testbed::until("somebody moves the slot on", || {
        let moved = "SELECT pg_replication_slot_advance('candor', pg_current_wal_flush_lsn())";
        world.cluster.try_psql(moved).is_ok()
    });
    proxy.accept();
    world.followed_anew().await;
    is_noticed_when_it_becomes_visible(&world, waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_begins_while_a_commit_is_not_visible_yet_leaves_it_open() {
    let (world, _proxy) = world().await;
    world.cluster.psql("SELECT pg_create_logical_replication_slot('late', 'pgoutput')");
    let waiting = world.waits_for_a_standby("UPDATE item SET price = 2 WHERE id = 1").await;
    // The slot begins behind the commit.
    world.cluster.psql("SELECT pg_replication_slot_advance('late', pg_current_wal_flush_lsn())");
    let mut options = options(&world.cluster);
    options.slot = "late".into();
    let late = World::over(Arc::clone(&world.cluster), Postgres::open(options), &views()).await;
    is_noticed_when_it_becomes_visible(&late, waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_while_its_table_was_out_of_the_log_for_a_moment_is_left_open() {
    let (world, proxy) = world().await;
    proxy.refuse();
    proxy.cut();
    world.cluster.psql("ALTER PUBLICATION candor DROP TABLE item");
    let waiting = world.waits_for_a_standby("UPDATE item SET price = 2 WHERE id = 1").await;
    world.cluster.psql("SET synchronous_commit = local; ALTER PUBLICATION candor ADD TABLE item");
    proxy.accept();
    world.followed_anew().await;
    is_noticed_when_it_becomes_visible(&world, waiting).await;
}
