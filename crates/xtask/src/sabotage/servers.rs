//! Tests against real servers, each run without the defence that it is there for.
//!
//! First all of them must pass with every defence in place. Then each is run in a process of its own, which finds the name
//! of the defence in its environment, two at a time; it must fail, at the second attempt at the latest. A test that is not
//! there, one that passes all the same, and one that neither passes nor fails in time make the run fail.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::programs::{Program, Programs};
use super::switches::{Sabotage, VARIABLE};
use super::table::{TABLE, Test};
use crate::stage::{Outcome, now};

/// Tests that run side by side. Each has a server of its own.
const AT_ONCE: usize = 2;
/// What one test may take. None takes more than some ten seconds.
const LIMIT: Duration = Duration::from_secs(150);

/// One test without one defence.
struct Trial<'a> {
    defence: &'static str,
    test: &'static Test,
    program: &'a Program,
}

/// What became of a test.
enum Ended {
    /// It failed, and said why.
    Failed(String),
    Passed,
    /// It did not end, or was not run at all.
    Neither(String),
}

/// Runs the tests of all defences whose name contains the word.
pub(super) fn run(programs: &Programs, word: &str) -> Outcome {
    let trials = match trials(programs, word) {
        Ok(trials) if trials.is_empty() => return Outcome::Failed(format!("no defence is called `{word}`")),
        Ok(trials) => trials,
        Err(missing) => return Outcome::Failed(format!("no such test: {}", missing.join(", "))),
    };
    if let Err(why) = pass_with_every_defence(&trials) {
        return Outcome::Failed(why);
    }
    let (next, unnoticed) = (Mutex::new(trials.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(trial) = take(&next) {
                    if !trial.is_noticed() {
                        lock(&unnoticed).push(format!("{} by {}", trial.defence, trial.test.name));
                    }
                }
            });
        }
    });
    let unnoticed = lock(&unnoticed).clone();
    if unnoticed.is_empty() {
        Outcome::Passed(format!("{} tests failed without their defences", trials.len()))
    } else {
        Outcome::Failed(format!("not noticed: {}", unnoticed.join("; ")))
    }
}

/// All trials, or the tests that are not there.
fn trials<'a>(programs: &'a Programs, word: &str) -> Result<Vec<Trial<'a>>, Vec<String>> {
    let mut known = BTreeMap::new();
    let (mut trials, mut missing) = (Vec::new(), Vec::new());
    for (sabotage, tests) in TABLE {
        let name = Sabotage::named().find(|(_, named)| named == sabotage).map_or("nothing", |(name, _)| name);
        for test in tests.iter().filter(|_| name.contains(word)) {
            let program = programs.named(test.program);
            let names = known.entry(test.program).or_insert_with(|| program.map(Program::tests));
            match program {
                Some(program) if names.iter().flatten().any(|known| known == test.name) => {
                    trials.push(Trial { defence: name, test, program });
                }
                _ => missing.push(format!("{} in {}", test.name, test.program)),
            }
        }
    }
    if missing.is_empty() { Ok(trials) } else { Err(missing) }
}

/// Each of the tests, once.
fn pass_with_every_defence(trials: &[Trial<'_>]) -> Result<(), String> {
    let mut by_program: BTreeMap<&str, (&Program, Vec<&str>)> = BTreeMap::new();
    for trial in trials {
        let (_, names) = by_program.entry(trial.test.program).or_insert((trial.program, Vec::new()));
        if !names.contains(&trial.test.name) {
            names.push(trial.test.name);
        }
    }
    for (name, (program, tests)) in by_program {
        println!("{name}: {} tests with every defence in place", tests.len());
        let mut command = program.command();
        command.arg("--exact").args(tests).arg(format!("--test-threads={AT_ONCE}"));
        if !command.status().is_ok_and(|status| status.success()) {
            return Err(format!("tests of {name} fail with every defence in place"));
        }
    }
    Ok(())
}

impl Trial<'_> {
    fn is_noticed(&self) -> bool {
        let started = now();
        // Some races have to be met: a busy machine may miss one, and hardly the next.
        let ended = match self.run() {
            Ended::Passed => self.run(),
            ended => ended,
        };
        let took = now().duration_since(started).as_secs_f64();
        let (word, why) = match &ended {
            Ended::Failed(why) => ("noticed", why.as_str()),
            Ended::Passed => ("NOT NOTICED", ""),
            Ended::Neither(why) => ("NOT RUN", why.as_str()),
        };
        println!("{word:12}{took:6.1} s  {}: {}  {why}", self.defence, self.test.name);
        matches!(ended, Ended::Failed(_))
    }

    fn run(&self) -> Ended {
        let mut command = self.program.command();
        command.args(["--exact", self.test.name, "--test-threads=1"]).env(VARIABLE, self.defence);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return Ended::Neither(error.to_string()),
        };
        // libtest prints what a failed test said to its output; both pipes are emptied, or the test would wait for us.
        let (out, errors) = (child.stdout.take(), child.stderr.take());
        let (told, ended) = std::thread::scope(|scope| {
            let out = scope.spawn(|| read(out));
            let errors = scope.spawn(|| read(errors));
            let ended = wait(&mut child);
            (out.join().unwrap_or_default() + &errors.join().unwrap_or_default(), ended)
        });
        match ended {
            false => Ended::Neither(format!("it was still running after {} s", LIMIT.as_secs())),
            true if told.contains("test result: FAILED. 0 passed; 1 failed;") => Ended::Failed(why(&told)),
            true if told.contains("test result: ok. 1 passed;") => Ended::Passed,
            true => Ended::Neither(why(&told)),
        }
    }
}

/// Whether it ended in time; else it is killed.
fn wait(child: &mut Child) -> bool {
    let deadline = now() + LIMIT;
    while now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read before the pipe broke is good enough.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a test failed and the beginning of what it said.
fn why(told: &str) -> String {
    let mut lines = told.lines().skip_while(|line| !line.contains("panicked at "));
    let place = lines.next().and_then(|line| line.split("panicked at ").nth(1)).unwrap_or("no word of why");
    let said: Vec<&str> =
        lines.take(3).map(str::trim).take_while(|line| !line.starts_with("stack backtrace")).collect();
    let why = format!("{place} {}", said.join(" "));
    why.chars().take(200).collect()
}

fn take<'a, T>(next: &Mutex<std::slice::Iter<'a, T>>) -> Option<&'a T> {
    lock(next).next()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_place_and_the_first_words() {
        let told =
            "\nthread 'a' panicked at tests/main/a.rs:7:5:\nassertion failed\n  left: 1\n right: 2\nnote: x";
        assert_eq!(why(told), "tests/main/a.rs:7:5: assertion failed left: 1 right: 2");
        assert_eq!(why("killed"), "no word of why ");
    }
}
