//! What becomes of the log when the file is restored, replaced, rebuilt, or gone.

use crate::world::{World, by_id, connect, int, track};
use candor_core::port::{Fault, Log};
use candor_sqlite::{Sqlite, SqliteOptions};

/// Bytes of a database as it is, written by SQLite itself.
fn backup(world: &World, name: &str) -> std::path::PathBuf {
    let path = world.dir.path().join(name);
    world.write(&format!("VACUUM INTO '{}'", path.display()));
    path
}

#[tokio::test]
async fn positions_count_and_an_idle_fence_stays() {
    let world = World::new();
    world.view(track()).await;
    let first = world.fence().await;
    assert_eq!(first, world.fence().await);
    world.write("UPDATE track SET name = 'x' WHERE id = 1");
    let second = world.fence().await;
    assert_eq!((second.epoch, second.at), (first.epoch, first.at + 1));
    // Another process of the same database uses the same names.
    let other = Sqlite::open(SqliteOptions::new(&world.path)).unwrap();
    assert_eq!(other.fence().await.unwrap().position, second);
}

#[tokio::test]
async fn a_restore_in_place_begins_a_new_log_even_if_it_reaches_the_same_number() {
    let world = World::new();
    let handle = world.view(track()).await;
    let saved = backup(&world, "backup.db");
    world.write("UPDATE track SET name = 'lost' WHERE id = 1");
    let mut follower = world.follow().await;
    let before = world.fence().await;
    let got = world.fill(handle, int(1)).await;
    assert_eq!(got.position, before);

    world.shell(&format!(".restore '{}'", saved.display()));
    world.write("UPDATE track SET name = 'other' WHERE id = 2");
    let after = world.fence().await;
    assert_eq!(after.at, before.at, "the numbers are the same");
    assert_ne!(after.epoch.log, before.epoch.log, "the log is not");
    let seen = follower.catch_up(&world).await;
    assert_eq!((seen[0].epoch, seen[0].previous), (after.epoch, after.at));
    let got = world.fill(handle, int(1)).await;
    assert_eq!(got.position, after);
    assert!(got.value.unwrap().contains("Sinnerman"));
}

/// What a restore by other means than SQLite's looks like: the same schema version, other rows.
fn rewrite(world: &World) {
    world.write(
        "DELETE FROM candor_changes WHERE seq = (SELECT max(seq) FROM candor_changes);
         UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM candor_changes) WHERE name = 'candor_changes';",
    );
}

#[tokio::test]
async fn a_rewritten_history_is_told_by_its_marks_and_named_once_by_all() {
    let world = World::new();
    let handle = world.view(track()).await;
    let others: Vec<Sqlite> =
        (0..3).map(|_| Sqlite::open(SqliteOptions::new(&world.path)).unwrap()).collect();
    world.write("UPDATE track SET name = 'lost' WHERE id = 1");
    let before = world.fence().await;
    for other in &others {
        assert_eq!(other.fence().await.unwrap().position, before);
    }
    rewrite(&world);
    world.write("UPDATE track SET name = 'other' WHERE id = 2");
    let after = others[0].fence().await.unwrap().position;
    assert_eq!(after.at, before.at);
    assert_ne!(after.epoch.log, before.epoch.log);
    for other in &others {
        assert_eq!(
            other.fence().await.unwrap().position,
            after,
            "instances adopt the name that one of them gave"
        );
    }
    assert_eq!(world.fill(handle, int(1)).await.position, after, "a fill finds out by itself");
    assert_eq!(world.fence().await, after);
}

#[tokio::test]
async fn a_rewritten_history_that_cannot_be_renamed_is_new_in_this_process() {
    let world = World::with(crate::world::SHOP, |options| {
        options.busy_timeout = std::time::Duration::from_millis(20);
    });
    let handle = world.view(track()).await;
    let other = Sqlite::open(SqliteOptions::new(&world.path)).unwrap();
    world.write("UPDATE track SET name = 'lost' WHERE id = 1");
    let before = world.fence().await;
    assert_eq!(other.fence().await.unwrap().position, before);
    rewrite(&world);
    world.write("BEGIN IMMEDIATE");
    let after = world.fence().await;
    assert_ne!(after.epoch.log, before.epoch.log);
    assert_eq!(world.fill(handle, int(1)).await.position, after);
    assert_eq!(world.fence().await, after);
    world.write("ROLLBACK");
    assert_eq!(world.fence().await, after);
    let named = other.fence().await.unwrap().position;
    assert_ne!(named.epoch.log, before.epoch.log);
    assert_eq!(world.fence().await, named, "a name that another instance could write is adopted");
    assert_eq!(world.fill(handle, int(1)).await.position, named);
}

