//! What becomes of writes: which reach an entry, and which leave it alone.

use crate::world::{World, by_id, int, is_reached, notes, track, view};
use candor_core::{KeyType, KeyValue};

#[tokio::test]
async fn each_kind_of_write_reaches_the_rows_it_changes_and_no_others() {
    let world = World::new();
    let handle = world.view(track()).await;
    for (sql, reached) in [
        ("UPDATE track SET name = 'Changed' WHERE id = 1", true),
        ("UPDATE track SET name = 'Other' WHERE id = 2", false),
        ("UPDATE track SET name = name", false),
        ("UPDATE track SET milliseconds = milliseconds + 1", false),
        ("UPDATE track SET id = 100 WHERE id = 1", true),
        ("UPDATE track SET id = 1 WHERE id = 100", true),
        ("DELETE FROM track WHERE id = 1", true),
        ("INSERT INTO track (id, name) VALUES (1, 'Back')", true),
        ("INSERT INTO track (id, name) VALUES (50, 'New')", false),
        ("BEGIN; UPDATE track SET name = 'x' WHERE id = 1; ROLLBACK", false),
        (
            "BEGIN; SAVEPOINT s; UPDATE track SET name = 'x' WHERE id = 1; ROLLBACK TO s; RELEASE s; UPDATE track SET name = 'y' WHERE id = 2; COMMIT",
            false,
        ),
        ("BEGIN; SAVEPOINT s; UPDATE track SET name = 'z' WHERE id = 1; RELEASE s; COMMIT", true),
        (
            "INSERT INTO track (id, name) VALUES (1, 'up') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
            true,
        ),
        ("REPLACE INTO track (id, name) VALUES (1, 'replaced')", true),
        ("UPDATE track SET name = upper(name) COLLATE NOCASE WHERE id = 1", true),
        ("DELETE FROM track", true),
    ] {
        let got = world.fill(handle, int(1)).await;
        assert_eq!(world.reaches(&got, sql).await, reached, "{sql}");
    }
}

#[tokio::test]
async fn an_absent_row_is_reached_when_it_appears() {
    let world = World::new();
    let handle = world.view(track()).await;
    let got = world.fill(handle, int(9)).await;
    assert_eq!(got.value, None);
    assert!(world.reaches(&got, "INSERT INTO track (id, name) VALUES (9, 'New')").await);
    let got = world.fill(handle, int(9)).await;
    assert_eq!(got.value.as_deref(), Some(r#"{"id":9,"name":"New","album_id":null}"#));
}

#[tokio::test]
async fn a_row_displaced_by_another_unique_column_is_reached() {
    let world = World::new();
    let handle = world.view(track()).await;
    for sql in [
        // The row that goes is 1, through its code; nothing else names it.
        "INSERT OR REPLACE INTO track (id, name, code) VALUES (70, 'Thief', 'A1')",
        "UPDATE OR REPLACE track SET code = 'A1' WHERE id = 2",
        "UPDATE OR REPLACE track SET id = 1 WHERE id = 2",
        "INSERT OR REPLACE INTO track (id, name, code) SELECT 80, 'Thief', 'A1'",
    ] {
        world.write(
            "INSERT OR REPLACE INTO track (id, name, code) VALUES (1, 'Victim', 'A1'), (2, 'Other', 'B1')",
        );
        let got = world.fill(handle, int(1)).await;
        assert!(got.value.as_deref().unwrap().contains("Victim"));
        assert!(world.reaches(&got, sql).await, "{sql}");
    }
}

#[tokio::test]
async fn displacement_follows_the_index_its_collation_and_defaults() {
    let world = World::with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER NOT NULL DEFAULT 7, c TEXT);
         CREATE UNIQUE INDEX t_a ON t (a COLLATE NOCASE);
         CREATE UNIQUE INDEX t_b ON t (b);
         CREATE UNIQUE INDEX t_c ON t (c) WHERE c > 'm';
         INSERT INTO t VALUES (1, 'Abc', 7, 'x');",
        |_| {},
    );
    let handle = world.view(by_id("SELECT * FROM t WHERE id = $1")).await;
    for sql in [
        "INSERT OR REPLACE INTO t VALUES (2, 'aBC', 8, 'y')",
        "INSERT OR REPLACE INTO t VALUES (2, 'q', NULL, 'y')",
        "INSERT OR REPLACE INTO t VALUES (2, 'q', 8, 'x')",
        "UPDATE OR REPLACE t SET b = NULL WHERE id = 3",
    ] {
        world.write("DELETE FROM t; INSERT INTO t VALUES (1, 'Abc', 7, 'x'), (3, 'Z', 30, 'z')");
        let got = world.fill(handle, int(1)).await;
        assert!(world.reaches(&got, sql).await, "{sql}");
        assert_eq!(world.fill(handle, int(1)).await.value, None, "{sql} displaces the row");
    }
}

#[tokio::test]
async fn a_unique_index_on_an_expression_makes_the_whole_table_matter() {
    let world = World::with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, n INTEGER);
         CREATE UNIQUE INDEX t_a ON t (lower(a));
         INSERT INTO t VALUES (1, 'Abc', 1), (2, 'x', 1);",
        |_| {},
    );
    let handle = world.view(by_id("SELECT id, n FROM t WHERE id = $1")).await;
    let got = world.fill(handle, int(1)).await;
    assert!(world.reaches(&got, "UPDATE OR REPLACE t SET a = 'ABC' WHERE id = 2").await);
    assert_eq!(world.fill(handle, int(1)).await.value, None);
}

