//! Connections that are cut amid a record, and gaps.

use super::world::{World, options, view};
use candor::FeedStatus;
use candor_core::port::Log;
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

/// A gap is told by a number of its own, one above what was reached. A commit record may begin exactly there: were that
/// number the server's to know, it would take the commit for one that was told already, and leave it out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_begins_where_a_gap_was_made_is_told() {
    let cluster = Cluster::builder()
        .setting("autovacuum", "off")
        .setting("max_prepared_transactions", "5")
        .setting("checkpoint_timeout", "1h")
        .start();
    let proxy = Proxy::to(cluster.address());
    let world = World::through(&proxy, cluster, SCHEMA, &views()).await;
    for attempt in 0..20 {
        let truth = 100 + attempt;
        cut_off(&world, &proxy);
        // What is prepared has written its rows, and its commit record comes next.
        world.cluster.psql(&format!(
            "BEGIN; UPDATE item SET price = {truth} WHERE id = 1; PREPARE TRANSACTION 'next'"
        ));
        world.cluster.psql("SELECT pg_replication_slot_advance('candor', pg_current_wal_insert_lsn())");
        let end = world.cluster.psql("SELECT pg_current_wal_insert_lsn()");
        proxy.accept();
        world.followed().await;
        // The gap is made. Now the server is told where to go on.
        cut_off(&world, &proxy);
        proxy.accept();
        world.followed().await;
        let mut feed = world.postgres.follow().await.expect("followed");
        let confirmed = world.cluster.psql("SELECT confirmed_flush_lsn FROM pg_replication_slots");
        let is_quiet = world.cluster.psql("SELECT pg_current_wal_insert_lsn()") == end && confirmed == end;
        world.cluster.psql("COMMIT PREPARED 'next'");
        let told = async {
            loop {
                let record = feed.next().await.expect("a record");
                if record.changes.iter().any(|change| change.note.contains("item")) {
                    return;
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(20), told).await;
        assert!(told.is_ok(), "the commit was left out; it began at {end}, and {confirmed} was confirmed");
        world.only_tells(truth, 0, 1).await;
        if is_quiet {
            return;
        }
    }
    panic!("somebody wrote into the log in between each time");
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
