//! A small shop, the server in front of it, somebody who writes past it, and a client that speaks plain HTTP.

use candor_server::config::Origin;
use candor_server::{Config, Gate, Listener, StartError};
use rusqlite::Connection;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const SCHEMA: &str = "
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE);
CREATE TABLE seats (line INTEGER NOT NULL, place TEXT NOT NULL, guest TEXT, PRIMARY KEY (line, place));
CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), cents INTEGER NOT NULL);
CREATE TABLE carts (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, item TEXT NOT NULL);
CREATE TABLE big (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL);
INSERT INTO users VALUES (1, 'Ada', 'ada@example.com'), (2, 'Bob', 'bob@example.com'), (3, 'Cy', NULL);
INSERT INTO seats VALUES (1, 'A', 'Ada'), (1, 'B', NULL), (2, 'A', 'Bob'), (3, 'ü/%', 'Cy');
INSERT INTO orders VALUES (1, 1, 500), (2, 1, 700), (3, 2, 900);
INSERT INTO carts VALUES (1, 'alice', 'tea'), (2, 'bob', 'coffee');
INSERT INTO big VALUES (9223372036854775807, 1), (9223372036854775806, 2);
";

/// The views most tests use. `[server]` and its limits are added by each world.
pub(crate) const VIEWS: &str = r##"
[source.shop]
kind = "sqlite"
path = "shop.db"
timeout = "20s"

[feed.shop]
poll = "20ms"

[view.user]
owner = "accounts"
source = "shop"
key = ["id:int8"]
sql = "SELECT id, name, email FROM users WHERE id = $1"

[view.user_or_stale]
owner = "accounts"
source = "shop"
key = ["id:int8"]
sql = "SELECT id, name FROM users WHERE id = $1"
on_source_down = "stale:10m"
consistency = "bounded:100ms"

[view.seat]
owner = "hall"
source = "shop"
key = ["line:int4", "place:text"]
sql = "SELECT line, place, guest FROM seats WHERE line = $1 AND place = $2"

[view.orders]
owner = "sales"
source = "shop"
key = ["user:int8"]
sql = "SELECT o.id, o.cents, u.name FROM orders o JOIN users u ON u.id = o.user_id WHERE o.user_id = $1 ORDER BY o.id"
rows = "many"

[view.amount]
owner = "sales"
source = "shop"
key = ["id:int8"]
sql = "SELECT id, amount FROM big WHERE id = $1"

[view.balance]
owner = "bank"
source = "shop"
key = ["user:int8"]
critical = true
sql = "SELECT sum(cents) AS cents FROM orders WHERE user_id = $1"

[view.census]
owner = "board"
source = "shop"
key = []
proof = "clock"
consistency = "bounded:1h"
invalidated_by = ["#census", "users"]
sql = "SELECT count(*) AS users FROM users"

[view.slow]
owner = "nobody"
source = "shop"
key = ["steps:int8"]
proof = "clock"
timeout = "30s"
sql = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < $1) SELECT count(*) AS n FROM c"
"##;

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) writer: Connection,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<bool>>,
    runtime: Option<Runtime>,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A directory with a database.
pub(crate) fn shop() -> (tempfile::TempDir, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let writer = Connection::open(dir.path().join("shop.db")).unwrap();
    writer.busy_timeout(Duration::from_secs(10)).unwrap();
    writer.execute_batch(SCHEMA).unwrap();
    (dir, writer)
}

pub(crate) fn config(dir: &tempfile::TempDir, text: &str) -> Config {
    let parsed = Config::parse(Origin::new(dir.path().join("candor.toml"), text), &environment);
    parsed.unwrap_or_else(|complaints| panic!("{complaints}"))
}

