//! Transactions that were open before the log was followed, or before it told of their table.

use super::world::{World, options, view};
use candor_core::{Rows, ViewQuery};
use candor_postgres::Postgres;
use candor_testbed::Cluster;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    CREATE TABLE other (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;
    INSERT INTO other SELECT i, 1 FROM generate_series(1, 100) AS i;";

const ITEM: usize = 0;

fn item() -> ViewQuery {
    view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)
}

fn other() -> ViewQuery {
    view("other", "SELECT id, price FROM other WHERE id = $1", Rows::One)
}

/// A server on which transactions can be prepared: open for as long as a test likes, with no session to keep.
fn cluster() -> Cluster {
    let cluster = Cluster::builder().setting("max_prepared_transactions", "5").start();
    cluster.psql(SCHEMA);
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_before_its_table_was_published_is_not_missed() {
    let cluster = cluster();
    Postgres::open(options(&cluster)).setup(&[other()]).await.expect("setup");
    // The slot is there and does not know the table; the log will leave this out even when it commits.
    cluster.psql("BEGIN; UPDATE item SET price = 2 WHERE id = 1; PREPARE TRANSACTION 'early'");
    let postgres = Postgres::open(options(&cluster));
    postgres.setup(&[item(), other()]).await.expect("setup");
    let world = World::over(cluster, postgres, &[item(), other()]).await;
    assert!(!world.is_ever_kept(ITEM, 1).await, "nobody will be told when this ends");
    assert!(!world.is_ever_kept(ITEM, 2).await, "nor which rows it concerns");
    world.cluster.psql("COMMIT PREPARED 'early'");
    world.only_tells(2, ITEM, 1).await;
    world.warm(ITEM, 1).await;
    world.warm(ITEM, 2).await;
    world.cluster.psql("UPDATE item SET price = 3 WHERE id = 1");
    world.only_tells(3, ITEM, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_wrote_elsewhere_holds_nothing_up_until_its_table_joins_the_log() {
    let cluster = cluster();
    Postgres::open(options(&cluster)).setup(&[item()]).await.expect("setup");
    cluster.psql("BEGIN; UPDATE other SET price = 2 WHERE id = 1; PREPARE TRANSACTION 'elsewhere'");
    let postgres = Postgres::open(options(&cluster));
    let mut world = World::over(cluster, postgres, &[item()]).await;
    world.warm(ITEM, 1).await;
    world.postgres.setup(&[item(), other()]).await.expect("setup");
    let other = world.add(&other()).await;
    world.only_tells(1, other, 1).await;
    assert!(!world.is_ever_kept(other, 1).await, "now it counts");
    world.cluster.psql("COMMIT PREPARED 'elsewhere'");
    world.only_tells(2, other, 1).await;
    world.warm(other, 1).await;
    world.warm(ITEM, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_to_a_partition_counts_though_only_its_root_is_published() {
    let cluster = Cluster::builder().setting("max_prepared_transactions", "5").start();
    cluster.psql(
        "CREATE TABLE sale (id int8 PRIMARY KEY, price int) PARTITION BY RANGE (id);
         CREATE TABLE sale_low PARTITION OF sale FOR VALUES FROM (0) TO (50) PARTITION BY RANGE (id);
         CREATE TABLE sale_lowest PARTITION OF sale_low FOR VALUES FROM (0) TO (10);
         CREATE TABLE other (id int8 PRIMARY KEY, price int);
         INSERT INTO sale SELECT i, 1 FROM generate_series(1, 9) AS i",
    );
    let sale = view("sale", "SELECT id, price FROM sale WHERE id = $1", Rows::One);
    Postgres::open(options(&cluster)).setup(&[other()]).await.expect("setup");
    cluster.psql("BEGIN; UPDATE sale_lowest SET price = 2 WHERE id = 1; PREPARE TRANSACTION 'below'");
    let postgres = Postgres::open(options(&cluster));
    postgres.setup(&[sale.clone(), other()]).await.expect("setup");
    let world = World::over(cluster, postgres, &[sale]).await;
    assert!(!world.is_ever_kept(0, 1).await);
    world.cluster.psql("COMMIT PREPARED 'below'");
    world.only_tells(2, 0, 1).await;
    world.warm(0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_is_seen_when_its_second_phase_commits_it_and_holds_nothing_up_before() {
    let world = World::new(cluster(), SCHEMA_DONE, &[item()]).await;
    world.warm(ITEM, 1).await;
    world.warm(ITEM, 2).await;
    world.cluster.psql("BEGIN; UPDATE item SET price = 2 WHERE id = 1; PREPARE TRANSACTION 'one'");
    world.cluster.psql("BEGIN; UPDATE item SET price = 2 WHERE id = 2; PREPARE TRANSACTION 'two'");
    world.only_tells(1, ITEM, 1).await;
    world.warm(ITEM, 1).await;
    world.warm(ITEM, 3).await;
    world.cluster.psql("COMMIT PREPARED 'one'");
    world.only_tells(2, ITEM, 1).await;
    world.warm(ITEM, 1).await;
    world.cluster.psql("ROLLBACK PREPARED 'two'");
    world.only_tells(1, ITEM, 2).await;
    world.warm(ITEM, 2).await;
}

/// The tables are there already.
const SCHEMA_DONE: &str = "";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_tells_of_transactions_before_they_commit_is_refused_with_the_mend() {
    let cluster = cluster();
    let postgres = Postgres::open(options(&cluster));
    postgres.setup(&[item()]).await.expect("setup");
    cluster.psql("SELECT pg_drop_replication_slot('candor')");
    cluster.psql("SELECT pg_create_logical_replication_slot('candor', 'pgoutput', false, true)");
    let world = World::beside(cluster, postgres, &[item()]).await;
    world.only_tells(1, ITEM, 1).await;
    world.cluster.psql("BEGIN; UPDATE item SET price = 2 WHERE id = 1; PREPARE TRANSACTION 'one'");
    world.only_tells(1, ITEM, 1).await;
    world.cluster.psql("COMMIT PREPARED 'one'");
    world.only_tells(2, ITEM, 1).await;
    candor_testbed::until(
        "somebody says why",
        || matches!(world.cache().follower().status(), candor::FeedStatus::Down(why) if why.contains("two_phase")),
    );
    let status = world.postgres.status(&[item()]).await.expect("asked");
    let found = status.findings.iter().find(|found| found.what.contains("two_phase")).expect("a finding");
    let mend = found.mend.split(';').next().expect("a statement");
    world.cluster.psql(mend);
    world.postgres.setup(&[item()]).await.expect("setup");
    world.followed().await;
    world.warm(ITEM, 1).await;
}

/// What the log has told already has no tags for a view that is prepared afterwards, and may not be visible yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_is_prepared_after_the_log_was_followed_misses_nothing_told_before() {
    let cluster = cluster();
    let postgres = Postgres::open(options(&cluster));
    postgres.setup(&[item(), other()]).await.expect("setup");
    let mut world = World::over(cluster, postgres, &[item()]).await;
    world.warm(ITEM, 1).await;
    let waiting = world.waits_for_a_standby("UPDATE other SET price = 2 WHERE id = 1").await;
    world.told().await;
    let later = world.add(&other()).await;
    for _ in 0..5 {
        world.tells_nothing_but(1, later, 1).await;
    }
    waiting.becomes_visible().await;
    world.only_tells(2, later, 1).await;
    world.warm(later, 1).await;
}
