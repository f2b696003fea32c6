//! The views in one screen, ordered by what to do first: refused, with reason and mend; not checked; waiting for setup; with
//! warnings. Then one line for each that holds: its name, what proves its answers, what ends them.

use super::human;
use super::json::application_tags;
use super::report::{Report, Verdict, ViewReport};
use crate::terminal::{Paint, WIDTH};
use candor_core::{ProofKind, TaggedBy};

/// Names longer than this push what follows to the right.
const NAME_MAX: usize = 24;

/// Views whose names a summary holds.
const NAMED_MAX: usize = 8;

/// The views, the most urgent first; otherwise in the order of the file.
pub(super) fn ordered<'r, 'c>(report: &'r Report<'c>) -> Vec<&'r ViewReport<'c>> {
    let mut views: Vec<&ViewReport<'c>> = report.views.iter().collect();
    views.sort_by_key(|view| match view.verdict {
        Verdict::Refused => 0,
        Verdict::Unchecked => 1,
        Verdict::WaitsForSetup => 2,
        Verdict::Holds if is_warned(view) => 3,
        Verdict::Holds => 4,
    });
    views
}

/// The views as paragraphs. Lines of the same kind stand together.
pub(super) fn views(report: &Report<'_>, paint: Paint) -> Vec<String> {
    let (mut paragraphs, mut waiting, mut sound) = (Vec::new(), Vec::new(), Vec::new());
    for view in ordered(report) {
        match view.verdict {
            Verdict::Refused => paragraphs.push(human::view(report.config, view, paint)),
            _ if is_warned(view) => {
                let findings = human::findings(view, paint);
                paragraphs.push([vec![human::verdict(view, paint)], findings].concat().join("\n"));
            }
            Verdict::Unchecked | Verdict::WaitsForSetup => waiting.push(human::verdict(view, paint)),
            Verdict::Holds => sound.push(view),
        }
    }
    if !waiting.is_empty() {
        // What setup and the sources lack is said above; what is warned of comes after it.
        let refused = report.count(Verdict::Refused);
        paragraphs.insert(refused, waiting.join("\n"));
    }
    if !sound.is_empty() {
        let width = sound.iter().map(|view| view.declared.name.chars().count()).max().unwrap_or(0);
        let mut lines = vec![
            paint.dim("proven by, and what ends an answer; `candor check NAME` tells everything of a view"),
        ];
        lines.extend(sound.iter().map(|view| line(view, width.min(NAME_MAX), paint)));
        paragraphs.push(lines.join("\n"));
    }
    paragraphs
}

/// ` (track, price)`: the views of a verdict, as far as there is room.
pub(super) fn names(report: &Report<'_>, verdict: Verdict) -> String {
    let all = report.views.iter().filter(|view| view.verdict == verdict);
    let all: Vec<&str> = all.map(|view| &*view.declared.name).collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(" ({}{tail})", all[..all.len() - more].join(", "))
}

fn is_warned(view: &ViewReport<'_>) -> bool {
    view.findings.iter().any(|found| !found.is_setup)
}

/// A view that holds. It never takes more than its line: what does not fit is counted.
fn line(view: &ViewReport<'_>, width: usize, paint: Paint) -> String {
    let name = &view.declared.name;
    let proof = match view.declared.contract.proof {
        ProofKind::Log => "log",
        _ => "clock",
    };
    let at = "✓ view ".chars().count() + width.max(name.chars().count()) + "  clock  ".len();
    let ends = fitting(&ends(view), WIDTH.saturating_sub(at));
    format!("{} {}  {proof:5}  {ends}", paint.good("✓"), paint.bold(&format!("view {name:width$}")))
}

/// As many as there is room for, and how many more there are.
fn fitting(ends: &[String], room: usize) -> String {
    let more = |left: usize| if left > 0 { format!(", and {left} more") } else { String::new() };
    let shown = |count: usize| format!("{}{}", ends[..count].join(", "), more(ends.len() - count));
    let count = (1..=ends.len()).rev().find(|count| shown(*count).chars().count() <= room);
    count.map_or_else(|| format!("{} tables and columns", ends.len()), shown)
}

/// What ends an answer, in few words, the narrowest first.
fn ends(view: &ViewReport<'_>) -> Vec<String> {
    let mut ends = Vec::new();
    let mut add = |end: String| {
        if !ends.contains(&end) {
            ends.push(end);
        }
    };
    let ways = view.reads().iter().flat_map(|read| read.tagged_by.iter().map(|way| (&read.table, way)));
    let mut ways: Vec<_> = ways.collect();
    ways.sort_by_key(|(_, way)| match way {
        TaggedBy::Key { .. } => 0,
        TaggedBy::Met { .. } => 1,
        TaggedBy::Table { .. } => 2,
    });
    for (table, way) in ways {
        add(match way {
            TaggedBy::Key { column, parameter } => format!("{table}.{column} = ${}", parameter + 1),
            TaggedBy::Met { column, .. } => format!("{table}.{column} as met"),
            TaggedBy::Table { .. } => format!("any row of {table}"),
        });
    }
    for tag in application_tags(view) {
        add(format!("#{tag}"));
    }
    if view.declared.contract.proof != ProofKind::Log {
        add("time alone".into());
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_on_the_line_is_counted() {
        let ends: Vec<String> = ["a.id = $1", "b.id as met", "any row of c"].map(str::to_owned).into();
        assert_eq!(fitting(&ends, 80), "a.id = $1, b.id as met, any row of c");
        assert_eq!(fitting(&ends, 35), "a.id = $1, b.id as met, and 1 more");
        assert_eq!(fitting(&ends, 5), "3 tables and columns");
        assert_eq!(fitting(&[], 5), "0 tables and columns");
    }
}
