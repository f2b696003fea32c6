//! The HTTP door: the real `candor serve` as a child, and clients that do as little as an HTTP client can.

use crate::round::{Bell, Seen};
use crate::world::{DOOR, ROWS, World, cpu_nanos};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub struct Door {
    child: Child,
    port: u16,
    _folder: TempDir,
}

/// Builds `candor` as it is shipped.
pub fn build() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let args = ["build", "--quiet", "--profile", "dist", "-p", "candor-cli", "--manifest-path"];
    let built = Command::new(cargo).args(args).arg(Path::new(ROOT).join("Cargo.toml")).status();
    assert!(built.is_ok_and(|status| status.success()), "`candor` does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(ROOT).join("target"), PathBuf::from);
    target.join("dist/candor")
}

impl Door {
    pub async fn start(world: &World, candor: &Path) -> Self {
        drop(crate::library::open(world, DOOR).await);
        let folder = tempfile::tempdir().expect("a folder");
        let port = candor_testbed::free_port();
        let config = format!(
            "[source.shop]\nkind = \"postgres\"\nurl = \"{}\"\npool = {{ acquire_timeout = \"2s\" }}\n\
             limit = {{ queue_timeout = \"2s\" }}\n[feed.shop]\nslot = \"{DOOR}\"\npublication = \"{DOOR}\"\n\
             [l1]\ncapacity = \"256MiB\"\n[server]\nhttp = \"127.0.0.1:{port}\"\n\
             [view.item]\nowner = \"bench\"\nsource = \"shop\"\nkey = [\"id:int8\"]\nsql = \"{}\"\nttl = \"30d\"\n\
             refresh = \"none\"\nconsistency = \"strong\"\n",
            world.url(DOOR),
            crate::world::SQL
        );
        fs::write(folder.path().join("candor.toml"), config).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(candor)
            .arg("serve")
            .current_dir(folder.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("`candor serve` starts");
        let door = Self { child, port, _folder: folder };
        for _ in 0..200 {
            if door.is_ready().await {
                return door;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let said = fs::read_to_string(door._folder.path().join("log")).unwrap_or_default();
        panic!("`candor serve` is not ready after 20 s:\n{said}");
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut connection) = Connection::open(self.port).await else { return false };
        connection.ask(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.is_some_and(|answer| answer.is_ok)
    }

    /// Reads every key once.
    pub async fn warm(&self) {
        let readers = 8;
        let tasks: Vec<_> = (0..readers)
            .map(|reader| {
                let port = self.port;
                tokio::spawn(async move {
                    let mut connection = Connection::open(port).await.expect("connected");
                    for key in (1..=ROWS as i64).filter(|key| *key as usize % readers == reader) {
                        // One that is refused because the machine is busy is loaded when it is asked for.
                        let _ = connection.read(key, "any").await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("warmed");
        }
    }

    pub fn client(
        &self,
        world: &World,
        level: &'static str,
        number: usize,
        bell: Bell,
    ) -> impl Future<Output = Seen> + Send + use<> {
        let mut walk = world.keys.walk(number);
        let port = self.port;
        async move {
            let mut seen = Seen::default();
            let mut connection = Connection::open(port).await.expect("connected");
            while !bell.is_over() {
                let key = walk.next();
                let since = Instant::now();
                match connection.read(key, level).await {
                    Some(from_memory) => seen.answered(&bell, since, from_memory),
                    None => seen.failed += 1,
                }
            }
            seen
        }
    }

    /// A connection on which `depth` clients ask at once: their questions go out together, and the next ones once all have
    /// their answers.
    pub fn pipelining_client(
        &self,
        world: &World,
        level: &'static str,
        number: usize,
        depth: usize,
        bell: Bell,
    ) -> impl Future<Output = Seen> + Send + use<> {
        let mut walk = world.keys.walk(number);
        let port = self.port;
        async move {
            let mut seen = Seen::default();
            let mut connection = Connection::open(port).await.expect("connected");
            while !bell.is_over() {
                connection.question.clear();
                (0..depth).for_each(|_| connection.put(walk.next(), level));
                let since = Instant::now();
                let question = std::mem::take(&mut connection.question);
                connection.stream.write_all(&question).await.expect("asked");
                connection.question = question;
                for _ in 0..depth {
                    let answer = connection.answer().await.expect("an answer");
                    if answer.is_ok { seen.answered(&bell, since, answer.from_memory) } else { seen.failed += 1 }
                }
            }
            seen
        }
    }

    /// Processor time of the server so far.
    pub fn cpu_nanos(&self) -> u64 {
        cpu_nanos(self.child.id())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept, with one question under way.
struct Connection {
    stream: TcpStream,
    question: Vec<u8>,
    /// What was read, of which the first `filled` bytes are not taken yet.
    answer: Vec<u8>,
    filled: usize,
}

struct Answer {
    is_ok: bool,
    from_memory: bool,
}

impl Connection {
    async fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, question: Vec::new(), answer: vec![0; 64 << 10], filled: 0 })
    }

    /// Reads a key; whether it came from memory, or `None` if it was refused.
    async fn read(&mut self, key: i64, level: &str) -> Option<bool> {
        self.question.clear();
        self.put(key, level);
        let question = std::mem::take(&mut self.question);
        let answer = self.ask(&question).await.expect("an answer");
        self.question = question;
        answer.is_ok.then_some(answer.from_memory)
    }

    /// Adds a question to those that will be sent.
    fn put(&mut self, key: i64, level: &str) {
        use std::io::Write;
        write!(self.question, "GET /v1/views/item/{key} HTTP/1.1\r\nHost: localhost\r\nCandor-Consistency: {level}\r\n\r\n")
            .expect("memory does not fail");
    }

    async fn ask(&mut self, question: &[u8]) -> Option<Answer> {
        self.stream.write_all(question).await.ok()?;
        self.answer().await
    }

    /// The next answer.
    async fn answer(&mut self) -> Option<Answer> {
        let mut whole = length(&self.answer[..self.filled]);
        loop {
            if let Some(whole) = whole.filter(|whole| self.filled >= *whole) {
                let head = &self.answer[..whole];
                let from_memory = head.windows(8).any(|word| word == b"from=l1,");
                let answer = Answer { is_ok: head.starts_with(b"HTTP/1.1 200"), from_memory };
                self.answer.copy_within(whole..self.filled, 0);
                self.filled -= whole;
                return Some(answer);
            }
            let count = self.stream.read(&mut self.answer[self.filled..]).await.ok()?;
            if count == 0 {
                return None;
            }
            self.filled += count;
            whole = whole.or_else(|| length(&self.answer[..self.filled]));
        }
    }
}

/// The length of the whole answer, once its headers are there.
fn length(bytes: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let at = bytes[..head].windows(NAME.len()).position(|name| name.eq_ignore_ascii_case(NAME))? + NAME.len();
    let digits = bytes[at..head].iter().take_while(|byte| byte.is_ascii_digit());
    Some(head + digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
}
