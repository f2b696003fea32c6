//! A PostgreSQL source from the first look to an answer, and a server that is not there yet.

use crate::world::{Running, World};
use candor_testbed::until;
use candor_testbed::{Cluster, Mode};

pub(crate) const SHOP: &str = "CREATE TABLE users (id int8 PRIMARY KEY, name text NOT NULL);
    INSERT INTO users VALUES (1, 'Nina'), (2, 'Miles');";

pub(crate) const VIEW: &str = r#"
[view.user]
owner = "accounts"
source = "shop"
key = ["id:int8"]
sql = "SELECT id, name FROM users WHERE id = $1"
"#;

fn world(cluster: &Cluster) -> World {
    cluster.psql(SHOP);
    let world = World::bare();
    configure(&world, &cluster.url("postgres"));
    world
}

/// The shop at this address.
pub(crate) fn configure(world: &World, url: &str) {
    let source = format!("[source.shop]\nkind = \"postgres\"\nurl = \"{url}\"\n");
    world.file("candor.toml", &format!("{source}[server]\nhttp = \"127.0.0.1:0\"\n{VIEW}"));
}

/// The status of `/readyz`, and what it says.
fn readiness(url: &str) -> (u16, String) {
    get(url, "/readyz")
}

fn get(url: &str, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
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
fn a_standby_answers_hints_and_the_primary_whatever_is_stronger() {
    let cluster = Cluster::start();
    cluster.psql(SHOP);
    let standby = cluster.standby("copy");
    let world = World::bare();
    let (url, copy) = (cluster.url("postgres"), standby.url("postgres"));
    let source = format!("[source.shop]\nkind = \"postgres\"\nurl = \"{url}\"\nstandby = \"{copy}\"\n");
    world.file("candor.toml", &format!("{source}[server]\nhttp = \"127.0.0.1:0\"\n{VIEW}"));
    world.candor(&["setup"]).expect(0);
    standby.catch_up_with(&cluster);
    world.candor(&["check"]).expect(0).says(&["standby", "setup intact"]);
    let (_server, url) = world.serve();
    let fills = |by: &str| {
        let figures = get(&url, "/metrics").1;
        let line = format!("candor_standby_fills_total{{source=\"shop\",by=\"{by}\"}} ");
        let value = figures.lines().find_map(|found| found.strip_prefix(&line)).expect(&figures);
        value.parse::<u64>().unwrap()
    };
    assert_eq!(strong(&world, &url), ("Nina".into(), "log".into()));
    assert_eq!((fills("standby"), fills("primary")), (0, 0), "strong asks the primary, and is not counted");
    let read = |id: &str| world.candor(&["get", "user", id, "--level", "bounded:1s", "--url", &url]);
    // The mark may still be on its way to the standby when the first one is read.
    until("the standby answers", || {
        cluster.psql("UPDATE users SET name = name || '!' WHERE id = 2");
        read("2").expect(0).says(&["Miles!"]);
        fills("standby") > 0
    });
    drop(standby);
    cluster.psql("UPDATE users SET name = 'Ella' WHERE id = 2");
    until("the new name is read", || read("2").expect(0).out.contains("Ella"));
    assert!(fills("primary") > 0);
    world.candor(&["check"]).expect(0).says(&["risk", "the standby cannot be asked", "mend:"]);
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

/// The statement by which a writer takes a session token, as the page prints it.
fn token_statement() -> &'static str {
    let page = include_str!("../../../../docs/postgres.md");
    page.split("<!-- token -->\n```sql\n").nth(1).unwrap().split("```").next().unwrap()
}

#[test]
fn every_reading_command_works_through_a_server_and_embedded() {
    let cluster = Cluster::start();
    let world = world(&cluster);
    world.candor(&["setup"]).expect(0);
    let by = |door: &[&str], args: &[&str]| world.candor(&[args, door].concat());
    // One reader of the slot at a time: first this process, then a server.
    let embedded: &[&str] = &["--embedded"];
    by(embedded, &["get", "user", "1"]).expect(0).says(&["Nina"]);
    by(embedded, &["get", "user", "7"]).expect(1).warns(&["absent"]);
    for name in ["Ella", "Etta"] {
        cluster.psql(&format!("UPDATE users SET name = '{name}' WHERE id = 1"));
        let token = cluster.psql(token_statement());
        let told = by(embedded, &["get", "user", "1", "--session", &token, "--json"]).expect(0).json();
        assert_eq!(
            (&told["value"]["name"], &told["receipt"]["proof"]),
            (&name.into(), &"log".into()),
            "{told}"
        );
    }
    let told = by(embedded, &["mget", "user", "1", "2", "3", "--snapshot", "--json"]);
    assert_eq!(told.json()["answers"].as_array().map(Vec::len), Some(3), "{told:?}");
    by(embedded, &["get", "user", "1", "--session", "pg1.1.2.3"])
        .expect(2)
        .warns(&["not as PostgreSQL writes it"]);

    let mut tail = world.begin(&["tail", "--json", "--count", "1"]);
    tail.event("following");
    cluster.psql("INSERT INTO users VALUES (3, 'Abbey')");
    let change = tail.event("change");
    assert!(change["note"].as_str().unwrap().contains("users"), "{change}");
    assert!(tail.wait().success());

    let (server, url) = world.serve();
    let remote: &[&str] = &["--url", &url];
    by(remote, &["get", "user", "3", "--level", "strong"]).expect(0).says(&["Abbey"]);
    cluster.psql("DELETE FROM users WHERE id = 3");
    let token = cluster.psql(token_statement());
    by(remote, &["get", "user", "3", "--session", &token]).expect(1).warns(&["absent"]);
    let far = token.replace(token.split('.').nth(5).unwrap(), "18446744073709551615");
    by(remote, &["get", "user", "3", "--session", &far]).expect(5).warns(&["session token"]);
    let told = by(remote, &["mget", "user", "1", "2", "3", "--json"]).json();
    assert_eq!(told["answers"][1]["value"]["name"], "Miles", "{told}");
    by(remote, &["explain", "user", "1"]).expect(0).says(&["It is current", "log    following"]);
    drop(server);
}

#[test]
fn event_triggers_are_made_shown_and_taken_out_again() {
    let cluster = Cluster::start();
    let world = world(&cluster);
    let there = || cluster.psql("SELECT count(*) FROM pg_event_trigger");
    world.candor(&["setup"]).expect(0);
    let told = world.candor(&["check"]).expect(0).says(&["--event-trigger"]);
    assert_eq!(there(), "0", "{told:?}");
    world
        .candor(&["setup", "--event-trigger", "--dry-run"])
        .expect(0)
        .says(&["CREATE EVENT TRIGGER candor_ddl"]);
    assert_eq!(there(), "0");
    world.candor(&["setup", "--event-trigger"]).expect(0).says(&["ran"]);
    assert_eq!(there(), "2");
    world.candor(&["setup", "--event-trigger"]).expect(0).says(&["nothing to do"]);
    world.candor(&["setup"]).expect(0).says(&["nothing to do"]);
    assert!(!world.candor(&["check"]).expect(0).out.contains("--event-trigger"));
    world.candor(&["setup", "--event-trigger", "--remove"]).expect(2);
    world.candor(&["setup", "--remove", "--dry-run"]).expect(0).says(&["DROP EVENT TRIGGER candor_ddl"]);
    world.candor(&["setup", "--remove"]).expect(0);
    assert_eq!(there(), "0");
    World::bare().candor(&["setup", "--event-trigger"]).expect(2).warns(&["sqlite source"]);
}

#[test]
fn fills_go_through_a_pooler_while_the_log_is_followed_at_the_server() {
    let cluster = Cluster::start();
    let world = world(&cluster);
    let bouncer = candor_testbed::Bouncer::before(&cluster, 4);
    let source =
        format!("[source.shop]\nkind = \"postgres\"\nurl = \"{}\"\npooler = true\n", bouncer.url("postgres"));
    let feed = format!("[feed.shop]\nurl = \"{}\"\n", cluster.url("postgres"));
    world.file("candor.toml", &format!("{source}{feed}[server]\nhttp = \"127.0.0.1:0\"\n{VIEW}"));
    world.candor(&["setup"]).expect(0);
    world.candor(&["check"]).expect(0).says(&["1 of 1 view hold"]);
    let (_server, url) = world.serve();
    for name in ["Ella", "Etta", "Billie"] {
        cluster.psql(&format!("UPDATE users SET name = '{name}' WHERE id = 1"));
        assert_eq!(strong(&world, &url), (name.into(), "log".into()));
    }
}
