//! Servers and walsenders that live and say nothing.

use super::world::{World, price, view};
use candor::{FeedStatus, Level};
use candor_core::{Rows, ViewQuery};
use candor_testbed::{Cluster, Proxy};
use std::process::Command;
use std::time::Duration;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;";

const BOUND: Duration = Duration::from_millis(300);

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_lets_bounds_grow_and_no_answer_exceeds_the_bound_it_was_asked_for() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    world.warm(0, 1).await;
    world.cluster.pause();
    let mut refused = 0;
    for _ in 0..4 {
        match world.try_read(Level::Bounded(BOUND), 0, 1).await {
            Ok(answer) => {
                let bound = answer.receipt().bound.expect("a bound");
                assert!(bound <= BOUND, "{bound:?}");
            }
            Err(_) => refused += 1,
        }
        tokio::time::sleep(BOUND).await;
    }
    assert!(refused > 0, "a server that says nothing proved something");
    let old = world.read(Level::Any, 0, 1).await;
    assert!(old.receipt().bound.is_none_or(|bound| bound > BOUND), "{:?}", old.receipt());
    world.cluster.resume();
    world.cluster.psql("UPDATE item SET price = 2 WHERE id = 1");
    assert_eq!(world.price(0, 1).await, 2);
    world.followed().await;
    world.warm(0, 1).await;
    world.only_tells(2, 0, 1).await;
}

/// The source answers and its log does not: what the log cannot prove, the source is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_walsender_sends_readers_to_the_source_and_proves_nothing() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    for round in 2..5 {
        world.followed().await;
        world.warm(0, 1).await;
        let walsender = world.cluster.psql("SELECT active_pid FROM pg_replication_slots");
        signal("-STOP", &walsender);
        world.cluster.psql(&format!("UPDATE item SET price = {round} WHERE id = 1"));
        let strong = world.strong(0, 1).await.expect("a row");
        assert_eq!(price(&strong), round, "the log told nothing, and nothing is not proof");
        tokio::time::sleep(BOUND).await;
        let bounded = world.read(Level::Bounded(BOUND), 0, 1).await;
        assert_eq!(price(bounded.value().expect("a row")), round, "{:?}", bounded.receipt());
        signal("-CONT", &walsender);
        world.only_tells(round, 0, 1).await;
    }
    candor_testbed::until("the log is followed", || {
        matches!(world.cache().follower().status(), FeedStatus::Following)
    });
}

/// What the server said may have been overtaken by the time it is heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_count_from_the_question_however_late_its_answer_comes() {
    const LATE: Duration = Duration::from_millis(60);
    let cluster = Cluster::start();
    let proxy = Proxy::to(cluster.address());
    let world = World::through(&proxy, cluster, SCHEMA, &views()).await;
    world.warm(0, 1).await;
    proxy.delay(LATE);
    // Fences that were answered before have been forgotten by then.
    tokio::time::sleep(LATE * 10).await;
    for _ in 0..60 {
        let kept = world.read(Level::Any, 0, 1).await;
        let bound = kept.receipt().bound.expect("a bound");
        assert!(bound >= LATE * 2, "there and back takes longer: {:?}", kept.receipt());
        tokio::time::sleep(LATE / 6).await;
    }
    for key in 2..6 {
        let filled = world.read(Level::Any, 0, key).await;
        let bound = filled.receipt().bound.expect("a bound");
        assert!(bound >= LATE * 2, "there and back takes longer: {:?}", filled.receipt());
    }
}

fn signal(which: &str, process: &str) {
    assert!(Command::new("kill").args([which, process]).status().expect("kill").success());
}
