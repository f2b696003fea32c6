//! One key: answers, absence, validators, levels; with somebody else writing.

use crate::world::{World, ask};
use std::collections::HashSet;
use std::time::Duration;

#[test]
fn an_answer_has_a_body_a_receipt_and_the_headers_of_a_good_citizen() {
    let world = World::new();
    let first = world.get("/v1/views/user/1");
    assert_eq!((first.status, first.text()), (200, r#"{"id":1,"name":"Ada","email":"ada@example.com"}"#));
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!((first.says("from"), first.says("proof")), (Some("source"), Some("log")));
    assert!(first.says("bound").is_some() && first.says("position").is_some(), "{}", first.receipt());
    assert_eq!(first.header("cache-status"), Some("candor; fwd=miss; stored"));
    assert_eq!(first.header("cache-control"), Some("max-age=1, must-revalidate"));
    assert_eq!(first.header("vary"), Some("candor-consistency, candor-session, authorization"));
    assert_eq!(first.header("age"), Some("0"));
    assert!(!first.session().is_empty());
    let second = world.get("/v1/views/user/1");
    assert_eq!((second.says("from"), &second.body), (Some("l1"), &first.body));
    assert!(second.header("cache-status").unwrap().starts_with("candor; hit; ttl="), "{second:?}");
    assert_eq!(second.header("etag"), first.header("etag"));
}

#[test]
fn absence_is_an_answer_with_a_receipt_and_is_remembered() {
    let world = World::new();
    let first = world.get("/v1/views/user/99");
    first.is_problem(404, "absent");
    assert_eq!(first.says("from"), Some("source"));
    let second = world.get("/v1/views/user/99");
    second.is_problem(404, "absent");
    assert_eq!((second.says("from"), second.says("proof")), (Some("l1"), Some("log")));
    assert!(!second.session().is_empty() && second.header("etag").is_none());
    assert_eq!(second.header("cache-control"), Some("max-age=1, must-revalidate"));
    world.write("INSERT INTO users VALUES (99, 'Zoe', NULL)");
    assert_eq!(world.at("strong", "/v1/views/user/99").json()["name"], "Zoe");
}

#[test]
fn a_validator_saves_the_body_and_keeps_the_receipt() {
    let world = World::new();
    let etag = world.get("/v1/views/user/1").header("etag").unwrap().to_owned();
    let held = world.ask("GET", "/v1/views/user/1", &[("If-None-Match", &etag)], "");
    assert_eq!((held.status, held.text()), (304, ""));
    assert_eq!((held.says("from"), held.header("etag")), (Some("l1"), Some(&*etag)));
    assert!(held.header("cache-control").is_some() && held.header("vary").is_some());
    assert!(held.header("content-type").is_none());
    world.write("UPDATE users SET name = 'Eve' WHERE id = 1");
    let headers = [("If-None-Match", &*etag), ("Candor-Consistency", "strong")];
    let changed = world.ask("GET", "/v1/views/user/1", &headers, "");
    assert_eq!((changed.status, &changed.json()["name"]), (200, &"Eve".into()));
    assert_ne!(changed.header("etag"), Some(&*etag));
}

#[test]
fn head_has_everything_but_the_body() {
    let world = World::new();
    let got = world.get("/v1/views/user/1");
    let head = world.ask("HEAD", "/v1/views/user/1", &[], "");
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(head.header("content-length"), got.header("content-length"));
    assert_eq!(head.header("etag"), got.header("etag"));
    assert!(!head.receipt().is_empty());
}

#[test]
fn strong_reads_see_every_write_of_another_program_at_once() {
    let world = World::new();
    let name = |id: i64| {
        let reply = world.at("strong", &format!("/v1/views/user/{id}"));
        (reply.status == 200).then(|| reply.json()["name"].as_str().unwrap().to_owned())
    };
    for round in 0..30 {
        let id = 100 + round;
        assert_eq!(name(id), None);
        world.write(&format!("INSERT INTO users VALUES ({id}, 'a', NULL)"));
        assert_eq!(name(id).as_deref(), Some("a"));
        world.write(&format!("UPDATE users SET name = 'b' WHERE id = {id}"));
        assert_eq!(name(id).as_deref(), Some("b"));
        world.write("BEGIN");
        world.write(&format!("UPDATE users SET name = 'never' WHERE id = {id}"));
        assert_eq!(name(id).as_deref(), Some("b"), "an open transaction is not visible");
        world.write("ROLLBACK");
        assert_eq!(name(id).as_deref(), Some("b"));
        let moved = id + 1000;
        assert_eq!(name(moved), None);
        world.write(&format!("UPDATE users SET id = {moved} WHERE id = {id}"));
        assert_eq!((name(id), name(moved).as_deref()), (None, Some("b")));
        world.write(&format!("DELETE FROM users WHERE id = {moved}"));
        assert_eq!(name(moved), None);
    }
    let quiet = world.at("strong", "/v1/views/user/1");
    let again = world.at("strong", "/v1/views/user/1");
    assert_eq!(again.says("from"), Some("l1"), "strong reads are served from memory: {}", quiet.receipt());
}

#[test]
fn the_sqlite_shell_is_another_program_too() {
    let world = World::new();
    assert_eq!(world.get("/v1/views/user/2").json()["name"], "Bob");
    let script = "UPDATE users SET name = 'Bo' WHERE id = 2";
    let output =
        std::process::Command::new("sqlite3").arg("-bail").arg(world.database()).arg(script).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.at("strong", "/v1/views/user/2").json()["name"], "Bo");
}

#[test]
fn a_bounded_read_is_never_older_than_its_bound() {
    let world = World::new();
    world.get("/v1/views/user/1");
    for round in 0..20 {
        world.write(&format!("UPDATE users SET name = 'n{round}' WHERE id = 1"));
        std::thread::sleep(Duration::from_millis(60));
        let reply = world.at("bounded=50ms", "/v1/views/user/1");
        assert_eq!(reply.json()["name"], format!("n{round}"), "{}", reply.receipt());
        assert!(reply.says("bound").unwrap().parse::<u64>().unwrap() <= 50, "{}", reply.receipt());
    }
    assert_eq!(world.at("any", "/v1/views/user/1").status, 200);
}

#[test]
fn a_join_notices_both_tables_and_lists_are_never_absent() {
    let world = World::new();
    let orders = |user: i64| world.at("strong", &format!("/v1/views/orders/{user}")).json();
    assert_eq!(orders(1).as_array().unwrap().len(), 2);
    assert_eq!(orders(3), serde_json::json!([]));
    world.write("UPDATE users SET name = 'Ida' WHERE id = 1");
    assert_eq!(orders(1)[0]["name"], "Ida");
    world.write("INSERT INTO orders VALUES (9, 3, 1)");
    assert_eq!(orders(3)[0]["cents"], 1);
}

#[test]
fn composite_keys_are_path_segments_decoded_once() {
    let world = World::new();
    assert_eq!(world.get("/v1/views/seat/1/A").json()["guest"], "Ada");
    assert_eq!(world.get("/v1/views/seat/3/%C3%BC%2F%25").json()["guest"], "Cy");
    world.get("/v1/views/seat/1/a").is_problem(404, "absent");
    world.write("UPDATE seats SET guest = 'Dee' WHERE line = 1 AND place = 'A'");
    assert_eq!(world.at("strong", "/v1/views/seat/1/A").json()["guest"], "Dee");
}

#[test]
fn a_critical_view_is_only_read_at_strong() {
    let world = World::new();
    let strong = world.get("/v1/views/balance/1");
    assert_eq!((strong.status, strong.header("cache-control")), (200, Some("no-store")));
    world.at("any", "/v1/views/balance/1").is_problem(400, "bad-level");
    world.write("INSERT INTO orders VALUES (10, 1, 1)");
    assert_eq!(world.get("/v1/views/balance/1").json()["cents"], 1201);
}

#[test]
fn a_view_on_the_clock_says_so_and_is_renewed_when_told() {
    let world = World::new();
    let first = world.get("/v1/views/census");
    assert_eq!((first.says("proof"), first.header("candor-session")), (Some("clock"), None));
    world.write("INSERT INTO users VALUES (50, 'x', NULL)");
    assert_eq!(world.get("/v1/views/census").body, first.body, "no log tells it");
    assert_eq!(world.at("strong", "/v1/views/census").json()["users"], 4, "strong asks the source");
    for (tag, id) in [("#census", 51), ("users", 52), ("USERS", 53)] {
        let before = world.get("/v1/views/census").json()["users"].as_i64().unwrap();
        world.write(&format!("INSERT INTO users VALUES ({id}, 'x', NULL)"));
        let told = world.post("/v1/invalidate", &format!(r#"{{"tags":["{tag}"]}}"#));
        assert!(told.json()["views"].as_array().unwrap().contains(&"census".into()), "{}", told.text());
        assert_eq!(world.get("/v1/views/census").json()["users"], before + 1, "{tag}");
    }
}

#[test]
fn fifty_clients_at_once_get_right_answers_and_share_the_work() {
    let world = World::new();
    let address = world.address;
    let clients: Vec<_> = (0..50)
        .map(|client| {
            std::thread::spawn(move || {
                let mut seen = HashSet::new();
                for round in 0..20 {
                    let level = if (client + round) % 2 == 0 { "strong" } else { "bounded=1s" };
                    let id = round % 3 + 1;
                    let path = format!("/v1/views/user/{id}");
                    let reply = ask(address, "GET", &path, &[("Candor-Consistency", level)], "");
                    assert_eq!((reply.status, &reply.json()["id"]), (200, &id.into()), "{}", reply.text());
                    seen.insert(reply.says("from").unwrap().to_owned());
                }
                seen
            })
        })
        .collect();
    for number in 0..20 {
        world.write(&format!("UPDATE users SET email = 'e{number}' WHERE id = 1"));
        std::thread::sleep(Duration::from_millis(10));
    }
    let seen: HashSet<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert!(seen.contains("l1"), "{seen:?}");
    assert_eq!(world.at("strong", "/v1/views/user/1").json()["email"], "e19");
}
