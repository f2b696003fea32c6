//! Standbys that answer for their primary: never less than it shows, and never more.

use super::world::{Loads, World, options, options_at, view};
use candor::Level;
use candor_core::{Rows, ViewQuery};
use candor_postgres::{Postgres, PostgresOptions, StandbyFigures};
use candor_testbed::Cluster;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 1000) AS i;
    CREATE TABLE filler (text text);
    CREATE FUNCTION shown(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';";

const SHOWN: usize = 1;

fn views() -> [ViewQuery; 2] {
    [
        view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One),
        view("shown", "SELECT id, shown(price) AS price FROM item WHERE id = $1", Rows::One),
    ]
}

fn with_standby(primary: &Cluster, standby: &Cluster) -> Postgres {
    let standby = options_at(&standby.url("postgres")).connect;
    Postgres::open(PostgresOptions { standby: Some(standby), ..options(primary) })
}

/// A cache over a primary with the schema, whose fills a standby may answer.
async fn world(primary: Arc<Cluster>, standby: &Cluster) -> World {
    let postgres = with_standby(&primary, standby);
    postgres.setup(&views()).await.expect("setup");
    World::over(primary, postgres, &views()).await.loading(Loads::Copy)
}

async fn primary_and_standby() -> (World, Cluster) {
    let primary = Arc::new(Cluster::start());
    primary.psql(SCHEMA);
    let standby = primary.standby("copy");
    (world(primary, &standby).await, standby)
}

fn figures(world: &World) -> StandbyFigures {
    world.postgres.standby_figures().expect("a standby is named")
}

