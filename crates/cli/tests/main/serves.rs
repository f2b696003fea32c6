//! `serve`: what it prints, and how it ends.

use crate::world::World;
use std::process::Stdio;

#[test]
fn an_order_to_stop_drains() {
    let world = World::new();
    for signal in ["TERM", "INT"] {
        let (mut server, url) = world.serve();
        world.candor(&["get", "track", "1", "--url", &url]).expect(0);
        server.signal(signal);
        assert_eq!(server.event("stopped")["drained"], true);
        assert!(server.wait().success());
    }
}

#[test]
fn people_see_the_address_and_the_views() {
    let world = World::new();
    let mut child = world.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let told: Vec<String> = (0..5).map(|_| lines.next().unwrap().unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told[0].starts_with("candor 0.") && told[0].contains("listens on http://127.0.0.1:"), "{told:?}");
    assert!(told[1].contains("/v1/views/track/{id}") && told[1].contains("bounded:2s"), "{told:?}");
    assert!(told[2].contains("/v1/views/price/{track}/{currency}"), "{told:?}");
    assert!(told[4].starts_with("ready: 1 log followed"), "{told:?}");
}

#[test]
fn nothing_is_served_halfway() {
    let world = World::bare();
    world.candor(&["serve"]).expect(3).warns(&["candor.toml:1:9", "run `candor setup`"]);
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    world.configure(&format!("[server]\nhttp = \"{address}\"\n"), crate::world::VIEWS);
    world.candor(&["serve"]).expect(4).warns(&["is in use by another program"]);
    world.candor(&["serve", "--log", "=,="]).expect(2);
}
