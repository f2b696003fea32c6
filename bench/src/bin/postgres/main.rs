//! Strong reads over PostgreSQL: the library and the HTTP door against the database asked straight.
//!
//! A private cluster with 100,000 rows; keys by Zipf's law (0.99); somebody else writes all the time, one row for every
//! hundred reads that the database alone can answer to 64 clients. Contenders take turns within each round, in an order
//! that rotates; medians over the rounds are reported, and ratios to the fastest direct reads of the same round.
//!
//! `cargo x bench postgres [--rounds N] [--seconds N] [--clients 1,8,64,256] [--only WORD]… [--writes PER_SECOND]
//! [--candor BINARY] [--statements]`; `--only ledger` measures nothing but the way from the log into the ledger, and
//! `--statements` also prints what each role asked most, with the time that it took the server.

mod direct;
mod door;
mod keys;
mod ledger;
mod library;
mod round;
mod table;
mod world;

use candor::Level;
use direct::{Direct, Pgbench};
use door::Door;
use library::Library;
use round::Bell;
use std::path::PathBuf;
use std::time::Duration;
use table::{Figures, Table};
use world::{DIRECT, DOOR, LIBRARY, PGBENCH, Spent, Way, World};

/// Connections of the direct contender that shares a few and pipelines.
const SHARED: usize = 4;

struct Options {
    rounds: usize,
    seconds: f64,
    clients: Vec<usize>,
    only: Vec<String>,
    writes: Option<u64>,
    /// A binary to serve with, instead of one built here.
    candor: Option<PathBuf>,
    /// Whether to print what each role asked, and how long that took the server.
    statements: bool,
}

/// Who takes part.
#[derive(Copy, Clone, PartialEq)]
enum Contender {
    Direct,
    Tcp,
    Pipelined,
    Pgbench,
    Library(Level, &'static str),
    Door(&'static str),
    PipelinedDoor(&'static str),
}

impl Contender {
    const ALL: [Self; 11] = [
        Self::Direct,
        Self::Tcp,
        Self::Pipelined,
        Self::Pgbench,
        Self::Library(Level::Strong, "strong"),
        Self::Library(Level::Bounded(Duration::from_secs(1)), "bounded:1s"),
        Self::Library(Level::Any, "any"),
        Self::Door("strong"),
        Self::Door("bounded=1s"),
        Self::Door("any"),
        Self::PipelinedDoor("any"),
    ];

    fn name(self) -> String {
        match self {
            Self::Direct => "direct, a connection per client".into(),
            Self::Tcp => "direct, a connection per client, TCP".into(),
            Self::Pipelined => format!("direct, {SHARED} connections, pipelined"),
            Self::Pgbench => "pgbench -S -M prepared".into(),
            Self::Library(_, level) => format!("candor, library, {level}"),
            Self::Door(level) => format!("candor, HTTP, {level}"),
            Self::PipelinedDoor(level) => format!("candor, HTTP, {level}, {SHARED} connections, pipelined"),
        }
    }

    fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::Tcp | Self::Pipelined)
    }

    fn role(self) -> &'static str {
        match self {
            Self::Direct | Self::Tcp | Self::Pipelined => DIRECT,
            Self::Pgbench => PGBENCH,
            Self::Library(..) => LIBRARY,
            Self::Door(_) | Self::PipelinedDoor(_) => DOOR,
        }
    }
}

struct Stage {
    world: World,
    direct: Direct,
    tcp: Direct,
    pipelined: Direct,
    pgbench: Option<Pgbench>,
    library: Library,
    door: Door,
}

fn main() {
    let options = options();
    if options.only.iter().any(|only| only == "ledger") {
        return ledger::run();
    }
    let candor = options.candor.clone().unwrap_or_else(door::build);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(compare(&options, &candor));
    runtime.shutdown_timeout(Duration::from_secs(2));
    if options.only.is_empty() {
        ledger::run();
    }
}

async fn compare(options: &Options, candor: &std::path::Path) {
    let world = World::start().await;
    let most = options.clients.iter().copied().max().unwrap_or(1);
    let stage = Stage {
        direct: Direct::connect(&world, most, Way::Socket).await,
        tcp: Direct::connect(&world, most, Way::Tcp).await,
        pipelined: Direct::connect(&world, SHARED, Way::Socket).await,
        pgbench: Pgbench::prepare(&world),
        library: Library::start(&world).await,
        door: Door::start(&world, candor).await,
        world,
    };
    let alone = stage.measure(Contender::Direct, most, 1.0).await.per_second;
    let writes = options.writes.unwrap_or((alone / 100.0) as u64);
    tokio::join!(stage.library.warm(), stage.door.warm());
    stage.world.write(writes).await;
    stage.world.forget_statements().await;
    println!("{} rows, Zipf 0.99, {writes} rows written a second by others; {} rounds of {} s", world::ROWS, options.rounds, options.seconds);
    let wanted = |contender: &Contender| {
        let name = contender.name();
        options.only.is_empty() || options.only.iter().any(|word| name.contains(word.as_str()))
    };
    let contenders: Vec<Contender> = Contender::ALL.into_iter().filter(wanted).collect();
    for clients in &options.clients {
        let mut table = Table::new(*clients, contenders.iter().map(|contender| (contender.name(), contender.is_direct())));
        for round in 0..options.rounds {
            for turn in 0..contenders.len() {
                let which = (turn + round) % contenders.len();
                let figures = stage.measure(contenders[which], *clients, options.seconds).await;
                table.add(which, figures);
            }
        }
        table.print();
    }
    if options.statements {
        for role in [DIRECT, LIBRARY, DOOR] {
            stage.world.print_statements(role).await;
        }
    }
}

