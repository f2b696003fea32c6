//! Races between writers, the log and fills.

use super::world::{Loads, World, view};
use candor::{Level, Origin};
use candor_core::{Rows, ViewQuery};
use candor_testbed::Cluster;
use std::time::Duration;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, shelf int8, name text, price int);
    ALTER TABLE item REPLICA IDENTITY FULL;
    INSERT INTO item SELECT i, i / 10, 'item ' || i, 1 FROM generate_series(1, 100) AS i;";

const ITEM: usize = 0;
const SHELF: usize = 1;

fn views() -> [ViewQuery; 2] {
    [
        view("item", "SELECT id, shelf, price FROM item WHERE id = $1", Rows::One),
        view("shelf", "SELECT id, price FROM item WHERE shelf = $1 ORDER BY id", Rows::Many),
    ]
}

async fn world() -> World {
    World::new(Cluster::start(), SCHEMA, &views()).await
}

fn price(json: &Option<String>) -> i64 {
    let json: serde_json::Value = serde_json::from_str(json.as_deref().expect("a row")).expect("JSON");
    json["price"].as_i64().expect("a price")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_psql_ends_what_is_kept_and_nothing_else() {
    let world = world().await;
    world.warm(ITEM, 1).await;
    world.warm(ITEM, 2).await;
    world.cluster.psql("UPDATE item SET price = 7 WHERE id = 1");
    assert_eq!(price(&world.strong(ITEM, 1).await), 7);
    assert_eq!(
        world.read(Level::Strong, ITEM, 2).await.receipt().origin,
        Origin::L1,
        "its row did not change"
    );
    world.warm(ITEM, 1).await;
    world.cluster.psql("UPDATE item SET name = 'renamed' WHERE id = 1");
    let answer = world.read(Level::Strong, ITEM, 1).await;
    assert_eq!(answer.receipt().origin, Origin::L1, "no view reads the column");
    world.cluster.psql("BEGIN; UPDATE item SET price = 8 WHERE id = 1; ROLLBACK");
    assert_eq!(
        world.read(Level::Strong, ITEM, 1).await.receipt().origin,
        Origin::L1,
        "nothing was committed"
    );
}

/// While a commit waits for a standby that is not there, it is in the log and not visible. Whoever lets a fill's position
/// decide keeps the old row for good.
async fn logged_and_not_visible(world: &World) -> String {
    world.warm(ITEM, 1).await;
    world.cluster.set("synchronous_standby_names", "absent");
    let before = world.cache().follower().ledger().sight().expect("followed").watermark;
    std::thread::scope(|scope| {
        scope.spawn(|| world.cluster.psql("UPDATE item SET price = 2 WHERE id = 1"));
        let logged = || {
            let waiting =
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'UPDATE%'";
            world.cluster.psql(waiting) == "1"
        };
        candor_testbed::until("the commit waits for its standby", logged);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for _ in 0..50 {
                    let answer = world.read(Level::Strong, ITEM, 1).await;
                    assert_eq!(
                        price(&answer.value().map(|json| json.to_string())),
                        1,
                        "nobody else sees it yet either"
                    );
                }
                assert!(world.cache().follower().ledger().sight().expect("followed").watermark > before);
            });
        });
        world
            .cluster
            .psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    });
    world.cluster.set("synchronous_standby_names", "");
    let answer = world.read(Level::Strong, ITEM, 1).await;
    format!("{} from {}", price(&answer.value().map(|json| json.to_string())), answer.receipt().origin.word())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_in_the_log_that_is_not_visible_yet_is_not_answered_over() {
    let world = world().await;
    assert_eq!(logged_and_not_visible(&world).await, "2 from source");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comparing_positions_instead_of_visibility_is_found_out() {
    let world = world().await.loading(Loads::Pretending);
    assert_eq!(logged_and_not_visible(&world).await, "1 from l1", "the defence is not what the test tests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_moves_leaves_one_list_and_joins_another() {
    let world = world().await;
    world.warm(SHELF, 1).await;
    world.warm(SHELF, 2).await;
    world.cluster.psql("UPDATE item SET shelf = 2 WHERE id = 11");
    let (one, two) = (world.strong(SHELF, 1).await.unwrap(), world.strong(SHELF, 2).await.unwrap());
    assert!(!one.contains("\"id\":11,") && two.contains("\"id\":11,"), "{one} {two}");
    world.cluster.psql("UPDATE item SET id = 1000 WHERE id = 12");
    assert!(world.strong(ITEM, 12).await.is_none());
    assert!(world.strong(ITEM, 1000).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_not_there_appears_alone_and_in_its_list() {
    let world = world().await;
    world.warm(ITEM, 5000).await;
    world.warm(SHELF, 700).await;
    assert_eq!(world.strong(ITEM, 5000).await, None);
    assert_eq!(world.strong(SHELF, 700).await.as_deref(), Some("[]"));
    world.cluster.psql("INSERT INTO item VALUES (5000, 700, 'late', 9)");
    assert_eq!(price(&world.strong(ITEM, 5000).await), 9);
    assert!(world.strong(SHELF, 700).await.unwrap().contains("5000"));
    world.cluster.psql("DELETE FROM item WHERE id = 5000");
    assert_eq!(world.strong(ITEM, 5000).await, None);
    assert_eq!(world.strong(SHELF, 700).await.as_deref(), Some("[]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncate_and_huge_transactions_stand_for_the_whole_table() {
    let world = world().await;
    world.warm(ITEM, 1).await;
    world.cluster.psql(
        "BEGIN; UPDATE item SET price = price + 1;
         INSERT INTO item SELECT i, i, '', 1 FROM generate_series(10000, 60000) AS i; COMMIT",
    );
    // Meanwhile the source would answer for the log.
    world.told().await;
    assert_eq!(price(&world.strong(ITEM, 1).await), 2);
    world.warm(ITEM, 1).await;
    world.cluster.psql("TRUNCATE item");
    assert_eq!(world.strong(ITEM, 1).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_transaction_does_not_disable_caching() {
    let world = world().await;
    let cluster = &world.cluster;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cluster.psql(
                "BEGIN; UPDATE item SET price = 50 WHERE id = 99; SELECT pg_sleep(3) /* long */; ROLLBACK",
            )
        });
        candor_testbed::until("the transaction runs", || {
            cluster.psql(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%long%' AND backend_xid IS NOT NULL",
            ) != "0"
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let (mut hits, mut reads) = (0, 0);
                for round in 0..40 {
                    for key in 1..=50 {
                        let answer = world.read(Level::Strong, ITEM, key).await;
                        hits += u32::from(answer.receipt().origin == Origin::L1);
                        reads += 1;
                    }
                    if round % 10 == 5 {
                        world.cluster.psql("UPDATE item SET price = price + 1 WHERE id = 3");
                    }
                }
                assert!(hits * 100 >= reads * 95, "{hits} of {reads} from memory");
            });
        });
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_given_together_hold_together() {
    let world = world().await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                world.cluster.psql(
                    "UPDATE item SET price = price + 1 WHERE id IN (1, 2); UPDATE item SET price = price + 1 WHERE id IN (2, 1)",
                );
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let end = tokio::time::Instant::now() + Duration::from_secs(3);
                while tokio::time::Instant::now() < end {
                    let answers = world.snapshot(&[(ITEM, 1), (ITEM, 2)]).await;
                    assert_eq!(
                        price(&answers[0]),
                        price(&answers[1]),
                        "two positions of the source in one answer"
                    );
                }
            });
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_change_that_rewrites_values_ends_what_was_proven_before() {
    let world = world().await;
    world.warm(ITEM, 1).await;
    world.cluster.psql("ALTER TABLE item ALTER price TYPE int8 USING price + 100");
    for _ in 0..100 {
        if let Ok(answer) = world.try_read(Level::Strong, ITEM, 1).await {
            assert_eq!(
                price(&answer.value().map(|json| json.to_string())),
                101,
                "no row was logged, and yet all changed"
            );
        }
    }
    world.warm(ITEM, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_taken_out_of_the_publication_is_noticed_by_the_next_fence() {
    let world = world().await;
    world.warm(ITEM, 1).await;
    world.cluster.psql("ALTER PUBLICATION candor DROP TABLE item");
    world.cluster.psql("UPDATE item SET price = 77 WHERE id = 1");
    for _ in 0..20 {
        if let Ok(answer) = world.try_read(Level::Strong, ITEM, 1).await {
            assert_eq!(price(&answer.value().map(|json| json.to_string())), 77);
        }
    }
    assert!(matches!(world.cache().follower().status(), candor::FeedStatus::Down(_)));
}
