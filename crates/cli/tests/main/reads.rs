//! `get`, `mget`, `fence`: in this process and through a server, with the same result.

use crate::world::{VIEWS, World, ran};
use serde_json::json;

#[test]
fn without_a_server_the_source_is_read_in_this_process() {
    let world = World::new();
    let got = world.candor(&["get", "track", "1"]).expect(0);
    assert_eq!(got.out, "{\"id\":1,\"name\":\"Sinnerman\",\"title\":\"Pastel Blues\"}\n");
    assert!(got.err.contains("from the source; proven by the log"), "{got:#?}");
    let quiet = world.candor(&["get", "-q", "price", "1", "EUR"]).expect(0);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("{\"cents\":99}\n", ""));
    let all = world.candor(&["get", "top"]).expect(0);
    assert!(all.out.starts_with("[{\"id\":1"), "a view without a key: {all:#?}");
    let absent = world.candor(&["get", "track", "99"]).expect(1);
    assert!(absent.out.is_empty() && absent.err.contains("absent:"), "{absent:#?}");
    world.candor(&["get", "track", "-5"]).expect(1);
}

#[test]
fn programs_get_value_receipt_and_session() {
    let world = World::new();
    let got = world.candor(&["get", "track", "1", "--json"]).expect(0).json();
    assert_eq!((got["found"].as_bool(), got["asked"].as_str()), (Some(true), Some("embedded")));
    assert_eq!((got["value"]["name"].as_str(), got["key"].clone()), (Some("Sinnerman"), json!(["1"])));
    assert_eq!(
        (got["receipt"]["from"].as_str(), got["receipt"]["proof"].as_str()),
        (Some("source"), Some("log"))
    );
    assert!(got["session"].is_string() && got["receipt"]["bound"].is_u64());
    let absent = world.candor(&["get", "track", "99", "--json"]).expect(1).json();
    assert_eq!((absent["found"].as_bool(), &absent["value"]), (Some(false), &json!(null)));
    world.candor(&["get", "track", "1", "--receipt"]).expect(0).warns(&["session", "asked     embedded"]);
}

#[test]
fn several_keys_come_in_the_order_asked() {
    let world = World::new();
    let got = world.candor(&["mget", "track", "3", "1", "--snapshot"]).expect(0);
    let keys: Vec<&str> = got.out.lines().map(|line| line.split_once('\t').unwrap().0).collect();
    assert_eq!(keys, ["3", "1"]);
    let absent = world.candor(&["mget", "track", "1", "99"]).expect(1);
    assert!(absent.out.contains("99\tnull"), "{absent:#?}");
    let composite = world.candor(&["mget", "price", "2/EUR", "2/a%2Fb", "--json"]).expect(0).json();
    assert_eq!(composite["answers"][1]["key"], json!(["2", "a/b"]));
    assert_eq!(composite["answers"][1]["value"], json!({"cents": 1}));
    world.candor(&["mget", "top", "--snapshot"]).expect(2);
    world.candor(&["mget", "price", "2%zz/EUR"]).expect(2).warns(&["is not an escape"]);
}

#[test]
fn a_token_from_a_fence_is_honoured() {
    let world = World::new();
    world.write("UPDATE track SET name = 'Written' WHERE id = 1");
    let token = world.candor(&["fence", "shop", "-q"]).expect(0).out;
    let got = world.candor(&["get", "track", "1", "--level", "session", "--session", token.trim()]).expect(0);
    assert!(got.out.contains("Written"));
    let fence = world.candor(&["fence", "shop", "--json"]).expect(0).json();
    assert!(fence["session"].is_string() && fence["source"] == "shop");
}

#[test]
fn a_running_server_is_found_and_asked() {
    let world = World::new();
    let (_server, url) = world.serve_on_a_known_port(VIEWS);
    let first = world.candor(&["get", "track", "1", "--json"]).expect(0).json();
    assert_eq!((first["asked"].as_str(), first["receipt"]["from"].as_str()), (Some(&*url), Some("source")));
    let second = world.candor(&["get", "track", "1", "--json"]).expect(0).json();
    assert_eq!(second["receipt"]["from"], "l1", "the server remembers");
    assert_eq!(second["value"], first["value"]);
    let embedded = world.candor(&["get", "track", "1", "--embedded", "--json"]).expect(0).json();
    assert_eq!((embedded["asked"].as_str(), &embedded["value"]), (Some("embedded"), &first["value"]));
}

#[test]
fn a_server_refuses_and_merges_sessions_as_this_process_does() {
    let world = World::new();
    let clocked = "[source.shed]\nkind = \"sqlite\"\npath = \"shop.db\"\n\
        [view.by_clock]\nowner = \"x\"\nsource = \"shed\"\nkey = [\"id:int8\"]\nproof = \"clock\"\n\
        sql = \"SELECT name FROM track WHERE id = $1\"\nconsistency = \"bounded:1s\"\n";
    world.configure("[server]\nhttp = \"127.0.0.1:0\"\n", &format!("{clocked}{VIEWS}"));
    let (_server, url) = world.serve();
    let both = |args: &[&str], code: i32| {
        let here = world.candor(&[args, &["--json"]].concat()).expect(code).json();
        let there = world.candor(&[args, &["--json", "--url", &url]].concat()).expect(code).json();
        (here, there)
    };
    for (args, what) in [
        (&["mget", "by_clock", "1", "--snapshot"] as &[&str], "the view `by_clock` has no log behind it"),
        (&["fence", "shed"], "no view of `shed` is proven by a log"),
    ] {
        let (here, there) = both(args, 2);
        assert!(here["error"]["what"].as_str().unwrap().starts_with(what), "{here}");
        assert_eq!(here, there);
    }
    let token = world.candor(&["fence", "shop"]).expect(0).out;
    let (here, there) = both(&["mget", "track", "1", "3", "--session", token.trim()], 0);
    assert_eq!((&here["session"], &there["session"]), (&token.trim().into(), &token.trim().into()));
}

#[test]
fn a_server_answers_as_this_process_does() {
    let world = World::new();
    let (_server, url) = world.serve();
    let at = |args: &[&str]| {
        let mut command = world.command(args);
        command.env("CANDOR_URL", &url);
        ran(command)
    };
    assert_eq!(at(&["get", "-q", "price", "2", "a/b"]).expect(0).out, "{\"cents\":1}\n");
    at(&["get", "track", "99"]).expect(1).warns(&["absent:"]);
    let many = at(&["mget", "price", "1/EUR", "2/a%2Fb", "9/EUR", "--json"]).expect(1).json();
    assert_eq!(
        (&many["answers"][1]["key"], &many["answers"][1]["value"]),
        (&json!(["2", "a/b"]), &json!({"cents": 1}))
    );
    assert_eq!((many["answers"][2]["found"].as_bool(), many["asked"].as_str()), (Some(false), Some(&*url)));
    at(&["mget", "track", "1", "2", "--snapshot"]).expect(0);
    world.write("UPDATE track SET name = 'Written' WHERE id = 2");
    let token = at(&["fence", "shop"]).expect(0).out;
    let got = at(&["get", "track", "2", "--session", token.trim()]).expect(0);
    assert!(got.out.contains("Written"), "{got:#?}");
    at(&["get", "track", "2", "--level", "strong"]).expect(0).says(&["Written"]);
}
