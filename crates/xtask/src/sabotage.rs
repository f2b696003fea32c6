//! `cargo x sabotage`: defences are taken out on purpose, and somebody must notice.
//!
//! A test that has never failed proves little. Our crates are built once more, with `--cfg candor_sabotage`; that build
//! contains a switch per defence. The audits of real threads and of seeded histories are run with each, and fail unless
//! they find broken promises. For defences that stand in code which talks to servers, tests against real ones are named
//! ([`table`]); each is run without its defence, in a process of its own, and must fail ([`servers`]). See
//! docs/decisions/0013.

mod programs;
mod servers;
// The list of switches itself, so that the table below cannot name one that is not there, or forget one.
#[path = "../../core/src/sabotage.rs"]
#[expect(unreachable_pub, dead_code, reason = "written for the core, which exports it and asks it")]
mod switches;
mod table;

use std::process::ExitCode;

use crate::stage::{Outcome, Stages};
use programs::Programs;

/// The command by itself: everything, or with `--servers` only the tests against servers, of the defences with this word.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let word = match arguments {
        [] => None,
        [option] if option == "--servers" => Some(""),
        [option, word] if option == "--servers" => Some(word.as_str()),
        _ => return ExitCode::from(2),
    };
    let mut stages = Stages::default();
    match word {
        None => all(&mut stages),
        Some(word) => {
            if let Some(programs) = build(&mut stages) {
                stages.run("tests without their defences", || servers::run(&programs, word));
            }
        }
    }
    stages.finish("sabotage")
}

/// The stages of the tests.
pub(crate) fn all(stages: &mut Stages) {
    let Some(programs) = build(stages) else { return };
    stages.run("audits without defences", || audit(&programs));
    stages.run("tests without their defences", || servers::run(&programs, ""));
}

fn build(stages: &mut Stages) -> Option<Programs> {
    let mut built = None;
    stages.run("build without defences", || match Programs::build() {
        Ok(programs) => {
            built = Some(programs);
            Outcome::Passed(String::new())
        }
        Err(why) => Outcome::Failed(why),
    });
    built
}

/// The audits that take out one defence after another by themselves.
fn audit(programs: &Programs) -> Outcome {
    let mut failed = Vec::new();
    for program in programs.of(&["candor-sim", "candor-soak"]) {
        println!("{}", program.name);
        if !program.command().status().is_ok_and(|status| status.success()) {
            failed.push(program.name.as_str());
        }
    }
    if failed.is_empty() { Outcome::Passed(String::new()) } else { Outcome::Failed(failed.join(", ")) }
}
