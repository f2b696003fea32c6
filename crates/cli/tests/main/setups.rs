//! `setup`: shown, applied, applied again, taken out.

use crate::world::{VIEWS, World};

fn objects(world: &World) -> Vec<String> {
    let connection = world.open();
    let mut names =
        connection.prepare("SELECT name FROM sqlite_master WHERE name LIKE 'candor%' ORDER BY name").unwrap();
    names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn journal(world: &World) -> String {
    world.open().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_dry_run_shows_the_sql_and_runs_nothing() {
    let world = World::bare();
    let shown = world.candor(&["setup", "--dry-run"]).expect(0);
    let shown =
        shown.says(&["-- shop (", "PRAGMA journal_mode = WAL;", "CREATE TRIGGER \"candor_update_track\""]);
    assert!(objects(&world).is_empty() && journal(&world) == "delete");
    // What is shown is what would have run.
    world.write(&shown.out);
    world.candor(&["setup"]).expect(0).says(&["nothing to do"]);
}

#[test]
fn setup_says_what_it_did_in_one_line_and_again_does_nothing() {
    let world = World::bare();
    let first = world.candor(&["setup"]).expect(0).says(&[
        "shop: created 3 tables",
        "journal mode WAL), which stays on",
        "changes of album, price, track are recorded",
    ]);
    assert_eq!(first.out.lines().count(), 1);
    let before = objects(&world);
    let again = world.candor(&["setup"]).expect(0).says(&["nothing to do"]);
    assert_eq!((again.out.lines().count(), objects(&world)), (1, before));
}

#[test]
fn removal_takes_all_out_but_the_journal_mode() {
    let world = World::new();
    world
        .candor(&["setup", "--remove", "--dry-run"])
        .expect(0)
        .says(&["DROP TRIGGER", "DROP TABLE candor_changes;"]);
    assert!(!objects(&world).is_empty(), "a dry run runs nothing");
    world.candor(&["setup", "--remove"]).expect(0).says(&["removed", "3 tables", "WAL) stays on"]);
    assert_eq!((objects(&world), journal(&world).as_str()), (vec![], "wal"));
    world.candor(&["setup", "--remove"]).expect(0).says(&["nothing of Candor's"]);
}

#[test]
fn programs_get_the_statements() {
    let world = World::bare();
    let shown = world.candor(&["setup", "--dry-run", "--json"]).expect(0).json();
    let source = &shown["sources"][0];
    assert_eq!((source["name"].as_str(), source["dry_run"].as_bool()), (Some("shop"), Some(true)));
    let watched = source["watched"]["track"]["key_columns"].as_array().unwrap();
    assert_eq!(watched, &["id"]);
    let done = world.candor(&["setup", "--json"]).expect(0).json();
    assert_eq!(done["sources"][0]["statements"], source["statements"]);
}

#[test]
fn a_view_that_cannot_be_helped_is_told_and_the_others_are_set_up() {
    let world = World::bare();
    world.configure("", &VIEWS.replace("t.name, a.title", "t.nme, a.title"));
    world
        .candor(&["setup"])
        .expect(1)
        .says(&["changes of price are recorded"])
        .warns(&["view `track`: there is no column", "mend:"]);
}

#[test]
fn only_the_named_source_is_touched() {
    let world = World::bare();
    world.candor(&["setup", "--source", "shop"]).expect(0);
    world
        .candor(&["setup", "--source", "shed"])
        .expect(2)
        .warns(&["no source `shed`", "there is only `shop`"]);
}
