//! Setup: what it puts in, changes, and takes out.

use crate::world::{SHOP, World, by_id, int, refusals, track};
use candor_core::port::Fault;
use candor_sqlite::{SetupState, Sqlite, SqliteOptions};

fn dump(world: &World) -> String {
    world.shell("SELECT type, name, sql FROM sqlite_master ORDER BY name")
}

#[tokio::test]
async fn setup_again_changes_nothing_and_a_plan_runs_nothing() {
    let world = World::new();
    let before = dump(&world);
    let plan = world.sqlite.setup_plan(&[track()]).await.unwrap();
    assert_eq!(plan.statements[0], "PRAGMA journal_mode = WAL");
    assert!(plan.statements.iter().any(|sql| sql.contains("CREATE TRIGGER \"candor_update_track\"")));
    assert_eq!(dump(&world), before, "a plan runs nothing");

    let done = world.sqlite.setup(&[track()]).await.unwrap();
    assert_eq!(done, plan);
    let (after, era) = (dump(&world), world.shell("PRAGMA schema_version"));
    assert_eq!(world.sqlite.setup(&[track()]).await.unwrap().statements, [""; 0]);
    assert_eq!((dump(&world), world.shell("PRAGMA schema_version")), (after, era));
    assert_eq!(world.shell("PRAGMA journal_mode").trim(), "wal");
}

#[tokio::test]
async fn a_bigger_and_a_smaller_configuration_replace_the_triggers() {
    let world = World::new();
    let wide = by_id("SELECT * FROM track WHERE genre_id = $1");
    let album = by_id("SELECT title FROM album WHERE id = $1");
    world.views(&[track()]).await;
    let refused = world.prepare(&wide).await;
    assert!(refusals(&refused)[0].contains("does not cover track yet; run `candor setup`"), "{refused:?}");
    assert_eq!(refused.handle, None);
    let handles = world.views(&[track(), wide, album.clone()]).await;
    let got = world.fill(handles[1], int(1)).await;
    assert!(world.reaches(&got, "UPDATE track SET milliseconds = 1 WHERE genre_id = 1").await);
    world.views(&[album]).await;
    assert!(!dump(&world).contains("candor_update_track"));
    assert!(dump(&world).contains("candor_update_album"));
}

#[tokio::test]
async fn removal_takes_everything_out() {
    let world = World::new();
    let before = dump(&world);
    world.views(&[track()]).await;
    world.fence().await;
    let plan = world.sqlite.removal_plan().await.unwrap();
    assert_eq!(world.sqlite.remove().await.unwrap(), plan);
    assert!(plan.contains(&"DROP TABLE candor_changes".to_owned()));
    assert_eq!(
        dump(&world).replace("table|sqlite_sequence|CREATE TABLE sqlite_sequence(name,seq)\n", ""),
        before
    );
    world.write("UPDATE track SET name = 'still writable' WHERE id = 1");
    assert_eq!(world.sqlite.remove().await.unwrap(), [""; 0]);
    let error = candor_core::port::Log::fence(&world.sqlite).await.unwrap_err();
    assert_eq!(error.fault, Fault::Contract);
    assert!(error.message.contains("candor setup"), "{error}");
}

#[tokio::test]
async fn setup_anew_is_a_new_log() {
    let world = World::new();
    world.views(&[track()]).await;
    let before = world.fence().await;
    world.sqlite.remove().await.unwrap();
    world.views(&[track()]).await;
    assert_ne!(world.fence().await.epoch.log, before.epoch.log);
}

#[tokio::test]
async fn odd_names_are_watched_too() {
    let world = World::with(
        "CREATE TABLE \"odd \"\"table\" (\"the key\" INTEGER PRIMARY KEY, \"it's, a=b\" TEXT, \"select\" TEXT UNIQUE);
         INSERT INTO \"odd \"\"table\" VALUES (1, 'x', 'y');",
        |_| {},
    );
    let query = by_id("SELECT \"it's, a=b\" AS v, \"select\" FROM \"odd \"\"table\" WHERE \"the key\" = $1");
    let handle = world.view(query).await;
    let got = world.fill(handle, int(1)).await;
    assert!(world.reaches(&got, "UPDATE \"odd \"\"table\" SET \"it's, a=b\" = 'z'").await);
    let got = world.fill(handle, int(1)).await;
    assert!(!world.reaches(&got, "INSERT INTO \"odd \"\"table\" VALUES (2, 'x', 'q')").await);
    let got = world.fill(handle, int(1)).await;
    assert!(world.reaches(&got, "REPLACE INTO \"odd \"\"table\" VALUES (3, 'x', 'y')").await);
}

#[tokio::test]
async fn status_tells_what_check_needs() {
    let world = World::with(SHOP, |_| {});
    let status = world.sqlite.status().await.unwrap();
    assert_eq!((status.setup, status.journal_mode.as_str()), (SetupState::Missing, "delete"));
    assert!(status.warnings[0].contains("candor setup"));
    world.views(&[track()]).await;
    let status = world.sqlite.status().await.unwrap();
    assert_eq!(
        (&status.setup, status.journal_mode.as_str(), status.log_rows),
        (&SetupState::Intact, "wal", 1)
    );
    assert!(status.is_writable && status.warnings.is_empty());
    assert!(status.watched.tables["track"].key_columns.contains("id"));
    world.write("DROP TRIGGER candor_delete_track");
    let status = world.sqlite.status().await.unwrap();
    assert_eq!(status.setup, SetupState::Broken(vec!["trigger `candor_delete_track` is missing".into()]));
    assert!(refusals(&world.prepare(&track()).await)[0].contains("candor setup"));
}

#[tokio::test]
async fn a_new_unique_index_needs_setup_again() {
    let world = World::new();
    world.views(&[track()]).await;
    world.fence().await;
    world.write("CREATE UNIQUE INDEX track_name ON track (name)");
    assert!(candor_core::port::Log::fence(&world.sqlite).await.unwrap_err().message.contains("candor setup"));
    let handle = world.view(track()).await;
    let got = world.fill(handle, int(1)).await;
    assert!(world.reaches(&got, "REPLACE INTO track (id, name) VALUES (77, 'Sinnerman')").await);
}

#[tokio::test]
async fn views_that_cannot_be_helped_are_named_and_the_others_set_up() {
    let world = World::new();
    let bad = by_id("SELECT nmae FROM track WHERE id = $1");
    let plan = world.sqlite.setup(&[track(), bad]).await.unwrap();
    assert_eq!(plan.refused.len(), 1);
    assert!(plan.refused[0].1[0].mend.contains("`name`"), "{:?}", plan.refused);
    assert!(plan.watched.tables.contains_key("track"));
}

#[tokio::test]
async fn setup_does_not_create_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.db");
    assert!(Sqlite::open(SqliteOptions::new(&path)).is_err());
    assert!(!path.exists());
}
