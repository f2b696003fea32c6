//! Several keys at once, and invalidation.

use crate::world::World;

#[test]
fn answers_come_in_the_order_asked_each_with_its_receipt() {
    let world = World::new();
    world.get("/v1/views/user/2");
    let reply = world.post("/v1/views/user", r#"{"keys":[[2],[99],["1"],[2]]}"#);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let body = reply.json();
    let answers = body["answers"].as_array().unwrap();
    let keys: Vec<String> = answers.iter().map(|answer| answer["key"].to_string()).collect();
    assert_eq!(keys, ["[2]", "[99]", "[\"1\"]", "[2]"]);
    let found: Vec<bool> = answers.iter().map(|answer| answer["found"].as_bool().unwrap()).collect();
    assert_eq!(found, [true, false, true, true]);
    assert_eq!((&answers[0]["value"]["name"], &answers[2]["value"]["name"]), (&"Bob".into(), &"Ada".into()));
    assert!(answers[1]["value"].is_null());
    assert_eq!(
        (&answers[0]["receipt"]["from"], &answers[1]["receipt"]["from"]),
        (&"l1".into(), &"source".into())
    );
    for answer in answers {
        assert_eq!(answer["receipt"]["proof"], "log");
        assert!(answer["receipt"]["bound"].is_u64() && answer["receipt"]["age"].is_u64());
        assert!(answer["receipt"]["position"].is_string());
    }
    assert_eq!(body["session"], reply.session());
    assert_eq!(world.post("/v1/views/user", r#"{"keys":[]}"#).json()["answers"], serde_json::json!([]));
}

#[test]
fn big_integers_stay_exact() {
    let world = World::new();
    let reply = world.post(
        "/v1/views/amount",
        r#"{"keys":[[9223372036854775807],[9223372036854775806]],"consistency":"strong"}"#,
    );
    assert!(
        reply.text().contains(
            r#""key":[9223372036854775807],"found":true,"value":{"id":9223372036854775807,"amount":1}"#
        ),
        "{}",
        reply.text()
    );
    assert!(reply.text().contains(r#""value":{"id":9223372036854775806,"amount":2}"#));
    world.post("/v1/views/amount", r#"{"keys":[[9223372036854775808]]}"#).is_problem(400, "bad-key");
    world.post("/v1/views/amount", r#"{"keys":[[1e3]]}"#).is_problem(400, "bad-key");
}

#[test]
fn a_snapshot_holds_together_while_somebody_moves_money() {
    let world = World::new();
    world.write("UPDATE orders SET cents = 1000");
    let path = world.database();
    let mover = std::thread::spawn(move || {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        for round in 0..200 {
            let (from, to) = if round % 2 == 0 { (1, 3) } else { (3, 1) };
            let move_some = format!(
                "BEGIN IMMEDIATE; UPDATE orders SET cents = cents - 7 WHERE id = {from};
                 UPDATE orders SET cents = cents + 7 WHERE id = {to}; COMMIT"
            );
            connection.execute_batch(&move_some).unwrap();
        }
    });
    while !mover.is_finished() {
        let reply = world.post("/v1/views/orders", r#"{"keys":[[1],[2]],"consistency":"snapshot"}"#);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let body = reply.json();
        let orders =
            body["answers"].as_array().unwrap().iter().flat_map(|answer| answer["value"].as_array().unwrap());
        let sum: i64 = orders.map(|order| order["cents"].as_i64().unwrap()).sum();
        assert_eq!(sum, 3000, "{}", reply.text());
        let positions: std::collections::HashSet<String> = body["answers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|answer| answer["receipt"]["position"].to_string())
            .collect();
        assert_eq!(positions.len(), 1, "one position for all");
    }
    mover.join().unwrap();
    let ask = || world.post("/v1/views/orders", r#"{"keys":[[1],[2]],"consistency":"snapshot"}"#).json();
    world.until("a snapshot from memory", || ask()["answers"][0]["receipt"]["from"] == "l1");
}

#[test]
fn a_snapshot_needs_a_log() {
    let world = World::new();
    let reply = world.post("/v1/views/census", r#"{"keys":[[]],"consistency":"snapshot"}"#);
    reply.is_problem(400, "bad-level");
    assert_eq!(world.post("/v1/views/census", r#"{"keys":[[]]}"#).json()["answers"][0]["value"]["users"], 3);
}

#[test]
fn the_number_of_keys_is_capped_and_the_cap_is_served_cold() {
    let world = World::new();
    let body = |count: usize| {
        let keys: Vec<String> = (0..count).map(|key| format!("[{key}]")).collect();
        format!("{{\"keys\":[{}]}}", keys.join(","))
    };
    let reply = world.post("/v1/views/user", &body(1000));
    assert_eq!(reply.status, 200, "{:.300}", reply.text());
    assert_eq!(reply.json()["answers"].as_array().unwrap().len(), 1000);
    world.post("/v1/views/user", &body(1001)).is_problem(400, "bad-request");
}

#[test]
fn levels_and_tokens_stand_in_the_body_too() {
    let world = World::new();
    world.post("/v1/views/user", r#"{"keys":[[1]]}"#);
    world.write("UPDATE users SET name = 'Eve' WHERE id = 1");
    let reply = world.post("/v1/views/user", r#"{"keys":[[1]],"consistency":"strong"}"#);
    assert_eq!(reply.json()["answers"][0]["value"]["name"], "Eve");
    world.write("UPDATE users SET name = 'Flo' WHERE id = 1");
    let token = world.post("/v1/fence", r#"{"source":"shop"}"#).session().to_owned();
    let body = format!(r#"{{"keys":[[1]],"consistency":"session","session":"{token}"}}"#);
    assert_eq!(world.post("/v1/views/user", &body).json()["answers"][0]["value"]["name"], "Flo");
    world.post("/v1/views/user", r#"{"keys":[[1]],"consistency":"soon"}"#).is_problem(400, "bad-level");
    world.post("/v1/views/balance", r#"{"keys":[[1]],"consistency":"any"}"#).is_problem(400, "bad-level");
}

#[test]
fn invalidation_by_key_and_by_tag_makes_the_next_read_ask() {
    let world = World::new();
    let from = |path: &str| world.at("any", path).says("from").unwrap().to_owned();
    for (body, views) in [
        (r#"{"view":"user","key":[1]}"#, vec!["user"]),
        (r#"{"tags":["users"]}"#, vec!["user", "user_or_stale", "orders", "census"]),
        (r#"{"tags":["Users:ID=1"]}"#, vec!["user", "user_or_stale", "orders", "census"]),
    ] {
        from("/v1/views/user/1");
        assert_eq!(from("/v1/views/user/1"), "l1");
        from("/v1/views/seat/1/A");
        let reply = world.post("/v1/invalidate", body);
        assert_eq!((reply.status, reply.json()["views"].clone()), (200, serde_json::json!(views)), "{body}");
        assert_eq!(from("/v1/views/user/1"), "source", "{body}");
        assert_eq!(from("/v1/views/seat/1/A"), "l1", "{body}");
    }
    from("/v1/views/user/2");
    world.post("/v1/invalidate", r#"{"tags":["users:id=1"]}"#);
    assert_eq!(from("/v1/views/user/2"), "l1", "another row");
    let nothing = world.post("/v1/invalidate", r##"{"tags":["#nobody","nothing:a=1"]}"##);
    assert_eq!(nothing.json()["views"], serde_json::json!([]));
}
