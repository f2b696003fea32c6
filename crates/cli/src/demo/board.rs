//! What is shown: one row per contender, live and at the end.

use super::DemoArgs;
use super::contenders::Contender;
use super::truth::Truth;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The figures at one moment.
pub(super) struct Board {
    rows: Vec<Row>,
    writes: u64,
    elapsed: Duration,
}

struct Row {
    name: &'static str,
    is_candor: bool,
    reads: u64,
    errors: u64,
    fills: u64,
    fences: u64,
    stale: u64,
    stale_own: u64,
    worst_staleness: Duration,
    worst_bound: Option<Duration>,
    broken: Option<u64>,
}

impl Board {
    pub(super) fn of(contenders: &[Arc<Contender>], truth: &Truth, elapsed: Duration) -> Self {
        let rows = contenders
            .iter()
            .map(|contender| {
                let tally = &contender.tally;
                let (fills, fences) = contender.queries();
                let is_candor = contender.is_candor();
                Row {
                    name: contender.name,
                    is_candor,
                    reads: tally.reads.load(Ordering::Relaxed),
                    errors: tally.errors.load(Ordering::Relaxed),
                    fills,
                    fences,
                    stale: tally.stale.load(Ordering::Relaxed),
                    stale_own: tally.stale_own.load(Ordering::Relaxed),
                    worst_staleness: Duration::from_nanos(tally.worst_staleness.load(Ordering::Relaxed)),
                    worst_bound: is_candor
                        .then(|| Duration::from_nanos(tally.worst_bound.load(Ordering::Relaxed))),
                    broken: is_candor.then(|| tally.broken.load(Ordering::Relaxed)),
                }
            })
            .collect();
        Self { rows, writes: truth.writes(), elapsed }
    }

    /// Prints the table over the one printed before, on a terminal; elsewhere only the last one. Returns how many lines
    /// are to be overwritten next time.
    pub(super) fn show(&self, over: usize, last: bool) -> usize {
        let terminal = std::io::stdout().is_terminal();
        if !terminal && !last {
            return 0;
        }
        let table = self.table();
        if terminal && over > 0 {
            print!("\x1b[{over}A\x1b[J");
        }
        println!("{table}");
        table.lines().count()
    }

    fn table(&self) -> String {
        let seconds = self.elapsed.as_secs_f64().max(0.001);
        let mut text = format!("after {:.0} s and {} writes\n\n", seconds, self.writes);
        let _ = writeln!(
            text,
            "{:28}{:>10}{:>8}{:>10}{:>9}{:>10}{:>12}{:>13}{:>12}{:>8}",
            "", "reads/s", "hit %", "stale", "of own", "worst", "worst bound", "false", "source", "fences"
        );
        let _ = writeln!(
            text,
            "{:28}{:>10}{:>8}{:>10}{:>9}{:>10}{:>12}{:>13}{:>12}{:>8}",
            "", "", "", "answers", "writes", "staleness", "claimed", "receipts", "queries", ""
        );
        for row in &self.rows {
            let hits = 100.0 * (1.0 - row.fills as f64 / row.reads.max(1) as f64);
            let _ = writeln!(
                text,
                "{:28}{:>10.0}{:>8.2}{:>10}{:>9}{:>10}{:>12}{:>13}{:>12}{:>8}",
                row.name,
                row.reads as f64 / seconds,
                hits.max(0.0),
                row.stale,
                row.stale_own,
                span(row.worst_staleness),
                row.worst_bound.map_or_else(|| "no claim".to_owned(), span),
                row.broken.map_or_else(|| "no receipts".to_owned(), |broken| broken.to_string()),
                row.fills,
                if row.is_candor { row.fences.to_string() } else { "-".to_owned() },
            );
            if row.errors > 0 {
                let _ = writeln!(text, "{:28}{} reads failed", "", row.errors);
            }
        }
        text
    }

    /// The figures in words.
    pub(super) fn verdict(&self) -> String {
        let sum = |candor: bool, figure: fn(&Row) -> u64| -> u64 {
            self.rows.iter().filter(|row| row.is_candor == candor).map(figure).sum()
        };
        let answers = sum(true, |row| row.reads);
        let broken = sum(true, |row| row.broken.unwrap_or(0));
        let silent = sum(false, |row| row.stale);
        format!(
            "Without Candor {silent} answers were stale and none of them said so.\n\
             Candor gave {answers} answers, each with a receipt: {broken} receipts claimed more than was true.\n\
             A stale answer of Candor's was allowed by the level it was read at, and its receipt bounded it.\n"
        )
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let millis = |duration: Duration| duration.as_nanos() as f64 / 1e6;
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "contender": row.name,
                    "reads": row.reads,
                    "errors": row.errors,
                    "source_queries": row.fills,
                    "fences": row.is_candor.then_some(row.fences),
                    "stale_answers": row.stale,
                    "stale_after_own_writes": row.stale_own,
                    "worst_staleness_ms": millis(row.worst_staleness),
                    "worst_bound_claimed_ms": row.worst_bound.map(millis),
                    "false_receipts": row.broken,
                })
            })
            .collect();
        serde_json::json!({ "seconds": self.elapsed.as_secs_f64(), "writes": self.writes, "contenders": rows })
    }
}

/// What is about to happen.
pub(super) fn headline(args: &DemoArgs) -> String {
    format!(
        "A shop of {} products in SQLite. A second process writes {} times a second; of a hundred writes {} come from a\n\
         script that tells no cache. Every answer is checked against the writes. One reader each, {} seconds.\n",
        args.products, args.writes, args.others, args.seconds
    )
}

fn span(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 if duration.is_zero() => "0".to_owned(),
        0..=999 => format!("{micros} µs"),
        1_000..=9_999 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..=999_999 => format!("{:.0} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}
