//! Everything a request can get wrong, each with its kind of problem.

use crate::world::{Reply, World};

#[test]
fn what_does_not_exist_is_said_so() {
    let world = World::new();
    let near = world.get("/v1/views/usr/1");
    near.is_problem(404, "unknown-view");
    assert!(near.json()["mend"].as_str().unwrap().contains("`user`"), "{}", near.text());
    for path in
        ["/", "/v1", "/v1/views", "/v2/views/user/1", "/v1/view/user/1", "/favicon.ico", "/v1/explain"]
    {
        world.get(path).is_problem(404, "not-found");
    }
    world.get("/v1/views/").is_problem(404, "unknown-view");
}

#[test]
fn methods_that_do_not_exist_name_those_that_do() {
    let world = World::new();
    for (method, path, allow) in [
        ("DELETE", "/v1/views/user/1", "GET, HEAD"),
        ("POST", "/v1/views/user/1", "GET, HEAD"),
        ("PUT", "/v1/views/user", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/views/user/1", "GET, HEAD"),
        ("GET", "/v1/fence", "POST"),
        ("GET", "/v1/invalidate", "POST"),
        ("POST", "/v1/explain/user/1", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("BREW", "/metrics", "GET, HEAD"),
    ] {
        let reply = world.ask(method, path, &[], "");
        reply.is_problem(405, "method-not-allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn keys_that_do_not_fit_are_refused_with_what_would() {
    let world = World::new();
    let refused = |path: &str, part: &str| {
        let reply = world.get(path);
        reply.is_problem(400, "bad-key");
        assert!(reply.detail().contains(part), "{path}: {}", reply.detail());
    };
    refused("/v1/views/user", "1 key column(s) (id)");
    refused("/v1/views/user/", "int8");
    refused("/v1/views/user/1/2", "but 2 were given");
    refused("/v1/views/user/one", "int8");
    refused("/v1/views/user/1.0", "int8");
    refused("/v1/views/user/9223372036854775808", "int8");
    refused("/v1/views/seat/2147483648/A", "int4");
    refused("/v1/views/seat/1", "line, place");
    refused("/v1/views/census/1", "0 key column(s)");
    refused(&format!("/v1/views/seat/1/{}", "x".repeat(1025)), "1024");
    refused(&format!("/v1/views/user{}", "/1".repeat(17)), "at most 16");
    refused("/v1/views/user/%zz", "`%zz` at byte 0");
    refused("/v1/views/seat/1/%ff", "not UTF-8");
    refused("/v1/views/seat/1/%00", "NUL");
    world.get(&format!("/v1/views/{}", "x".repeat(9000))).is_problem(414, "path-too-long");
}

#[test]
fn bytes_that_are_no_path_are_refused_and_harm_nothing() {
    let world = World::new();
    for path in ["/v1/views/user/\u{fc}".as_bytes(), b"/v1/views/seat/1/\xff\xfe", b"/v1/views/user/\x01"] {
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(path);
        request.extend_from_slice(
            format!(" HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", world.address).as_bytes(),
        );
        let reply = Reply::parse(&world.raw(&request));
        assert_eq!(reply.status, 400, "{path:?}");
    }
    assert!(world.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").len() < 200, "a TLS greeting");
    assert_eq!(world.get("/v1/views/user/1").status, 200);
}

#[test]
fn levels_that_cannot_be_read_are_refused() {
    let world = World::new();
    for level in
        ["eventual", "bounded", "bounded=", "bounded=5", "bounded=-1s", "bounded=1 s", "strong=1s", ""]
    {
        let reply = world.at(level, "/v1/views/user/1");
        reply.is_problem(400, "bad-level");
    }
    world.at("snapshot", "/v1/views/user/1").is_problem(400, "bad-level");
    let headers = [("Candor-Consistency", "strong"), ("Candor-Consistency", "any")];
    world.ask("GET", "/v1/views/user/1", &headers, "").is_problem(400, "bad-request");
    assert_eq!(world.at("bounded:1s", "/v1/views/user/1").status, 200);
}

#[test]
fn an_option_in_the_query_is_not_silently_ignored() {
    let world = World::new();
    world.get("/v1/views/user/1?consistency=strong").is_problem(400, "bad-request");
    assert_eq!(world.get("/healthz?probe=1").status, 200);
}

#[test]
fn bodies_must_be_json_and_mistakes_have_a_place() {
    let world = World::new();
    let post = |body: &str| world.post("/v1/views/user", body);
    let reply = post("{\"keys\":\n[[1],}");
    reply.is_problem(400, "bad-request");
    assert!(reply.detail().contains("line 2 column 6"), "{}", reply.detail());
    for body in
        ["", "[]", "{}", "{\"keys\":1}", "{\"keys\":[1]}", "{\"keys\":[[1]],\"level\":\"any\"}", "nul"]
    {
        post(body).is_problem(400, "bad-request");
    }
    for body in ["{\"keys\":[[null]]}", "{\"keys\":[[[1]]]}", "{\"keys\":[[{}]]}", "{\"keys\":[[1.5]]}"] {
        post(body).is_problem(400, "bad-key");
    }
    let second = post("{\"keys\":[[1],[\"x\"]]}");
    second.is_problem(400, "bad-key");
    assert!(second.detail().starts_with("key 1 "), "{}", second.detail());
    world.ask("POST", "/v1/views/user", &[], "{\"keys\":[[1]]}").is_problem(415, "not-json");
    let text = [("Content-Type", "text/plain")];
    world.ask("POST", "/v1/views/user", &text, "{\"keys\":[[1]]}").is_problem(415, "not-json");
    let charset = [("Content-Type", "Application/JSON; charset=utf-8")];
    assert_eq!(world.ask("POST", "/v1/views/user", &charset, "{\"keys\":[[1]]}").status, 200);
    let head = crate::world::head(
        world.address,
        "POST",
        "/v1/views/seat",
        &[("Content-Type", "application/json")],
        "012345678901234",
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(b"{\"keys\":[\"\xff\xfe\"]}");
    let reply = Reply::parse(&world.raw(&request));
    reply.is_problem(400, "bad-request");
    assert!(reply.detail().contains("line 1 column"), "{}", reply.detail());
}

#[test]
fn invalidations_must_say_one_thing() {
    let world = World::new();
    for body in [
        "{}",
        r#"{"view":"user"}"#,
        r#"{"key":[1]}"#,
        r#"{"view":"user","key":[1],"tags":["users"]}"#,
        r##"{"tags":["#"]}"##,
        r#"{"tags":["users:id"]}"#,
    ] {
        world.post("/v1/invalidate", body).is_problem(400, "bad-request");
    }
    world.post("/v1/invalidate", r#"{"view":"usr","key":[1]}"#).is_problem(404, "unknown-view");
    world.post("/v1/invalidate", r#"{"view":"user","key":["x"]}"#).is_problem(400, "bad-key");
}
