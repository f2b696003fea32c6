//! The source goes away, is locked, or changes shape, while somebody reads.

use crate::world::{VIEWS, World};
use rusqlite::Connection;

const SERVER: &str = "[server]\nhttp = \"127.0.0.1:0\"\n";

#[test]
fn a_deleted_database_gives_errors_or_marked_answers_as_the_contract_says() {
    let world = World::new();
    world.get("/v1/views/user/1");
    world.get("/v1/views/user_or_stale/1");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(world.dir.path().join(format!("shop.db{suffix}")));
    }
    world.until("the loss to be noticed", || world.get("/readyz").status == 503);
    world.at("strong", "/v1/views/user/1").is_problem(503, "source-down");
    world.get("/v1/views/user/2").is_problem(503, "source-down");
    let stale = world.get("/v1/views/user_or_stale/1");
    assert_eq!((stale.status, &stale.json()["name"]), (200, &"Ada".into()));
    assert_eq!(stale.says("degraded"), Some("source-down"));
    assert_eq!(stale.header("cache-control"), Some("no-store"), "an exception does not outlive its cause");
    world.at("strong", "/v1/views/user_or_stale/1").is_problem(503, "source-down");
    world.post("/v1/fence", r#"{"source":"shop"}"#).is_problem(503, "level-unmet");
    world
        .post("/v1/views/user", r#"{"keys":[[1],[2]],"consistency":"snapshot"}"#)
        .is_problem(503, "source-down");
    let explained = world.get("/v1/explain/user/1").json();
    assert!(explained["summary"].as_str().unwrap().contains("cannot be followed"), "{explained}");
    assert!(!explained.to_string().contains("shop.db"), "{explained}");
}

#[test]
fn a_locked_database_is_slow_and_recovers() {
    let text = format!("{}\n{SERVER}", VIEWS.replace("timeout = \"20s\"", "timeout = \"1s\""));
    let world = World::of(&text, |_, writer| {
        // Without the write-ahead log a writer keeps readers out.
        let mut mode = String::new();
        // Refused as long as the setup's own connections are being closed.
        for _ in 0..100 {
            // A connection learns by reading that the mode is another than it was.
            writer.query_row("SELECT count(*) FROM users", [], |_| Ok(())).unwrap();
            let _ = writer.execute_batch("PRAGMA journal_mode = DELETE");
            mode = writer.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
            if mode == "delete" {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(mode, "delete");
    });
    assert_eq!(world.at("strong", "/v1/views/user/1").status, 200);
    let blocker = Connection::open(world.database()).unwrap();
    blocker.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    blocker.execute_batch("BEGIN EXCLUSIVE; UPDATE users SET name = 'Eve' WHERE id = 1").unwrap();
    let locked = world.at("strong", "/v1/views/user/1");
    assert!(matches!(locked.status, 503 | 504), "{locked:?}");
    locked.is_problem(locked.status, locked.json()["type"].as_str().unwrap().rsplit('/').next().unwrap());
    let hit = world.at("any", "/v1/views/user/1");
    assert_eq!((hit.status, &hit.json()["name"]), (200, &"Ada".into()), "nothing is committed yet");
    blocker.execute_batch("COMMIT").unwrap();
    world.until("recovery", || world.at("strong", "/v1/views/user/1").status == 200);
    assert_eq!(world.at("strong", "/v1/views/user/1").json()["name"], "Eve");
}

#[test]
fn a_writer_that_holds_its_transaction_open_blocks_nobody() {
    let world = World::new();
    world.write("BEGIN IMMEDIATE");
    world.write("UPDATE users SET name = 'Eve' WHERE id = 1");
    for _ in 0..5 {
        let reply = world.at("strong", "/v1/views/user/1");
        assert_eq!((reply.status, &reply.json()["name"]), (200, &"Ada".into()));
    }
    world.write("COMMIT");
    assert_eq!(world.at("strong", "/v1/views/user/1").json()["name"], "Eve");
}

#[test]
fn a_dropped_column_is_the_contract_s_fault() {
    let world = World::new();
    assert_eq!(world.get("/v1/views/amount/9223372036854775807").status, 200);
    world.write("ALTER TABLE big RENAME COLUMN amount TO total");
    let reply = world.at("strong", "/v1/views/amount/9223372036854775807");
    reply.is_problem(500, "bad-contract");
    assert!(!reply.text().contains("SELECT"), "{}", reply.text());
}

#[test]
fn the_source_never_sees_more_than_its_limit() {
    let views = VIEWS.replace(
        "timeout = \"20s\"\n",
        "timeout = \"20s\"\nlimit = { in_flight = 1, queue = 1, queue_timeout = \"200ms\" }\n",
    );
    let world = World::of(&format!("{views}\n{SERVER}"), |_, _| {});
    let address = world.address;
    let start = std::sync::Arc::new(std::sync::Barrier::new(6));
    let readers: Vec<_> = (0..6)
        .map(|reader| {
            let start = start.clone();
            std::thread::spawn(move || {
                let path = format!("/v1/views/slow/{}", 2_000_000 + reader);
                start.wait();
                crate::world::ask(address, "GET", &path, &[], "")
            })
        })
        .collect();
    let mut seen = 0.0_f64;
    while !readers.iter().all(std::thread::JoinHandle::is_finished) {
        let metrics = world.get("/metrics");
        let value = |name: &str| {
            let line = metrics.text().lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        let (loads, queue) = (value("candor_loads{"), value("candor_queue{"));
        assert!(loads <= 1.0 && queue <= 1.0, "{loads} {queue}");
        seen = seen.max(loads);
    }
    let replies: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    let (served, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert!(!served.is_empty() && refused.len() >= 3 && seen > 0.0, "{replies:?}");
    for reply in refused {
        reply.is_problem(503, "overloaded");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}
