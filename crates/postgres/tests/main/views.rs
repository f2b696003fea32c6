//! Setup, views and what they are refused for, as a user meets them.

use super::world::{World, cache, options_at, view};
use candor_core::{Rows, Severity};
use candor_postgres::Postgres;
use candor_testbed::{Cluster, Proxy};
use std::sync::Arc;
use std::time::Duration;

const SCHEMA: &str = "
    CREATE TABLE artist (id int8 PRIMARY KEY, name text);
    CREATE TABLE album (id int8 PRIMARY KEY, artist_id int8 REFERENCES artist, title text);
    CREATE UNLOGGED TABLE scratch (id int8 PRIMARY KEY, note text);
    ALTER TABLE album REPLICA IDENTITY FULL;
    INSERT INTO artist SELECT i, 'artist ' || i FROM generate_series(1, 10) AS i;
    INSERT INTO album SELECT i, 1 + i % 10, 'album ' || i FROM generate_series(1, 100) AS i;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_follows_every_table_it_reads() {
    let albums = view(
        "albums",
        "SELECT a.title, r.name FROM album a JOIN artist r ON r.id = a.artist_id WHERE a.artist_id = $1 ORDER BY a.id",
        Rows::Many,
    );
    let world = World::new(Cluster::start(), SCHEMA, &[albums]).await;
    world.warm(0, 3).await;
    world.cluster.psql("UPDATE artist SET name = 'renamed' WHERE id = 3");
    assert!(world.strong(0, 3).await.unwrap().contains("renamed"));
    world.warm(0, 3).await;
    world.cluster.psql("INSERT INTO album VALUES (500, 3, 'new')");
    assert!(world.strong(0, 3).await.unwrap().contains("\"new\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_cannot_be_proven_is_refused_with_the_mend() {
    let good = view("artist", "SELECT name FROM artist WHERE id = $1", Rows::One);
    let world = World::new(Cluster::start(), SCHEMA, &[good]).await;
    for sql in [
        "SELECT note FROM scratch WHERE id = $1",
        "SELECT nosuch FROM artist WHERE id = $1",
        "SELECT name, now() FROM artist WHERE id = $1",
        "SELECT name FROM artist WHERE id = $1 AND '2026-01-01' <@ daterange '[today,tomorrow)'",
        "DELETE FROM artist WHERE id = $1 RETURNING name",
        "SELECT name FROM artist WHERE id = $1; SELECT 1",
    ] {
        let derived = world.postgres.prepare(&view("bad", sql, Rows::One)).await.expect("asked");
        assert!(derived.is_refused() && derived.handle.is_none(), "{sql}: {derived:#?}");
        let refused = derived.findings.iter().filter(|finding| finding.severity == Severity::Refused);
        assert!(refused.clone().all(|finding| !finding.mend.is_empty()), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_is_done_once_and_taken_out_whole() {
    let artist = [view("artist", "SELECT name FROM artist WHERE id = $1", Rows::One)];
    let world = World::new(Cluster::start(), SCHEMA, &artist).await;
    assert_eq!(world.postgres.setup_plan(&artist).await.unwrap().statements, [""; 0]);
    world.cache().close(Duration::from_secs(1)).await;
    let World { cluster, postgres, cache, .. } = world;
    drop(cache);
    cluster.psql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");
    candor_testbed::until("the slot is free", || {
        cluster.psql("SELECT count(*) FROM pg_replication_slots WHERE active") == "0"
    });
    postgres.remove().await.expect("removal");
    assert_eq!(cluster.psql("SELECT count(*) FROM pg_replication_slots"), "0");
    assert_eq!(cluster.psql("SELECT count(*) FROM pg_publication"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_followed_however_many_views_there_are_and_however_far_away_the_server_is() {
    let cluster = Arc::new(Cluster::start());
    cluster.psql("CREATE TABLE item (id int8 PRIMARY KEY, price int); INSERT INTO item VALUES (1, 1)");
    let proxy = Proxy::to(cluster.address());
    let names: Vec<String> = (0..12).map(|number| format!("item{number}")).collect();
    let views: Vec<_> =
        names.iter().map(|name| view(name, "SELECT id, price FROM item WHERE id = $1", Rows::One)).collect();
    let far = |url: &str| {
        let mut options = options_at(url);
        options.connect.connect_timeout = Duration::from_secs(1);
        options.statement_timeout = Duration::from_millis(500);
        Postgres::open(options)
    };
    far(&cluster.url("postgres")).setup(&views).await.expect("setup");
    let postgres = far(&cluster.url_through(proxy.address(), "postgres"));
    for view in &views {
        postgres.declare(view);
    }
    // Holding a view against the schema takes some forty round trips, so all together take longer than one of them may.
    proxy.delay(Duration::from_millis(12));
    let began = tokio::time::Instant::now();
    let cache = cache(&postgres);
    let followed = tokio::time::timeout(Duration::from_secs(120), cache.follower().following()).await;
    assert!(followed.is_ok(), "{:?}", cache.follower().status());
    assert!(
        began.elapsed() > Duration::from_millis(2500),
        "near enough for one limit to do: {:?}",
        began.elapsed()
    );
}
