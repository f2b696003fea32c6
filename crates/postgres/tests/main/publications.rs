//! Publications that change while a transaction waits: in force for the log, and seen by nobody.

use super::world::{World, view};
use candor_core::{Rows, ViewQuery};
use candor_testbed::{Cluster, until};
use std::sync::Arc;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

/// Runs `sql` in a transaction that waits for a standby which is not there; meanwhile somebody who does not wait writes.
async fn is_not_overlooked(world: &World, truth: &mut i64, sql: &str) {
    world.warm(0, 1).await;
    world.cluster.set("synchronous_standby_names", "nobody");
    let waiting = {
        let (cluster, sql) = (Arc::clone(&world.cluster), sql.to_owned());
        std::thread::spawn(move || cluster.try_psql(&sql))
    };
    until("it waits for the standby", || {
        world.cluster.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1"
    });
    for _ in 0..2 {
        *truth += 1;
        world
            .cluster
            .psql(&format!("SET synchronous_commit = local; UPDATE item SET price = {truth} WHERE id = 1"));
        world.only_tells(*truth, 0, 1).await;
    }
    world.cluster.set("synchronous_standby_names", "");
    waiting.join().expect("a thread").expect(sql);
    world.only_tells(*truth, 0, 1).await;
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
    let (open, connection) = tokio_postgres::connect(&world.cluster.url("postgres"), tokio_postgres::NoTls)
        .await
        .expect("a client");
    tokio::spawn(connection);
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
