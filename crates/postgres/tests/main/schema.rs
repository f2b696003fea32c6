//! Changes of the schema that change answers without a word about any row, through the whole cache.

use super::world::{World, options, view};
use candor::Level;
use candor_core::{Rows, ViewQuery};
use candor_testbed::Cluster;
use std::sync::Arc;

const SCHEMA: &str = "
    CREATE SCHEMA shop;
    CREATE TABLE shop.item (id int8 PRIMARY KEY, price int);
    INSERT INTO shop.item SELECT i, 1 FROM generate_series(1, 100) AS i;";

/// A publication that names a schema, and no table.
const IN_SCHEMA: &str =
    "CREATE PUBLICATION candor FOR TABLES IN SCHEMA shop WITH (publish_via_partition_root = true)";

/// A world whose publication somebody else made.
async fn published(publication: &str) -> World {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    World::new(cluster, publication, &[item()]).await
}

fn item() -> ViewQuery {
    view("item", "SELECT id, price FROM shop.item WHERE id = $1", Rows::One)
}

/// Does `change` while an entry of the first view is kept. From then on nothing but `truth` may be told, and once the log
/// is followed again, changes of rows as well.
async fn changes(world: &World, change: &str, truth: i64, later: &str, then: i64) {
    world.warm(0, 1).await;
    world.cluster.psql(change);
    world.only_tells(truth, 0, 1).await;
    world.followed().await;
    world.warm(0, 1).await;
    world.only_tells(truth, 0, 1).await;
    world.cluster.psql(later);
    world.only_tells(then, 0, 1).await;
}

