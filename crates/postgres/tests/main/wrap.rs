//! Transaction ids of 32 bits that begin anew.

use super::world::{World, view};
use candor_core::{Rows, ViewQuery};
use candor_testbed::{Cluster, Mode};

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_works_on_while_transaction_ids_wrap_around() {
    let cluster =
        Cluster::builder().setting("autovacuum", "off").setting("max_prepared_transactions", "5").start();
    // What stands there already must not seem to come from the future.
    cluster.psql("VACUUM FREEZE");
    cluster.stop(Mode::Fast);
    cluster.number_transactions_from(3, u32::MAX - 120);
    cluster.start_again();
    let world = World::new(cluster, SCHEMA, &views()).await;
    world.cluster.psql("BEGIN; UPDATE item SET price = 7 WHERE id = 50; PREPARE TRANSACTION 'across'");
    world.warm(0, 50).await;
    world.warm(0, 99).await;
    let epoch = || -> u64 {
        world.cluster.psql("SELECT pg_snapshot_xmax(pg_current_snapshot())").parse::<u64>().expect("an id")
            >> 32
    };
    assert_eq!(epoch(), 3);
    let mut truth = 1;
    for _ in 0..12 {
        world.warm(0, 1).await;
        truth += 20;
        world.cluster.psql(
            "DO $$ BEGIN FOR i IN 1..20 LOOP UPDATE item SET price = price + 1 WHERE id = 1; COMMIT; END LOOP; END $$",
        );
        world.only_tells(truth, 0, 1).await;
        assert!(world.is_ever_kept(0, 99).await, "what nobody changed is proven across the wrap");
    }
    assert_eq!(epoch(), 4);
    world.only_tells(1, 0, 50).await;
    world.cluster.psql("COMMIT PREPARED 'across'");
    world.only_tells(7, 0, 50).await;
    world.warm(0, 50).await;
    // A commit that waits for its standby is logged and seen by nobody, whatever its number looks like.
    world.warm(0, 1).await;
    let waits = world.waits_for_a_standby("UPDATE item SET price = 1000 WHERE id = 1").await;
    world.told().await;
    world.only_tells(truth, 0, 1).await;
    waits.becomes_visible().await;
    world.only_tells(1000, 0, 1).await;
}
