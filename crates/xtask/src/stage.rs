//! Stages: named pieces of a command that are timed, never stop each other, and are summed up at the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How a stage ended. The text is one line for the summary.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Everything holds; the text may add a number worth knowing.
    Passed(String),
    /// Something does not hold; what it is has been printed by the stage.
    Failed(String),
    /// Not run, and why that is no failure.
    Skipped(String),
}

/// The stages of one command, in the order they ran.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    ended: Vec<(&'static str, Outcome, Duration)>,
}

impl Stages {
    /// Runs one stage under a heading, whatever became of those before.
    pub(crate) fn run(&mut self, name: &'static str, work: impl FnOnce() -> Outcome) {
        println!("\n── {name}");
        let started = now();
        let outcome = work();
        self.ended.push((name, outcome, now().duration_since(started)));
    }

    /// Prints the summary. The exit code is a failure if any stage failed.
    pub(crate) fn finish(self, command: &str) -> ExitCode {
        println!("\n── cargo x {command}");
        let width = self.ended.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        for (name, outcome, took) in &self.ended {
            let (word, note) = match outcome {
                Outcome::Passed(note) => ("ok", note),
                Outcome::Failed(note) => ("FAILED", note),
                Outcome::Skipped(note) => ("skipped", note),
            };
            let line = format!("{name:width$}  {word:7} {:>7.1} s  {note}", took.as_secs_f64());
            println!("{}", line.trim_end());
        }
        let failed = self.ended.iter().any(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)));
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

#[expect(clippy::disallowed_methods, reason = "times what a developer waits for; no engine runs here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_stage_fails_the_command_and_the_later_ones_still_run() {
        let mut stages = Stages::default();
        let mut ran = false;
        stages.run("first", || Outcome::Failed("no".to_owned()));
        stages.run("second", || {
            ran = true;
            Outcome::Passed(String::new())
        });
        assert!(ran);
        assert_eq!(stages.finish("test"), ExitCode::FAILURE);
    }

    #[test]
    fn a_skipped_stage_is_no_failure() {
        let mut stages = Stages::default();
        stages.run("only", || Outcome::Skipped("not here".to_owned()));
        assert_eq!(stages.finish("test"), ExitCode::SUCCESS);
    }
}
