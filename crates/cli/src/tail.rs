//! `candor tail`: a source's log, change by change, straight from the source. No server takes part.
//!
//! JSON, one object a line: `{"event":"following"|"change"|"gap"|"epoch"|"lost","source","position","note","arrived"}`;
//! the note of a change says what it touched, those of the others what happened.

use crate::args::Global;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::signals::Signals;
use crate::start;
use crate::terminal::{Terminal, plain};
use crate::wall;
use candor_core::port::{Fault, Feed, Log, SourceError};
use candor_core::{Epoch, ProofKind, Record};
use candor_server::config::SourceDeclaration;
use candor_server::{Config, Database};
use clap::Args;
use futures_util::future::select_all;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

pub(crate) const AFTER: &str = "\
Shows what everybody writes: other services, a shell, a migration. Starts at the end of the log and ends on \
Ctrl-C.

Examples:
  candor tail
  candor tail --source shop --count 10
  candor tail --json | jq -r .note";

/// What `candor tail` takes.
#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    /// Only this source; all whose changes are recorded if left out
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Start at the end of the log; the default, and so far the only way
    #[arg(long)]
    from_now: bool,
    /// Stop after so many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// One source that is followed, or to be followed again.
struct Tail<'c> {
    name: &'c str,
    log: Arc<dyn Log>,
    feed: Option<Box<dyn Feed>>,
    /// Up to where everything was shown.
    last: Option<(Epoch, u64)>,
}

/// Prints changes until enough were seen or an order to stop comes.
pub(crate) async fn run(global: &Global, args: &TailArgs, terminal: &Terminal) -> Outcome {
    let config = start::config(global)?;
    let mut signals = Signals::listen()?;
    let mut tails = Vec::new();
    let mut poll = Duration::from_secs(1);
    for source in start::sources(&config, args.source.as_deref())? {
        if args.source.is_none() && !is_logged(&config, &source.name) {
            continue;
        }
        poll = poll.min(source.feed.poll);
        let log = log(&config, source).await?;
        let mut tail = Tail { name: &source.name, log, feed: None, last: None };
        tail.follow().await.map_err(|error| Failure::of_source(&source.name, &error))?;
        tails.push(tail);
    }
    if tails.is_empty() {
        return Err(Failure::usage(
            "no source has a log: every view is declared with proof = \"clock\"",
            "nothing to mend here; name a source with --source to follow it all the same",
        ));
    }
    // Nobody else asks this source for its position here, and it only looks when asked.
    let mut ticks = tokio::time::interval(poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = args.count;
    loop {
        tokio::select! {
            biased;
            () = signals.next() => return Ok(Code::Ok),
            (at, outcome) = next(&mut tails) => match outcome {
                Ok(record) => {
                    if tails[at].show(&record, terminal, &mut left) {
                        return Ok(Code::Ok);
                    }
                }
                Err(error) => tails[at].lost(error, terminal)?,
            },
            _ = ticks.tick() => {
                for tail in &mut tails {
                    tail.look(terminal).await?;
                }
            }
        }
    }
}

/// The log of a source. PostgreSQL's tells of everything; only what the views of the file read is shown of it.
async fn log(config: &Config, source: &SourceDeclaration) -> Result<Arc<dyn Log>, Failure> {
    let database = start::database(source)?;
    if let Database::Postgres(postgres) = &database {
        for view in start::queries(config, &source.name) {
            let prepared = postgres.prepare(&view).await;
            prepared.map_err(|error| Failure::of_source(&source.name, &error))?;
        }
    }
    Ok(database.log())
}

fn is_logged(config: &Config, source: &str) -> bool {
    config.views.iter().any(|view| *view.source == *source && view.contract.proof == ProofKind::Log)
}

/// The next record of any source. Dropped before it is ready, it loses none.
async fn next(tails: &mut [Tail<'_>]) -> (usize, Result<Record, SourceError>) {
    let feeds = tails.iter_mut().enumerate();
    let waits: Vec<_> = feeds
        .filter_map(|(at, tail)| tail.feed.as_mut().map(|feed| (at, feed)))
        .map(|(at, feed)| Box::pin(async move { (at, feed.next().await) }))
        .collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    select_all(waits).await.0
}

impl Tail<'_> {
    async fn follow(&mut self) -> Result<(), SourceError> {
        self.feed = Some(self.log.follow().await?);
        Ok(())
    }

    /// Makes the source look at its log, and follows anew what was lost.
    async fn look(&mut self, terminal: &Terminal) -> Result<(), Failure> {
        if self.feed.is_some() {
            // If it fails, the feed says so, or the next look succeeds.
            let _ = self.log.fence().await;
            return Ok(());
        }
        match self.follow().await {
            Err(error) if error.fault == Fault::Contract => Err(Failure::of_source(self.name, &error)),
            // Said once, when it was lost.
            Err(_) => Ok(()),
            Ok(()) => {
                self.tell("following", "the log is followed again", None, terminal);
                Ok(())
            }
        }
    }

    fn lost(&mut self, error: SourceError, terminal: &Terminal) -> Result<(), Failure> {
        self.feed = None;
        if error.fault == Fault::Contract {
            return Err(Failure::of_source(self.name, &error));
        }
        self.tell("lost", &format!("the log cannot be followed: {error}; trying again"), None, terminal);
        Ok(())
    }

    /// Prints a record. Returns whether enough were printed.
    fn show(&mut self, record: &Record, terminal: &Terminal, left: &mut Option<u64>) -> bool {
        let reached = self.last.replace((record.epoch, record.at));
        match reached {
            None => {
                let text = format!("following the log of {} from position {}", self.name, record.at);
                self.tell("following", &text, Some(record.at), terminal);
            }
            Some((epoch, _)) if epoch != record.epoch => {
                let text = "a new epoch begins: the schema changed, or history was rewritten";
                self.tell("epoch", text, Some(record.at), terminal);
            }
            Some((_, at)) if record.previous > at => {
                let text =
                    format!("a gap: changes from position {} to {} were not seen", at + 1, record.previous);
                self.tell("gap", &text, Some(record.previous), terminal);
            }
            Some(_) => {}
        }
        for change in &record.changes {
            self.tell("change", &change.note, Some(change.at), terminal);
            if let Some(left) = left {
                *left -= 1;
                if *left == 0 {
                    return true;
                }
            }
        }
        false
    }

    fn tell(&self, event: &str, text: &str, position: Option<u64>, terminal: &Terminal) {
        let arrived = wall::now();
        if terminal.is_json() {
            return terminal.json(&json!({
                "event": event,
                "source": self.name,
                "position": position.map(|at| at.to_string()),
                "note": text,
                "arrived": arrived,
            }));
        }
        let paint = terminal.paint();
        if event != "change" {
            // Not what was asked for, so not on stdout.
            return terminal.note(terminal.err().dim(&format!("{arrived}  {}", plain(text))));
        }
        let position = position.map(|at| at.to_string()).unwrap_or_default();
        let line = format!(
            "{}  {}  {}  {}",
            paint.dim(&arrived),
            paint.dim(self.name),
            paint.bold(&format!("{position:>8}")),
            plain(&text.replace('\n', " "))
        );
        terminal.out(line);
    }
}
