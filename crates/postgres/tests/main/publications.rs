//! Publications that change while a transaction waits: in force for the log, and seen by nobody.

use super::world::{Waiting, World, cache_that_asks, price, view};
use candor::{FollowOptions, Level, SessionToken};
use candor_core::{Epoch, Position, Rows, ViewQuery};
use candor_testbed::{Cluster, until};
use std::time::Duration;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

/// Runs `sql` in a transaction that waits for a standby which is not there; meanwhile somebody who does not wait writes.
async fn is_not_overlooked(world: &World, truth: &mut i64, sql: &str) {
    world.warm(0, 1).await;
    let waiting = world.waits_for_a_standby(sql).await;
    for _ in 0..2 {
        *truth += 1;
        world
            .cluster
            .psql(&format!("SET synchronous_commit = local; UPDATE item SET price = {truth} WHERE id = 1"));
        world.only_tells(*truth, 0, 1).await;
    }
    waiting.becomes_visible().await;
    // The view cannot be proven any more, so no answer at all is as good.
    world.tells_nothing_but(*truth, 0, 1).await;
    world.postgres.setup(&views()).await.expect("setup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_changes_in_the_log_before_anybody_sees_it_proves_nothing() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    let mut truth = 1;
    for sql in [
        "ALTER PUBLICATION candor DROP TABLE item",
        "ALTER PUBLICATION candor SET (publish = 'insert')",
        "ALTER PUBLICATION candor SET TABLE item WHERE (id > 50)",
        "DO $$ BEGIN ALTER PUBLICATION candor DROP TABLE item; EXCEPTION WHEN division_by_zero THEN NULL; END $$",
    ] {
        is_not_overlooked(&world, &mut truth, sql).await;
        // What setup does not put back.
        world.cluster.psql("ALTER PUBLICATION candor SET (publish = 'insert, update, delete, truncate'); ALTER PUBLICATION candor SET TABLE item");
    }
    world.warm(0, 1).await;
    world.only_tells(truth, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_publication_that_was_rolled_back_holds_nothing_up() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    let open = world.client().await;
    // Open for the whole test, so that what follows is above every snapshot's lower end.
    open.batch_execute("CREATE TABLE other (id int); BEGIN; INSERT INTO other VALUES (1)")
        .await
        .expect("open");
    for sql in [
        "BEGIN; ALTER PUBLICATION candor DROP TABLE item; ROLLBACK",
        "BEGIN; ALTER PUBLICATION candor SET (publish = 'insert'); ROLLBACK",
    ] {
        world.cluster.psql(sql);
        world.warm(0, 1).await;
        assert!(world.is_kept(0, 1).await, "{sql}");
    }
    world.cluster.psql("UPDATE item SET price = 2 WHERE id = 1");
    assert_eq!(world.price(0, 1).await, 2);
}

const SCHEMA_WITH_ANOTHER: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;
    CREATE TABLE other (id int8 PRIMARY KEY, price int);
    INSERT INTO other VALUES (1, 1);";

fn views_with_another() -> [ViewQuery; 2] {
    let [item] = views();
    [item, view("other", "SELECT id, price FROM other WHERE id = $1", Rows::One)]
}

/// A world in which nobody asks the source by itself: between two questions of readers the log may fall silent.
async fn left_alone() -> World {
    let mut world = World::new(Cluster::start(), SCHEMA_WITH_ANOTHER, &views_with_another()).await;
    let follow = FollowOptions { pulse: Duration::from_secs(3600), ..FollowOptions::default() };
    world.cache = cache_that_asks(&world.postgres, follow);
    world.followed().await;
    world.warm(0, 1).await;
    world
}

/// The publication loses a table, which is then written to, and the log goes on with another one. Gives a token that its
/// writer takes after that, once the watermark has passed it.
async fn falls_silent(world: &World, sql: &str) -> SessionToken {
    world.cluster.psql("ALTER PUBLICATION candor DROP TABLE item");
    world.cluster.psql(sql);
    let at = world.cluster.psql("SELECT pg_current_wal_insert_lsn() - '0/0'").parse().expect("a position");
    let wanted = Position { epoch: Epoch { log: world.log(), era: 0 }, at };
    world.cluster.psql("UPDATE other SET price = price + 1");
    until("the watermark has passed the token", || {
        world.cache.follower().ledger().sight().is_some_and(|sight| sight.position().reaches(wanted))
    });
    SessionToken::at(wanted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_not_answered_by_what_a_log_that_fell_silent_has_passed() {
    let world = left_alone().await;
    let token = falls_silent(&world, "UPDATE item SET price = 2 WHERE id = 1").await;
    for _ in 0..20 {
        let session = candor::Session(token.clone());
        // No answer is as good: the view cannot be proven any more.
        if let Ok(answer) = world.cache.at(session).read(&(0, 1), world.loader()).await {
            assert_eq!(price(answer.value().expect("a row")), 2, "{:?}", answer.receipt());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.postgres.setup(&views()).await.expect("setup");
    assert_eq!(world.price(0, 1).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_begun_anew_vouches_for_nobody_who_has_not_met_its_gap() {
    let world = World::new(Cluster::start(), SCHEMA_WITH_ANOTHER, &views_with_another()).await;
    let client = world.client().await;
    for truth in 2..=6 {
        world.warm(0, 1).await;
        // Silent for so short a time that the stream is begun anew as if nothing were the matter.
        let run = async |sql: &str| client.batch_execute(sql).await.expect("it runs");
        run("ALTER PUBLICATION candor DROP TABLE item").await;
        run(&format!("UPDATE item SET price = {truth} WHERE id = 1")).await;
        let at = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8";
        let at: i64 = client.query_one(at, &[]).await.expect("a position").get(0);
        run("UPDATE other SET price = price + 1").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        run("ALTER PUBLICATION candor ADD TABLE item").await;
        let at = u64::try_from(at).expect("a position");
        let token = SessionToken::at(Position { epoch: Epoch { log: world.log(), era: 0 }, at });
        // Nobody reads meanwhile, for the source would mend what memory holds.
        until("somebody vouches for that position", || {
            world.cache.follower().ledger().sight().is_some_and(|sight| sight.vouched >= at)
        });
        if let Ok(answer) = world.cache.at(candor::Session(token)).read(&(0, 1), world.loader()).await {
            assert_eq!(price(answer.value().expect("a row")), truth, "{:?}", answer.receipt());
        }
        world.followed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_cites_no_position_that_a_log_which_fell_silent_has_passed() {
    let world = left_alone().await;
    let token = falls_silent(&world, "UPDATE item SET price = 2 WHERE id = 1").await;
    let hint = world.read(Level::Any, 0, 1).await.receipt();
    assert_eq!(hint.origin, candor::Origin::L1, "nothing has shown yet that it is old");
    let cited = hint.position.expect("a fence vouched for it");
    assert!(!cited.reaches(token.positions()[0]), "{cited:?} claims what was never told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_not_taken_at_what_a_log_that_fell_silent_has_passed() {
    let world = left_alone().await;
    let _ = falls_silent(&world, "UPDATE item SET price = 2 WHERE id IN (1, 2)").await;
    let second = world.read(Level::Any, 0, 2).await;
    assert_eq!(price(second.value().expect("a row")), 2);
    world.cluster.psql("UPDATE other SET price = price + 1");
    let upper = second.receipt().upper.expect("a position");
    until("the watermark has passed the second row", || {
        world.cache.follower().ledger().sight().is_some_and(|sight| sight.position().reaches(upper))
    });
    let prices = |rows: Vec<Option<String>>| rows.iter().flatten().map(|row| price(row)).collect::<Vec<_>>();
    assert_eq!(prices(world.snapshot(&[(0, 1), (0, 2)]).await), [2, 2]);
}

const SCHEMA_WITH_PARTITIONS: &str = "
    CREATE TABLE item (id int8, part int, price int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
    CREATE TABLE item1 PARTITION OF item FOR VALUES IN (1);
    CREATE TABLE item2 PARTITION OF item FOR VALUES IN (2);
    INSERT INTO item VALUES (1, 1, 1), (2, 1, 1);
    CREATE OPERATOR ## (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
    CREATE VIEW shown AS SELECT id, price FROM item;
    CREATE TABLE other (id int8 PRIMARY KEY, price int);
    INSERT INTO other VALUES (1, 1);";

/// Where the insert position of the server is.
fn position(world: &World) -> Position {
    let at = world.cluster.psql("SELECT pg_current_wal_insert_lsn() - '0/0'").parse().expect("a position");
    Position { epoch: Epoch { log: world.log(), era: 0 }, at }
}

/// A world that is left alone, in which `sql` waits for a standby, and whose log was asked meanwhile what it vouches for.
async fn asked_while_waiting(sql: &str) -> (World, Waiting) {
    let views = [
        view("shown", "SELECT coalesce(sum(price), 0)::int8 AS price FROM shown WHERE id = $1", Rows::One),
        view("other", "SELECT id, price FROM other WHERE id = $1", Rows::One),
        view("sum", "SELECT id, price OPERATOR(public.##) 10 AS price FROM other WHERE id = $1", Rows::One),
    ];
    let mut world = World::new(Cluster::start(), SCHEMA_WITH_PARTITIONS, &views).await;
    let follow = FollowOptions { pulse: Duration::from_secs(3600), ..FollowOptions::default() };
    world.cache = cache_that_asks(&world.postgres, follow);
    world.followed().await;
    for (view, key) in [(0, 1), (1, 1), (2, 1)] {
        world.warm(view, key).await;
    }
    let waiting = world.waits_for_a_standby(sql).await;
    let session = candor::Session(SessionToken::at(position(&world)));
    let other = world.cache.at(session).read(&(1, 1), world.loader()).await.expect("nobody holds the table");
    assert_eq!(price(other.value().expect("a row")), 1);
    (world, waiting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_not_answered_by_what_was_there_before_a_view_was_replaced() {
    let replace = "CREATE OR REPLACE VIEW shown AS SELECT id, price + 10 AS price FROM item";
    shows_a_session(replace, 0, 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_not_answered_by_what_was_there_before_an_operator_was_made_anew() {
    let replace = "BEGIN; DROP OPERATOR ## (int, int);
                   CREATE OPERATOR ## (LEFTARG = int, RIGHTARG = int, FUNCTION = int4mul); COMMIT";
    shows_a_session(replace, 2, 10).await;
}

/// Whoever takes a position once `replace` is visible is shown what it made.
async fn shows_a_session(replace: &str, view: usize, truth: i64) {
    let (world, waiting) = asked_while_waiting(replace).await;
    waiting.becomes_visible().await;
    let token = SessionToken::at(position(&world));
    for _ in 0..20 {
        let session = candor::Session(token.clone());
        if let Ok(answer) = world.cache.at(session).read(&(view, 1), world.loader()).await {
            assert_eq!(price(answer.value().expect("a row")), truth, "{:?}", answer.receipt());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.followed().await;
    assert_eq!(world.price(view, 1).await, truth);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_not_taken_across_the_emptying_of_a_partition() {
    let (world, waiting) = asked_while_waiting("TRUNCATE item1").await;
    waiting.becomes_visible().await;
    // The second is read now; the first was before.
    let second = world.try_read(Level::Any, 0, 2).await.expect("the source answers");
    assert_eq!(price(second.value().expect("a row")), 0);
    let prices = |rows: Vec<Option<String>>| rows.iter().flatten().map(|row| price(row)).collect::<Vec<_>>();
    assert_eq!(prices(world.snapshot(&[(0, 1), (0, 2)]).await), [0, 0]);
    world.followed().await;
    assert_eq!(prices(world.snapshot(&[(0, 1), (0, 2)]).await), [0, 0]);
}
