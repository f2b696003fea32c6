//! `cargo x soak`: the long run on a real PostgreSQL, in an optimised build.
//!
//! `cargo x test` has the same for half a minute. Here it gets time, and a seed of its own, which it prints: the same seed
//! draws the same writes and faults, though not the same moments.

use std::process::{Command, ExitCode};

use crate::cargo::{cargo, passes, root};
use crate::stage::Outcome;

/// Builds the run and the binary that it reads from, then runs with `arguments`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if let Outcome::Failed(why) =
        passes(cargo(&["build", "--release", "--package", "candor-cli", "--package", "candor-soak"]))
    {
        println!("{why}");
        return ExitCode::FAILURE;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |target| root().join(target));
    let built = target.join("release");
    let mut command = Command::new(built.join("candor-soak"));
    command.args(arguments).arg("--candor").arg(built.join("candor"));
    match passes(command) {
        Outcome::Failed(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
