//! `audit`: a running server against its source, over SQLite and over PostgreSQL.

use crate::world::{VIEWS, World};
use candor_testbed::Cluster;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The SQL reads the next row, and the contract says that only one's own matters. `check` can merely warn.
const NEXT: &str = r#"
[view.next]
owner = "catalogue"
source = "shop"
key = ["id:int8"]
sql = "SELECT name FROM track WHERE id = $1 + 1"
invalidated_by = ["track.id=$1"]
"#;

const AUDIT: [&str; 7] = ["audit", "--for", "3s", "--every", "50ms", "--timeout", "60s"];

fn audit(world: &World, url: &str, more: &[&str]) -> crate::world::Ran {
    let args: Vec<&str> = AUDIT.iter().chain(&["--url", url]).chain(more).copied().collect();
    world.candor(&args)
}

/// Audits until something could be judged: how much the source is asked depends on how quick it is.
fn audit_with_result(world: &World, url: &str, more: &[&str]) -> crate::world::Ran {
    for _ in 0..15 {
        let ran = audit(world, url, more);
        if ran.code != 1 {
            return ran;
        }
    }
    audit(world, url, more)
}

/// Reads key 1 of a view until memory answers.
fn kept(world: &World, url: &str, view: &str) {
    candor_testbed::until("memory holds the key", || {
        let told =
            world.candor(&["get", view, "1", "--level", "any", "--json", "--url", url]).expect(0).json();
        told["receipt"]["from"] == "l1"
    });
}

/// Somebody who writes until the work is done.
fn while_writing<T>(write: impl Fn(u64) + Send + 'static, work: impl FnOnce() -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = std::thread::spawn(move || {
        for round in 0.. {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            write(round);
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    let done = work();
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    done
}

#[test]
fn an_honest_server_passes_and_one_that_lies_does_not() {
    let world = World::new();
    world.configure(
        "[server]\nhttp = \"127.0.0.1:0\"\n[audit]\nevery = \"never\"\n",
        &format!("{VIEWS}{NEXT}"),
    );
    world.candor(&["setup"]).expect(0);
    let (_server, url) = world.serve();
    let silent = audit(&world, &url, &["--view", "track"]).expect(1);
    silent.says(&["nothing could be judged"]);
    for view in ["track", "next"] {
        world.candor(&["get", view, "1", "--url", &url]).expect(0);
    }
    let path = world.path().join("shop.db");
    let write = move |round: u64| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.busy_timeout(Duration::from_secs(60)).unwrap();
        connection.execute("UPDATE track SET name = ?1 WHERE id = 1", [format!("Take {round}")]).unwrap();
    };
    let told = while_writing(write, || audit_with_result(&world, &url, &["--view", "track", "--json"]));
    let told = told.expect(0).json();
    assert_eq!((&told["verdict"], &told["answers"]["false"]), (&"clean".into(), &0.into()), "{told}");
    assert!(told["answers"]["true"].as_u64() > Some(0), "{told}");
    let quiet = audit_with_result(&world, &url, &["--view", "track"]);
    quiet.expect(0).says(&["no false receipt among", "rule of three"]);

    kept(&world, &url, "next");
    world.write("UPDATE track SET name = 'Flamenco Sketches' WHERE id = 2");
    let lie = audit_with_result(&world, &url, &["--view", "next"]).expect(7).says(&[
        "false-receipt",
        "said otherwise before and after",
        "served",
        "So What",
        "Flamenco Sketches",
        "It is current",
        "filled",
        "entry  current: reflects up to position",
    ]);
    assert!(lie.out.lines().all(|line| line.chars().count() <= 110), "{}", lie.out);
    let told = audit_with_result(&world, &url, &["--view", "next", "--json"]).expect(7).json();
    assert_eq!(told["verdict"], "false", "{told}");
    assert!(told["incidents"][0]["again"].as_u64() > Some(0), "the same incident again: {told}");
}

#[test]
fn a_postgres_server_passes_under_racing_writers_and_a_wrong_dependency_is_seen() {
    let cluster = Arc::new(Cluster::start());
    cluster.psql(
        "CREATE TABLE track (id int8 PRIMARY KEY, name text NOT NULL);
         INSERT INTO track VALUES (1, 'Sinnerman'), (2, 'So What'), (3, 'Blue in Green');",
    );
    let world = World::bare();
    let url = cluster.url("postgres");
    let source = format!("[source.shop]\nkind = \"postgres\"\nurl = \"{url}\"\n");
    let view = "[view.track]\nowner = \"catalogue\"\nsource = \"shop\"\nkey = [\"id:int8\"]\n\
                sql = \"SELECT id, name FROM track WHERE id = $1\"\n";
    let server = "[server]\nhttp = \"127.0.0.1:0\"\n[audit]\nevery = \"never\"\n";
    world.file("candor.toml", &format!("{source}{server}{view}{NEXT}"));
    world.candor(&["setup"]).expect(0);
    let (_server, url) = world.serve();
    // The first one finds nothing and begins to listen.
    audit(&world, &url, &["--view", "track"]).expect(1);
    for view in ["track", "next"] {
        world.candor(&["get", view, "1", "--url", &url]).expect(0);
    }
    let writing = Arc::clone(&cluster);
    let write = move |round: u64| {
        writing.psql(&format!("UPDATE track SET name = 'Take {round}' WHERE id = 1"));
    };
    let told = while_writing(write, || audit_with_result(&world, &url, &["--view", "track", "--json"]));
    let told = told.expect(0).json();
    assert_eq!((&told["verdict"], &told["answers"]["false"]), (&"clean".into(), &0.into()), "{told}");
    assert!(told["answers"]["true"].as_u64() > Some(0), "{told}");

    kept(&world, &url, "next");
    cluster.psql("UPDATE track SET name = 'Flamenco Sketches' WHERE id = 2");
    audit_with_result(&world, &url, &["--view", "next"]).expect(7).says(&[
        "false-receipt",
        "So What",
        "Flamenco Sketches",
    ]);
}

#[test]
fn a_server_that_is_not_there_or_does_not_know_the_view_is_told_of() {
    let world = World::new();
    world.candor(&["audit"]).expect(2).warns(&["lets the system choose", "--url"]);
    world.candor(&["audit", "--url", "http://127.0.0.1:1"]).expect(4).warns(&["nothing answers"]);
    let (_server, url) = world.serve();
    world.candor(&["audit", "--url", &url, "--view", "trak"]).expect(2).warns(&["trak", "track"]);
    world.candor(&["audit", "--url", &url, "--for", "1h"]).expect(2).warns(&["not between"]);
}
