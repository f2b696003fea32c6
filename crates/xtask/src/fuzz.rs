//! `cargo x fuzz`: a fuzzer, for as long as one likes.
//!
//! A fuzzer here is an ordinary test that changes what was once really received. `cargo x test` runs it for two seconds
//! from a fixed seed; here it gets time, and a seed of its own, which it prints: the same seed fails the same way. With
//! `--keep yes` what was taken in a new way joins the corpus.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::ExitCode;

use crate::cargo::{cargo, passes};
use crate::stage::Outcome;

/// Name, package, target and the test in it, and what it does.
const FUZZERS: &[(&str, &str, &[&str], &str)] = &[
    (
        "config",
        "candor-fuzz",
        &["--test", "main", "main::config::"],
        "configuration files: complaints with places, and never a secret",
    ),
    (
        "http",
        "candor-fuzz",
        &["--test", "main", "main::http::"],
        "bytes at the HTTP door: answered as HTTP or not at all, no panic, the next client is served",
    ),
    (
        "keys",
        "candor-fuzz",
        &["--test", "main", "main::keys::"],
        "keys: one form of each value, and no two keys stored alike",
    ),
    (
        "pgoutput",
        "candor-postgres",
        &["--lib", "pgoutput::fuzz::"],
        "messages of PostgreSQL's log: no panic, and nothing understood wrongly",
    ),
    (
        "tokens",
        "candor-fuzz",
        &["--test", "main", "main::tokens::"],
        "session tokens: damage is noticed, and nobody signs without the secret",
    ),
];

/// For how long, if nobody says.
const SECONDS: u64 = 60;

/// Runs the fuzzer `name`; `arguments` may say `--seconds` and `--seed`, each with a number.
pub(crate) fn run(name: &str, arguments: &[String]) -> ExitCode {
    let Some((_, package, target, _)) = FUZZERS.iter().find(|fuzzer| fuzzer.0 == name) else {
        println!("no fuzzer is called {name:?}");
        list();
        return ExitCode::from(2);
    };
    let Some(Wish { seconds, seed, keep }) = read(arguments) else {
        println!("cargo x fuzz {name} {OPTIONS}");
        return ExitCode::from(2);
    };
    println!("{seconds} s, seed {seed}");
    let mut command = cargo(&["test", "-p", package]);
    command.args(*target).args(["--", "--nocapture"]);
    if keep {
        command.env("CANDOR_FUZZ_KEEP", "1");
    }
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
    println!("cargo x fuzz <name> {OPTIONS}\n");
    for (name, _, _, about) in FUZZERS {
        println!("  {name:8}  {about}");
    }
    ExitCode::SUCCESS
}

/// What a run was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    seconds: u64,
    seed: u64,
    /// Whether the corpus may grow.
    keep: bool,
}

const OPTIONS: &str = "[--seconds <number>] [--seed <number>] [--keep yes]";

fn read(arguments: &[String]) -> Option<Wish> {
    let mut wish = Wish { seconds: SECONDS, seed: RandomState::new().hash_one(0) >> 32, keep: false };
    for pair in arguments.chunks(2) {
        let [option, value] = pair else { return None };
        match (option.as_str(), value.as_str()) {
            ("--seconds", number) => wish.seconds = number.parse().ok()?,
            ("--seed", number) => wish.seed = number.parse().ok()?,
            ("--keep", "yes") => wish.keep = true,
            _ => return None,
        }
    }
    Some(wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_pairs_and_what_is_left_out_has_a_default() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let wish = |seconds, keep| Some(Wish { seconds, seed: 7, keep });
        assert_eq!(read(&words("--seed 7 --seconds 600")), wish(600, false));
        assert_eq!(read(&words("--seed 7 --keep yes")), wish(SECONDS, true));
        assert!(read(&[]).is_some_and(|wish| wish.seconds == SECONDS && !wish.keep));
        for wrong in ["--seconds", "--seconds ten", "--other 1", "600", "--keep"] {
            assert_eq!(read(&words(wrong)), None, "{wrong}");
        }
    }
}