#[tokio::test]
async fn a_fill_that_ran_ahead_is_remembered_against_a_rewritten_history() {
    let world = World::new();
    let handle = world.view(track()).await;
    let before = world.fence().await;
    world.write("UPDATE track SET name = 'lost' WHERE id = 1");
    assert_eq!(
        world.fill(handle, int(1)).await.position.at,
        before.at + 1,
        "the log's thread has not seen this"
    );
    rewrite(&world);
    world.write("UPDATE track SET name = 'other' WHERE id = 2");
    assert_ne!(world.fence().await.epoch.log, before.epoch.log);
}

#[tokio::test]
async fn the_same_backup_restored_twice_never_revives_an_old_name() {
    let world = World::new();
    world.view(track()).await;
    let identity = world.shell("SELECT identity FROM candor_log");
    let first = world.fence().await;
    world.write("UPDATE track SET name = 'lost' WHERE id = 1");
    let second = world.fence().await;
    rewrite(&world);
    let third = world.fence().await;
    world.write(&format!("UPDATE candor_log SET identity = '{}', was = ''", identity.trim()));
    let fourth = world.fence().await;
    assert_eq!(first.epoch, second.epoch);
    assert_ne!(third.epoch.log, first.epoch.log);
    assert_ne!(fourth.epoch.log, first.epoch.log);
    assert_ne!(fourth.epoch.log, third.epoch.log);
}

/// The anchor lies below what is lost, and the new history has passed the fill's number before the fill ends: only the
/// mark of the fill's own row tells that what it read is no longer there.
#[tokio::test]
async fn a_slow_fill_of_a_history_that_was_rewritten_meanwhile_is_not_taken_for_the_new_one() {
    let slow = "WITH n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
        SELECT track.name, (SELECT max(i) FROM n) AS steps FROM track WHERE track.id = 1";
    for passes_by in [1, 2] {
        let mut steps = 100_000;
        loop {
            let world = World::new();
            let handle = world.view(by_id(slow)).await;
            world.fence().await;
            world.write("UPDATE track SET name = 'lost' WHERE id = 1");
            let mut fill = Box::pin(world.try_fill(handle, int(steps)));
            if tokio::time::timeout(std::time::Duration::from_millis(100), &mut fill).await.is_ok() {
                steps *= 4;
                continue;
            }
            world.write("UPDATE track SET name = 'Sinnerman' WHERE id = 1");
            // Neither change has ever been, as in a backup from before both.
            rewrite(&world);
            rewrite(&world);
            for other in 0..passes_by {
                world.write(&format!(
                    "INSERT INTO candor_changes (tbl, op, old, new) VALUES ('genre', 'insert', NULL, 'id={other}')"
                ));
            }
            let now = world.fence().await;
            if tokio::time::timeout(std::time::Duration::ZERO, &mut fill).await.is_ok() {
                steps *= 4;
                continue;
            }
            let got = fill.await;
            let is_sound = match &got {
                Ok(got) => {
                    got.position.epoch != now.epoch || got.value.as_ref().unwrap().contains("Sinnerman")
                }
                Err(_) => true,
            };
            assert!(is_sound, "{got:?} of {now:?}");
            break;
        }
    }
}

#[tokio::test]
async fn another_file_under_the_same_path_is_another_log() {
    let world = World::new();
    let handle = world.view(track()).await;
    let saved = backup(&world, "backup.db");
    world.write("UPDATE track SET name = 'lost' WHERE id = 1");
    let mut follower = world.follow().await;
    let before = world.fill(handle, int(1)).await;
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", world.path.display()));
    }
    std::fs::rename(saved, &world.path).unwrap();
    let got = world.fill(handle, int(1)).await;
    assert!(got.value.unwrap().contains("Sinnerman"));
    assert_ne!(got.position.epoch.log, before.position.epoch.log);
    assert_eq!(follower.catch_up(&world).await[0].epoch, got.position.epoch);
}

