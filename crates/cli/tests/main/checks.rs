//! `check`: what it says of sound, broken and unprepared views.

use crate::world::{VIEWS, World};
use serde_json::json;

#[test]
fn a_sound_configuration_is_told_in_full() {
    let world = World::new();
    let told = world.candor(&["check", "track", "price", "top"]).expect(0).says(&[
        "setup intact",
        "✓ view track",
        "key          id:int8",
        "reads        track (album_id, id, name)",
        "a change of rows of track with id = $1 (key id)",
        "a change of rows of album with id = any t.album_id met while answering",
        "default      bounded:2s",
        "default      strong, critical",
        "strong       yes",
        "bounded      no   the view is critical",
        "session      no   no log is followed",
        "3 of 3 views hold.",
    ]);
    assert!(told.out.lines().all(|line| line.chars().count() <= 100), "{}", told.out);
    let one = world.candor(&["check", "price"]).expect(0);
    assert!(one.out.contains("view price") && !one.out.contains("view track"));
}

#[test]
fn without_names_a_view_that_holds_takes_a_line_and_what_is_to_be_mended_comes_first() {
    let world = World::new();
    let told = world.candor(&["check"]).expect(0).says(&[
        "\n✓ view track  log    track.id = $1, album.id as met\n",
        "\n✓ view price  log    price.track_id = $1",
        "\n✓ view top    clock  ",
        "3 of 3 views hold.",
    ]);
    assert!(told.out.lines().all(|line| line.chars().count() <= 100), "{}", told.out);
    assert!(!told.out.contains("reads ") && !told.out.contains("default "), "{}", told.out);

    // The last of the file is refused, the second has a warning.
    let wide = "[view.wide]\nowner = \"x\"\nsource = \"shop\"\nkey = [\"id:int8\"]\n\
        sql = \"SELECT id, (SELECT count(*) FROM track WHERE album_id = album.id) AS n FROM album WHERE id = $1\"\n";
    world.configure(
        "",
        &format!("{wide}{}", VIEWS.replace("SELECT id, name FROM track", "SELECT id, nme FROM track")),
    );
    world.candor(&["setup"]).expect(0);
    let told = world.candor(&["check"]).expect(1).says(&["mend:", "owner        catalogue, in candor.toml"]);
    let place = |text: &str| told.out.find(text).unwrap_or_else(|| panic!("`{text}` is not in {}", told.out));
    let order = ["source shop", "✗ view top", "there is no column", "✓ view wide", "warning", "✓ view track"];
    assert!(order.map(place).is_sorted(), "{}", told.out);
    assert_eq!(told.out.lines().last(), Some("3 of 4 views hold, 1 refused (top), 1 warning."));
}

#[test]
fn programs_get_the_same_in_a_stable_shape() {
    let report = World::new().candor(&["check", "--json"]).expect(0).json();
    assert_eq!(report["ok"], true);
    assert_eq!(
        report["summary"],
        json!({"views": 3, "hold": 3, "wait_for_setup": 0, "refused": 0, "unchecked": 0, "warnings": 0})
    );
    assert_eq!(report["sources"][0]["setup"], json!({"state": "intact", "missing": [], "statements": 0}));
    let track = &report["views"][0];
    assert_eq!(track["verdict"], "holds");
    assert_eq!(track["key"], json!([{"name": "id", "type": "int8"}]));
    assert_eq!(track["columns"], json!(["id", "name", "title"]));
    assert_eq!(
        track["reads"][1]["tagged_by"],
        json!([{"by": "key", "column": "id", "parameter": 1}]),
        "{track}"
    );
    assert_eq!(track["promises"]["snapshot"]["can"], true);
    assert_eq!(report["views"][1]["promises"]["any"]["can"], false, "critical");
    assert_eq!(report["views"][2]["promises"]["session"]["can"], false, "by the clock");
}

