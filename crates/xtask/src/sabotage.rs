//! `cargo x sabotage`: defences are taken out on purpose, and the audit must notice.
//!
//! A test that has never failed proves little. The crates are built once more, with `--cfg candor_sabotage`, into a
//! folder of their own; that build contains switches which make the rule always agree, or let reads join any load. The
//! audit is run with each, and fails unless it finds broken promises. See docs/decisions/0013.

use std::process::ExitCode;

use crate::cargo::{cargo, passes};
use crate::stage::{Outcome, Stages};

/// The command by itself.
pub(crate) fn run() -> ExitCode {
    let mut stages = Stages::default();
    stages.run("sabotage", audit);
    stages.finish("sabotage")
}

/// One stage of the tests.
pub(crate) fn audit() -> Outcome {
    let mut command = cargo(&[
        "test",
        "--package",
        "candor-sim",
        "--package",
        "candor-soak",
        "--target-dir",
        "target/sabotage",
    ]);
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg candor_sabotage"));
    passes(command)
}
