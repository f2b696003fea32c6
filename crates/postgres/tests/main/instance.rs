//! Instances in a process of their own: one that is stopped for a while, and one whose memory is measured.
//!
//! Each test here is two. It starts this program again, for itself alone; there it finds an address in its environment,
//! and is the instance.

use super::world::{Loads, cache, loader, options, options_at, price, view};
use candor::{Demanded, Level, Origin};
use candor_core::{Rows, ViewQuery};
use candor_postgres::Postgres;
use candor_testbed::Cluster;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Where the instance finds its database.
const URL: &str = "CANDOR_TEST_INSTANCE_OF";

const BOUND: Duration = Duration::from_millis(300);

fn item() -> ViewQuery {
    view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)
}

/// The instance, as its test sees it. Killed when dropped, stopped or not.
struct Instance {
    process: Child,
    told: Receiver<String>,
}

impl Instance {
    /// Runs the test of this name as an instance over the cluster's database.
    fn of(test: &str, cluster: &Cluster) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(URL, cluster.url("postgres"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("an instance");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let (sender, told) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { process, told }
    }

    fn signal(&self, which: &str) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args([which, &process]).status().expect("kill").success());
    }

    /// The next thing it tells.
    fn next(&self) -> String {
        self.told.recv_timeout(Duration::from_secs(60)).expect("the instance is silent")
    }

    /// Waits until it tells of something.
    fn until(&self, what: &str) -> String {
        loop {
            let line = self.next();
            if line.contains(what) {
                return line;
            }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads key 1 again and again and tells, of each read, that it begins and what it got. Ends with its parent.
async fn play(url: &str, level: Level, pause: Duration) {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let postgres = Postgres::open(options_at(url));
    let derived = vec![postgres.prepare(&item()).await.expect("prepare")];
    let cache = cache(&postgres);
    loop {
        say("begins");
        let read =
            cache.at(Demanded(level.into())).read(&(0, 1), loader(&postgres, &derived, Loads::Primary)).await;
        match read {
            Ok(answer) => {
                let receipt = answer.receipt();
                let bound = receipt.bound.unwrap_or(Duration::MAX).as_millis();
                let place = if receipt.origin == Origin::L1 { "memory" } else { "elsewhere" };
                let price = price(answer.value().expect("a row"));
                say(&format!("price={price} bound={bound} from={place} peak={}", peak_kib()));
            }
            Err(error) => say(&format!("refused: {error}")),
        }
        tokio::time::sleep(pause).await;
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may be gone; then this process ends anyway.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The most memory this process ever held.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn number(line: &str, name: &str) -> u64 {
    let (_, rest) = line.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("no {name} in {line}"));
    rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_stopped_knows_how_late_it_is() {
    if let Ok(url) = std::env::var(URL) {
        return play(&url, Level::Bounded(BOUND), Duration::from_millis(2)).await;
    }
    let cluster = Cluster::start();
    cluster.psql("CREATE TABLE item (id int8 PRIMARY KEY, price int); INSERT INTO item VALUES (1, 1)");
    Postgres::open(options(&cluster)).setup(&[item()]).await.expect("setup");
    let instance =
        Instance::of("main::instance::an_instance_that_was_stopped_knows_how_late_it_is", &cluster);
    for round in 2..6 {
        for _ in 0..5 {
            instance.until("from=memory");
        }
        instance.signal("-STOP");
        cluster.psql(&format!("UPDATE item SET price = {round} WHERE id = 1"));
        // Whatever it told before it was stopped has long been said; and every proof it holds is older than the bound.
        tokio::time::sleep(BOUND * 4).await;
        while instance.told.try_recv().is_ok() {}
        instance.signal("-CONT");
        // The read that was under way may have been answered before; it only was not told.
        instance.until("begins");
        let mut answers = 0;
        while answers < 20 {
            let line = instance.next();
            if line.starts_with("price=") {
                answers += 1;
                assert_eq!(number(&line, "price"), round, "{line}");
                assert!(number(&line, "bound") <= BOUND.as_millis() as u64, "{line}");
            }
        }
    }
}

/// How many rows one transaction changes. `CANDOR_TEST_ROWS=2000000` takes minutes.
fn rows() -> u64 {
    std::env::var("CANDOR_TEST_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(150_000)
}

/// More than an instance may grow by, whatever one transaction changes.
const GROWTH_KIB: u64 = 48 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_any_size_takes_bounded_memory_and_stands_for_its_table() {
    if let Ok(url) = std::env::var(URL) {
        return play(&url, Level::Strong, Duration::from_millis(20)).await;
    }
    let cluster = Cluster::builder().setting("max_wal_size", "8GB").start();
    let (client, connection) =
        tokio_postgres::connect(&cluster.url("postgres"), tokio_postgres::NoTls).await.expect("a client");
    tokio::spawn(connection);
    let rows = rows();
    // Every row comes twice, old and new, of some 300 bytes each.
    client
        .batch_execute(&format!(
            "CREATE TABLE item (id int8 PRIMARY KEY, price int, about text);
             ALTER TABLE item REPLICA IDENTITY FULL;
             INSERT INTO item SELECT i, 1, repeat(md5(i::text), 9) FROM generate_series(1, {rows}) AS i"
        ))
        .await
        .expect("many rows");
    Postgres::open(options(&cluster)).setup(&[item()]).await.expect("setup");
    let test = "main::instance::a_transaction_of_any_size_takes_bounded_memory_and_stands_for_its_table";
    let instance = Instance::of(test, &cluster);
    let before = number(&instance.until("from=memory"), "peak");
    client.batch_execute("UPDATE item SET price = 2").await.expect("a large transaction");
    while instance.told.try_recv().is_ok() {}
    // From memory again: the log was read through the whole of it, and past it.
    let after = loop {
        let line = instance.until("from=memory");
        if number(&line, "price") == 2 {
            break number(&line, "peak");
        }
    };
    println!("{rows} rows: {before} KiB before, {after} KiB at the most");
    assert!(after - before < GROWTH_KIB, "{before} KiB before, {after} KiB after {rows} rows");
}
