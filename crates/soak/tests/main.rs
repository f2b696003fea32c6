//! The long run, short: a quarter of a minute with faults, in which no receipt may be false; and runs with a defence taken out,
//! which the oracle must notice.
//!
//! Sabotage inside the engine is compiled in only by `cargo x sabotage`; without it that test is not there.

#![expect(clippy::print_stdout, reason = "the run shows its figures to whoever runs it with --nocapture")]

use candor_soak::{Lie, Report, Settings, run};
use std::time::Duration;

fn settings(seconds: u64) -> Settings {
    Settings {
        duration: Duration::from_secs(seconds),
        patience: Duration::from_secs(120),
        enough: |_| true,
        seed: 15,
        candor: None,
        calm: None,
        lie: Lie::None,
        readers: 2,
        rate: 30,
        progress: None,
    }
}

async fn ran(settings: Settings) -> Report {
    let report = run(settings).await;
    println!("{}", report.human());
    assert!(
        report.contradictions.is_empty(),
        "the oracle is not to be believed: {:?}",
        report.contradictions
    );
    report
}

#[cfg(not(candor_sabotage))]
mod honest {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::SystemTime;

    /// Two servers, their writers and readers at once would be too much for two cores.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn a_while_of_writers_and_faults_on_postgres_brings_no_false_receipt() {
        let calm = Some(Duration::from_millis(1500));
        // Whether there was anything to get wrong, and whether it was the cache that did not get it wrong.
        let enough = |report: &Report| {
            let doors = ["library a", "library b", "http"];
            report.answers() > 500
                && report.opportunities() > 50
                && doors.iter().all(|door| report.proven_from_memory(door) > 10)
        };
        let candor = tokio::task::spawn_blocking(candor).await.expect("the binary is built");
        let _alone = ALONE.lock().await;
        let report = ran(Settings { candor: Some(candor), calm, enough, ..settings(15) }).await;
        assert!(report.is_clean(), "{}", report.human());
        assert!(enough(&report), "nothing was tried: {}", report.human());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn a_loader_that_takes_its_stamp_after_its_value_is_noticed() {
        let enough = |report: &Report| report.violations() > 0;
        let _alone = ALONE.lock().await;
        let report = ran(Settings { lie: Lie::StampAfterRead, enough, ..settings(3) }).await;
        assert!(report.violations() > 0, "{}", report.human());
    }

    /// The binary beside this test program, built if it is not there or older than its sources.
    fn candor() -> PathBuf {
        let program = std::env::current_exe().expect("a test program has a path");
        let profile = program.ancestors().nth(2).expect("target/debug/deps/main").to_path_buf();
        // Asked for by itself, Cargo may choose other features for what it stands on, and would build all of that anew.
        let built = std::fs::metadata(profile.join("candor")).and_then(|found| found.modified());
        let rooms = ["core", "tiers", "engine", "postgres", "sqlite", "server", "cli"];
        let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let written = rooms.iter().map(|room| newest(&crates.join(room).join("src"))).max();
        if built.is_ok_and(|built| written.is_some_and(|written| written < built)) {
            return profile.join("candor");
        }
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "candor-cli", "--bin", "candor", "--target-dir"]);
        build.arg(profile.parent().expect("target/debug"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().is_ok_and(|status| status.success()), "the binary `candor` cannot be built");
        profile.join("candor")
    }

    /// When something in a folder was last written.
    fn newest(folder: &Path) -> SystemTime {
        let found = std::fs::read_dir(folder).expect("the sources are there");
        let of = |path: PathBuf| match path.is_dir() {
            true => newest(&path),
            false => std::fs::metadata(path).and_then(|file| file.modified()).expect("a file has a time"),
        };
        found
            .map(|entry| of(entry.expect("a file has a name").path()))
            .max()
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

#[cfg(candor_sabotage)]
mod sabotaged {
    use super::*;
    use candor::sabotage::{Sabotage, set};

    /// One after another: the sabotage is of the whole process.
    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn defences_that_are_taken_out_are_noticed_on_postgres() {
        set(Sabotage::Nothing);
        let enough = |report: &Report| report.opportunities() > 50 && report.answered_from("l1") > 50;
        let report = ran(Settings { enough, ..settings(5) }).await;
        assert!(report.is_clean() && enough(&report), "{}", report.human());
        set(Sabotage::JudgeAlwaysCurrent);
        let enough = |report: &Report| report.violations() > 0;
        let report = ran(Settings { enough, ..settings(3) }).await;
        assert!(report.violations() > 0, "{}", report.human());
        set(Sabotage::Nothing);
    }
}