/// Does `change` while an entry is kept. From then on nothing may be told that does not show `what`.
async fn shows(world: &World, change: &str, what: &str) {
    world.warm(0, 1).await;
    world.cluster.psql(change);
    for _ in 0..40 {
        if let Ok(answer) = world.try_read(Level::Strong, 0, 1).await {
            let told = answer.value().expect("a row");
            assert!(told.contains(what), "{told} {:?}", answer.receipt());
        }
    }
    world.followed().await;
    world.warm(0, 1).await;
    assert!(world.strong(0, 1).await.expect("a row").contains(what));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schemas_that_change_names_change_every_answer() {
    let cluster = Cluster::start();
    cluster.psql("CREATE SCHEMA next; CREATE TABLE next.item (id int8 PRIMARY KEY, price int)");
    cluster.psql("INSERT INTO next.item SELECT i, 2 FROM generate_series(1, 100) AS i");
    let next = view("next", "SELECT id, price FROM next.item WHERE id = $1", Rows::One);
    let world = World::new(cluster, SCHEMA, &[item(), next]).await;
    let swap = "BEGIN; ALTER SCHEMA shop RENAME TO old; ALTER SCHEMA next RENAME TO shop;
                ALTER SCHEMA old RENAME TO next; COMMIT";
    changes(&world, swap, 2, "UPDATE shop.item SET price = 3 WHERE id = 1", 3).await;
    assert_eq!(world.price(1, 1).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_view_that_is_replaced_changes_the_answers_read_through_it() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    let schema = "CREATE VIEW shop.shown AS SELECT id, price FROM shop.item";
    let shown = view("shown", "SELECT id, price FROM shop.shown WHERE id = $1", Rows::One);
    let world = World::new(cluster, schema, &[shown]).await;
    let change = "CREATE OR REPLACE VIEW shop.shown AS SELECT id, price + 10 AS price FROM shop.item";
    changes(&world, change, 11, "UPDATE shop.item SET price = 2 WHERE id = 1", 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stored_views_that_change_names_change_the_answers_read_through_them() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    let schema = "CREATE VIEW shop.shown AS SELECT id, price FROM shop.item;
                  CREATE VIEW shop.next AS SELECT id, price + 10 AS price FROM shop.item";
    let shown = view("shown", "SELECT id, price FROM shop.shown WHERE id = $1", Rows::One);
    let world = World::new(cluster, schema, &[shown]).await;
    let change =
        "BEGIN; ALTER VIEW shop.shown RENAME TO former; ALTER VIEW shop.next RENAME TO shown; COMMIT";
    changes(&world, change, 11, "UPDATE shop.item SET price = 2 WHERE id = 1", 12).await;
    let back = "BEGIN; CREATE SCHEMA old; ALTER VIEW shop.shown SET SCHEMA old;
                ALTER VIEW shop.former RENAME TO shown; COMMIT";
    changes(&world, back, 2, "UPDATE shop.item SET price = 3 WHERE id = 1", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_of_a_stored_view_that_change_names_change_the_answers_read_through_it() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    let schema = "CREATE VIEW shop.shown AS SELECT id, price, price + 10 AS gross FROM shop.item";
    let shown = view("shown", "SELECT id, price FROM shop.shown WHERE id = $1", Rows::One);
    let world = World::new(cluster, schema, &[shown]).await;
    let change = "BEGIN; ALTER VIEW shop.shown RENAME COLUMN price TO net;
                  ALTER VIEW shop.shown RENAME COLUMN gross TO price; COMMIT";
    changes(&world, change, 11, "UPDATE shop.item SET price = 2 WHERE id = 1", 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_are_looked_for_in_another_way_are_looked_for_again() {
    let cluster = Cluster::start();
    cluster
        .psql("CREATE TABLE page (id int8 PRIMARY KEY, body text); INSERT INTO page VALUES (1, 'running')");
    let schema = "CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple)";
    let words = "SELECT id, to_tsvector('public.plain', body)::text AS words FROM page WHERE id = $1";
    let world = World::new(cluster, schema, &[view("page", words, Rows::One)]).await;
    let change = "ALTER TEXT SEARCH CONFIGURATION plain ALTER MAPPING FOR asciiword WITH english_stem";
    shows(&world, change, "'run'").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_is_made_anew_changes_the_answers_computed_with_it() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    let operator = |function: &str| {
        format!("CREATE OPERATOR shop.## (LEFTARG = int, RIGHTARG = int, FUNCTION = {function})")
    };
    let sum = "SELECT id, price OPERATOR(shop.##) 10 AS price FROM shop.item WHERE id = $1";
    let world = World::new(cluster, &operator("int4pl"), &[view("sum", sum, Rows::One)]).await;
    let change = format!("BEGIN; DROP OPERATOR shop.## (int, int); {}; COMMIT", operator("int4mul"));
    changes(&world, &change, 10, "UPDATE shop.item SET price = 2 WHERE id = 1", 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_is_replaced_changes_the_answers_computed_with_it() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    let function = |more: i64| {
        format!(
            "CREATE OR REPLACE FUNCTION shop.gross(price int) RETURNS int IMMUTABLE LANGUAGE sql
             AS 'SELECT price + {more}'"
        )
    };
    let gross =
        view("gross", "SELECT id, shop.gross(price) AS price FROM shop.item WHERE id = $1", Rows::One);
    let world = World::new(cluster, &function(10), &[gross]).await;
    changes(&world, &function(20), 21, "UPDATE shop.item SET price = 2 WHERE id = 1", 22).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_an_enumeration_that_is_renamed_changes_the_answers_that_show_it() {
    let cluster = Cluster::start();
    cluster.psql(
        "CREATE TYPE mood AS ENUM ('sad', 'glad');
         CREATE TABLE person (id int8 PRIMARY KEY, mood mood);
         INSERT INTO person SELECT i, 'sad' FROM generate_series(1, 10) AS i",
    );
    let person = view("person", "SELECT id, mood FROM person WHERE id = $1", Rows::One);
    let world = World::new(cluster, "", &[person]).await;
    shows(&world, "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "blue").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_gets_an_heir_has_its_rows_too() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    let sum = view("sum", "SELECT sum(price)::int8 AS price FROM shop.item WHERE id = $1", Rows::One);
    let world = World::new(
        cluster,
        "CREATE TABLE shop.more (id int8 PRIMARY KEY, price int); INSERT INTO shop.more VALUES (1, 10)",
        std::slice::from_ref(&sum),
    )
    .await;
    world.warm(0, 1).await;
    world.cluster.psql("ALTER TABLE shop.more INHERIT shop.item");
    world.tells_nothing_but(11, 0, 1).await;
    // The heir is not in the log until setup puts it there, and until then the view cannot be proven.
    world.cluster.psql("UPDATE shop.more SET price = 20 WHERE id = 1");
    world.tells_nothing_but(21, 0, 1).await;
    world.postgres.setup(std::slice::from_ref(&sum)).await.expect("setup");
    assert_eq!(world.price(0, 1).await, 21);
    world.only_tells(21, 0, 1).await;
    world.cluster.psql("UPDATE shop.more SET price = 30 WHERE id = 1");
    world.only_tells(31, 0, 1).await;
    world.cluster.psql("ALTER TABLE shop.more NO INHERIT shop.item");
    world.only_tells(1, 0, 1).await;
}

/// Of a publication that names no table, the server lets one leave the log, be written, and come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_unlogged_for_the_length_of_one_transaction_was_changed() {
    let cluster = Cluster::start();
    cluster.psql("CREATE PUBLICATION candor FOR ALL TABLES WITH (publish_via_partition_root = true)");
    let world = World::new(cluster, SCHEMA, &[item()]).await;
    let change = "BEGIN; ALTER TABLE shop.item SET UNLOGGED; UPDATE shop.item SET price = 2;
                  ALTER TABLE shop.item SET LOGGED; COMMIT";
    changes(&world, change, 2, "UPDATE shop.item SET price = 3 WHERE id = 1", 3).await;
}

/// What another publication names, it may let go for that long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_another_publication_lets_go_to_be_unlogged_for_a_moment_was_changed() {
    let cluster = Cluster::start();
    cluster.psql("CREATE PUBLICATION candor FOR ALL TABLES WITH (publish_via_partition_root = true)");
    let world = World::new(cluster, SCHEMA, &[item()]).await;
    world.cluster.psql("CREATE PUBLICATION theirs FOR TABLE shop.item");
    let change = "BEGIN; ALTER PUBLICATION theirs DROP TABLE shop.item; ALTER TABLE shop.item SET UNLOGGED;
                  UPDATE shop.item SET price = 2; ALTER TABLE shop.item SET LOGGED;
                  ALTER PUBLICATION theirs ADD TABLE shop.item; COMMIT";
    changes(&world, change, 2, "UPDATE shop.item SET price = 3 WHERE id = 1", 3).await;
}

/// A message of an event trigger arrives in the order of the log, and has the fingerprint looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_change_that_an_event_trigger_tells_of_ends_what_was_proven() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    cluster.psql(
        "CREATE SCHEMA candor;
         CREATE FUNCTION candor.ddl() RETURNS event_trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_logical_emit_message(true, 'candor', 'ddl ' || TG_TAG); END $$;
         CREATE EVENT TRIGGER candor_ddl ON ddl_command_end EXECUTE FUNCTION candor.ddl();
         ALTER EVENT TRIGGER candor_ddl ENABLE ALWAYS",
    );
    let world = World::new(cluster, "", &[item()]).await;
    let change = "ALTER TABLE shop.item ALTER price TYPE int8 USING price + 100";
    changes(&world, change, 101, "UPDATE shop.item SET price = 3 WHERE id = 1", 3).await;
}

/// What one transaction takes away, writes to and puts back is as it was before and after, and nothing of it was logged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_leaves_the_publication_for_the_length_of_one_transaction_was_changed() {
    let world = published(IN_SCHEMA).await;
    let change = "BEGIN; ALTER PUBLICATION candor DROP TABLES IN SCHEMA shop; UPDATE shop.item SET price = 2;
                  ALTER PUBLICATION candor ADD TABLES IN SCHEMA shop; COMMIT";
    changes(&world, change, 2, "UPDATE shop.item SET price = 3 WHERE id = 1", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_leaves_a_published_schema_for_the_length_of_one_transaction_was_changed() {
    let world = published(IN_SCHEMA).await;
    let change = "BEGIN; ALTER TABLE shop.item SET SCHEMA public; UPDATE item SET price = 2;
                  ALTER TABLE item SET SCHEMA shop; COMMIT";
    changes(&world, change, 2, "UPDATE shop.item SET price = 3 WHERE id = 1", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_detached_for_the_length_of_one_transaction_was_changed() {
    let cluster = Cluster::start();
    let schema = "
        CREATE SCHEMA shop;
        CREATE TABLE shop.item (id int8 PRIMARY KEY, price int) PARTITION BY RANGE (id);
        CREATE TABLE shop.item_a PARTITION OF shop.item FOR VALUES FROM (0) TO (1000);
        INSERT INTO shop.item SELECT i, 1 FROM generate_series(1, 100) AS i;";
    let world = World::new(cluster, schema, &[item()]).await;
    let change =
        "BEGIN; ALTER TABLE shop.item DETACH PARTITION shop.item_a; UPDATE shop.item_a SET price = 2;
                  ALTER TABLE shop.item ATTACH PARTITION shop.item_a FOR VALUES FROM (0) TO (1000); COMMIT";
    changes(&world, change, 2, "UPDATE shop.item SET price = 3 WHERE id = 1", 3).await;
}

/// The log tells of a row under the name that its table had then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_has_another_name_for_the_length_of_one_transaction_was_changed() {
    let cluster = Cluster::start();
    let world = World::new(cluster, SCHEMA, &[item()]).await;
    let table = "BEGIN; ALTER TABLE shop.item RENAME TO other; UPDATE shop.other SET price = 2;
                 ALTER TABLE shop.other RENAME TO item; COMMIT";
    changes(&world, table, 2, "UPDATE shop.item SET price = 3 WHERE id = 1", 3).await;
    let schema = "BEGIN; ALTER SCHEMA shop RENAME TO other; UPDATE other.item SET price = 4;
                  ALTER SCHEMA other RENAME TO shop; COMMIT";
    changes(&world, schema, 4, "UPDATE shop.item SET price = 5 WHERE id = 1", 5).await;
}

/// The server describes a table once per stream, and not again when its schema is renamed: what a transaction wrote under
/// another name leaves the stream calling the table by that name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_known_by_its_number_whatever_the_stream_called_it_last() {
    let world = World::new(Cluster::start(), SCHEMA, &[item()]).await;
    world.warm(0, 1).await;
    let cluster = std::sync::Arc::clone(&world.cluster);
    drop(world);
    // Decoded by the stream that tells of what follows.
    cluster.psql(
        "BEGIN; ALTER SCHEMA shop RENAME TO other; UPDATE other.item SET price = 4;
         ALTER SCHEMA other RENAME TO shop; COMMIT",
    );
    let again = candor_postgres::Postgres::open(options(&cluster));
    let world = World::over(cluster, again, &[item()]).await;
    for price in 5..8 {
        world.warm(0, 1).await;
        world.cluster.psql(&format!("UPDATE shop.item SET price = {price} WHERE id = 1"));
        world.only_tells(price, 0, 1).await;
    }
}

/// Answers show the names of a composite type's parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_composite_type_that_is_renamed_changes_the_answers_that_show_it() {
    let schema = "
        CREATE TYPE place AS (street text, town text);
        CREATE TABLE person (id int8 PRIMARY KEY, place place, places place[]);
        INSERT INTO person SELECT i, '(a,b)', '{\"(a,b)\"}' FROM generate_series(1, 10) AS i";
    for columns in ["place", "places"] {
        let person = view("person", &format!("SELECT {columns} FROM person WHERE id = $1"), Rows::One);
        let world = World::new(Cluster::start(), schema, &[person]).await;
        shows(&world, "ALTER TYPE place RENAME ATTRIBUTE street TO road", "road").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_being_detached_concurrently_is_gone_at_once() {
    let part = view("part", "SELECT id, price FROM part WHERE id = $1", Rows::One);
    // With the constraint the first step writes nothing but that the partition leaves.
    let schema = "CREATE TABLE part (id int8 PRIMARY KEY, price int) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF part FOR VALUES FROM (0) TO (100);
        CREATE TABLE high PARTITION OF part FOR VALUES FROM (100) TO (200);
        ALTER TABLE low ADD CONSTRAINT bound CHECK (id IS NOT NULL AND id >= 0 AND id < 100);
        INSERT INTO part SELECT i, 1 FROM generate_series(1, 150) AS i";
    let world = World::new(Cluster::start(), schema, &[part]).await;
    world.warm(0, 1).await;
    let reader = world.client().await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM part").await.expect("a reader");
    let detaching = {
        let cluster = Arc::clone(&world.cluster);
        std::thread::spawn(move || cluster.try_psql("ALTER TABLE part DETACH PARTITION low CONCURRENTLY"))
    };
    candor_testbed::until("the first step is done", || {
        world.cluster.psql("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == "1"
    });
    assert_eq!(world.cluster.psql("SELECT count(*) FROM part WHERE id = 1"), "0");
    for _ in 0..20 {
        assert_eq!(world.strong_again(0, 1).await, None, "its rows are gone for who reads the root");
    }
    reader.batch_execute("COMMIT").await.expect("the reader ends");
    detaching.join().expect("a thread").expect("detached");
}