impl Stage {
    async fn measure(&self, contender: Contender, clients: usize, seconds: f64) -> Figures {
        if contender == Contender::Pgbench {
            let written = self.world.written();
            let tps = self.pgbench.as_ref().and_then(|pgbench| pgbench.run(clients, seconds.ceil() as u64));
            let written = (self.world.written() - written) as f64 / seconds.ceil();
            return Figures { per_second: tps.unwrap_or(0.0), written_per_second: written, ..Figures::default() };
        }
        let world = &self.world;
        let around = async || (self.spent(contender).await, world.written());
        let (seen, took, (before, written_before), (after, written_after)) = match contender {
            Contender::Pipelined => {
                round::run(clients, seconds, |number, bell: Bell| self.pipelined.client(world, number, bell), around).await
            }
            Contender::Tcp => round::run(clients, seconds, |number, bell| self.tcp.client(world, number, bell), around).await,
            Contender::Library(level, _) => {
                round::run(clients, seconds, |number, bell| self.library.client(world, level, number, bell), around).await
            }
            Contender::Door(level) => {
                round::run(clients, seconds, |number, bell| self.door.client(world, level, number, bell), around).await
            }
            Contender::PipelinedDoor(level) => {
                let (connections, depth) = (clients.min(SHARED), clients.div_ceil(SHARED));
                let client = |number, bell| self.door.pipelining_client(world, level, number, depth, bell);
                round::run(connections, seconds, client, around).await
            }
            _ => round::run(clients, seconds, |number, bell| self.direct.client(world, number, bell), around).await,
        };
        if seen.failed > 0 {
            eprintln!("{}: {} reads refused", contender.name(), seen.failed);
        }
        let reads = seen.all.len() as f64;
        let statements = if contender.is_direct() { reads } else { (after.statements - before.statements) as f64 };
        let database = (after.cpu_nanos - before.cpu_nanos) as f64;
        let server = (after.server_nanos - before.server_nanos) as f64;
        let millis = |nanos: u64| nanos as f64 / 1e6;
        Figures {
            per_second: reads / took,
            p50_ms: millis(seen.all.value_at_quantile(0.5)),
            p99_ms: millis(seen.all.value_at_quantile(0.99)),
            hit_p99_ms: if seen.hits.is_empty() { f64::NAN } else { millis(seen.hits.value_at_quantile(0.99)) },
            hit_ratio: seen.hits.len() as f64 / reads,
            statements_per_thousand: statements / reads * 1000.0,
            // The library shares a process with its clients, so its own part cannot be told apart.
            per_cpu_second: if matches!(contender, Contender::Library(..)) { f64::NAN } else { reads / (database + server) * 1e9 },
            server_us: server / reads / 1e3,
            database_us: database / reads / 1e3,
            written_per_second: (written_after - written_before) as f64 / took,
        }
    }

    /// What the serving side of a contender has done: its connections at the database, and the server before them.
    async fn spent(&self, contender: Contender) -> Spent {
        let mut spent = self.world.spent(contender.role()).await;
        if matches!(contender, Contender::Door(_) | Contender::PipelinedDoor(_)) {
            spent.server_nanos = self.door.cpu_nanos();
        }
        spent
    }
}

fn options() -> Options {
    let mut options = Options { rounds: 3, seconds: 1.5, clients: vec![1, 8, 64, 256], only: Vec::new(), writes: None, candor: None, statements: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--rounds" => options.rounds = value().parse().expect("a number"),
            "--seconds" => options.seconds = value().parse().expect("a number"),
            "--clients" => options.clients = value().split(',').map(|count| count.parse().expect("a number")).collect(),
            "--writes" => options.writes = Some(value().parse().expect("a number")),
            "--candor" => options.candor = Some(value().into()),
            "--statements" => options.statements = true,
            "--only" => options.only.push(value()),
            _ => panic!("{word} is not known; see the head of bench/src/bin/postgres/main.rs"),
        }
    }
    options
}
