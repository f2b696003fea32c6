//! A small shop in a temporary directory, somebody who writes to it, and the binary.

use rusqlite::Connection;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Longer than anything here takes on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const SHOP: &str = "
CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT NOT NULL);
CREATE TABLE track (id INTEGER PRIMARY KEY, name TEXT NOT NULL, album_id INTEGER);
CREATE TABLE price (track_id INTEGER NOT NULL, currency TEXT NOT NULL, cents INTEGER NOT NULL,
    PRIMARY KEY (track_id, currency)) WITHOUT ROWID;
INSERT INTO album VALUES (1, 'Pastel Blues'), (2, 'Kind of Blue');
INSERT INTO track VALUES (1, 'Sinnerman', 1), (2, 'So What', 2), (3, 'Blue in Green', 2);
INSERT INTO price VALUES (1, 'EUR', 99), (2, 'EUR', 129), (2, 'a/b', 1);
";

/// Views that hold, one of each kind.
pub(crate) const VIEWS: &str = r#"
[view.track]
owner = "catalogue"
source = "shop"
key = ["id:int8"]
sql = "SELECT t.id, t.name, a.title FROM track t JOIN album a ON a.id = t.album_id WHERE t.id = $1"

[view.price]
owner = "billing"
source = "shop"
key = ["track:int8", "currency:text"]
sql = "SELECT cents FROM price WHERE track_id = $1 AND currency = $2"
critical = true

[view.top]
owner = "catalogue"
source = "shop"
key = []
sql = "SELECT id, name FROM track ORDER BY id"
rows = "many"
proof = "clock"
consistency = "bounded:500ms"
"#;

/// A directory with `shop.db` and `candor.toml`.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command that goes on, with its lines as they come. Killed with this value.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl World {
    /// With views that hold, a server on any port, and no change log yet.
    pub(crate) fn bare() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        world.write(SHOP);
        world.configure("[server]\nhttp = \"127.0.0.1:0\"\n", VIEWS);
        world
    }

    /// The same, set up.
    pub(crate) fn new() -> Self {
        let world = Self::bare();
        world.candor(&["setup"]).expect(0);
        world
    }

    pub(crate) fn configure(&self, server: &str, views: &str) {
        let source = "[source.shop]\nkind = \"sqlite\"\npath = \"shop.db\"\n";
        self.file("candor.toml", &format!("{source}\n{server}\n{views}"));
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// As another program would: with a connection of its own.
    pub(crate) fn write(&self, sql: &str) {
        self.open().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) fn open(&self) -> Connection {
        let connection = Connection::open(self.path().join("shop.db")).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_candor"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        for name in ["CANDOR_CONFIG", "CANDOR_URL", "CANDOR_TOKEN", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn candor(&self, args: &[&str]) -> Ran {
        ran(self.command(args))
    }

    /// Begins a command that prints JSON lines.
    pub(crate) fn begin(&self, args: &[&str]) -> Running {
        begun(self.command(args))
    }

    /// A server that follows the log, and its URL.
    pub(crate) fn serve(&self) -> (Running, String) {
        self.serve_with(self.command(&["serve", "--json"]))
    }

    /// The same, by a command of one's own.
    pub(crate) fn serve_with(&self, command: Command) -> (Running, String) {
        let mut server = begun(command);
        let listening = server.event("listening");
        server.event("ready");
        (server, listening["http"].as_str().unwrap().to_owned())
    }

    /// A server on a port that the configuration names, so that other commands find it.
    pub(crate) fn serve_on_a_known_port(&self, views: &str) -> (Running, String) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.configure(&format!("[server]\nhttp = \"127.0.0.1:{port}\"\n"), views);
        self.serve()
    }
}

pub(crate) fn begun(mut command: Command) -> Running {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let out = BufReader::new(child.stdout.take().unwrap());
    let (send, lines) = sync_channel(1024);
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    Running { child, lines }
}

pub(crate) fn ran(mut command: Command) -> Ran {
    let output = command.output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

impl Ran {
    /// The same, if it ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(
            !self.out.contains('\u{1b}') && !self.err.contains('\u{1b}'),
            "no colours in a pipe: {self:#?}"
        );
        self
    }

    /// Stdout as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Whether stdout holds all of these.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.out.contains(text), "`{text}` is not in {self:#?}");
        }
        self
    }

    /// Whether stderr holds all of these.
    #[track_caller]
    pub(crate) fn warns(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text), "`{text}` is not in {self:#?}");
        }
        self
    }
}

impl Running {
    /// The next line that is this event.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.next(name, |line| line["event"] == name)
    }

    /// The next line with this member.
    #[track_caller]
    pub(crate) fn line(&mut self, member: &str) -> Value {
        self.next(member, |line| line.get(member).is_some())
    }

    #[track_caller]
    fn next(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no `{what}`; {:?}", self.child.try_wait()));
            let line: Value = serde_json::from_str(&line).expect(&line);
            if is_it(&line) {
                return line;
            }
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that answers every connection with the same bytes, or with silence.
pub(crate) fn impostor(answer: Option<&'static str>) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            if let Some(answer) = answer {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
            } else {
                held.push(stream);
            }
        }
    });
    url
}
