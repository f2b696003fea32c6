//! Slots that somebody else reads or that the server gave up, and servers that restart.

use super::world::{World, options, view};
use candor::FeedStatus;
use candor_core::port::Log;
use candor_core::{Rows, ViewQuery};
use candor_postgres::Postgres;
use candor_testbed::{Cluster, Proxy};
use std::sync::Arc;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_instance_on_the_same_slot_answers_from_the_source_and_disturbs_nobody() {
    let first = World::new(Cluster::start(), SCHEMA, &views()).await;
    first.warm(0, 1).await;
    let cluster = Arc::clone(&first.cluster);
    let second = Postgres::open(options(&cluster));
    let refused = second.follow().await.err().expect("the slot is taken");
    assert!(refused.message.contains("a slot of its own") || refused.message.contains("not followed yet"));
    let second = World::beside(cluster, second, &views()).await;
    candor_testbed::until(
        "the second one says why",
        || matches!(second.cache().follower().status(), FeedStatus::Down(why) if why.contains("a slot of its own")),
    );
    for truth in 2..6 {
        first.cluster.psql(&format!("UPDATE item SET price = {truth} WHERE id = 1"));
        assert_eq!(second.price(0, 1).await, truth);
        assert_eq!(first.price(0, 1).await, truth);
    }
    assert!(!second.is_ever_kept(0, 1).await);
    first.warm(0, 1).await;
    drop(first);
    second.followed().await;
    second.warm(0, 1).await;
    second.only_tells(5, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_the_server_gave_up_voids_every_proof_until_setup_makes_another() {
    let cluster = Cluster::builder().setting("max_slot_wal_keep_size", "1MB").start();
    let proxy = Proxy::to(cluster.address());
    let world = World::through(&proxy, cluster, SCHEMA, &views()).await;
    world.warm(0, 1).await;
    proxy.refuse();
    proxy.cut();
    world.cluster.psql("UPDATE item SET price = 2 WHERE id = 1");
    for _ in 0..4 {
        world.cluster.psql("SELECT pg_logical_emit_message(false, 'x', 'x'); SELECT pg_switch_wal()");
    }
    candor_testbed::until("the slot is lost", || {
        world.cluster.psql("CHECKPOINT");
        world.cluster.psql("SELECT wal_status FROM pg_replication_slots") == "lost"
    });
    proxy.accept();
    assert_eq!(world.price(0, 1).await, 2);
    candor_testbed::until(
        "somebody says why",
        || matches!(world.cache().follower().status(), FeedStatus::Down(why) if why.contains("candor setup")),
    );
    world.only_tells(2, 0, 1).await;
    assert!(!world.is_ever_kept(0, 1).await);
    world.postgres.setup(&views()).await.expect("setup");
    world.followed().await;
    world.only_tells(2, 0, 1).await;
    world.warm(0, 1).await;
    world.cluster.psql("UPDATE item SET price = 3 WHERE id = 1");
    world.only_tells(3, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_begins_a_new_log_and_what_happened_meanwhile_is_seen() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    for truth in 2..4 {
        world.warm(0, 1).await;
        let before = world.log();
        world.cluster.restart();
        world.cluster.psql(&format!("UPDATE item SET price = {truth} WHERE id = 1"));
        assert_eq!(world.price(0, 1).await, truth);
        world.only_tells(truth, 0, 1).await;
        world.followed().await;
        world.warm(0, 1).await;
        assert_ne!(world.log(), before);
    }
}