#[tokio::test]
async fn a_deleted_database_is_down_and_never_created() {
    let world = World::new();
    let handle = world.view(track()).await;
    world.fence().await;
    std::fs::remove_file(&world.path).unwrap();
    assert_eq!(world.sqlite.fence().await.unwrap_err().fault, Fault::Down);
    assert_eq!(world.try_fill(handle, int(1)).await.unwrap_err().fault, Fault::Down);
    assert_eq!(world.sqlite.status().await.unwrap_err().fault, Fault::Down);
    assert_eq!(Sqlite::open(SqliteOptions::new(&world.path)).unwrap_err().fault, Fault::Down);
    assert!(!world.path.exists());
}

#[tokio::test]
async fn what_is_no_database_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "not a database, only text that goes on for a while".repeat(100)).unwrap();
    let sqlite = Sqlite::open(SqliteOptions::new(&path));
    let error = match sqlite {
        Ok(sqlite) => sqlite.fence().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.fault, Fault::Down, "{error}");
}

#[tokio::test]
async fn a_schema_change_opens_a_new_era_of_the_same_log() {
    let world = World::new();
    let handle = world.view(by_id("SELECT * FROM track WHERE id = $1")).await;
    let before = world.fence().await;
    let mut follower = world.follow().await;
    world.write("CREATE TABLE unrelated (x)");
    let after = world.fence().await;
    assert_eq!((after.epoch.log, after.at), (before.epoch.log, before.at));
    assert!(after.epoch.era > before.epoch.era);
    assert_eq!(follower.catch_up(&world).await.last().unwrap().epoch, after.epoch);
    assert_eq!(world.fill(handle, int(1)).await.position, after);
    world.write("VACUUM");
    let vacuumed = world.fence().await;
    assert!(vacuumed.epoch.era > after.epoch.era && vacuumed.at == after.at);
    assert_eq!(world.fill(handle, int(1)).await.position, vacuumed);
}

#[tokio::test]
async fn a_view_is_held_against_each_new_schema() {
    let world = World::new();
    let handle = world.view(by_id("SELECT id, name FROM track WHERE id = $1")).await;
    world.fill(handle, int(1)).await;
    world.write("ALTER TABLE track RENAME COLUMN code TO barcode");
    // SQLite rewrote the triggers as setup would have written them.
    let got = world.fill(handle, int(1)).await;
    assert!(
        world
            .reaches(&got, "INSERT OR REPLACE INTO track (id, name, barcode) VALUES (70, 'Thief', 'A1')")
            .await
    );
    world.write("ALTER TABLE track RENAME COLUMN name TO title");
    assert!(world.sqlite.fence().await.unwrap_err().message.contains("no column `name`"));
    let error = world.try_fill(handle, int(1)).await.unwrap_err();
    assert_eq!(error.fault, Fault::Contract);
}

#[tokio::test]
async fn a_table_rebuilt_by_a_migration_lost_its_triggers_and_everybody_is_told() {
    let world = World::new();
    let handle = world.view(track()).await;
    let mut follower = world.follow().await;
    assert!(follower.now().await.unwrap().is_ok());
    world.write(
        "BEGIN; CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT NOT NULL, album_id INTEGER);
         INSERT INTO new SELECT id, name, album_id FROM track; DROP TABLE track;
         ALTER TABLE new RENAME TO track; COMMIT",
    );
    for _ in 0..2 {
        let error = world.sqlite.fence().await.unwrap_err();
        assert_eq!(error.fault, Fault::Contract);
        assert!(error.message.contains("candor setup"), "{error}");
    }
    assert_eq!(
        follower.now().await.unwrap().unwrap_err().fault,
        Fault::Contract,
        "the feed ends with the reason"
    );
    assert!(world.sqlite.follow().await.is_err());
    assert_eq!(world.try_fill(handle, int(1)).await.unwrap_err().fault, Fault::Contract);

    world.sqlite.setup(&[track()]).await.unwrap();
    let got = world.fill(handle, int(1)).await;
    assert_eq!(got.position, world.fence().await);
    assert!(world.reaches(&got, "UPDATE track SET name = 'mended' WHERE id = 1").await);
}

