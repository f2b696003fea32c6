//! `cargo x check`: everything that can be judged without running a test.

use std::process::{Command, ExitCode};

use crate::cargo::{cargo, passes, succeeds};
use crate::stage::{Outcome, Stages};
use crate::tidy;

/// The release our `deny.toml` is written for; installing it takes about three minutes on two cores, so it stays the
/// developer's choice.
const CARGO_DENY: &str = "0.20.2";

/// Where cargo-deny fetches the published advisories from.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

/// All stages.
pub(crate) fn run() -> ExitCode {
    let mut stages = Stages::default();
    stages.run("fmt", || passes(cargo(&["fmt", "--all", "--check"])));
    stages
        .run("clippy", || passes(cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])));
    stages.run("tidy", tidy_stage);
    stages.run("docs", docs);
    stages.run("deny", deny);
    stages.run("advisories", advisories);
    stages.finish("check")
}

/// The tidy stage as a command of its own.
pub(crate) fn tidy_alone() -> ExitCode {
    let mut stages = Stages::default();
    stages.run("tidy", tidy_stage);
    stages.finish("tidy")
}

fn tidy_stage() -> Outcome {
    let findings = tidy::everything();
    for finding in findings.all() {
        println!("{finding}");
    }
    let (errors, warnings) = findings.count();
    let note = format!("{errors} errors, {warnings} warnings, {} files", findings.files_read);
    if errors == 0 { Outcome::Passed(note) } else { Outcome::Failed(note) }
}

/// Libraries only: the library and the program are both called `candor`, and rustdoc can write only one page of a name.
fn docs() -> Outcome {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--lib"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    passes(command)
}

fn deny() -> Outcome {
    if !have_cargo_deny() {
        println!("cargo-deny not installed: licences and bans checked by tidy instead");
        println!("(to have it: cargo install cargo-deny --locked --version {CARGO_DENY})");
        return Outcome::Skipped(
            "cargo-deny not installed: licences and bans checked by tidy instead".to_owned(),
        );
    }
    passes(cargo(&["deny", "check", "bans", "licenses", "sources"]))
}

/// Advisories change with the world and not with our tree, so a database out of reach is no failure of ours.
fn advisories() -> Outcome {
    if !have_cargo_deny() {
        return Outcome::Skipped("cargo-deny not installed".to_owned());
    }
    let mut probe = Command::new("git");
    probe.args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=10", "ls-remote", ADVISORIES, "HEAD"]);
    probe.env("GIT_TERMINAL_PROMPT", "0");
    if !succeeds(&mut probe) {
        println!("{ADVISORIES} is out of reach");
        return Outcome::Skipped("the advisory database is out of reach".to_owned());
    }
    passes(cargo(&["deny", "check", "advisories"]))
}

fn have_cargo_deny() -> bool {
    succeeds(&mut cargo(&["deny", "--version"]))
}
