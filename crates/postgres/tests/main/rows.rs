//! What a row in the log may look like: every replica identity, values stored elsewhere, partitions, subtransactions that
//! were rolled back, messages in between.

use super::world::{World, view};
use candor_core::{Rows, ViewQuery};
use candor_testbed::Cluster;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, shelf int8 NOT NULL, code int8 NOT NULL, price int);
    CREATE UNIQUE INDEX item_code ON item (id, shelf);
    INSERT INTO item SELECT i, i / 10, 1000 + i, 1 FROM generate_series(1, 100) AS i;";

const ITEM: usize = 0;
const SHELF: usize = 1;

fn views() -> [ViewQuery; 2] {
    [
        view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One),
        view("shelf", "SELECT coalesce(sum(price), 0)::int8 AS price FROM item WHERE shelf = $1", Rows::One),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subtransaction_that_was_rolled_back_changed_nothing_and_one_that_was_released_did() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    for key in 1..=4 {
        world.warm(ITEM, key).await;
    }
    world.cluster.psql(
        "BEGIN;
         SAVEPOINT gone; UPDATE item SET price = 99 WHERE id = 1;
         SAVEPOINT below; UPDATE item SET price = 99 WHERE id = 2; RELEASE below; ROLLBACK TO gone;
         SAVEPOINT stays; UPDATE item SET price = 5 WHERE id = 3; RELEASE stays;
         UPDATE item SET price = 6 WHERE id = 4;
         COMMIT",
    );
    assert!(world.is_kept(ITEM, 1).await && world.is_kept(ITEM, 2).await, "nothing happened to them");
    world.only_tells(1, ITEM, 1).await;
    world.only_tells(5, ITEM, 3).await;
    world.only_tells(6, ITEM, 4).await;
    for key in 1..=4 {
        world.warm(ITEM, key).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_in_the_log_of_whatever_prefix_are_not_changes() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    world.warm(ITEM, 1).await;
    world.warm(ITEM, 2).await;
    let log = world.log();
    world.cluster.psql(
        "SELECT pg_logical_emit_message(false, 'candor', 'ddl forged');
         SELECT pg_logical_emit_message(true, 'candor', 'ddl forged');
         SELECT pg_logical_emit_message(true, 'somebody', repeat('x', 100000));
         SELECT pg_logical_emit_message(false, '', '');
         BEGIN;
         SELECT pg_logical_emit_message(true, 'candor', '');
         UPDATE item SET price = 2 WHERE id = 1;
         SELECT pg_logical_emit_message(false, 'candor', 'ddl amid a transaction');
         SELECT pg_logical_emit_message(true, 'candor', 'ddl in a transaction');
         COMMIT",
    );
    world.only_tells(2, ITEM, 1).await;
    assert!(world.is_ever_kept(ITEM, 2).await, "a message is no change");
    assert_eq!(world.log(), log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_move_and_die_are_noticed_under_every_replica_identity() {
    let world = World::new(Cluster::start(), SCHEMA, &views()).await;
    for (identity, tells_shelves) in [
        ("FULL", true),
        ("USING INDEX item_code", true),
        ("DEFAULT", false),
        ("FULL", true),
        ("NOTHING", false),
    ] {
        world.cluster.psql(&format!(
            "ALTER TABLE item REPLICA IDENTITY {identity};
             TRUNCATE item;
             INSERT INTO item SELECT i, i / 10, 1000 + i, 1 FROM generate_series(1, 100) AS i"
        ));
        world.tells_nothing_but(10, SHELF, 1).await;
        world.tells_nothing_but(10, SHELF, 2).await;
        if tells_shelves {
            world.followed().await;
            world.warm(SHELF, 1).await;
            world.warm(SHELF, 2).await;
            world.warm(ITEM, 11).await;
        }
        let moved = world.cluster.try_psql("UPDATE item SET shelf = 2, price = 5 WHERE id = 11");
        let died = world.cluster.try_psql("DELETE FROM item WHERE id = 12");
        let may_change = identity != "NOTHING";
        assert_eq!((moved.is_ok(), died.is_ok()), (may_change, may_change), "{identity}");
        world.cluster.psql("INSERT INTO item VALUES (500, 1, 500, 100)");
        if may_change {
            world.only_tells(108, SHELF, 1).await;
            world.only_tells(15, SHELF, 2).await;
            world.only_tells(5, ITEM, 11).await;
        } else {
            // The view cannot be proven any more: errors are in order, and false answers are not.
            world.tells_nothing_but(110, SHELF, 1).await;
            world.tells_nothing_but(10, SHELF, 2).await;
            world.tells_nothing_but(1, ITEM, 11).await;
        }
    }
}

/// A long value that did not change is not in the log again. It names the rows that an entry depends on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_stored_elsewhere_and_not_sent_again_still_names_its_row() {
    let schema = "
        CREATE TABLE link (id int8 PRIMARY KEY, tag text);
        CREATE TABLE doc (id int8 PRIMARY KEY, tag text, price int);
        ALTER TABLE doc ALTER tag SET STORAGE EXTERNAL;
        INSERT INTO link SELECT i, repeat(i::text, 5000) FROM generate_series(1, 9) AS i;
        INSERT INTO doc SELECT i, repeat(i::text, 5000), 1 FROM generate_series(1, 9) AS i;";
    let views =
        [view("doc", "SELECT d.price FROM link l JOIN doc d ON d.tag = l.tag WHERE l.id = $1", Rows::One)];
    let world = World::new(Cluster::start(), schema, &views).await;
    for identity in ["FULL", "DEFAULT"] {
        world.cluster.psql(&format!("ALTER TABLE doc REPLICA IDENTITY {identity}; UPDATE doc SET price = 1"));
        world.only_tells(1, 0, 1).await;
        world.followed().await;
        world.warm(0, 1).await;
        world.cluster.psql("UPDATE doc SET price = 2 WHERE id = 1");
        world.only_tells(2, 0, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_told_under_their_root_and_rows_move_between_them() {
    let schema = "
        CREATE TABLE sale (id int8, region int, price int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1);
        CREATE TABLE sale_2 PARTITION OF sale FOR VALUES IN (2);
        CREATE TABLE sale_3 (id int8, region int, price int, PRIMARY KEY (id, region));
        INSERT INTO sale SELECT i, 1 + i % 2, 1 FROM generate_series(1, 20) AS i;
        INSERT INTO sale_3 VALUES (100, 3, 9);";
    let views = [view("sale", "SELECT coalesce(max(price), 0) AS price FROM sale WHERE id = $1", Rows::One)];
    let world = World::new(Cluster::start(), schema, &views).await;
    world.warm(0, 2).await;
    world.warm(0, 3).await;
    world.cluster.psql("UPDATE sale_1 SET price = 2 WHERE id = 2");
    world.only_tells(2, 0, 2).await;
    assert!(world.is_ever_kept(0, 3).await, "another row");
    world.warm(0, 2).await;
    world.cluster.psql("UPDATE sale SET region = 2, price = 3 WHERE id = 2");
    world.only_tells(3, 0, 2).await;
    world.warm(0, 100).await;
    world.cluster.psql("ALTER TABLE sale ATTACH PARTITION sale_3 FOR VALUES IN (3)");
    world.only_tells(9, 0, 100).await;
    world.warm(0, 100).await;
    world.cluster.psql("ALTER TABLE sale DETACH PARTITION sale_3");
    world.only_tells(0, 0, 100).await;
    world.warm(0, 2).await;
    world.cluster.psql("TRUNCATE sale_2");
    world.only_tells(0, 0, 2).await;
}

/// The log labels what partitions tell with the replica identity of their root, whatever their own is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_stored_under_another_identity_than_their_root_says_are_not_misread() {
    let schema = "
        CREATE TABLE sale (id int8, region int, price int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1);
        CREATE TABLE sale_2 PARTITION OF sale FOR VALUES IN (2);
        CREATE UNIQUE INDEX other ON sale_2 (price, region);
        ALTER TABLE sale_2 ALTER price SET NOT NULL;
        INSERT INTO sale SELECT i, 1 + i % 2, i FROM generate_series(1, 20) AS i;";
    let one = |name: &str, sql: &str| view(name, sql, Rows::One);
    let views = [
        one("row", "SELECT coalesce(max(price), 0) AS price FROM sale WHERE id = $1"),
        one("priced", "SELECT count(price) AS price FROM sale WHERE region = $1"),
        one("rows", "SELECT count(*) AS price FROM sale WHERE id = $1"),
    ];
    let world = World::new(Cluster::start(), schema, &views).await;
    // The root says that all of a row is told, and its partitions tell their keys.
    world.cluster.psql(
        "ALTER TABLE sale REPLICA IDENTITY FULL; ALTER TABLE sale_1 REPLICA IDENTITY DEFAULT; \
         ALTER TABLE sale_2 REPLICA IDENTITY DEFAULT",
    );
    world.only_tells(2, 0, 2).await;
    world.warm(0, 2).await;
    world.cluster.psql("UPDATE sale SET price = 200 WHERE id = 2");
    world.only_tells(200, 0, 2).await;
    world.warm(1, 1).await;
    world.cluster.psql("UPDATE sale SET id = id + 1000, price = NULL WHERE id = 2");
    world.only_tells(9, 1, 1).await;
    // The root says that its key is told, and a partition tells another one.
    world.cluster.psql(
        "ALTER TABLE sale REPLICA IDENTITY DEFAULT; ALTER TABLE sale_2 REPLICA IDENTITY USING INDEX other",
    );
    world.only_tells(1, 2, 3).await;
    world.warm(2, 3).await;
    world.cluster.psql("UPDATE sale SET id = 3000 WHERE id = 3");
    world.only_tells(0, 2, 3).await;
}

/// What the server does to the rows that refer to another one stands in the log as if somebody had done it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_foreign_key_does_to_the_rows_that_refer_to_another_is_told() {
    let schema = "
        CREATE TABLE owner (id int8 PRIMARY KEY);
        CREATE TABLE thing (id int8 PRIMARY KEY, price int,
          owner int8 REFERENCES owner ON UPDATE CASCADE ON DELETE CASCADE);
        CREATE TABLE loan (id int8 PRIMARY KEY, price int, owner int8 DEFAULT 9 REFERENCES owner ON DELETE SET DEFAULT);
        ALTER TABLE thing REPLICA IDENTITY FULL;
        ALTER TABLE loan REPLICA IDENTITY FULL;
        INSERT INTO owner SELECT i FROM generate_series(1, 9) AS i;
        INSERT INTO thing SELECT i, 1, i FROM generate_series(1, 9) AS i;
        INSERT INTO loan SELECT i, 1, i FROM generate_series(1, 9) AS i;";
    let of = |table: &str| {
        let sql = format!("SELECT coalesce(sum(price), 0)::int8 AS price FROM {table} WHERE owner = $1");
        view(table, &sql, Rows::One)
    };
    let world = World::new(Cluster::start(), schema, &[of("thing"), of("loan")]).await;
    for (table, key) in [(0, 1), (0, 2), (0, 20), (1, 1), (1, 9)] {
        world.warm(table, key).await;
    }
    world.cluster.psql("DELETE FROM owner WHERE id = 1");
    world.only_tells(0, 0, 1).await;
    world.only_tells(0, 1, 1).await;
    world.only_tells(2, 1, 9).await;
    world.cluster.psql("DELETE FROM loan WHERE owner = 2; UPDATE owner SET id = 20 WHERE id = 2");
    world.only_tells(0, 0, 2).await;
    world.only_tells(1, 0, 20).await;
}

/// The log says nothing of a partition that is emptied where its root is published: only the catalog shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_emptied_is_noticed_whoever_else_publishes_it() {
    let schema = "
        CREATE TABLE sale (id int8, region int, price int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1);
        CREATE TABLE sale_2 PARTITION OF sale FOR VALUES IN (2);";
    let sum = |name: &str, table: &str| {
        let sql = format!("SELECT coalesce(sum(price), 0)::int8 AS price FROM {table} WHERE id = $1");
        view(name, &sql, Rows::One)
    };
    let views = [sum("all", "sale"), sum("one", "sale_2")];
    let world = World::new(Cluster::start(), schema, &views).await;
    for publishes in
        ["", "CREATE PUBLICATION theirs FOR TABLE sale_2", "ALTER PUBLICATION candor DROP TABLE sale_2"]
    {
        world.cluster.psql(publishes);
        world.cluster.psql("INSERT INTO sale VALUES (1, 1, 1), (1, 2, 2)");
        for (view, price) in [(0, 3), (1, 2)] {
            world.only_tells(price, view, 1).await;
            world.followed().await;
            world.warm(view, 1).await;
        }
        world.cluster.psql("TRUNCATE sale_2");
        world.only_tells(1, 0, 1).await;
        world.only_tells(0, 1, 1).await;
        world.cluster.psql("TRUNCATE sale");
        world.only_tells(0, 0, 1).await;
    }
}
