//! `explain`: the life of a key, told by the server that holds it.

use crate::world::World;

#[test]
fn a_life_is_told_in_order_with_positions() {
    let world = World::new();
    let (_server, url) = world.serve();
    let get = |level: &str| world.candor(&["get", "track", "1", "--url", &url, "--level", level]).expect(0);
    get("strong");
    world.write("UPDATE track SET name = 'Changed' WHERE id = 1");
    get("strong");
    let told = world.candor(&["explain", "track", "1", "--url", &url]).expect(0).says(&[
        "track 1",
        "Memory holds an answer, filled ",
        "It is current",
        "filled",
        "change",
        "found-outdated",
        " at 2 ",
        "entry  current: reflects up to position",
        "log    following",
    ]);
    let at = |text: &str| told.out.find(text).unwrap();
    assert!(at(" filled  ") < at(" change  ") && at(" change  ") < at(" found-outdated "), "{}", told.out);
    assert!(told.out.lines().all(|line| line.chars().count() <= 100), "{}", told.out);
    let life = world.candor(&["explain", "track", "1", "--url", &url, "--json"]).expect(0).json();
    assert!(life["summary"].is_string() && life["timeline"].as_array().unwrap().len() >= 4, "{life}");
    world.candor(&["explain", "track", "77", "--url", &url]).expect(0).says(&["Nothing is in memory"]);
}

#[test]
fn without_a_server_it_says_what_to_do() {
    let world = World::new();
    world.candor(&["explain", "track", "1"]).expect(2).warns(&["lets the system choose", "--url"]);
    let url = "http://127.0.0.1:1";
    world
        .candor(&["explain", "track", "1", "--url", url])
        .expect(4)
        .warns(&["nothing answers at http://127.0.0.1:1", "candor serve"]);
}