/// Reads rows that were not read before until the standby answers one.
async fn answers(world: &World, keys: std::ops::Range<i64>) {
    let before = figures(world).answered;
    for key in keys {
        world.price(0, key).await;
        if figures(world).answered > before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the standby answers nothing: {:?}", figures(world));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standbys_answer_lacks_nothing_and_shows_nothing_that_the_primary_does_not() {
    let (world, _standby) = primary_and_standby().await;
    answers(&world, 500..600).await;
    let (shown, is_over) = (Arc::new(AtomicI64::new(1)), Arc::new(AtomicBool::new(false)));
    let writer = {
        let (cluster, shown, is_over) =
            (Arc::clone(&world.cluster), Arc::clone(&shown), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for price in 2..=150 {
                cluster.psql(&format!("UPDATE item SET price = {price} WHERE id <= 3"));
                shown.store(price, Ordering::SeqCst);
            }
            is_over.store(true, Ordering::SeqCst);
        })
    };
    let mut reads = 0;
    while !is_over.load(Ordering::SeqCst) {
        let least = shown.load(Ordering::SeqCst);
        let told = world.price(0, 1 + reads % 3).await;
        let most: i64 = world.cluster.psql("SELECT price FROM item WHERE id = 1").parse().expect("a number");
        assert!((least..=most).contains(&told), "{told} is not between {least} and {most}");
        reads += 1;
    }
    writer.join().expect("the writer has written");
    let StandbyFigures { answered, refused } = figures(&world);
    assert!(answered > 5, "{answered} fills by the standby, {refused} by the primary, {reads} reads");
    world.warm(0, 1).await;
    assert_eq!(world.price(0, 1).await, 150);
    world.cluster.psql("UPDATE item SET price = 151 WHERE id = 1");
    assert_eq!(world.price(0, 1).await, 151, "what a standby filled is judged like all else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_on_the_standby_and_not_visible_at_the_primary_is_not_shown() {
    let (world, standby) = primary_and_standby().await;
    answers(&world, 500..600).await;
    let waiting = world.waits_for_a_standby("UPDATE item SET price = 2 WHERE id <= 100").await;
    candor_testbed::until("the standby shows it", || {
        standby.psql("SELECT price FROM item WHERE id = 1") == "2"
    });
    let before = figures(&world);
    for key in 1..=8 {
        assert_eq!(world.price(0, key).await, 1, "the primary does not show it");
        // Longer than a standby is left alone.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert_eq!(figures(&world).answered, before.answered, "{:?}", figures(&world));
    waiting.becomes_visible().await;
    assert_eq!(world.price(0, 9).await, 2);
    answers(&world, 600..700).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_schema_that_the_primary_does_not_show_yet_is_not_answered_by() {
    let (world, standby) = primary_and_standby().await;
    answers(&world, 500..600).await;
    let sql = "CREATE OR REPLACE FUNCTION shown(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 100 * $1'";
    let waiting = world.waits_for_a_standby(sql).await;
    candor_testbed::until("the standby shows it", || standby.psql("SELECT shown(1)") == "100");
    for key in 1..=6 {
        assert_eq!(world.price(SHOWN, key).await, 1, "the primary does not show it");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    waiting.becomes_visible().await;
    world.only_tells(100, SHOWN, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_behind_or_away_sends_fills_to_the_primary() {
    let (world, standby) = primary_and_standby().await;
    answers(&world, 500..600).await;
    standby.psql("SELECT pg_wal_replay_pause()");
    world.cluster.psql("UPDATE item SET price = 2");
    let before = figures(&world);
    for key in 1..=6 {
        assert_eq!(world.price(0, key).await, 2);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert_eq!(figures(&world).answered, before.answered);
    assert!(figures(&world).refused >= before.refused + 6);
    standby.psql("SELECT pg_wal_replay_resume()");
    answers(&world, 600..700).await;
    standby.stop(candor_testbed::Mode::Immediate);
    world.cluster.psql("UPDATE item SET price = 3");
    for key in 1..=6 {
        assert_eq!(world.price(0, key).await, 3);
    }
    standby.start_again();
    answers(&world, 700..900).await;
}

/// Reads through a standby that follows `other`, which went its own way and says 50 everywhere, and is never much ahead of
/// the primary nor behind it: by positions alone it would be believed.
async fn is_not_misled(world: &World, other: &Cluster, copy: &Cluster) {
    other.psql("UPDATE item SET price = 50");
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = {
        let (cluster, is_over) = (Arc::clone(&world.cluster), Arc::clone(&is_over));
        std::thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                cluster.psql("INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 50)");
            }
        })
    };
    for round in 0..5 {
        // Further than the primary is now, and not further than it will soon be.
        let mine = world.cluster.psql("SELECT pg_current_wal_insert_lsn()");
        other.psql(&format!(
            "DO $$ BEGIN WHILE pg_current_wal_insert_lsn() < '{mine}'::pg_lsn + 400000 LOOP
               INSERT INTO filler SELECT repeat('y', 1000) FROM generate_series(1, 20);
             END LOOP; END $$"
        ));
        copy.catch_up_with(other);
        assert_eq!(world.price(0, 1 + round).await, 1, "round {round}: an answer of another history");
        // A standby that refused is left alone for a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    is_over.store(true, Ordering::SeqCst);
    writer.join().expect("the writer has written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_a_promoted_standby_does_not_answer_for_the_old_primary() {
    let primary = Arc::new(Cluster::start());
    primary.psql(SCHEMA);
    let heir = primary.standby("heir");
    heir.catch_up_with(&primary);
    let copy = heir.standby("copy");
    let world = world(primary, &copy).await;
    answers(&world, 500..600).await;
    heir.promote();
    is_not_misled(&world, &heir, &copy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_standbys_promoted_apart_are_told_apart_though_both_call_their_timeline_the_same() {
    let primary = Cluster::start();
    primary.psql(SCHEMA);
    let before = primary.standby("before");
    with_standby(&primary, &before).setup(&views()).await.expect("setup");
    let [mine, other] = ["mine", "other"].map(|name| {
        let heir = primary.standby(name);
        heir.catch_up_with(&primary);
        heir
    });
    let copy = other.standby("copy");
    primary.stop(candor_testbed::Mode::Fast);
    mine.promote();
    other.promote();
    let world = world(Arc::new(mine), &copy).await;
    is_not_misled(&world, &other, &copy).await;
    assert_eq!(figures(&world).answered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_makes_a_place_for_the_mark_and_a_role_that_only_reads_needs_two_grants() {
    let primary = Arc::new(Cluster::start());
    primary.psql(SCHEMA);
    primary.psql("CREATE ROLE reader LOGIN REPLICATION; GRANT SELECT ON item TO reader");
    let standby = primary.standby("copy");
    let owner = with_standby(&primary, &standby);
    let plan = owner.setup(&views()).await.expect("setup");
    assert!(plan.statements.iter().any(|sql| sql == "CREATE SEQUENCE candor.mark"), "{plan:?}");
    assert_eq!(owner.setup_plan(&views()).await.expect("a plan").statements, Vec::<String>::new());
    let as_reader =
        |cluster: &Cluster| options_at(&cluster.url("postgres").replace("postgres@", "reader@")).connect;
    let open = || {
        let options = PostgresOptions::new(as_reader(&primary));
        Postgres::open(PostgresOptions { standby: Some(as_reader(&standby)), ..options })
    };
    let world = World::over(Arc::clone(&primary), open(), &views()).await.loading(Loads::Copy);
    for key in 1..=3 {
        assert_eq!(world.price(0, key).await, 1);
    }
    assert_eq!(figures(&world).answered, 0, "it may neither leave the mark nor know the timeline");
    drop(world);
    primary.psql(
        "GRANT USAGE ON SCHEMA candor TO reader; GRANT SELECT, UPDATE ON SEQUENCE candor.mark TO reader;
         GRANT pg_read_all_stats TO reader",
    );
    candor_testbed::until("the slot is free", || {
        primary.psql("SELECT active FROM pg_replication_slots WHERE slot_name = 'candor'") == "f"
    });
    let world = World::over(Arc::clone(&primary), open(), &views()).await.loading(Loads::Copy);
    answers(&world, 1..100).await;
    assert_eq!(world.read(Level::Any, 0, 200).await.receipt().origin, candor::Origin::Source);
    drop(world);
    candor_testbed::until("the slot is free again", || {
        primary.psql("SELECT active FROM pg_replication_slots WHERE slot_name = 'candor'") == "f"
    });
    owner.remove().await.expect("removal");
    assert_eq!(primary.psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'candor'"), "0");
}
