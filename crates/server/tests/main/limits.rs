//! Clients that mean no good, and the end.

use crate::world::{Reply, World, ask, connect, head};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn strict() -> World {
    World::with(
        "[server]\nhttp = \"127.0.0.1:0\"\ndrain = \"10s\"\n[server.limits]\nbody = \"4KiB\"\nheaders = \"8KiB\"\nheader_timeout = \"300ms\"\nrequest_timeout = \"2s\"\nconnections = 8\n",
    )
}

#[expect(clippy::disallowed_methods, reason = "a test may look at the clock on the wall")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn ten_megabytes_of_header_are_refused_and_harm_nothing() {
    let world = strict();
    let mut request =
        format!("GET /v1/views/user/1 HTTP/1.1\r\nHost: {}\r\nX-Big: ", world.address).into_bytes();
    request.resize(request.len() + (10 << 20), b'a');
    request.extend_from_slice(b"\r\n\r\n");
    let reply = world.raw(&request);
    assert!(
        reply.is_empty() || reply.starts_with(b"HTTP/1.1 431"),
        "{:.80}",
        String::from_utf8_lossy(&reply)
    );
    let many: String = (0..500).map(|number| format!("X-{number}: 1\r\n")).collect();
    let reply = world
        .raw(format!("GET /v1/views/user/1 HTTP/1.1\r\nHost: {}\r\n{many}\r\n", world.address).as_bytes());
    assert!(
        reply.is_empty() || reply.starts_with(b"HTTP/1.1 431"),
        "{:.80}",
        String::from_utf8_lossy(&reply)
    );
    assert_eq!(world.get("/v1/views/user/1").status, 200);
}

