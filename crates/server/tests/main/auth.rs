//! Tokens, permissions, and private views that nobody else reaches.

use crate::world::{Reply, VIEWS, World};

const PRIVATE: &str = r#"
[view.cart]
owner = "shop"
source = "shop"
key = ["owner:text"]
private = "owner"
sql = "SELECT id, item FROM carts WHERE owner = $1 ORDER BY id"
rows = "many"

[view.basket]
owner = "shop"
source = "shop"
key = ["item:text", "owner:text"]
private = "owner"
sql = "SELECT id, item FROM carts WHERE item = $1 AND owner = $2"

# Any change of the table concerns every entry.
[view.heap]
owner = "shop"
source = "shop"
key = ["owner:text"]
private = "owner"
sql = "SELECT count(*) AS items FROM carts WHERE upper(owner) = upper($1)"

[server]
http = "127.0.0.1:0"
auth = { tokens_file = "tokens.toml", subject_header = "X-Subject" }
"#;

const ALICE: &str = "Bearer alice-0123456789abcdef";
const BOB: &str = "Bearer bob-0123456789abcdef";
const WEB: &str = "Bearer web-0123456789abcdef";
const POOR: &str = "Bearer poor-0123456789abcdef";

fn world() -> World {
    World::of(&format!("{VIEWS}\n{PRIVATE}"), |_, _| {})
}

fn get(world: &World, who: &str, path: &str) -> Reply {
    world.ask("GET", path, &[("Authorization", who)], "")
}

fn post(world: &World, who: &str, path: &str, body: &str) -> Reply {
    world.ask("POST", path, &[("Authorization", who), ("Content-Type", "application/json")], body)
}

#[test]
fn without_a_token_only_the_probes_answer() {
    let world = world();
    for path in ["/v1/views/user/1", "/v1/views/nonsense/1", "/v1/explain/user/1", "/metrics"] {
        let reply = world.get(path);
        reply.is_problem(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"candor\""));
        get(&world, "Bearer wrong", path).is_problem(401, "unauthenticated");
        get(&world, "Basic YTpi", path).is_problem(401, "unauthenticated");
    }
    for path in ["/v1/views/user", "/v1/fence", "/v1/invalidate"] {
        world.post(path, "{}").is_problem(401, "unauthenticated");
    }
    assert_eq!(world.get("/healthz").status, 200);
    assert_eq!(world.get("/readyz").json(), serde_json::json!({ "ready": true }));
    assert_eq!(get(&world, WEB, "/metrics").status, 200);
    get(&world, POOR, "/metrics").is_problem(403, "forbidden");
}

