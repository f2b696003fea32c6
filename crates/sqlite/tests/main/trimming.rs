//! Trimming: what goes, what stays, and who is told.

use crate::world::{SHOP, World, track};
use candor_core::port::{Log, Source};
use candor_sqlite::{Sqlite, SqliteOptions, TrimOptions, Trimmed};
use std::time::Duration;

const TRIM: TrimOptions =
    TrimOptions { keep_rows: 5, dead_after_rounds: 2, batch_rows: 10, batches_max: 100 };

async fn world() -> World {
    let world = World::with(SHOP, |options| options.trim = TRIM);
    world.view(track()).await;
    world
}

fn instance(world: &World) -> Sqlite {
    let mut options = SqliteOptions::new(&world.path);
    options.trim = TRIM;
    Sqlite::open(options).unwrap()
}

fn changes(world: &World, count: usize) {
    for _ in 0..count {
        world.write("UPDATE track SET name = name || '.' WHERE id = 1");
    }
}

fn rows(world: &World) -> String {
    world
        .shell("SELECT min(seq), max(seq), (SELECT trimmed_to FROM candor_log) FROM candor_changes")
        .trim()
        .to_owned()
}

#[tokio::test]
async fn what_every_reader_has_passed_goes_and_the_newest_stay() {
    let world = world().await;
    assert_eq!(world.sqlite.trim_once().await, Ok(Trimmed::NothingRead));
    changes(&world, 30);
    world.fence().await;
    assert_eq!(world.sqlite.trim_once().await, Ok(Trimmed::Rows(26)));
    assert_eq!(rows(&world), "27|31|26");
    assert_eq!(world.sqlite.trim_once().await, Ok(Trimmed::Rows(0)));
    let before = world.fence().await;
    changes(&world, 1);
    let after = world.fence().await;
    assert_eq!((after.epoch, after.at), (before.epoch, before.at + 1), "trimming breaks nothing");
}

#[tokio::test]
async fn a_live_reader_holds_rows_and_a_dead_one_does_not() {
    let world = world().await;
    let other = instance(&world);
    let handle = other.prepare(&track()).await.unwrap().handle.unwrap();
    other.fence().await.unwrap();
    other.trim_once().await.unwrap();
    let mut feed = other.follow().await.unwrap();
    feed.next().await.unwrap();
    changes(&world, 30);
    world.fence().await;
    for _ in 0..4 {
        world.sqlite.trim_once().await.unwrap();
        other.trim_once().await.unwrap();
    }
    assert_eq!(rows(&world), "2|31|1", "only what the other one has read is gone");
    // The other instance no longer gives a sign of life.
    for _ in 0..4 {
        world.sqlite.trim_once().await.unwrap();
    }
    assert_eq!(rows(&world), "27|31|26");
    // It was only paused, and finds out, by a fill or by a fence: nothing it missed goes by in silence.
    let fill = other.fill(handle, [crate::world::int(1).into_boxed_slice()].into()).await.unwrap();
    assert_eq!(fill.stamp, candor_core::Stamp::Sequence(world.fence().await));
    let fence = other.fence().await.unwrap().position;
    let record = feed.next().await.unwrap();
    assert_eq!((record.epoch, record.at, record.previous), (fence.epoch, 31, 26));
    assert_eq!(record.changes.len(), 5);
}

#[tokio::test]
async fn trimming_gives_way_to_writers() {
    let world = World::with(SHOP, |options| {
        options.trim = TRIM;
        options.busy_timeout = Duration::from_millis(20);
    });
    world.view(track()).await;
    changes(&world, 30);
    world.fence().await;
    world.write("BEGIN IMMEDIATE");
    assert_eq!(world.sqlite.trim_once().await, Ok(Trimmed::Busy(0)));
    world.write("ROLLBACK");
    assert_eq!(world.sqlite.trim_once().await, Ok(Trimmed::Rows(26)));
}
