//! Writers in other processes: pgbench, run after run, and psql for what is rare and large. What they did only the
//! observer and the log can tell.

use crate::clock::pause;
use crate::observer::{Stage, connect};
use crate::random::Random;
use candor_testbed::Cluster;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Scripts, each with its weight.
const SCRIPTS: [(&str, u32, &str); 5] = [
    (
        "update",
        6,
        "\\set id random_exponential(0, 95, 3)\nUPDATE item SET amount = amount + 1 WHERE id = :id;\n",
    ),
    (
        "move",
        3,
        "\\set id random(0, 95)\n\\set shelf random_exponential(0, 11, 3)\nUPDATE item SET shelf = :shelf WHERE id = :id;\n",
    ),
    (
        "transfer",
        3,
        "\\set a random(0, 7)\n\\set b random(0, 7)\nBEGIN;\nUPDATE account SET amount = amount - 5 WHERE id = :a;\n\
         UPDATE account SET amount = amount + 5 WHERE id = :b;\nEND;\n",
    ),
    (
        "replace",
        2,
        "\\set id random_exponential(0, 95, 3)\n\\set shelf random(0, 11)\nBEGIN;\nDELETE FROM item WHERE id = :id;\n\
         INSERT INTO item SELECT :id, :shelf, :id % 8, 1 WHERE NOT EXISTS (SELECT FROM item WHERE id = :id);\nEND;\n",
    ),
    (
        "loose",
        2,
        "\\set id random_exponential(0, 95, 3)\nBEGIN;\nSET LOCAL synchronous_commit = off;\n\
         UPDATE item SET amount = amount + 1, owner = :id % 8 WHERE id = :id;\nEND;\n",
    ),
];

/// What pgbench's sessions may take for one lock and one statement.
const LIMITS: &str = "-c lock_timeout=2s -c statement_timeout=10s";

/// Where the scripts lie.
pub(crate) fn scripts(folder: &Path) -> Vec<PathBuf> {
    SCRIPTS
        .iter()
        .map(|(name, _, text)| {
            let path = folder.join(format!("{name}.sql"));
            std::fs::write(&path, text).expect("a script can be written");
            path
        })
        .collect()
}

/// Runs pgbench again and again, a few seconds each: a crash ends it, and so does a deadlock of all its clients.
pub(crate) async fn bench(stage: Arc<Stage>, cluster: Arc<Cluster>, folder: PathBuf, rate: u64, seed: u64) {
    let scripts = scripts(&folder);
    let mut random = Random::of(seed, 200);
    while stage.is_on() {
        if !stage.is_writing() || connect(&stage, "probe").await.is_none() {
            pause(Duration::from_millis(100)).await;
            continue;
        }
        // Whatever it waits for, it ends: a lock that nobody gives back must not take the writers away.
        let mut command = Command::new("timeout");
        command
            .env("PGOPTIONS", LIMITS)
            .args(["30", "pgbench", "-n", "-c", "3", "-T", "4", "--max-tries", "3", "-h"])
            .arg(cluster.socket_dir());
        command.args(["-p", &cluster.port().to_string(), "-U", "postgres", "-R", &rate.to_string()]);
        command.args(["--random-seed", &random.below(1 << 30).to_string()]);
        for (path, (_, weight, _)) in scripts.iter().zip(SCRIPTS) {
            command.arg("-f").arg(format!("{}@{weight}", path.display()));
        }
        command.arg("postgres").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let ran = tokio::task::spawn_blocking(move || command.status()).await;
        assert!(matches!(ran, Ok(Ok(_))), "pgbench cannot be run: {ran:?}");
        pause(Duration::from_millis(50)).await;
    }
}

/// What is rare and large, by psql.
pub(crate) async fn shell(stage: Arc<Stage>, cluster: Arc<Cluster>, seed: u64, every: Duration) {
    let mut random = Random::of(seed, 300);
    while stage.is_on() {
        pause(every.mul_f64(0.5 + random.below(1000) as f64 / 1000.0)).await;
        if !stage.is_writing() {
            continue;
        }
        let sql = match random.below(6) {
            0 => "SET lock_timeout = '300ms'; TRUNCATE item".to_owned(),
            1..=2 => "UPDATE item SET amount = amount + 1".to_owned(),
            3 => format!("BEGIN; UPDATE item SET shelf = {}; ROLLBACK", random.below(12)),
            4 => format!("UPDATE item SET shelf = (shelf + 1) % 12 WHERE shelf = {}", random.below(12)),
            _ => "INSERT INTO item SELECT i, i % 12, i % 8, 1 FROM generate_series(0, 95) AS i
                  WHERE NOT EXISTS (SELECT FROM item WHERE id = i)"
                .to_owned(),
        };
        let sql = format!("SET lock_timeout = '2s'; SET statement_timeout = '10s'; {sql}");
        let cluster = Arc::clone(&cluster);
        // It may fail: a deadlock, a lock that is not had in time, a server that is not there.
        let _ = tokio::task::spawn_blocking(move || cluster.try_psql(&sql)).await;
    }
}
