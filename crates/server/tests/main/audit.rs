//! The audit: nothing to complain of under racing writers, and every kind of lie seen.

use crate::world::{Reply, VIEWS, World, ask};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The SQL reads the next user's row, and the contract says that only one's own matters. `check` can merely warn.
const NEIGHBOUR: &str = r#"
[view.neighbour]
owner = "accounts"
source = "shop"
key = ["id:int8"]
sql = "SELECT name FROM users WHERE id = $1 + 1"
invalidated_by = ["users.id=$1"]
"#;

/// No audit unless asked for, and a window in which a busy machine hears something, too.
const ON_REQUEST: &str = "[server]\nhttp = \"127.0.0.1:0\"\n[audit]\nevery = \"never\"\nwindow = \"1s\"\n";

fn report(world: &World) -> Value {
    world.get("/v1/audit").json()
}

fn campaign(world: &World, body: &str) {
    let reply = world.post("/v1/audit", body);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Reads from several connections until it is dropped.
struct Readers {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Readers {
    fn of(address: SocketAddr, read: impl Fn(SocketAddr, usize) + Clone + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..2).map(|_| {
            let (stop, read) = (Arc::clone(&stop), read.clone());
            std::thread::spawn(move || {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    read(address, round);
                }
            })
        });
        Self { threads: threads.collect(), stop }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn get(address: SocketAddr, path: &str, level: &str) -> Reply {
    ask(address, "GET", path, &[("Candor-Consistency", level)], "")
}

fn incident<'r>(report: &'r Value, kind: &str) -> Option<&'r Value> {
    report["incidents"].as_array().unwrap().iter().find(|incident| incident["kind"] == kind)
}

