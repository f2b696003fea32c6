//! `cargo x bench`: one benchmark, built as we ship.
//!
//! Benchmarks are the programs of `bench/` (`bench/src/bin/`), a workspace of its own: it builds the caches we compare
//! with, and those shall not enter our lock file. They are measured in the profile `dist`, because a number from any
//! other build is about that build.

use std::fs;
use std::process::ExitCode;

use crate::cargo::{cargo, metadata, passes};
use crate::stage::Outcome;

const MANIFEST: &str = "bench/Cargo.toml";

/// Runs the benchmark `name` with `arguments`.
pub(crate) fn run(name: &str, arguments: &[String]) -> ExitCode {
    let known = match available() {
        Ok(known) => known,
        Err(why) => return refuse(&why),
    };
    if !known.iter().any(|(other, _)| other == name) {
        println!("no benchmark is called {name:?}");
        print_list(&known);
        return ExitCode::from(2);
    }
    let mut command = cargo(&["run", "--profile", "dist", "--manifest-path", MANIFEST, "--bin", name, "--"]);
    command.args(arguments.iter().skip_while(|word| *word == "--"));
    match passes(command) {
        Outcome::Failed(why) => refuse(&why),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints the benchmarks there are.
pub(crate) fn list() -> ExitCode {
    match available() {
        Ok(known) => {
            print_list(&known);
            ExitCode::SUCCESS
        }
        Err(why) => refuse(&why),
    }
}

/// The name of each benchmark and the first line its file says about itself.
fn available() -> Result<Vec<(String, String)>, String> {
    let metadata = metadata(&["--no-deps", "--manifest-path", MANIFEST])?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.filter_map(|package| package["targets"].as_array()).flatten();
    Ok(targets
        .filter(|target| {
            target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
        })
        .filter_map(|target| Some((target["name"].as_str()?.to_owned(), about(target["src_path"].as_str()?))))
        .collect())
}

fn about(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim_start_matches("//!").trim().to_owned()
}

fn print_list(known: &[(String, String)]) {
    let width = known.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    println!("cargo x bench <name> [args]\n");
    for (name, about) in known {
        println!("  {name:width$}  {about}");
    }
}

fn refuse(why: &str) -> ExitCode {
    println!("{why}");
    ExitCode::FAILURE
}