pub(crate) fn environment(name: &str) -> Option<String> {
    match name {
        "ALICE_TOKEN" => Some("alice-0123456789abcdef".into()),
        "BOB_TOKEN" => Some("bob-0123456789abcdef".into()),
        "WEB_TOKEN" => Some("web-0123456789abcdef".into()),
        "POOR_TOKEN" => Some("poor-0123456789abcdef".into()),
        "SECRET" => Some("correct horse battery staple".into()),
        _ => None,
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What `candor setup` does.
pub(crate) fn set_up(runtime: &Runtime, config: &Config) {
    for source in &config.sources {
        let candor_server::config::SourceKind::Sqlite { path } = &source.kind else { continue };
        let sqlite = candor_sqlite::Sqlite::open(candor_sqlite::SqliteOptions::new(path)).unwrap();
        let of_source = config.views.iter().filter(|view| view.source == source.name);
        let queries: Vec<_> = of_source.map(|view| view.query.clone()).collect();
        let plan = runtime.block_on(sqlite.setup(&queries)).unwrap();
        assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    }
}

pub(crate) fn start(runtime: &Runtime, config: &Config) -> Result<Listener, StartError> {
    let gate = Gate::of(config, &environment).map_err(StartError::Config)?;
    runtime.block_on(candor_server::listen(config, gate))
}

impl World {
    /// The views above, with everybody on this machine let in.
    pub(crate) fn new() -> Self {
        Self::with("[server]\nhttp = \"127.0.0.1:0\"\ndrain = \"10s\"\n")
    }

    /// The views above, with a section `[server]` and whatever else.
    pub(crate) fn with(server: &str) -> Self {
        Self::of(&format!("{VIEWS}\n{server}"), |_, _| {})
    }

    /// Any configuration. `prepare` runs after the setup and before the start.
    pub(crate) fn of(text: &str, prepare: impl FnOnce(&tempfile::TempDir, &Connection)) -> Self {
        let (dir, writer) = shop();
        let world = Self::over(dir, writer, text, prepare);
        world.ready();
        world
    }

    /// The same over a directory that exists, without waiting for anything.
    pub(crate) fn over(
        dir: tempfile::TempDir,
        writer: Connection,
        text: &str,
        prepare: impl FnOnce(&tempfile::TempDir, &Connection),
    ) -> Self {
        std::fs::write(dir.path().join("tokens.toml"), TOKENS).unwrap();
        let config = config(&dir, text);
        let runtime = runtime();
        set_up(&runtime, &config);
        prepare(&dir, &writer);
        let listener = start(&runtime, &config).unwrap_or_else(|error| panic!("{error}"));
        let address = listener.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = runtime.spawn(listener.run(async {
            let _ = stopped.await;
        }));
        Self { dir, address, writer, stop: Some(stop), running: Some(running), runtime: Some(runtime) }
    }

    pub(crate) fn ready(&self) {
        self.until("ready", || self.get("/readyz").status == 200);
    }

    /// Looks again and again, for ten seconds at most.
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        // Without a defence it mostly never comes.
        let is_vain = cfg!(candor_sabotage) && std::env::var_os("CANDOR_WITHOUT").is_some();
        for _ in 0..if is_vain { 120 } else { 500 } {
            if is_so() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("not in ten seconds: {what}");
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("shop.db")
    }

    /// Another program writes.
    pub(crate) fn write(&self, sql: &str) {
        self.writer.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "")
    }

    pub(crate) fn at(&self, level: &str, path: &str) -> Reply {
        self.ask("GET", path, &[("Candor-Consistency", level)], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        self.ask("POST", path, &[("Content-Type", "application/json")], body)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        ask(self.address, method, path, headers, body)
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = connect(self.address);
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        reply
    }

    /// Gives the order to stop; the result is ready once everything has ended.
    pub(crate) fn stop(&mut self) -> JoinHandle<bool> {
        drop(self.stop.take());
        self.running.take().unwrap()
    }

    pub(crate) fn wait(&self, running: JoinHandle<bool>) -> bool {
        self.runtime.as_ref().unwrap().block_on(running).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_millis(200));
        }
    }
}

pub(crate) const TOKENS: &str = r#"
[[token]]
name = "alice"
token = "${ALICE_TOKEN}"
views = ["cart", "basket", "heap", "user"]
subject = "alice"
explain = true
invalidate = true

[[token]]
name = "bob"
token = "${BOB_TOKEN}"
views = ["cart", "basket"]
subject = "bob"
explain = true

[[token]]
name = "web"
token = "${WEB_TOKEN}"
views = ["*"]
fence = true
may_impersonate = true

[[token]]
name = "poor"
token = "${POOR_TOKEN}"
views = ["user"]
"#;

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

pub(crate) fn head(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text + "\r\n"
}

pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut stream = connect(address);
    let request = head(address, method, path, headers, body) + body;
    // A refusal may come before the body is read.
    let _ = stream.write_all(request.as_bytes());
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    Reply::parse(&reply)
}

impl Reply {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let shown = String::from_utf8_lossy(bytes);
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let split = split.unwrap_or_else(|| panic!("no response: {shown:.200}"));
        let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        });
        Self { status, headers: headers.collect(), body: bytes[split + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub(crate) fn receipt(&self) -> &str {
        self.header("candor-receipt").unwrap_or_else(|| panic!("no receipt: {self:?}"))
    }

    /// A member of the receipt.
    pub(crate) fn says(&self, member: &str) -> Option<&str> {
        let members = self.receipt().split(", ").filter_map(|part| part.split_once('='));
        members.into_iter().find(|(name, _)| *name == member).map(|(_, value)| value)
    }

    pub(crate) fn session(&self) -> &str {
        self.header("candor-session").unwrap_or_else(|| panic!("no session: {self:?}"))
    }

    /// Asserts a problem of this kind, with nothing about the inside of the machine.
    pub(crate) fn is_problem(&self, status: u16, kind: &str) -> &Self {
        assert_eq!(self.status, status, "{self:?}: {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
        assert_eq!(problem["status"], status);
        for member in ["title", "detail", "whose", "mend"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
        }
        assert!(!self.text().contains("/tmp") && !self.text().contains(".db"), "{problem}");
        self
    }

    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}
