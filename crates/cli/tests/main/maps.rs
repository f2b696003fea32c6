//! `map`: layers and worst cases, from the contract alone.

use crate::world::{VIEWS, World};

#[test]
fn every_layer_is_drawn_without_asking_a_source() {
    let world = World::bare();
    std::fs::remove_file(world.path().join("shop.db")).unwrap();
    let map = world.candor(&["map"]).expect(0).says(&[
        "track  bounded:2s unless a read says otherwise; proof by the log",
        "memory of this instance",
        "other instances",
        "HTTP caches",
        "end to end     at most 2s behind the source",
        "log down       still 2s",
        "Cache-Control: no-store",
    ]);
    assert!(map.out.lines().all(|line| line.chars().count() <= 100), "{}", map.out);
}

#[test]
fn programs_get_the_worst_cases() {
    let world = World::bare();
    let stale =
        VIEWS.replace("critical = true", "on_source_down = \"stale:10m\"\non_feed_down = \"stale:1m\"");
    world.configure("", &stale);
    let map = world.candor(&["map", "--json"]).expect(0).json();
    let ms = |view: usize, what: &str| map["views"][view][what]["ms"].as_u64();
    assert_eq!(
        (ms(0, "end_to_end"), ms(0, "log_down"), ms(0, "source_down")),
        (Some(2000), Some(2000), Some(2000))
    );
    assert_eq!(
        (ms(1, "end_to_end"), ms(1, "log_down"), ms(1, "source_down")),
        (Some(2000), Some(60_000), Some(600_000))
    );
    assert_eq!((ms(2, "end_to_end"), ms(2, "log_down")), (Some(500), None), "{map}");
    let layers: Vec<&str> = map["views"][0]["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["layer"].as_str().unwrap())
        .collect();
    assert_eq!(layers, ["source", "l1", "instances", "http"]);
}

#[test]
fn one_view_can_be_asked_for() {
    let world = World::bare();
    let map = world.candor(&["map", "price", "--json"]).expect(0).json();
    assert_eq!(map["views"].as_array().unwrap().len(), 1);
    assert_eq!(map["views"][0]["end_to_end"]["ms"], 0);
    assert_eq!(
        map["views"][0]["layers"][3]["oldest"]["ms"],
        serde_json::Value::Null,
        "strong is kept nowhere"
    );
}