#[test]
fn racing_writers_make_no_false_receipt_and_most_answers_are_judged() {
    let world = World::of(&format!("{VIEWS}\n{ON_REQUEST}"), |_, _| {});
    let readers = Readers::of(world.address, |address, round| {
        let level = ["strong", "bounded=2s", "any"][round % 3];
        assert_eq!(get(address, &format!("/v1/views/user/{}", round % 3 + 1), level).status, 200);
        assert!(matches!(
            get(address, &format!("/v1/views/user/{}", 50 + round % 2), level).status,
            200 | 404
        ));
        let body = r#"{"keys":[[1],[2],[3]],"consistency":"snapshot"}"#;
        let json = [("Content-Type", "application/json")];
        assert_eq!(ask(address, "POST", "/v1/views/user", &json, body).status, 200);
    });
    campaign(&world, r#"{"for":"10m","every":"20ms","view":"user"}"#);
    let mut round = 0;
    world.until("enough is judged", || {
        round += 1;
        world.write(&format!("UPDATE users SET name = 'Ada {round}' WHERE id = {}", round % 3 + 1));
        if round % 8 == 0 {
            world.write("INSERT OR REPLACE INTO users VALUES (50, 'Guest', NULL)");
        } else if round % 8 == 4 {
            world.write("DELETE FROM users WHERE id = 50");
        }
        // Seldom enough for most windows to hold no more changes of the snapshot than there are looks.
        std::thread::sleep(Duration::from_millis(400));
        let view = &report(&world)["views"][0];
        let judged = |level: &str| view["answers"][level]["true"].as_u64().unwrap_or(0);
        ["strong", "bounded", "any", "snapshot"].iter().all(|level| judged(level) >= 5)
    });
    drop(readers);
    let told = report(&world);
    let answers = |outcome: &str| told["answers"][outcome].as_u64().unwrap();
    assert_eq!((answers("false"), &told["incidents"]), (0, &serde_json::json!([])), "{told}");
    assert!(answers("true") > answers("undecided") + answers("not_judged"), "{told}");
    assert_eq!(told["views"][0]["silent_changes"], 0, "{told}");
}

#[test]
fn a_wrong_dependency_is_an_incident_with_the_life_of_an_entry_that_the_ledger_calls_current() {
    let world = World::of(&format!("{VIEWS}\n{NEIGHBOUR}\n{ON_REQUEST}"), |_, _| {});
    assert_eq!(world.get("/v1/views/neighbour/1").json()["name"], "Bob");
    world.write("UPDATE users SET name = 'Zed' WHERE id = 2");
    let readers = Readers::of(world.address, |address, _| {
        assert_eq!(get(address, "/v1/views/neighbour/1", "strong").json()["name"], "Bob", "the lie is told");
    });
    campaign(&world, r#"{"for":"10m","view":"neighbour"}"#);
    world.until("the lie is found", || incident(&report(&world), "false-receipt").is_some());
    drop(readers);
    let told = report(&world);
    assert!(told["answers"]["false"].as_u64().unwrap() > 0, "{told}");
    let found = incident(&told, "false-receipt").unwrap();
    assert_eq!((&found["view"], &found["keys"]), (&"neighbour".into(), &serde_json::json!([["1"]])));
    assert_eq!(found["served"]["answers"][0]["value"], r#"{"name":"Bob"}"#, "{found}");
    assert_eq!(found["served"]["receipts"][0]["proof"], "log", "{found}");
    let looks = found["looks"].as_array().unwrap();
    assert!(looks.len() >= 2 && looks.iter().all(|look| look["answers"][0]["value"] == r#"{"name":"Zed"}"#));
    assert_eq!(found["changes_told"], 0, "{found}");
    assert_eq!(found["life"]["entry"]["verdict"], "current", "{found}");
    assert!(!found["life"]["timeline"].as_array().unwrap().is_empty(), "{found}");
    assert!(found["summary"].as_str().unwrap().contains("said otherwise before and after"), "{found}");
    let metrics = world.get("/metrics");
    let counted = metrics.text().lines().find(|line| {
        line.starts_with("candor_audit_answers_total{view=\"neighbour\",level=\"strong\",outcome=\"false\"}")
    });
    assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "{counted:?}");
}

#[test]
fn a_change_the_log_tells_nothing_of_is_an_incident_before_anybody_is_told_a_lie() {
    let world = World::of(&format!("{VIEWS}\n{NEIGHBOUR}\n{ON_REQUEST}"), |_, _| {});
    world.get("/v1/views/neighbour/2");
    campaign(&world, r#"{"for":"10m","view":"neighbour"}"#);
    let mut round = 0;
    world.until("the silence is found", || {
        round += 1;
        world.write(&format!("UPDATE users SET name = 'Cy {round}' WHERE id = 3"));
        std::thread::sleep(Duration::from_millis(50));
        incident(&report(&world), "silent-change").is_some()
    });
    let told = report(&world);
    let found = incident(&told, "silent-change").unwrap();
    assert!(found["served"].is_null() && found["changes_told"] == 0, "{found}");
    assert!(found["summary"].as_str().unwrap().contains("tells of no change"), "{found}");
    assert!(told["views"][0]["silent_changes"].as_u64().is_some());
}

#[test]
fn of_a_private_view_nothing_is_told_but_hashes_and_nobody_without_the_right_is_told_anything() {
    const PRIVATE: &str = r#"
[view.cart]
owner = "shop"
source = "shop"
key = ["id:int8", "owner:text"]
private = "owner"
sql = "SELECT item FROM carts WHERE id = $1 + 1 AND owner = $2"
invalidated_by = ["carts.id=$1"]

[server]
http = "127.0.0.1:0"
auth = { tokens_file = "tokens.toml" }
[audit]
every = "never"
window = "500ms"
"#;
    let config = format!("{VIEWS}\n{PRIVATE}")
        .replace("[view.amount]", "[view.basket]")
        .replace("[view.seat]", "[view.heap]");
    let world = World::of(&config, |_, _| {});
    let as_whom = |token: &'static str| [("Authorization", token), ("Content-Type", "application/json")];
    const ALICE: &str = "Bearer alice-0123456789abcdef";
    world.write("INSERT INTO carts VALUES (11, 'alice', 'secret tea')");
    let first = world.ask("GET", "/v1/views/cart/10", &as_whom(ALICE), "");
    assert_eq!(first.json()["item"], "secret tea");
    world.write("UPDATE carts SET item = 'secret coffee' WHERE id = 11");
    for (token, body) in [("Bearer poor-0123456789abcdef", "{\"view\":\"user\"}"), (ALICE, "{}")] {
        world.ask("POST", "/v1/audit", &as_whom(token), body).is_problem(403, "forbidden");
    }
    let begun = world.ask("POST", "/v1/audit", &as_whom(ALICE), r#"{"for":"10m","view":"cart"}"#);
    assert_eq!(begun.status, 200, "{}", begun.text());
    let told = || world.ask("GET", "/v1/audit", &as_whom(ALICE), "");
    let mut last = String::new();
    world.until("the lie is found", || {
        world.ask("GET", "/v1/views/cart/10", &as_whom(ALICE), "");
        last = told().text().to_owned();
        incident(&told().json(), "false-receipt").is_some()
    });
    let reply = told();
    let found = reply.json();
    let found = incident(&found, "false-receipt").unwrap();
    assert!(found["served"]["answers"][0]["hash"].is_string(), "{found}");
    assert_eq!(found["keys"], serde_json::json!([null]));
    for secret in ["secret", "alice", "coffee", "tea"] {
        assert!(!reply.text().contains(secret), "{secret}: {}", reply.text());
    }
    for view in ["balance", "orders"] {
        assert!(!reply.text().contains(view), "alice may not read {view}: {}", reply.text());
    }
    world.ask("GET", "/v1/audit", &as_whom("Bearer poor-0123456789abcdef"), "").is_problem(403, "forbidden");
    world.ask("GET", "/v1/audit", &[], "").is_problem(401, "unauthenticated");
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_mend() {
    let world = World::of(&format!("{VIEWS}\n{ON_REQUEST}"), |_, _| {});
    for body in
        [r#"{"for":"11m"}"#, r#"{"every":"1ms"}"#, r#"{"for":"soon"}"#, r#"{"rate":5}"#, r#"{"for":5}"#]
    {
        world.post("/v1/audit", body).is_problem(400, "bad-request");
    }
    world.post("/v1/audit", r#"{"view":"usr"}"#).is_problem(404, "unknown-view");
    assert_eq!(world.ask("DELETE", "/v1/audit", &[], "").status, 405);
    assert_eq!(report(&world)["campaign_left_ms"], Value::Null, "nothing has begun");
}

#[test]
fn without_a_campaign_the_audit_changes_nothing_that_doors_serve_and_never_wakes_an_idle_source() {
    let text =
        format!("{VIEWS}\n[server]\nhttp = \"127.0.0.1:0\"\n[audit]\nevery = \"20ms\"\nwindow = \"20ms\"\n");
    let world = World::of(&text, |_, _| {});
    std::thread::sleep(Duration::from_millis(300));
    let looks = |told: &Value| -> u64 {
        told["views"].as_array().unwrap().iter().map(|view| view["looks"].as_u64().unwrap()).sum()
    };
    assert_eq!(looks(&report(&world)), 0, "nobody has read anything, so nothing is watched");
    world.get("/v1/views/user/1");
    for name in ["Eve", "Fay", "Gus", "Hal"] {
        world.write(&format!("UPDATE users SET name = '{name}' WHERE id = 1"));
        let before = looks(&report(&world));
        // The audit has seen the new row by now; the first reader after the change still goes to the source.
        world.until("it has looked", || looks(&report(&world)) >= before + 6);
        let first = world.at("strong", "/v1/views/user/1");
        assert_eq!((first.says("from"), &first.json()["name"]), (Some("source"), &name.into()));
    }
    assert_eq!(world.at("any", "/v1/views/user/1").says("from"), Some("l1"));
    world.until("what memory holds is judged", || report(&world)["answers"]["true"].as_u64() > Some(0));
    assert_eq!(report(&world)["answers"]["false"], 0);
}
