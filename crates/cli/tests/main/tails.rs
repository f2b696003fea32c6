//! `tail`: what others write, as they write it.

use crate::world::World;

#[test]
fn a_change_by_somebody_else_is_seen() {
    let world = World::new();
    let mut tail = world.begin(&["tail", "--json", "--count", "2", "--from-now"]);
    tail.event("following");
    world.write("UPDATE track SET name = 'Seen' WHERE id = 3; INSERT INTO album VALUES (9, 'New')");
    let change = tail.event("change");
    assert_eq!(change["source"], "shop");
    assert!(change["note"].as_str().unwrap().starts_with("update track id=3"), "{change}");
    assert!(change["arrived"].as_str().unwrap().ends_with('Z') && change["position"].is_string());
    assert!(tail.event("change")["note"].as_str().unwrap().starts_with("insert album"));
    assert!(tail.wait().success());
}

#[test]
fn a_schema_change_is_told_and_an_interrupt_ends_it_well() {
    let world = World::new();
    let mut tail = world.begin(&["tail", "--json"]);
    tail.event("following");
    world.write("CREATE TABLE unrelated (x)");
    tail.event("epoch");
    tail.signal("INT");
    assert!(tail.wait().success());
}

#[test]
fn without_a_change_log_it_says_what_to_do() {
    World::bare().candor(&["tail"]).expect(3).warns(&["run `candor setup`"]);
}
