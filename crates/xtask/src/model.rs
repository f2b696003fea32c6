//! `cargo x model`: every interleaving of the protocol, in worlds small enough to visit all of them.
//!
//! The program is that of `crates/model`, built with optimisation: the larger worlds have millions of states.

use std::process::ExitCode;

use crate::cargo::{cargo, passes};
use crate::stage::Outcome;

/// Runs the checker; `arguments` are its own.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut command = cargo(&["run", "--release", "--package", "candor-model", "--"]);
    command.args(arguments);
    match passes(command) {
        Outcome::Failed(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
