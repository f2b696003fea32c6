//! How far a fence makes its readers wait.

use super::world::{World, options, price, view};
use candor::core::port::Log;
use candor_core::{Rows, ViewQuery};
use candor_testbed::Cluster;
use std::time::Duration;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

/// What a fence says of all that is visible, and what one said just before of all that is logged: the log only grows, so the
/// first is below the second only if it leaves something out.
async fn both(world: &World) -> (u64, u64) {
    let logged = world.postgres.fence().await.expect("a fence").position.at;
    (world.postgres.fence_visible().await.expect("a fence").position.at, logged)
}

/// Writes without an end, until dropped.
async fn writer(world: &World) -> tokio_postgres::Client {
    let url = world.cluster.url("postgres");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connected");
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_transaction_has_begun_to_write_is_not_waited_for() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    world.warm(0, 1).await;
    let other = writer(&world).await;
    other.batch_execute("BEGIN; UPDATE item SET price = 7 WHERE id = 2").await.expect("begun");
    // The first one may still be the snapshot that all later ones are held against.
    let mut found = both(&world).await;
    for _ in 0..200 {
        if found.0 < found.1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        other.batch_execute("UPDATE item SET price = price + 1 WHERE id = 2").await.expect("written");
        found = both(&world).await;
    }
    let (visible, begun) = found;
    assert!(visible < begun, "{visible} is as far as {begun}, which counts what is not committed");
    other.batch_execute("COMMIT").await.expect("committed");
    let (visible, _) = both(&world).await;
    assert!(visible > begun, "{visible} does not reach the commit, which lies above {begun}");
}

/// Commits that are flushed and commits that are not, rollbacks and savepoints, one after the other; whatever was written,
/// the next strong read shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strong_reads_show_every_way_of_ending_a_transaction() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    world.warm(0, 1).await;
    let (writes, noise) = (writer(&world).await, writer(&world).await);
    noise.batch_execute("BEGIN; UPDATE item SET price = 0 WHERE id = 9").await.expect("begun");
    for turn in 0..60_i64 {
        let price_now = 1000 + turn;
        let update = format!("UPDATE item SET price = {price_now} WHERE id = 1");
        let statement = match turn % 5 {
            0 => update,
            1 => format!("BEGIN; SET LOCAL synchronous_commit = off; {update}; COMMIT"),
            2 => format!("BEGIN; SAVEPOINT a; {update}; RELEASE a; COMMIT"),
            3 => format!("BEGIN; UPDATE item SET price = -1 WHERE id = 1; ROLLBACK; {update}"),
            _ => format!("BEGIN; SELECT pg_current_xact_id(); ROLLBACK; {update}"),
        };
        writes.batch_execute(&statement).await.expect("written");
        noise.batch_execute("UPDATE item SET price = price + 1 WHERE id = 9").await.expect("written");
        let seen = world.strong(0, 1).await.expect("there is such an item");
        assert_eq!(price(&seen), price_now, "after {statement}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_need_not_agree_on_how_far_is_enough() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    let mut options = options(&world.cluster);
    options.slot = "other".into();
    let other = candor_postgres::Postgres::open(options);
    other.setup(&views()).await.expect("setup");
    let other = World::over(std::sync::Arc::clone(&world.cluster), other, &views()).await;
    for turn in 0..20_i64 {
        // Now and then one of them is told nothing while the other knows already.
        let is_deaf = turn % 7 == 3;
        let walsender = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'other'";
        let deaf = is_deaf.then(|| world.cluster.psql(walsender));
        if let Some(walsender) = &deaf {
            other.followed().await;
            other.warm(0, 1).await;
            signal("-STOP", walsender);
        }
        world.cluster.psql(&format!("UPDATE item SET price = {turn} WHERE id = 1"));
        for instance in [&world, &other] {
            assert_eq!(price(&instance.strong(0, 1).await.expect("an item")), turn);
        }
        // A token of one is a position that the other has to reach.
        let token = world.cache().fence().await.expect("a token");
        let answer = other.cache().at(candor::Session(token)).read(&(0, 1), other.loader()).await;
        assert_eq!(price(answer.expect("an answer").value().expect("an item")), turn);
        if let Some(walsender) = &deaf {
            signal("-CONT", walsender);
        }
    }
}

fn signal(which: &str, process: &str) {
    assert!(std::process::Command::new("kill").args([which, process]).status().expect("kill").success());
}
