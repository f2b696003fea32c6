//! `candor check`: every view held against its live source.
//!
//! ```text
//! candor.toml ─► survey (sources open, views held) ─► report ─► human, or json
//! ```
//!
//! A source that cannot be reached hides nothing of the others: its views are *unchecked*, and the command fails.
//!
//! The shape of the JSON is described in [`json`].

mod brief;
mod human;
mod json;
mod postgres;
mod promise;
mod report;

use crate::args::Global;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::start;
use crate::terminal::Terminal;
use clap::Args;
use report::Report;

pub(crate) const AFTER: &str = "\
Says what stands in the way of the sources and of every view, with the place in candor.toml and the mend, in the \
order in which to mend it; of views that hold, in a line each, what proves their answers and what ends them. Of views \
that are named it says everything: the tables and columns they read, what ends their answers, and which levels can be \
promised. Changes nothing.

Examples:
  candor check
  candor check user cart              only these views, in full
  candor check --json | jq '.views[] | select(.verdict != \"holds\") | .findings'

Exits with 1 if a view is refused or the change log is missing or incomplete, and with 4 if a source cannot \
be reached; what the other sources say is reported all the same.";

/// What `candor check` takes.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Only these views, in full
    views: Vec<String>,
}

/// Checks and reports.
pub(crate) async fn run(global: &Global, args: &CheckArgs, terminal: &Terminal) -> Outcome {
    let config = start::config(global)?;
    let names: Vec<&str> = config.views.iter().map(|view| &*view.name).collect();
    if let Some(unknown) = args.views.iter().find(|name| !names.contains(&name.as_str())) {
        let what = format!("there is no view `{unknown}`");
        return Err(Failure::usage(what, start::known("views", &names)));
    }
    let survey = start::surveyed(&config, terminal).await;
    let report = Report::of(&config, &survey, &args.views).await;
    let failure = report.failure();
    if terminal.is_json() {
        terminal.json(&json::render(&report, failure.as_ref()));
    } else {
        terminal.out(human::render(&report, !args.views.is_empty(), terminal.paint()));
    }
    if let Some(failure) = failure {
        failure.tell_people(terminal);
        return Ok(failure.code);
    }
    Ok(if report.is_sound() { Code::Ok } else { Code::No })
}
