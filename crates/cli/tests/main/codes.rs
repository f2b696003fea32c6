//! Every exit code, and what is said with it.

use crate::world::{VIEWS, World, impostor, ran};

const TOKENS: &str = "[[token]]\nname = \"web\"\ntoken = \"${WEB_TOKEN}\"\nviews = [\"track\"]\n";
const WEB: &str = "a-token-of-some-length";

#[test]
fn usage_is_2() {
    let world = World::new();
    for (args, says) in [
        (&["gett"] as &[&str], "unrecognized subcommand"),
        (&["get"], "VIEW"),
        (&["get", "trakc", "1"], "the views are track, price, top"),
        (&["get", "track"], "key column"),
        (&["get", "track", "x"], "not a whole number"),
        (&["get", "track", "1", "--level", "eventual"], "the levels are strong"),
        (&["get", "track", "1", "--level", "session"], "--session"),
        (&["get", "track", "1", "--session", "forged"], "token"),
        (&["get", "price", "1", "EUR", "--level", "any"], "critical"),
        (&["get", "track", "1", "--url", "https://x"], "TLS"),
        (&["fence", "shed"], "there is only `shop`"),
        (&["check", "trakc"], "there is no view"),
        (&["map", "trakc"], "there is no view"),
        (&["mget", "track", "1", "--snapshot", "--level", "any"], "cannot be used with"),
    ] {
        world.candor(args).expect(2).warns(&[says]);
    }
}

#[test]
fn a_bad_configuration_is_3_and_shows_the_place() {
    let world = World::bare();
    world.configure("", &VIEWS.replace("id:int8", "id:int9"));
    let refused = world.candor(&["check"]).expect(3);
    let refused = refused.warns(&["candor.toml:10:", "key = [\"id:int9\"]", "^^^", "mend:"]);
    assert!(refused.out.is_empty());
    let told = world.candor(&["get", "track", "1", "--json"]).expect(3).json();
    let error = &told["error"];
    assert_eq!((error["code"].as_u64(), error["kind"].as_str()), (Some(3), Some("config")));
    assert_eq!(
        (error["whose"].as_str(), error["complaints"][0]["line"].as_u64()),
        (Some("contract"), Some(10))
    );
    world.candor(&["map", "--config", "none.toml"]).expect(3).warns(&["none.toml", "--config"]);
    let mut by_environment = world.command(&["map"]);
    by_environment.env("CANDOR_CONFIG", "other.toml");
    ran(by_environment).expect(3).warns(&["other.toml"]);
}

#[test]
fn a_source_or_a_service_that_is_not_there_is_4() {
    let world = World::new();
    world
        .candor(&["get", "track", "1", "--url", "http://127.0.0.1:1"])
        .expect(4)
        .warns(&["nothing answers", "candor serve"]);
    let silent = impostor(None);
    let slow = world.candor(&["get", "track", "1", "--url", &silent, "--timeout", "200ms"]);
    slow.expect(4).warns(&["did not answer within 200ms"]);
    let strange = impostor(Some("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"));
    world.candor(&["get", "track", "1", "--url", &strange]).expect(4).warns(&["is not Candor"]);
    std::fs::remove_file(world.path().join("shop.db")).unwrap();
    for args in [&["check"] as &[&str], &["get", "track", "1"], &["tail"], &["setup"], &["serve"]] {
        let failed = world.candor(args).expect(4);
        assert!(failed.err.contains("shop"), "{failed:#?}");
    }
    let told = world.candor(&["check", "--json"]).expect(4).json();
    assert_eq!(told["error"]["whose"], "source");
}

#[test]
fn a_level_that_cannot_be_met_is_5() {
    let world = World::new();
    let token = world.candor(&["fence", "shop"]).expect(0).out;
    world.candor(&["setup", "--remove"]).expect(0);
    world.candor(&["setup"]).expect(0);
    let lost = world.candor(&["get", "track", "1", "--session", token.trim()]).expect(5);
    lost.warns(&["is not followed here", "candor fence"]);
    let (_server, url) = world.serve();
    world.candor(&["get", "track", "1", "--session", token.trim(), "--url", &url]).expect(5);
}

#[test]
fn a_log_that_cannot_be_followed_is_5_where_the_contract_says_error() {
    let world = World::new();
    world.configure(
        "[server]\nhttp = \"127.0.0.1:0\"\n",
        &VIEWS.replace("critical = true", "on_feed_down = \"error\""),
    );
    let (_server, url) = world.serve();
    let get = |level: &str| world.candor(&["get", "price", "1", "EUR", "--level", level, "--url", &url]);
    get("strong").expect(0);
    world.candor(&["setup", "--remove"]).expect(0);
    get("strong").expect(5).warns(&["cannot be met"]);
}

#[test]
fn what_is_not_allowed_is_6() {
    let world = World::new();
    world.file("tokens.toml", TOKENS);
    let private = VIEWS.replace("critical = true", "private = \"track\"");
    let server = "[server]\nhttp = \"127.0.0.1:0\"\nauth = { tokens_file = \"tokens.toml\" }\n";
    world.configure(server, &private);
    world.candor(&["get", "price", "EUR"]).expect(6).warns(&["has no subject"]);

    let mut serving = world.command(&["serve", "--json"]);
    serving.env("WEB_TOKEN", WEB);
    let (_server, url) = world.serve_with(serving);
    let with = |token: Option<&str>, args: &[&str]| {
        let mut command = world.command(args);
        command.args(["--url", &url, "--token-env", "MY_TOKEN"]);
        if let Some(token) = token {
            command.env("MY_TOKEN", token);
        }
        ran(command)
    };
    with(None, &["get", "track", "1"]).expect(6).warns(&["MY_TOKEN"]);
    with(Some("another"), &["get", "track", "1"]).expect(6).warns(&["check the token"]);
    with(Some(WEB), &["get", "track", "1"]).expect(0);
    let forbidden = with(Some(WEB), &["explain", "track", "1", "--json"]).expect(6);
    assert!(!forbidden.err.contains(WEB) && !forbidden.out.contains(WEB));
    assert_eq!(forbidden.json()["error"]["kind"], "unauthorised");
}

#[test]
fn a_fault_of_ours_is_70() {
    let url = impostor(Some(
        "HTTP/1.1 500 Oh\r\ncontent-length: 72\r\n\r\n{\"type\":\"/problems/internal\",\"detail\":\"something broke\",\"mend\":\"report\"}",
    ));
    let failed = World::bare().candor(&["get", "track", "1", "--url", &url, "--json"]).expect(70);
    assert_eq!(failed.json()["error"]["code"], 70);
}
