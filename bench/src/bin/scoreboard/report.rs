//! The table and the picture.

use crate::ground::Trouble;
use crate::instance::Tally;
use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) const HEAD: &str = "contender                          reads/s   stale/M  stale/exposed  longest   left  hits %  queries/k  errors  broken";

/// One contender under one fault.
pub(crate) struct Row {
    contender: &'static str,
    fault: &'static str,
    reads: u64,
    seconds: u64,
    stale: u64,
    exposed: u64,
    longest: Duration,
    left: u64,
    queries: u64,
    errors: u64,
    writes: u64,
    pub(crate) broken: u64,
}

impl Row {
    pub(crate) fn of(contender: &'static str, fault: &'static str, tally: &Tally, seconds: u64) -> Self {
        let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Self {
            contender,
            fault,
            reads: of(&tally.reads),
            seconds,
            stale: of(&tally.stale),
            exposed: of(&tally.exposed),
            longest: Duration::from_nanos(of(&tally.longest)),
            left: of(&tally.left),
            queries: of(&tally.queries),
            errors: of(&tally.errors),
            writes: of(&tally.writes),
            broken: of(&tally.broken),
        }
    }

    fn per_second(&self) -> u64 {
        self.reads / self.seconds.max(1)
    }

    fn stale_per_million(&self) -> f64 {
        self.stale as f64 * 1e6 / self.reads.max(1) as f64
    }

    fn stale_per_exposed(&self) -> f64 {
        self.stale as f64 / self.exposed.max(1) as f64
    }

    fn queries_per_thousand(&self) -> f64 {
        self.queries as f64 * 1e3 / self.reads.max(1) as f64
    }

    /// Reads that asked the source for nothing.
    fn hit_rate(&self) -> f64 {
        (100.0 - self.queries_per_thousand() / 10.0).max(0.0)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:34} {:8} {:9.1} {:14.4} {:>9} {:6} {:7.2} {:10.2} {:7} {:7}",
            self.contender,
            self.per_second(),
            self.stale_per_million(),
            self.stale_per_exposed(),
            shown(self.longest),
            self.left,
            self.hit_rate(),
            self.queries_per_thousand(),
            self.errors,
            self.broken,
        )
    }
}

fn shown(duration: Duration) -> String {
    match duration {
        Duration::ZERO => "–".to_owned(),
        _ if duration < Duration::from_millis(10) => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        _ if duration < Duration::from_secs(1) => format!("{} ms", duration.as_millis()),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

/// Puts the tables between the marks of `docs/scoreboard.md`, and the picture beside it.
pub(crate) fn write(rows: &[Row], seconds: u64) -> Result<(), Trouble> {
    const BEGIN: &str = "<!-- figures -->\n";
    const END: &str = "<!-- end of figures -->";
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let path = format!("{docs}/scoreboard.md");
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).ok_or("the page has lost the mark where figures begin")?;
    let (_, after) = rest.split_once(END).ok_or("the page has lost the mark where figures end")?;
    fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", tables(rows, seconds)))?;
    fs::write(format!("{docs}/scoreboard.svg"), picture(rows))?;
    Ok(())
}

fn faults(rows: &[Row]) -> Vec<&'static str> {
    let mut faults: Vec<_> = rows.iter().map(|row| row.fault).collect();
    faults.dedup();
    faults
}

fn tables(rows: &[Row], seconds: u64) -> String {
    let mut text = format!("\n{seconds} s per contender and fault.\n");
    for fault in faults(rows) {
        let of_fault: Vec<&Row> = rows.iter().filter(|row| row.fault == fault).collect();
        let writes: u64 = of_fault.iter().map(|row| row.writes).sum::<u64>() / of_fault.len().max(1) as u64;
        text += &format!("\n### {fault}\n\nSome {} writes/s by the application.\n\n", writes / seconds.max(1));
        text += "| contender | stale per million reads | stale per exposed write | longest staleness | left stale | source queries per 1000 reads | hit rate | reads/s | errors | broken promises |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|\n";
        for row in of_fault {
            text += &format!(
                "| {} | {:.1} | {:.4} | {} | {} | {:.2} | {:.2} % | {} | {} | {} |\n",
                row.contender,
                row.stale_per_million(),
                row.stale_per_exposed(),
                shown(row.longest),
                row.left,
                row.queries_per_thousand(),
                row.hit_rate(),
                row.per_second(),
                row.errors,
                if row.contender.starts_with("candor") { row.broken.to_string() } else { "none made".into() },
            );
        }
    }
    text + "\n"
}

/// Stale answers per million reads, a bar each on a logarithmic scale, a panel per fault.
fn picture(rows: &[Row]) -> String {
    const LABEL: f64 = 250.0;
    const BAR: f64 = 360.0;
    const LINE: f64 = 17.0;
    const DECADES: f64 = 6.0;
    let faults = faults(rows);
    let lines = rows.len() as f64 + faults.len() as f64 * 2.5 + 2.0;
    let (width, height) = (LABEL + BAR + 110.0, lines * LINE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"{LINE}\" font-size=\"13\" font-weight=\"bold\">Stale answers per million reads (logarithmic); left stale for good in brackets</text>\n"
    );
    let mut y = LINE * 1.5;
    for fault in faults {
        y += LINE * 1.5;
        svg += &format!("<text x=\"10\" y=\"{y}\" font-weight=\"bold\">{fault}</text>\n");
        y += LINE;
        for row in rows.iter().filter(|row| row.fault == fault) {
            let stale = row.stale_per_million();
            let length = if stale < 1.0 { 0.0 } else { ((stale.log10() + 0.3) / DECADES).min(1.0) * BAR };
            let colour = if row.contender.starts_with("candor") { "#2a7f62" } else { "#b5533c" };
            let left = if row.left == 0 { String::new() } else { format!(" [{}]", row.left) };
            svg += &format!(
                "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LABEL}\" y=\"{}\" width=\"{length:.1}\" height=\"12\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{y}\">{}{left}</text>\n",
                LABEL - 8.0,
                row.contender,
                y - 10.0,
                LABEL + length + 6.0,
                if stale == 0.0 { "0".to_owned() } else { format!("{stale:.1}") },
            );
            y += LINE;
        }
    }
    svg + "</svg>\n"
}
