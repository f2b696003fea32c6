//! `cargo x sim`: real engines over a modelled source, history after history, each from its seed.
//!
//! `--power` takes each defence out in turn. That needs a build with the switches (`--cfg candor_sabotage`), which no
//! ordinary build contains; only our own crates are built again for it. See docs/proof.md and docs/decisions/0013.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::cargo::{cargo, passes};
use crate::stage::Outcome;

/// Set for the compiler's wrapper, which is this program again.
const WRAPS: &str = "CANDOR_X_SABOTAGES";

/// Builds the simulation and passes `arguments` on.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let with_switches = arguments.iter().any(|word| word == "--power" || word == "--defence");
    let mut command =
        cargo(&["run", "--quiet", "--profile", "sim", "--package", "candor-sim", "--bin", "candor-sim"]);
    if with_switches {
        sabotaged(&mut command);
    }
    command.arg("--").args(arguments);
    match passes(command) {
        Outcome::Failed(_) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Makes a cargo command build our crates with the switches. Crates from outside are built once for both.
pub(crate) fn sabotaged(command: &mut Command) {
    if let Ok(program) = std::env::current_exe() {
        command.env("RUSTC_WORKSPACE_WRAPPER", program).env(WRAPS, "1");
    }
}

/// If cargo calls us as the compiler's wrapper: the compiler, with the switches. `None` if it does not.
pub(crate) fn as_wrapper(arguments: &[String]) -> Option<ExitCode> {
    let compiler = arguments.first().filter(|_| std::env::var_os(WRAPS).is_some())?;
    if Path::new(compiler).file_stem().is_none_or(|name| name != "rustc") {
        return None;
    }
    let status = Command::new(compiler).args(&arguments[1..]).args(["--cfg", "candor_sabotage"]).status();
    Some(if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