#[test]
fn without_setup_it_says_what_is_missing() {
    let world = World::bare();
    world.candor(&["check"]).expect(1).says(&["setup missing", "candor setup", "waits for setup"]);
    let report = world.candor(&["check", "--json"]).expect(1).json();
    assert_eq!(report["views"][0]["verdict"], "waits-for-setup");
    assert_eq!(report["views"][2]["verdict"], "holds", "a view by the clock needs none");
    assert_eq!(report["sources"][0]["setup"]["state"], "missing");
}

#[test]
fn a_trigger_that_was_dropped_is_missed() {
    let world = World::new();
    world.write("DROP TRIGGER candor_update_track");
    world.candor(&["check"]).expect(1).says(&[
        "setup incomplete",
        "candor_update_track",
        "mends it with 1 statement",
    ]);
    world.candor(&["setup"]).expect(0).says(&["created 1 trigger"]);
    world.candor(&["check"]).expect(0);
}

#[test]
fn a_refused_view_has_its_place_and_the_mend() {
    let world = World::new();
    let bad = VIEWS.replace("t.name, a.title", "t.nme, a.title");
    world.configure("", &bad);
    world.candor(&["check"]).expect(1).says(&[
        "✗ view track",
        "candor.toml:11:7: there is no column `t.nme`",
        "did you mean `name`?",
        "1 refused",
    ]);
    let report = world.candor(&["check", "--json"]).expect(1).json();
    let finding = &report["views"][0]["findings"][0];
    assert_eq!((finding["severity"].as_str(), finding["line"].as_u64()), (Some("refused"), Some(11)));
    assert_eq!(report["views"][0]["promises"]["any"]["can"], false);
    assert_eq!(report["views"][1]["verdict"], "holds", "the others are not concerned");
}

#[test]
fn a_source_that_cannot_be_opened_does_not_hide_the_others() {
    let world = World::new();
    // A port of nobody's: `get` asks a server first if one stands where the configuration says.
    let server = "[server]\nhttp = \"127.0.0.1:0\"\n";
    let more = "[source.shed]\nkind = \"sqlite\"\npath = \"shed.db\"\n\
        [view.tool]\nowner = \"x\"\nsource = \"shed\"\nkey = [\"id:int8\"]\n\
        sql = \"SELECT name FROM tool WHERE id = $1\"\n";
    world.configure(server, &format!("{more}{VIEWS}"));
    for is_there in [false, true] {
        if is_there {
            world.file("shed.db", &"only text that goes on for a while".repeat(100));
        }
        let told = world.candor(&["check"]).expect(4).says(&[
            "✓ view track",
            "setup intact",
            "source shed",
            "not reached",
            "? view tool",
            "3 of 4 views hold, 1 unchecked.",
        ]);
        told.warns(&["the source `shed`", "candor.toml:", "mend:"]);
        let report = world.candor(&["check", "--json"]).expect(4).json();
        assert_eq!((&report["ok"], &report["error"]["whose"]), (&json!(false), &json!("source")));
        assert_eq!(report["summary"]["hold"], 3);
        let tool = report["views"].as_array().unwrap().iter().find(|view| view["name"] == "tool").unwrap();
        assert_eq!(tool["verdict"], "unchecked");
        assert_eq!(report["sources"][1]["setup"]["state"], "unknown", "{report}");
        assert!(report["sources"][1]["errors"][0]["message"].as_str().unwrap().contains("shed"));
    }
    world.candor(&["check", "track"]).expect(0);
    world.candor(&["get", "track", "1"]).expect(4);
}

#[test]
fn what_makes_a_view_costly_is_a_warning() {
    let world = World::bare();
    let wide = "[view.wide]\nowner = \"x\"\nsource = \"shop\"\nkey = [\"id:int8\"]\n\
        sql = \"SELECT id, (SELECT count(*) FROM track WHERE album_id = album.id) AS n FROM album WHERE id = $1\"\n";
    world.configure("", wide);
    world.candor(&["setup"]).expect(0);
    world.candor(&["check"]).expect(0).says(&["warning", "any change of `track`", "1 warning"]);
}