#[test]
fn a_client_that_sends_a_byte_now_and_then_is_cut_off() {
    let world = strict();
    let begun = now();
    let mut slow: Vec<_> = (0..7).map(|_| connect(world.address)).collect();
    for byte in b"GET /v1/views/user/1 HTTP/1.1\r\n" {
        for stream in &mut slow {
            let _ = stream.write_all(&[*byte]);
        }
        std::thread::sleep(Duration::from_millis(50));
        if begun.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(world.get("/v1/views/user/1").status, 200);
}

#[test]
fn idle_connections_are_closed_and_the_cap_only_makes_others_wait() {
    let world = strict();
    let mut idle: Vec<_> = (0..20).map(|_| connect(world.address)).collect();
    let begun = now();
    assert_eq!(world.get("/v1/views/user/1").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for stream in &mut idle {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let world = World::new();
    let mut stream = connect(world.address);
    for _ in 0..3 {
        let request = head(world.address, "GET", "/v1/views/user/1", &[], "").replace("close", "keep-alive");
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = Vec::new();
        let mut buffer = [0; 4096];
        while !reply.ends_with(b"}") {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "closed");
            reply.extend_from_slice(&buffer[..read]);
        }
        assert_eq!(Reply::parse(&reply).status, 200);
    }
}

#[test]
fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    let world = strict();
    let body = format!("{{\"keys\":[[\"{}\"]]}}", "x".repeat(5000));
    world.post("/v1/views/user", &body).is_problem(413, "body-too-large");
    let announced = format!(
        "POST /v1/views/user HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n",
        world.address
    );
    Reply::parse(&world.raw(announced.as_bytes())).is_problem(413, "body-too-large");
    let mut chunked = format!(
        "POST /v1/views/user HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        world.address
    );
    for _ in 0..10 {
        chunked.push_str(&format!("400\r\n{}\r\n", " ".repeat(1024)));
    }
    Reply::parse(&world.raw(chunked.as_bytes())).is_problem(413, "body-too-large");
    assert_eq!(world.get("/v1/views/user/1").status, 200);
}

#[test]
fn a_body_that_never_comes_ends_with_the_request_s_time() {
    let world = strict();
    let begun = now();
    let waiting =
        head(world.address, "POST", "/v1/views/user", &[("Content-Type", "application/json")], "0123");
    let reply = Reply::parse(&world.raw(waiting.as_bytes()));
    reply.is_problem(504, "timed-out");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_request_that_takes_too_long_is_told_so() {
    let world = strict();
    world.get("/v1/views/slow/2000000000").is_problem(504, "timed-out");
    assert_eq!(world.get("/v1/views/user/1").status, 200);
}

#[test]
fn a_client_that_does_not_take_its_answer_does_not_keep_its_place() {
    let world = strict();
    let rows: String = (0..6000).map(|id| format!("({}, 2, {id}),", 1000 + id)).collect();
    world.write(&format!("INSERT INTO orders VALUES {}", rows.trim_end_matches(',')));
    let mut deaf: Vec<_> = (0..8).map(|_| connect(world.address)).collect();
    for stream in &mut deaf {
        // Many answers ahead, none of them read.
        let request =
            head(world.address, "GET", "/v1/views/orders/2", &[], "").replace("close", "keep-alive");
        let _ = stream.write_all(request.repeat(40).as_bytes());
    }
    std::thread::sleep(Duration::from_millis(500));
    let begun = now();
    assert_eq!(world.get("/v1/views/user/1").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn an_answer_that_is_taken_slowly_and_steadily_is_given_whole() {
    const ANSWERS: usize = 40;
    let world = strict();
    let rows: String = (0..6000).map(|id| format!("({}, 2, {id}),", 1000 + id)).collect();
    world.write(&format!("INSERT INTO orders VALUES {}", rows.trim_end_matches(',')));
    let one = world.get("/v1/views/orders/2").body.len();
    let mut stream = connect(world.address);
    // More than the system keeps for anybody, so that the server waits for us again and again.
    let asked = head(world.address, "GET", "/v1/views/orders/2", &[], "")
        .replace("close", "keep-alive")
        .repeat(ANSWERS);
    stream.write_all(asked.as_bytes()).unwrap();
    let begun = now();
    let (mut taken, mut buffer) = (0, vec![0; 64 << 10]);
    while taken < one * ANSWERS {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "closed after {taken} bytes of {ANSWERS} answers of {one}");
        taken += read;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "slower than any one limit: {:?}", begun.elapsed());
}

#[test]
fn a_connection_that_was_used_is_closed_when_nothing_more_comes() {
    let world = strict();
    let mut stream = connect(world.address);
    let request = head(world.address, "GET", "/v1/views/user/1", &[], "").replace("close", "keep-alive");
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    let begun = now();
    let mut replies = Vec::new();
    stream.read_to_end(&mut replies).unwrap();
    assert_eq!(String::from_utf8_lossy(&replies).matches("HTTP/1.1 200").count(), 3);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_request_has_its_whole_time_however_long_its_connection_was_open() {
    let world = World::with(
        "[server]\nhttp = \"127.0.0.1:0\"\n[server.limits]\nheader_timeout = \"1500ms\"\nrequest_timeout = \"2s\"\n",
    );
    let mut stream = connect(world.address);
    let request = |path: &str| head(world.address, "GET", path, &[], "").replace("close", "keep-alive");
    for _ in 0..2 {
        stream.write_all(request("/v1/views/user/1").as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(700));
    }
    let begun = now();
    stream.write_all(request("/v1/views/slow/2000000000").as_bytes()).unwrap();
    let (mut replies, mut buffer) = (String::new(), [0; 4096]);
    while !replies.contains("HTTP/1.1 504") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "closed after {:?}: {replies}", begun.elapsed());
        replies.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    let took = begun.elapsed();
    assert_eq!(replies.matches("HTTP/1.1 200").count(), 2);
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn stopping_lets_a_request_in_progress_finish() {
    let mut world = World::new();
    let address = world.address;
    let mut untouched = connect(address);
    let asking = std::thread::spawn(move || ask(address, "GET", "/v1/views/slow/2000000", &[], ""));
    world.until("the source to be asked", || {
        world.get("/metrics").text().contains("candor_loads{source=\"shop\"} 1.0")
    });
    let begun = now();
    let running = world.stop();
    let reply = asking.join().unwrap();
    assert_eq!((reply.status, &reply.json()["n"]), (200, &2_000_000.into()), "{}", reply.text());
    assert!(world.wait(running), "everything finished");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    let mut rest = Vec::new();
    let _ = untouched.read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any longer");
}

#[test]
fn a_request_that_outlasts_the_drain_is_cut_off() {
    let mut world = World::with("[server]\nhttp = \"127.0.0.1:0\"\ndrain = \"300ms\"\n");
    let address = world.address;
    let mut stream = connect(address);
    stream.write_all(head(address, "GET", "/v1/views/slow/2000000000", &[], "").as_bytes()).unwrap();
    world.until("the source to be asked", || {
        world.get("/metrics").text().contains("candor_loads{source=\"shop\"} 1.0")
    });
    let begun = now();
    let running = world.stop();
    assert!(!world.wait(running), "not everything finished");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