#[tokio::test]
async fn cascades_of_foreign_keys_reach_the_children() {
    let world = World::new();
    let album = by_id("SELECT id, title FROM album WHERE id = $1");
    let handle = world.view(album).await;
    let got = world.fill(handle, int(1)).await;
    assert!(world.reaches(&got, "PRAGMA foreign_keys = ON; DELETE FROM artist WHERE id = 1").await);
    let got = world.fill(handle, int(2)).await;
    assert!(world.reaches(&got, "REPLACE INTO artist VALUES (2, 'Again')").await);
    assert_eq!(world.fill(handle, int(2)).await.value, None, "REPLACE deleted the artist's albums");
}

#[tokio::test]
async fn tables_without_rowid_and_composite_keys() {
    let world = World::new();
    let prices = view(
        "prices",
        &[("track", KeyType::Int8), ("currency", KeyType::Text)],
        "SELECT cents FROM price WHERE track_id = $1 AND currency = $2",
    );
    let handle = world.view(prices).await;
    let key = || vec![KeyValue::Int(2), KeyValue::Text("EUR".into())];
    for (sql, reached) in [
        ("UPDATE price SET cents = 1 WHERE track_id = 2 AND currency = 'EUR'", true),
        ("UPDATE price SET cents = 1 WHERE track_id = 1", false),
        ("UPDATE price SET currency = 'CHF' WHERE track_id = 2 AND currency = 'EUR'", true),
        ("UPDATE OR REPLACE price SET currency = 'EUR' WHERE track_id = 2 AND currency = 'USD'", true),
        ("REPLACE INTO price VALUES (2, 'EUR', 5)", true),
        ("DELETE FROM price", true),
    ] {
        let got = world.fill(handle, key()).await;
        assert_eq!(world.reaches(&got, sql).await, reached, "{sql}");
    }
}

#[tokio::test]
async fn a_change_is_seen_that_sqlite_calls_equal() {
    let world = World::with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, n);
         INSERT INTO t VALUES (1, 'abc', 1);",
        |_| {},
    );
    let handle = world.view(by_id("SELECT name, n FROM t WHERE id = $1")).await;
    for sql in [
        "UPDATE t SET name = 'ABC'",
        "UPDATE t SET n = 1.0",
        "UPDATE t SET n = '1'",
        "UPDATE t SET n = x'31'",
    ] {
        let got = world.fill(handle, int(1)).await;
        assert!(world.reaches(&got, sql).await, "{sql}");
    }
}

#[tokio::test]
async fn other_programs_writes_are_seen() {
    let world = World::new();
    let handle = world.view(track()).await;
    let mut follower = world.follow().await;
    let got = world.fill(handle, int(1)).await;
    world.shell("UPDATE track SET name = 'It''s, \"shell\"=1' WHERE id = 1");
    let seen = follower.catch_up(&world).await;
    assert!(is_reached(&got, &seen));
    assert_eq!(notes(&seen), ["update track id=1 (name)"]);

    let got = world.fill(handle, int(2)).await;
    let script = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\nc.execute('insert or replace into track(id,name,code) values (90,\"py\",\"B1\")')\nc.commit()";
    let done = std::process::Command::new("python3").arg("-c").arg(script).arg(&world.path).status().unwrap();
    assert!(done.success());
    assert!(is_reached(&got, &follower.catch_up(&world).await), "Python displaced row 2 by its code");
}

#[tokio::test]
async fn a_users_own_triggers_are_followed() {
    let world = World::with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, touched INTEGER DEFAULT 0);
         CREATE TABLE total (id INTEGER PRIMARY KEY, n INTEGER);
         CREATE TRIGGER touch AFTER UPDATE OF n ON t BEGIN
             UPDATE t SET touched = touched + 1 WHERE id = NEW.id;
             UPDATE total SET n = n + 1 WHERE id = 1;
         END;
         INSERT INTO t VALUES (1, 1, 0); INSERT INTO total VALUES (1, 0);",
        |_| {},
    );
    let handles = world
        .views(&[by_id("SELECT touched FROM t WHERE id = $1"), by_id("SELECT n FROM total WHERE id = $1")])
        .await;
    let (t, total) = (world.fill(handles[0], int(1)).await, world.fill(handles[1], int(1)).await);
    let mut follower = world.follow().await;
    world.write("UPDATE t SET n = 2");
    let seen = follower.catch_up(&world).await;
    assert!(is_reached(&t, &seen) && is_reached(&total, &seen));
}

#[tokio::test]
async fn a_transaction_is_never_torn() {
    let world = World::new();
    world.view(track()).await;
    let mut follower = world.follow().await;
    world.write(
        "BEGIN; UPDATE track SET name = 'a' WHERE id = 1; UPDATE track SET name = 'b' WHERE id = 2; COMMIT",
    );
    let seen = follower.catch_up(&world).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].changes.len(), 2);
    assert_eq!((seen[0].previous, seen[0].at), (1, 3));
}
