//! Reading at every level, what is refused, and what the metrics say.

use super::world::{PgWorld, shop, text};
use candor_testbed::until;

#[test]
fn every_level_keeps_its_promise_while_others_write() {
    let cluster = shop();
    let world = PgWorld::new(&text(&cluster));
    let name = |level: &str| world.at(level, "/v1/views/user/1").json()["name"].as_str().unwrap().to_owned();
    assert_eq!(name("any"), "user 1");
    for round in 0..5 {
        let new = format!("n{round}");
        cluster.psql(&format!("UPDATE users SET name = '{new}' WHERE id = 1"));
        assert_eq!(name("strong"), new);
        assert_eq!(name("any"), new, "what was shown once is in memory");
    }
    let hit = world.at("bounded=1h", "/v1/views/user/1");
    assert_eq!((hit.says("from"), hit.says("proof")), (Some("l1"), Some("log")), "{}", hit.receipt());
    // A rollback changes nothing, a new key and a deleted row are changes of what was absent and present.
    cluster.psql("BEGIN; UPDATE users SET name = 'never' WHERE id = 1; ROLLBACK");
    assert_eq!(name("strong"), "n4");
    world.at("strong", "/v1/views/user/777").is_problem(404, "absent");
    cluster.psql("UPDATE users SET id = 777 WHERE id = 1");
    world.at("strong", "/v1/views/user/1").is_problem(404, "absent");
    assert_eq!(world.at("strong", "/v1/views/user/777").json()["name"], "n4");
    // A list found by a column that is no key, over two tables.
    assert_eq!(world.at("strong", "/v1/views/orders/777").json().as_array().unwrap().len(), 0);
    cluster.psql("UPDATE orders SET user_id = 777 WHERE user_id = 1");
    let orders = world.at("strong", "/v1/views/orders/777").json();
    assert_eq!((orders.as_array().unwrap().len(), &orders[0]["name"]), (2, &"n4".into()), "{orders}");
    cluster.psql("UPDATE users SET name = 'met' WHERE id = 777");
    assert_eq!(world.at("strong", "/v1/views/orders/777").json()[1]["name"], "met");
    // Without a fence the change arrives by itself.
    cluster.psql("UPDATE users SET name = 'alone' WHERE id = 2");
    until("the change arrives", || world.at("any", "/v1/views/user/2").json()["name"] == "alone");
    assert_eq!(world.get("/v1/views/balance/777").json()["cents"].to_string(), "1200");
    world.at("any", "/v1/views/balance/777").is_problem(400, "bad-level");
    world.at("strong", "/v1/views/user/x").is_problem(400, "bad-key");
    world.at("strong", "/v1/views/nothing/1").is_problem(404, "unknown-view");
    let pair = world.post("/v1/views/user", r#"{"keys":[[777],[2]],"consistency":"snapshot"}"#).json();
    assert_eq!(
        pair["answers"][0]["receipt"]["position"], pair["answers"][1]["receipt"]["position"],
        "{pair}"
    );
}

#[test]
fn metrics_tell_what_the_slot_keeps_and_what_the_pool_does() {
    let cluster = shop();
    let world = PgWorld::new(&text(&cluster));
    world.at("strong", "/v1/views/user/1");
    let sample = |name: &str| world.metric(&format!("candor_{name}{{source=\"shop\"}}"));
    until("the slot is looked at while it is read", || sample("slot_read") == Some(1.0));
    assert!(sample("slot_retained_bytes").is_some() && sample("slot_unconfirmed_bytes").is_some());
    assert_eq!(sample("slot_safe_bytes"), None, "there is no limit");
    assert!(sample("feed_proven_age_seconds").unwrap() < 60.0);
    assert_eq!(sample("pool_connections_max"), Some(8.0));
    assert!(sample("pool_connections").unwrap() >= 1.0, "one fill was made");
    assert_eq!((sample("pool_waiting"), sample("pool_in_use")), (Some(0.0), Some(0.0)));
    assert!(sample("pool_acquire_seconds_total").unwrap() > 0.0);
    assert_eq!(world.metric("candor_view_awaited{view=\"user\"}"), Some(0.0));
    cluster.psql("SELECT pg_logical_emit_message(false, 'x', repeat('x', 3000000))");
    cluster.psql("ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'; SELECT pg_reload_conf()");
    until("the limit is told", || sample("slot_safe_bytes").is_some());
}
