//! `cargo x test`: every test there is, on a machine that may lack the programs they call.
//!
//! Plain `cargo test`, because it is on every machine and runs documentation tests too. Its output is passed through as
//! it comes, and read on the way: a failed test may have scrolled out of sight long before the end, so the summary names
//! it again.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use crate::cargo::{cargo, passes, show, succeeds};
use crate::stage::{Outcome, Stages};

/// The programs our tests call, and the Debian package each comes in.
const PROGRAMS: &[(&str, &str)] = &[
    ("sqlite3", "sqlite3"),
    ("python3", "python3"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("psql", "postgresql-client"),
    ("initdb", "postgresql"),
    ("pgbouncer", "pgbouncer"),
    ("redis-server", "redis-server"),
];

/// Fetches programs, builds, runs. `arguments` go to `cargo test`; those after `--` to the test programs.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let (selection, filter) = split(arguments);
    let mut stages = Stages::default();
    stages.run("programs", || fetch_programs(PROGRAMS));
    stages.run("build", || {
        let mut command = cargo(&["test", "--no-run"]);
        command.args(&selection);
        passes(command)
    });
    stages.run("tests", || {
        let mut command = cargo(&["test", "--no-fail-fast"]);
        command.args(&selection).args(filter);
        run_tests(command)
    });
    if arguments.is_empty() {
        crate::sabotage::all(&mut stages);
        stages.run("concurrency", crate::concurrency::briefly);
    }
    stages.finish("test")
}

/// What to build, and what of it to run. Without a package named, everything.
fn split(arguments: &[String]) -> (Vec<&str>, &[String]) {
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let (selection, filter) = arguments.split_at(end);
    let mut selection: Vec<&str> = selection.iter().map(String::as_str).collect();
    let names_a_package = |word: &&str| word.starts_with("-p") || word.starts_with("--package");
    if !selection.iter().any(names_a_package) {
        selection.insert(0, "--workspace");
    }
    (selection, filter)
}

/// Sees to it that every program is there.
fn fetch_programs(programs: &[(&str, &str)]) -> Outcome {
    let missing: Vec<_> = programs.iter().filter(|(program, _)| !is_here(program)).collect();
    if missing.is_empty() {
        let names: Vec<_> = programs.iter().map(|(program, _)| *program).collect();
        return Outcome::Passed(format!("{} are here", names.join(", ")));
    }
    let names: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    let missing = names.join(", ");
    println!("missing: {missing}");
    let Some(prefix) = installer() else {
        println!(
            "They cannot be installed from here. Install them, for example on Debian or Ubuntu, and run again:"
        );
        println!("  sudo apt-get install {}", packages.join(" "));
        return Outcome::Failed(format!("missing: {missing}"));
    };
    // A fresh machine has no package lists. If they cannot be refreshed, those it has may still do.
    let _ = passes(apt(prefix, &["update", "--quiet"]));
    let mut install = apt(prefix, &["install", "--yes", "--quiet", "--no-install-recommends"]);
    install.args(&packages);
    let installed =
        matches!(passes(install), Outcome::Passed(_)) && names.iter().all(|program| is_here(program));
    if installed {
        Outcome::Passed(format!("installed {missing}"))
    } else {
        Outcome::Failed(format!("could not install {missing}"))
    }
}

/// How apt-get may be called here: as we are, through a sudo that asks nothing, or not at all.
fn installer() -> Option<&'static [&'static str]> {
    if !on_path("apt-get") {
        return None;
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if root {
        Some(&["apt-get"])
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        Some(&["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
    } else {
        None
    }
}

fn apt(prefix: &[&str], arguments: &[&str]) -> Command {
    let (program, rest) = prefix.split_first().unwrap_or((&"apt-get", &[]));
    let mut command = Command::new(program);
    command.args(rest).args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

/// Whether our tests find it: on the path, or where Debian puts servers, which no user's path leads to.
fn is_here(program: &str) -> bool {
    let postgres = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let servers = postgres.map(|version| version.path().join("bin")).chain(["/usr/sbin".into()]);
    on_path(program) || servers.into_iter().any(|directory| directory.join(program).is_file())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Runs the tests, passing their output through and keeping count.
fn run_tests(mut command: Command) -> Outcome {
    show(&command);
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::Failed(format!("cannot run cargo: {error}")),
    };
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            tally.read(text.trim());
            line.clear();
        }
    }
    let status = child.wait();
    if !tally.failed.is_empty() {
        println!("\nfailed:");
        tally.failed.iter().for_each(|name| println!("  {name}"));
    }
    match status {
        Ok(status) if status.success() && tally.failed.is_empty() => Outcome::Passed(tally.to_string()),
        Ok(_) => Outcome::Failed(tally.to_string()),
        Err(error) => Outcome::Failed(format!("cargo was lost: {error}")),
    }
}

/// What the test programs reported.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    programs: u64,
    passed: u64,
    ignored: u64,
    failed: Vec<String>,
}

impl Tally {
    fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failed.push(name.to_owned());
        }
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.programs += 1;
            self.passed += number_before(counts, " passed");
            self.ignored += number_before(counts, " ignored");
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { programs, passed, ignored, failed } = self;
        write!(f, "{passed} passed, {} failed, {ignored} ignored, in {programs} test programs", failed.len())
    }
}

/// The number that stands directly before `word`, or zero.
fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().filter(|before| before.len() < text.len()).unwrap_or_default();
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn without_a_package_everything_is_tested() {
        let arguments = words("--release -- judge");
        assert_eq!(split(&arguments), (vec!["--workspace", "--release"], &words("-- judge")[..]));
        assert_eq!(split(&words("-p candor-core")).0, ["-p", "candor-core"]);
        assert_eq!(split(&words("--package=candor-core")).0, ["--package=candor-core"]);
    }

    #[test]
    fn the_tally_counts_what_the_harness_prints() {
        let mut tally = Tally::default();
        for line in [
            "test rule::tests::sees ... ok",
            "test rule::tests::misses ... FAILED",
            "test result: FAILED. 11 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.read(line);
        }
        let expected =
            Tally { programs: 2, passed: 41, ignored: 2, failed: vec!["rule::tests::misses".to_owned()] };
        assert_eq!(tally, expected);
    }

    #[test]
    fn a_program_that_is_here_is_found_and_one_that_is_not_is_not() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-anywhere"));
    }
}
