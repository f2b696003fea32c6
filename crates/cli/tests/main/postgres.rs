//! A PostgreSQL source from the first look to an answer, and a server that is not there yet.

use crate::world::{Running, World};
use candor_testbed::until;
use candor_testbed::{Cluster, Mode};

const SHOP: &str = "CREATE TABLE users (id int8 PRIMARY KEY, name text NOT NULL);
    INSERT INTO users VALUES (1, 'Nina'), (2, 'Miles');";

const VIEW: &str = r#"
[view.user]
owner = "accounts"
source = "shop"
key = ["id:int8"]
sql = "SELECT id, name FROM users WHERE id = $1"
"#;

fn world(cluster: &Cluster) -> World {
    cluster.psql(SHOP);
    let world = World::bare();
    let url = cluster.url("postgres");
    let source = format!("[source.shop]\nkind = \"postgres\"\nurl = \"{url}\"\n");
    world.file("candor.toml", &format!("{source}[server]\nhttp = \"127.0.0.1:0\"\n{VIEW}"));
    world
}

/// The status of `/readyz`, and what it says.
fn readiness(url: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn strong(world: &World, url: &str) -> (String, String) {
    let told =
        world.candor(&["get", "user", "1", "--level", "strong", "--json", "--url", url]).expect(0).json();
    (
        told["value"]["name"].as_str().unwrap().to_owned(),
        told["receipt"]["proof"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn a_postgres_source_is_set_up_checked_and_read_with_proof() {
    let cluster = Cluster::start();
    let world = world(&cluster);
    world.candor(&["check"]).expect(1).says(&["postgres", "slot", "candor: there is none", "candor setup"]);
    let shown = world.candor(&["setup", "--dry-run"]).expect(0);
    shown.says(&["-- shop (", "CREATE PUBLICATION", "pg_create_logical_replication_slot"]);
    world.candor(&["check"]).expect(1);
    world.candor(&["setup"]).expect(0).says(&["shop: ran", "as the views need them"]);
    world.candor(&["setup"]).expect(0).says(&["nothing to do"]);
    world.candor(&["check"]).expect(0).says(&["setup intact", "public.users", "1 of 1 view hold"]);
    let told = world.candor(&["check", "--json"]).expect(0).json();
    let source = &told["sources"][0];
    assert_eq!(
        (&source["kind"], &source["setup"]["state"]),
        (&"postgres".into(), &"intact".into()),
        "{told}"
    );
    assert_eq!(source["slot"]["exists"], true, "{told}");
    world.candor(&["map"]).expect(0).says(&["write-ahead log"]);

    let (server, url) = world.serve();
    assert_eq!(strong(&world, &url), ("Nina".into(), "log".into()));
    for name in ["Ella", "Etta", "Billie"] {
        cluster.psql(&format!("UPDATE users SET name = '{name}' WHERE id = 1"));
        assert_eq!(strong(&world, &url), (name.into(), "log".into()));
    }
    world.candor(&["fence", "shop", "--url", &url]).expect(0);
    drop(server);

    world.candor(&["setup", "--remove"]).expect(0).says(&["publication and slot are gone"]);
    world.candor(&["setup", "--remove"]).expect(0).says(&["nothing of Candor's"]);
    world.candor(&["serve"]).expect(3).warns(&["candor setup"]);
}

#[test]
fn a_server_that_is_not_there_at_the_start_is_awaited() {
    let cluster = Cluster::start();
    let world = world(&cluster);
    world.candor(&["setup"]).expect(0);
    cluster.stop(Mode::Fast);
    world.candor(&["check"]).expect(4).says(&["not reached", "unchecked"]);
    let mut server: Running = world.begin(&["serve", "--json"]);
    let url = server.event("listening")["http"].as_str().unwrap().to_owned();
    let (status, why) = readiness(&url);
    assert!(status == 503 && why.contains("shop"), "{why}");
    world.candor(&["get", "user", "1", "--level", "strong", "--url", &url]).expect(4);
    cluster.start_again();
    server.event("ready");
    assert_eq!(strong(&world, &url), ("Nina".into(), "log".into()));
    cluster.psql("UPDATE users SET name = 'Ella' WHERE id = 1");
    assert_eq!(strong(&world, &url), ("Ella".into(), "log".into()));
    until("the server is ready", || readiness(&url).0 == 200);
}