#[test]
fn a_token_does_what_it_lists_and_is_not_told_what_exists() {
    let world = world();
    let own = get(&world, POOR, "/v1/views/user/1");
    assert_eq!(own.status, 200);
    assert!(own.header("cache-control").unwrap().starts_with("private, "), "{own:?}");
    assert_eq!(own.header("vary"), Some("candor-consistency, candor-session, authorization, x-subject"));
    let real = get(&world, POOR, "/v1/views/seat/1/A");
    let unreal = get(&world, POOR, "/v1/views/taes/1/A");
    real.is_problem(403, "forbidden");
    unreal.is_problem(403, "forbidden");
    assert_eq!(real.text().replace("seat", "taes"), unreal.text());
    get(&world, POOR, "/v1/explain/user/1").is_problem(403, "forbidden");
    post(&world, POOR, "/v1/fence", r#"{"source":"shop"}"#).is_problem(403, "forbidden");
    post(&world, POOR, "/v1/fence", r#"{"source":"none"}"#).is_problem(403, "forbidden");
    post(&world, POOR, "/v1/invalidate", r#"{"tags":["users"]}"#).is_problem(403, "forbidden");
    assert_eq!(post(&world, WEB, "/v1/fence", r#"{"source":"shop"}"#).status, 200);
    // A tag ends entries of every view, also of those alice may not read.
    post(&world, ALICE, "/v1/invalidate", r#"{"tags":["users"]}"#).is_problem(403, "forbidden");
    post(&world, ALICE, "/v1/invalidate", r#"{"view":"seat","key":[1,"A"]}"#).is_problem(403, "forbidden");
}

#[test]
fn nobody_reaches_the_entry_of_another_subject() {
    let world = world();
    // Alice's entries are in memory before Bob tries.
    assert_eq!(get(&world, ALICE, "/v1/views/cart").json()[0]["item"], "tea");
    assert_eq!(get(&world, ALICE, "/v1/views/basket/tea").json()["item"], "tea");
    assert_eq!(get(&world, ALICE, "/v1/views/cart").says("from"), Some("l1"));
    // Bob has his own, first from the source.
    let bob = get(&world, BOB, "/v1/views/cart");
    assert_eq!((&bob.json()[0]["item"], bob.says("from")), (&"coffee".into(), Some("source")));
    get(&world, BOB, "/v1/views/basket/tea").is_problem(404, "absent");
    // There is no way to name the subject: by path, by body, by explain, by header.
    for path in [
        "/v1/views/cart/alice",
        "/v1/views/cart/alice/bob",
        "/v1/views/basket/tea/alice",
        "/v1/views/basket/alice/tea",
        "/v1/explain/cart/alice",
        "/v1/explain/basket/tea/alice",
    ] {
        get(&world, BOB, path).is_problem(400, "bad-key");
    }
    post(&world, BOB, "/v1/views/cart", r#"{"keys":[["alice"]]}"#).is_problem(400, "bad-key");
    post(&world, BOB, "/v1/views/basket", r#"{"keys":[["tea","alice"]]}"#).is_problem(400, "bad-key");
    for consistency in ["any", "strong", "snapshot"] {
        let body = format!(r#"{{"keys":[[]],"consistency":"{consistency}"}}"#);
        let many = post(&world, BOB, "/v1/views/cart", &body);
        assert_eq!(many.json()["answers"][0]["value"][0]["item"], "coffee", "{}", many.text());
        assert!(!many.text().contains("tea"));
    }
    let headers = [("Authorization", BOB), ("X-Subject", "alice")];
    world.ask("GET", "/v1/views/cart", &headers, "").is_problem(403, "forbidden");
    // A validator of Alice's answer does not fit Bob's.
    let etag = get(&world, ALICE, "/v1/views/cart").header("etag").unwrap().to_owned();
    let headers = [("Authorization", BOB), ("If-None-Match", &*etag)];
    assert_eq!(world.ask("GET", "/v1/views/cart", &headers, "").status, 200);
}

#[test]
fn explaining_a_private_entry_tells_nothing_of_others() {
    let world = world();
    get(&world, ALICE, "/v1/views/cart");
    assert_eq!(get(&world, ALICE, "/v1/views/heap").json()["items"], 1);
    world.write("INSERT INTO carts VALUES (7, 'bob', 'secret')");
    world.until("the change to arrive", || {
        get(&world, ALICE, "/v1/explain/heap").json()["entry"]["verdict"] == "outdated"
    });
    let hers = get(&world, ALICE, "/v1/explain/heap");
    assert_eq!(hers.json()["timeline"][1]["what"], "change", "{}", hers.text());
    assert!(!hers.text().contains("bob"), "{}", hers.text());
    get(&world, WEB, "/v1/explain/heap").is_problem(403, "forbidden");
    let his = get(&world, BOB, "/v1/explain/cart");
    assert!(
        his.json()["entry"].is_null() && his.json()["timeline"].as_array().unwrap().is_empty(),
        "{}",
        his.text()
    );
}

#[test]
fn a_service_acts_for_the_subject_it_names() {
    let world = world();
    let acting = |subject: &str| {
        world.ask("GET", "/v1/views/cart", &[("Authorization", WEB), ("X-Subject", subject)], "")
    };
    assert_eq!(acting("alice").json()[0]["item"], "tea");
    assert_eq!(acting("bob").json()[0]["item"], "coffee");
    acting("").is_problem(400, "bad-request");
    get(&world, WEB, "/v1/views/cart").is_problem(403, "forbidden");
}

#[test]
fn an_open_door_lets_no_page_from_elsewhere_in() {
    let world = World::new();
    let ask = |headers: &[(&str, &str)]| world.ask("GET", "/v1/views/user/1", headers, "");
    ask(&[("Origin", "https://evil.example")]).is_problem(403, "forbidden");
    assert_eq!(ask(&[("Origin", "http://localhost:3000")]).status, 200);
    let rebound = b"GET /v1/views/user/1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    Reply::parse(&world.raw(rebound)).is_problem(403, "forbidden");
}
