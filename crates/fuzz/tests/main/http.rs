//! The HTTP door: any bytes are answered as HTTP or not at all, no answer leaves without a receipt, nothing panics, and
//! the next client is served.

use candor_fuzz::Fuzzer;
use candor_server::config::{Origin, SourceKind};
use candor_server::{Config, Gate};
use rusqlite::Connection;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

const CONFIG: &str = r#"
[source.shop]
kind = "sqlite"
path = "shop.db"
[feed.shop]
poll = "20ms"
[view.user]
owner = "accounts"
source = "shop"
key = ["id:int8"]
sql = "SELECT id, name FROM users WHERE id = $1"
[view.seat]
owner = "hall"
source = "shop"
key = ["line:int4", "place:text"]
sql = "SELECT line, place, guest FROM seats WHERE line = $1 AND place = $2"
[server]
http = "127.0.0.1:0"
[server.limits]
body = "8KiB"
headers = "8KiB"
header_timeout = "2s"
request_timeout = "2s"
"#;

const WORDS: &[&str] = &[
    "GET ",
    "POST ",
    "HEAD ",
    "OPTIONS ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/2.0\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "Host: localhost\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "Content-Type: application/json\r\n",
    "If-None-Match: *\r\n",
    "Candor-Consistency: strong\r\n",
    "Candor-Consistency: bounded=500ms\r\n",
    "Candor-Consistency: session\r\n",
    "Candor-Session: AQA\r\n",
    "/v1/views/user/1",
    "/v1/views/seat/1/A",
    "/v1/explain/user/1",
    "/v1/fence",
    "/v1/invalidate",
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/../",
    "%2F",
    "%00",
    "%ff",
    "%",
    "?a=b",
    "#",
    "//",
    "{\"keys\":[[1],[2]]}",
    "\"consistency\":\"snapshot\"",
    "{\"source\":\"shop\"}",
    "{\"view\":\"user\",\"key\":[1]}",
    "{\"tags\":[\"users\"]}",
    "[[",
    "null",
    "1e400",
    "\"\\ud800\"",
    "0\r\n\r\n",
    "5\r\n",
    "ffffffffffffffff\r\n",
];

/// What the door may answer. 500 is not among them: that would be our own fault.
const STATUSES: &[u16] = &[
    200, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 414, 415, 417, 422, 431, 501, 503, 504,
    505,
];

#[test]
fn any_bytes_are_answered_as_http_or_not_at_all() {
    let panics = count_panics();
    let door = Door::open();
    let mut asked = 0_u64;
    let tally = Fuzzer::new("http", WORDS).run(|input| {
        asked += 1;
        let reply = door.send(input, Duration::from_millis(20));
        assert_eq!(panics.load(Ordering::SeqCst), 0, "the server panicked");
        if asked % 500 == 1 {
            let request = b"GET /v1/views/user/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let well = door.send(request, Duration::from_secs(10));
            assert!(
                well.starts_with(b"HTTP/1.1 200 "),
                "the next client is not served: {}",
                well.escape_ascii()
            );
        }
        look(input, &reply)
    });
    assert!(tally.ways > 10, "the fuzzer did nothing: {tally:?}");
}

/// The first answer; what follows on the same connection was asked by what was left of the input.
fn look(input: &[u8], reply: &[u8]) -> String {
    if reply.is_empty() {
        return "closed".into();
    }
    let split = reply
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("an answer without an end of its head");
    let head = std::str::from_utf8(&reply[..split]).expect("a head that is not text").to_lowercase();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("http/1.").and_then(|rest| rest.get(2..5)));
    let status: u16 = status.and_then(|status| status.parse().ok()).expect("an answer without a status");
    if status == 100 {
        return "100".into();
    }
    assert!(STATUSES.contains(&status), "answered {status}");
    let header = |name: &str| lines.clone().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    let is_bodyless = status == 304 || status == 204 || input.starts_with(b"HEAD ");
    let rest = &reply[split + 4..];
    let body = if is_bodyless { &[][..] } else { &rest[..length.unwrap_or(rest.len()).min(rest.len())] };
    let mut way = format!("{status} {:?}", header("content-type"));
    if header("content-type") == Some("application/problem+json") && !is_bodyless {
        let problem: Value = serde_json::from_slice(body).expect("a problem that is not JSON");
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail", "mend"] {
            assert!(
                problem[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member} is missing: {problem}"
            );
        }
        assert!(!problem.to_string().contains("shop.db"), "a file of this machine is named: {problem}");
        way += problem["type"].as_str().unwrap_or_default();
    }
    let is_read = input.starts_with(b"GET /v1/views/");
    if is_read && matches!(status, 200 | 304) {
        assert!(header("candor-receipt").is_some(), "an answer without a receipt");
    }
    way
}

struct Door {
    address: SocketAddr,
    _runtime: Runtime,
    _dir: tempfile::TempDir,
}

impl Door {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writer = Connection::open(dir.path().join("shop.db")).unwrap();
        writer
            .execute_batch(
                "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
                 CREATE TABLE seats (line INTEGER NOT NULL, place TEXT NOT NULL, guest TEXT, PRIMARY KEY (line, place));
                 INSERT INTO users VALUES (1, 'Ada'), (2, 'Bob'); INSERT INTO seats VALUES (1, 'A', 'Ada');",
            )
            .unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let origin = Origin::new(dir.path().join("candor.toml"), CONFIG);
        let config = Config::parse(origin, &|_| None).unwrap_or_else(|complaints| panic!("{complaints}"));
        let SourceKind::Sqlite { path } = &config.sources[0].kind else { panic!("not SQLite") };
        let sqlite = candor_sqlite::Sqlite::open(candor_sqlite::SqliteOptions::new(path)).unwrap();
        let queries: Vec<_> = config.views.iter().map(|view| view.query.clone()).collect();
        assert!(runtime.block_on(sqlite.setup(&queries)).unwrap().refused.is_empty());
        let gate = Gate::of(&config, &|_| None).unwrap();
        let listener = runtime.block_on(candor_server::listen(&config, gate)).unwrap();
        let address = listener.address();
        runtime.spawn(listener.run(std::future::pending()));
        Self { address, _runtime: runtime, _dir: dir }
    }

    /// Sends bytes as they are and reads what comes. Half a request is waited for by the server, so after `patience`, or
    /// once an answer is whole, this side ends; the server must then end its own.
    fn send(&self, bytes: &[u8], patience: Duration) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        let (mut reply, mut buffer, mut is_ended) = (Vec::new(), [0; 4096], false);
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return reply,
                Ok(read) => reply.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return reply,
                Err(error) if is_ended || error.kind() != ErrorKind::WouldBlock => {
                    panic!("the server neither answers nor closes: {error}")
                }
                Err(_) => {}
            }
            if !is_ended && (reply.is_empty() || is_whole(&reply)) {
                is_ended = true;
                let _ = stream.shutdown(Shutdown::Write);
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            }
        }
    }
}

/// Whether the reply begins with an answer that is there to its end.
fn is_whole(reply: &[u8]) -> bool {
    let Some(split) = reply.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&reply[..split]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| reply.len() >= split + 4 + length)
}

/// Panics of the server's own threads; those of the look end the test anyway.
fn count_panics() -> Arc<AtomicU64> {
    let (count, before) = (Arc::new(AtomicU64::new(0)), std::panic::take_hook());
    let counted = Arc::clone(&count);
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name().is_some_and(|name| name.starts_with("tokio")) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        before(panic);
    }));
    count
}
