//! Servers, slots and connections that go away.

use super::world::{World, view};
use candor::Level;
use candor_core::{Rows, ViewQuery};
use candor_testbed::{Cluster, Proxy};
use std::time::Duration;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

/// Reads until the source answers again.
async fn strong_again(world: &World, key: i64) -> String {
    for _ in 0..100 {
        if let Ok(answer) = world.try_read(Level::Strong, 0, key).await {
            return answer.value().map(|json| json.to_string()).unwrap_or_default();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the source does not come back: {:?}", world.cache().follower().status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_that_loses_a_commit_that_was_seen_begins_a_new_log() {
    let cluster = Cluster::builder().durable(true).setting("wal_writer_delay", "10s").start();
    let world = World::new(cluster, SCHEMA, &views()).await;
    world.warm(0, 1).await;
    let log = |world: &World| world.cache().follower().ledger().sight().expect("followed").epoch.log;
    let before = log(&world);
    world.cluster.psql("SET synchronous_commit = off; UPDATE item SET price = 2 WHERE id = 1");
    let seen = world.read(Level::Any, 0, 1).await;
    let token = seen.session();
    world.cluster.crash();
    world.cluster.start_again();
    let now = strong_again(&world, 1).await;
    let truth = world.cluster.psql("SELECT price FROM item WHERE id = 1");
    assert!(now.contains(&format!("\"price\":{truth}")), "{now}, but the source says {truth}");
    world.followed().await;
    world.warm(0, 1).await;
    assert_ne!(log(&world), before);
    let again = world.cache().at(candor::Session(token)).read(&(0, 1), world.loader()).await;
    assert!(again.is_err(), "a token of a lost log proves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_dropped_and_made_anew_behind_our_back_is_a_gap() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    world.warm(0, 1).await;
    world.cluster.psql(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'candor';
         SELECT pg_sleep(0.02);
         SELECT pg_drop_replication_slot('candor');
         UPDATE item SET price = 5 WHERE id = 1;
         SELECT 1 FROM pg_create_logical_replication_slot('candor', 'pgoutput')",
    );
    // Who asks while the log is down is answered by the source, and keeps that.
    world.followed_anew().await;
    assert!(strong_again(&world, 1).await.contains("\"price\":5"));
    for _ in 0..20 {
        let any = world.read(Level::Any, 0, 1).await;
        assert!(any.value().unwrap().contains("\"price\":5"), "an entry outlived a gap in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_loses_nothing() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    for round in 2..12 {
        world.warm(0, 1).await;
        world.warm(0, 2).await;
        world.cluster.psql(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'candor'",
        );
        world.cluster.psql(&format!("UPDATE item SET price = {round} WHERE id = 1"));
        assert!(strong_again(&world, 1).await.contains(&format!("\"price\":{round}")));
        world.followed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asynchronous_commits_and_an_idle_log_are_waited_for_in_milliseconds() {
    let cluster = Cluster::builder().setting("wal_writer_delay", "10s").start();
    let world = World::new(cluster, SCHEMA, &views()).await;
    world.warm(0, 1).await;
    for round in 2..30 {
        world
            .cluster
            .psql(&format!("SET synchronous_commit = off; UPDATE item SET price = {round} WHERE id = 1"));
        assert!(world.strong(0, 1).await.unwrap().contains(&format!("\"price\":{round}")));
        // The log must say so itself, not the source in its stead, and before the server writes it out by itself.
        let told = tokio::time::timeout(Duration::from_secs(5), world.warm(0, 1)).await;
        assert!(told.is_ok(), "the log is not told: {:?}", world.cache().follower().status());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backend_makes_the_server_recover_and_begins_a_new_log_without_a_restart() {
    let cluster = Cluster::builder().durable(true).setting("wal_writer_delay", "10s").start();
    let world = World::new(cluster, SCHEMA, &views()).await;
    world.warm(0, 1).await;
    let log = |world: &World| world.cache().follower().ledger().sight().expect("followed").epoch.log;
    let before = log(&world);
    let started = world.cluster.psql("SELECT pg_postmaster_start_time()");
    world.cluster.psql("SET synchronous_commit = off; UPDATE item SET price = 2 WHERE id = 1");
    let victim = world.cluster.psql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LIMIT 1");
    assert!(std::process::Command::new("kill").args(["-9", &victim]).status().expect("kill").success());
    let now = strong_again(&world, 1).await;
    candor_testbed::until("the server is back", || world.cluster.try_psql("SELECT 1").is_ok());
    assert_eq!(world.cluster.psql("SELECT pg_postmaster_start_time()"), started, "this is another test");
    let truth = world.cluster.psql("SELECT price FROM item WHERE id = 1");
    assert!(now.contains(&format!("\"price\":{truth}")), "{now}, but the source says {truth}");
    world.followed().await;
    world.warm(0, 1).await;
    assert_ne!(log(&world), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_change_while_the_connection_is_cut_is_not_overlooked() {
    let cluster = Cluster::start();
    let proxy = Proxy::to(cluster.address());
    let world = World::through(&proxy, cluster, SCHEMA, &views()).await;
    world.warm(0, 1).await;
    // Nobody is told of the row, and everything looks as it was when the stream goes on.
    proxy.refuse();
    proxy.cut();
    world.cluster.psql(
        "BEGIN; ALTER PUBLICATION candor DROP TABLE item; COMMIT;
         UPDATE item SET price = 9 WHERE id = 1;
         ALTER PUBLICATION candor ADD TABLE item;",
    );
    proxy.accept();
    world.followed_anew().await;
    assert!(strong_again(&world, 1).await.contains("\"price\":9"));
    world.warm(0, 1).await;
    assert!(world.strong(0, 1).await.unwrap().contains("\"price\":9"));
}

/// One attempt at a crash after which the server gives the number of a transaction that was seen to another one. False if
/// the crash came too late to lose the first.
async fn a_number_is_given_out_again(world: &World, proxy: &Proxy, key: i64) -> bool {
    let (client, connection) = tokio_postgres::connect(&world.cluster.url("postgres"), tokio_postgres::NoTls)
        .await
        .expect("a client");
    let connection = tokio::spawn(connection);
    client.batch_execute("SET synchronous_commit = off").await.expect("set");
    let numbered = |price: i64| {
        format!("UPDATE item SET price = {price} WHERE id = {key} RETURNING pg_current_xact_id()::text")
    };
    let lost: String = client.query_one(&numbered(2), &[]).await.expect("written").get(0);
    // From now until the crash nobody must ask for the log to be flushed, and the engine's pulse soon does.
    let seen = world.read(Level::Any, 0, key).await;
    world.cluster.crash();
    proxy.refuse();
    proxy.cut();
    let _ = connection.await;
    assert!(seen.value().is_some_and(|json| json.contains("\"price\":2")), "the commit was seen");
    world.cluster.start_again();
    let is_lost = world.cluster.psql(&format!("SELECT price FROM item WHERE id = {key}")) == "1";
    let again = world.cluster.psql(&numbered(3));
    proxy.accept();
    is_lost && again == lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_got_the_number_of_one_that_a_crash_took_back_is_another_one() {
    let cluster = Cluster::builder().durable(true).setting("wal_writer_delay", "10s").start();
    let proxy = Proxy::to(cluster.address());
    let world = World::through(&proxy, cluster, SCHEMA, &views()).await;
    for key in 1..=8 {
        world.followed().await;
        world.warm(0, 100).await;
        let before = world.log();
        let is_lost = a_number_is_given_out_again(&world, &proxy, key).await;
        // The log speaks first: whoever asks the source meanwhile learns the truth from it.
        world.followed().await;
        world.only_tells(3, 0, key).await;
        assert_ne!(world.log(), before);
        if is_lost {
            return;
        }
    }
    panic!("no crash came in time to lose a commit that was seen");
}
