//! The life of an entry.

use crate::world::World;

#[test]
fn a_life_is_told_in_order_with_positions_and_a_sentence() {
    let world = World::new();
    let explain = || world.get("/v1/explain/user/1").json();
    let nothing = explain();
    assert!(nothing["entry"].is_null());
    assert!(nothing["summary"].as_str().unwrap().starts_with("Nothing is in memory"), "{nothing}");
    world.get("/v1/views/user/1");
    let fresh = explain();
    assert_eq!(fresh["entry"]["verdict"], "current");
    assert!(fresh["summary"].as_str().unwrap().contains("It is current"), "{fresh}");
    assert_eq!(fresh["timeline"][0]["what"], "filled");
    world.write("UPDATE users SET name = 'Eve' WHERE id = 1");
    world.until("the change to arrive", || explain()["entry"]["verdict"] == "outdated");
    let outdated = explain();
    let summary = outdated["summary"].as_str().unwrap();
    assert!(
        summary.contains("It is outdated: the change at position") && summary.contains("arrived"),
        "{summary}"
    );
    let change = &outdated["timeline"][1];
    assert_eq!(change["what"], "change");
    assert!(change["text"].as_str().unwrap().to_lowercase().contains("users"), "{change}");
    world.at("strong", "/v1/views/user/1");
    let told = explain();
    let whats: Vec<&str> =
        told["timeline"].as_array().unwrap().iter().map(|what| what["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["filled", "change", "found-outdated", "filled"], "{told}");
    let agos: Vec<u64> =
        told["timeline"].as_array().unwrap().iter().map(|what| what["ago_ms"].as_u64().unwrap()).collect();
    assert!(agos.is_sorted_by(|before, after| before >= after), "{agos:?}");
    assert_eq!(told["timeline"][1]["position"], told["timeline"][2]["position"]);
    assert_eq!(told["feed"]["status"], "following");
    assert!(told["feed"]["watermark"].is_string() && told["feed"]["proven_ago_ms"].is_u64(), "{told}");
    assert_eq!(told["key"], serde_json::json!(["1"]));
    world.post("/v1/invalidate", r#"{"view":"user","key":[1]}"#);
    let gone = explain();
    assert!(gone["summary"].as_str().unwrap().contains("an application invalidated it"), "{gone}");
}

#[test]
fn absence_and_unknown_views_are_explained_too() {
    let world = World::new();
    world.get("/v1/views/user/99");
    let absent = world.get("/v1/explain/user/99").json();
    assert_eq!(absent["entry"]["found"], false);
    assert!(absent["summary"].as_str().unwrap().contains("no row"), "{absent}");
    world.get("/v1/explain/usr/1").is_problem(404, "unknown-view");
    world.get("/v1/explain/user/x").is_problem(400, "bad-key");
    world.get("/v1/views/census");
    let clock = world.get("/v1/explain/census").json();
    assert_eq!(clock["entry"]["verdict"], "current", "{clock}");
}
