//! `cargo x sabotage`: defences are taken out on purpose, and the audit must notice.
//!
//! A test that has never failed proves little. Our crates are built once more, with `--cfg candor_sabotage`; that build
//! contains a switch per defence. The audits of real threads and of seeded histories are run with each, and fail unless
//! they find broken promises. See docs/decisions/0013.

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
    let mut command = cargo(&["test", "--package", "candor-sim", "--package", "candor-soak"]);
    crate::sim::sabotaged(&mut command);
    passes(command)
}
