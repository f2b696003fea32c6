//! The source asked straight: prepared SELECTs by primary key, from this process and from `pgbench`.

use crate::round::{Bell, Seen};
use crate::world::{DIRECT, PGBENCH, SQL, Way, World};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tokio_postgres::{Client, Statement};

/// Connections with the statement prepared.
pub struct Direct {
    connections: Vec<Arc<(Client, Statement)>>,
}

impl Direct {
    pub async fn connect(world: &World, connections: usize, way: Way) -> Self {
        let mut made = Vec::new();
        for _ in 0..connections {
            let client = world.client(DIRECT, way).await;
            let statement = client.prepare(SQL).await.expect("prepared");
            made.push(Arc::new((client, statement)));
        }
        Self { connections: made }
    }

    /// A client that has connection number `number`, counted around: with fewer connections than clients their questions
    /// go one behind the other without waiting (pipelined).
    pub fn client(&self, world: &World, number: usize, bell: Bell) -> impl Future<Output = Seen> + Send + use<> {
        let connection = Arc::clone(&self.connections[number % self.connections.len()]);
        let mut walk = world.keys.walk(number);
        async move {
            let mut seen = Seen::default();
            let (client, statement) = &*connection;
            while !bell.is_over() {
                let key = walk.next();
                let since = Instant::now();
                let row = client.query_one(statement, &[&key]).await.expect("a row");
                assert_eq!(row.get::<_, i64>(0), key);
                seen.answered(&bell, since, false);
            }
            seen
        }
    }
}

/// What `pgbench` reports: transactions per second and the mean latency in milliseconds.
pub struct Pgbench {
    bin: PathBuf,
    socket: PathBuf,
    port: u16,
}

impl Pgbench {
    /// Fills its own tables, of as many rows.
    pub fn prepare(world: &World) -> Option<Self> {
        let bin = pgbench()?;
        let this = Self { bin, socket: world.cluster.socket_dir().to_owned(), port: world.cluster.port() };
        let filled = this.command().args(["-i", "-q", "-s", "1", "postgres"]).output().ok()?;
        filled.status.success().then_some(this)
    }

    pub fn run(&self, clients: usize, seconds: u64) -> Option<f64> {
        let (clients, seconds) = (clients.to_string(), seconds.to_string());
        let threads = if clients == "1" { "1" } else { "2" };
        let args = ["-S", "-M", "prepared", "-n", "-c", &clients, "-j", threads, "-T", &seconds, "postgres"];
        let output = self.command().args(args).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("tps = "))?;
        line.split(' ').nth(2)?.parse().ok()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.bin);
        command.arg("-h").arg(&self.socket).args(["-p", &self.port.to_string(), "-U", PGBENCH]);
        command
    }
}

fn pgbench() -> Option<PathBuf> {
    let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = packaged.map(|version| version.path().join("bin/pgbench")).collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path).map(|folder| folder.join("pgbench")));
    found.into_iter().rev().find(|candidate| candidate.is_file())
}
