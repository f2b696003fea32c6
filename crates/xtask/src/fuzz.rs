//! `cargo x fuzz`: a fuzzer, for as long as one likes.
//!
//! A fuzzer here is an ordinary test that changes what was once really received. `cargo x test` runs it for two seconds
//! from a fixed seed; here it gets time, and a seed of its own, which it prints: the same seed fails the same way.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::ExitCode;

use crate::cargo::{cargo, passes};
use crate::stage::Outcome;

/// Name, package, the test, and what it does.
const FUZZERS: &[(&str, &str, &str, &str)] = &[(
    "pgoutput",
    "candor-postgres",
    "pgoutput::fuzz::",
    "messages of PostgreSQL's log, changed: no panic, and nothing understood wrongly",
)];

/// For how long, if nobody says.
const SECONDS: u64 = 60;

/// Runs the fuzzer `name`; `arguments` may say `--seconds` and `--seed`, each with a number.
pub(crate) fn run(name: &str, arguments: &[String]) -> ExitCode {
    let Some((_, package, test, _)) = FUZZERS.iter().find(|fuzzer| fuzzer.0 == name) else {
        println!("no fuzzer is called {name:?}");
        list();
        return ExitCode::from(2);
    };
    let Some((seconds, seed)) = read(arguments) else {
        println!("cargo x fuzz {name} [--seconds <number>] [--seed <number>]");
        return ExitCode::from(2);
    };
    println!("{seconds} s, seed {seed}");
    let mut command = cargo(&["test", "-p", package, "--lib", test, "--", "--nocapture"]);
    command.env("CANDOR_FUZZ_SECONDS", seconds.to_string()).env("CANDOR_FUZZ_SEED", seed.to_string());
    match passes(command) {
        Outcome::Failed(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Prints the fuzzers there are.
pub(crate) fn list() -> ExitCode {
    println!("cargo x fuzz <name> [--seconds <number>] [--seed <number>]\n");
    for (name, _, _, about) in FUZZERS {
        println!("  {name}  {about}");
    }
    ExitCode::SUCCESS
}

/// The seconds and the seed.
fn read(arguments: &[String]) -> Option<(u64, u64)> {
    let (mut seconds, mut seed) = (SECONDS, RandomState::new().hash_one(0) >> 32);
    for pair in arguments.chunks(2) {
        let [option, number] = pair else { return None };
        let number = number.parse().ok()?;
        match option.as_str() {
            "--seconds" => seconds = number,
            "--seed" => seed = number,
            _ => return None,
        }
    }
    Some((seconds, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_pairs_and_what_is_left_out_has_a_default() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(read(&words("--seed 7 --seconds 600")), Some((600, 7)));
        assert_eq!(read(&words("--seed 7")), Some((SECONDS, 7)));
        assert!(read(&[]).is_some_and(|(seconds, _)| seconds == SECONDS));
        for wrong in ["--seconds", "--seconds ten", "--other 1", "600"] {
            assert_eq!(read(&words(wrong)), None, "{wrong}");
        }
    }
}