#[tokio::test]
async fn a_dropped_table_is_told_too() {
    let world = World::new();
    let handle = world.view(track()).await;
    world.fence().await;
    world.write("DROP TABLE track");
    assert!(world.sqlite.fence().await.unwrap_err().message.contains("candor setup"));
    let error = world.try_fill(handle, int(1)).await.unwrap_err();
    assert_eq!(error.fault, Fault::Contract);
    assert!(error.message.contains("`track`"), "{error}");
}

#[tokio::test]
async fn fences_that_wait_share_one_look_and_a_slow_follower_sees_a_gap() {
    let world = World::with(crate::world::SHOP, |options| options.feed_records = 3);
    world.view(track()).await;
    let mut follower = world.follow().await;
    for round in 0..10 {
        world.write(&format!("UPDATE track SET name = 'n{round}' WHERE id = 1"));
        world.fence().await;
    }
    let mut read = Vec::new();
    while let Some(record) = follower.now().await {
        read.push(record.unwrap());
    }
    assert_eq!(read.len(), 3);
    assert!(read[1].at < read[2].previous, "{read:?}");
    assert_eq!((read[2].previous, read[2].at), (11, 11));
    let fences = (0..200).map(|_| world.sqlite.fence()).collect::<Vec<_>>();
    for fence in fences {
        assert_eq!(fence.await.unwrap().position.at, 11);
    }
}

#[tokio::test]
async fn more_changes_than_a_record_holds_are_a_gap_and_so_is_what_cannot_be_read() {
    let world = World::with(crate::world::SHOP, |options| options.record_changes_max = 5);
    world.view(track()).await;
    let mut follower = world.follow().await;
    world.write("WITH n (i) AS (VALUES (100) UNION ALL SELECT i + 1 FROM n WHERE i < 120) INSERT INTO track (id, name) SELECT i, 'x' FROM n");
    let seen = follower.catch_up(&world).await;
    assert_eq!((seen.len(), seen[0].previous, seen[0].changes.len()), (1, seen[0].at, 0));
    world.write("INSERT INTO candor_changes (tbl, op, old) VALUES ('track', 'delete', 'id=what?')");
    let seen = follower.catch_up(&world).await;
    assert_eq!((seen[0].previous, seen[0].changes.len()), (seen[0].at, 0));
    world.write("INSERT INTO candor_changes (tbl, op, old) VALUES ('track', 'delete', 'other=1')");
    let seen = follower.catch_up(&world).await;
    assert_eq!((seen[0].previous, seen[0].changes.len()), (seen[0].at, 0), "the key column is missing");
}

#[tokio::test]
async fn a_view_prepared_late_ends_the_feeds() {
    let world = World::new();
    let late = by_id("SELECT id, title FROM album WHERE id = $1");
    world.sqlite.setup(&[track(), late.clone()]).await.unwrap();
    world.prepare(&track()).await;
    let mut follower = world.follow().await;
    follower.catch_up(&world).await;
    world.write("UPDATE album SET title = 'x' WHERE id = 1");
    follower.catch_up(&world).await;
    world.prepare(&late).await;
    world.fence().await;
    // A record at the position already reached could tell nothing: a ledger would call it a duplicate.
    assert_eq!(follower.now().await.unwrap().unwrap_err().fault, Fault::Slow);
    let mut follower = world.follow().await;
    world.write("UPDATE album SET title = 'y' WHERE id = 1");
    assert_eq!(follower.catch_up(&world).await[0].changes.len(), 1);
    world.prepare(&late).await;
    assert!(follower.catch_up(&world).await.is_empty(), "prepared again, it adds nothing");
}

#[tokio::test]
async fn threads_end_with_the_handle() {
    let world = World::new();
    world.view(track()).await;
    let mut follower = world.follow().await;
    assert!(follower.now().await.unwrap().is_ok());
    let other = connect(&world.path);
    drop(world.sqlite);
    assert_eq!(follower.feed.next().await.unwrap_err().fault, Fault::Down);
    drop(other);
}
