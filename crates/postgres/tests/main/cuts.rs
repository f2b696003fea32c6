//! Connections that are cut amid a record, and those that are slow.

use super::world::{World, options, view};
use candor::FeedStatus;
use candor_core::{Rows, ViewQuery};
use candor_postgres::{ConnectOptions, Postgres, PostgresOptions};
use candor_testbed::{Cluster, Proxy};
use std::time::Duration;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int, about text);
    CREATE TABLE silent (id int8);
    INSERT INTO item SELECT i, 1, repeat('x', 300) FROM generate_series(1, 100) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_at_any_byte_lose_nothing_and_prove_nothing_false() {
    let cluster = Cluster::start();
    let proxy = Proxy::to(cluster.address());
    let world = World::through(&proxy, cluster, SCHEMA, &views()).await;
    for (round, bytes) in (0..4_600).step_by(211).enumerate() {
        world.followed().await;
        let (key, other) = (1 + round as i64 % 5, 6 + round as i64 % 5);
        world.warm(0, key).await;
        world.warm(0, other).await;
        let truth = 2 + round as i64;
        proxy.cut_after(bytes);
        // Several rows, so that a cut may fall between two of one transaction.
        world
            .cluster
            .psql(&format!("UPDATE item SET price = {truth} WHERE id IN ({key}, {other}, 50, 51, 52)"));
        assert_eq!(world.price(0, key).await, truth, "cut after {bytes} bytes");
        assert_eq!(world.price(0, other).await, truth, "cut after {bytes} bytes");
    }
    world.followed().await;
    for key in 1..=10 {
        let truth = world.cluster.psql(&format!("SELECT price FROM item WHERE id = {key}"));
        world.warm(0, key).await;
        assert_eq!(world.price(0, key).await.to_string(), truth);
    }
}

/// Before the log is followed, every view is held against the schema, one after another. Together that takes longer than a
/// connection may, where there are many or the server is far away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_views_far_away_are_followed_again_after_a_cut() {
    let cluster = Cluster::start();
    let proxy = Proxy::to(cluster.address());
    cluster.psql(SCHEMA);
    let of = |number| view(&format!("item{number}"), "SELECT id, price FROM item WHERE id = $1", Rows::One);
    let views: Vec<_> = (0..VIEWS).map(of).collect();
    let url = cluster.url_through(proxy.address(), "postgres");
    let connect = ConnectOptions::parse(&format!("{url}?connect_timeout=2"), &|_| None).expect("an address");
    let postgres = Postgres::open(PostgresOptions {
        statement_timeout: Duration::from_secs(1),
        ..PostgresOptions::new(connect)
    });
    Postgres::open(options(&cluster)).setup(&views).await.expect("setup");
    let world = World::over(cluster, postgres, &views).await;
    cut_off(&world, &proxy);
    proxy.delay(FAR);
    proxy.accept();
    let follows = tokio::time::timeout(Duration::from_secs(60), world.cache().follower().following());
    assert!(follows.await.is_ok(), "{:?}", world.cache().follower().status());
    world.warm(0, 1).await;
}

/// So many that asking for them over [`FAR`] takes longer than the two connections and a statement of that test may.
const VIEWS: usize = 20;
const FAR: Duration = Duration::from_millis(40);

/// Cuts the instance off and waits until it has noticed.
fn cut_off(world: &World, proxy: &Proxy) {
    proxy.refuse();
    proxy.cut();
    candor_testbed::until("the instance notices", || {
        matches!(world.cache().follower().status(), FeedStatus::Down(_))
    });
    let active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'candor'";
    candor_testbed::until("the slot is free", || world.cluster.psql(active) == "f");
}
