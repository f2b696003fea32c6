//! `cargo x concurrency`: the ledger, memory, flights and followers, with a checker in the place of the scheduler.
//!
//! The crates are built once more, with `--cfg candor_interleavings`, into a folder of their own. In that build their
//! tests meet at the atomics and locks of Loom (the ledger: every interleaving, and every value a load may return) or of
//! Shuttle (the others: many interleavings, drawn at random). See docs/decisions/0023.

use std::process::ExitCode;

use crate::cargo::{cargo, passes};
use crate::stage::{Outcome, Stages};

/// Schedules of each test under Shuttle, beside everything else there is to test.
const SCHEDULES_IN_TEST: u64 = 2_000;

/// Schedules of each, when it is asked for.
const SCHEDULES: u64 = 20_000;

/// Crates of others that run in every execution.
const RUN_IN_EACH: &[&str] = &["generator", "hashbrown", "loom", "quick_cache", "shuttle"];

const OPTIONS: &str = "[--schedules <number>]";

/// The command by itself.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let schedules = match arguments {
        [] => Some(SCHEDULES),
        [option, number] if option == "--schedules" => number.parse().ok(),
        _ => None,
    };
    let Some(schedules) = schedules else {
        println!("cargo x concurrency {OPTIONS}");
        return ExitCode::from(2);
    };
    let mut stages = Stages::default();
    stages.run("concurrency", || check(schedules));
    stages.finish("concurrency")
}

/// One stage of the tests.
pub(crate) fn briefly() -> Outcome {
    check(SCHEDULES_IN_TEST)
}

fn check(schedules: u64) -> Outcome {
    let mut command = cargo(&["test", "--config", "profile.dev.package.'*'.opt-level=0"]);
    for name in RUN_IN_EACH {
        command.args(["--config", &format!("profile.dev.package.{name}.opt-level=2")]);
    }
    command.args([
        "--package",
        "candor-core",
        "--package",
        "candor-tiers",
        "--package",
        "candor",
        "--lib",
        "--target-dir",
        "target/concurrency",
        "--",
        "interleavings::",
        "--show-output",
    ]);
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg candor_interleavings"));
    // Hundreds of thousands of executions: what is run in each is worth optimising, what is only built is not.
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "2").env("CARGO_PROFILE_DEV_DEBUG", "0");
    // Orderings are weakened to be missed, and a trace of each such failure would cost more than all else.
    command.env("CANDOR_SCHEDULES", schedules.to_string()).env("RUST_BACKTRACE", "0");
    // That Shuttle knows no weak orderings is why the ledger is under Loom.
    command.env("SHUTTLE_SILENCE_WARNINGS", "1");
    passes(command)
}
