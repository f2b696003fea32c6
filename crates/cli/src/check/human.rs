//! The report for people, in a hundred columns, ordered by what to do first: the sources, then the views as [`super::brief`]
//! orders them, at last one line that names what is refused. Views that were named are told in full.

use super::brief;
use super::json::application_tags;
use super::postgres;
use super::report::{MissedSource, Report, Setup, SourceReport, Status, Verdict, ViewReport};
use crate::terminal::{Paint, WIDTH, count, plain, row, wrap};
use candor_core::{ProofKind, TaggedBy, duration};
use candor_server::Config;

/// The width of the names at the left.
pub(super) const NAMES: usize = 13;

/// The report as text; with `is_full`, of views that hold as well.
pub(super) fn render(report: &Report<'_>, is_full: bool, paint: Paint) -> String {
    let mut parts: Vec<String> = report.sources.iter().map(|one| source(one, paint)).collect();
    parts.extend(report.missed.iter().map(|one| missed(one, paint)));
    if is_full {
        parts.extend(brief::ordered(report).into_iter().map(|one| view(report.config, one, paint)));
    } else {
        parts.extend(brief::views(report, paint));
    }
    parts.push(summary(report, paint));
    parts.join("\n\n")
}

fn source(source: &SourceReport<'_>, paint: Paint) -> String {
    let mut lines = vec![title(source, paint)];
    match &source.status {
        Status::Sqlite(status) => sqlite(source, status, paint, &mut lines),
        Status::Postgres(status) => postgres::lines(source, status, paint, &mut lines),
    }
    lines.join("\n")
}

/// Its name, and how its setup stands.
fn title(source: &SourceReport<'_>, paint: Paint) -> String {
    let (word, left) = (source.setup.word(), format!("source {}", source.declared.name));
    let shown = match source.setup {
        Setup::Intact => paint.good(&format!("setup {word}")),
        Setup::NotNeeded => paint.dim(&format!("setup {word}")),
        Setup::Missing | Setup::Incomplete(_) => paint.bad(&format!("setup {word}")),
    };
    header(&left, &format!("setup {word}"), &paint.bold(&left), &shown)
}

fn sqlite(source: &SourceReport<'_>, status: &candor_sqlite::Status, paint: Paint, lines: &mut Vec<String>) {
    let mut say = |name: &str, text: &str| lines.push(row(paint, 2, name, NAMES, text));
    say("sqlite", &plain(&source.declared.kind.place()));
    say("journal", &format!("{} (SQLite {})", status.journal_mode, status.sqlite_version));
    let statements = count(source.statements, "statement");
    match &source.setup {
        Setup::Missing => say(
            "missing",
            &format!("the change log; `candor setup` makes it with {statements}, --dry-run shows them"),
        ),
        Setup::Incomplete(why) => {
            for why in why {
                say("missing", &plain(why));
            }
            say("mend", &format!("`candor setup` mends it with {statements}; --dry-run shows them"));
        }
        Setup::Intact => {
            let tables: Vec<&str> = status.watched.tables.keys().map(String::as_str).collect();
            say("recorded", &format!("changes of {}", tables.join(", ")));
            say(
                "change log",
                &format!(
                    "{} kept, trimmed up to position {}",
                    count_rows(status.log_rows),
                    status.trimmed_to
                ),
            );
            if source.statements > 0 {
                say(
                    "tidy",
                    &format!(
                        "more is recorded than these views need; `candor setup` tidies it with {statements}"
                    ),
                );
            }
        }
        Setup::NotNeeded => {}
    }
    for warning in &status.warnings {
        lines.push(format!("  {} {}", paint.warn("warning"), wrap(&plain(warning), 10, 10)));
    }
}

fn missed(source: &MissedSource<'_>, paint: Paint) -> String {
    let (left, word) = (format!("source {}", source.declared.name), "not reached");
    let kind = &source.declared.kind;
    let mut lines = vec![header(&left, word, &paint.bold(&left), &paint.bad(word))];
    lines.push(row(paint, 2, kind.word(), NAMES, &plain(&kind.place())));
    lines.extend(source.complaints.iter().map(|why| row(paint, 2, "why", NAMES, &plain(&why.message))));
    lines.join("\n")
}

fn count_rows(rows: u64) -> String {
    if rows == 1 { "1 change".to_owned() } else { format!("{rows} changes") }
}

/// The first line of a view: its name, and what becomes of it.
pub(super) fn verdict(view: &ViewReport<'_>, paint: Paint) -> String {
    let name = &view.declared.name;
    let (mark, shown) = match view.verdict {
        Verdict::Holds => (paint.good("✓"), paint.good("holds")),
        Verdict::WaitsForSetup => (paint.warn("…"), paint.warn("waits for setup")),
        Verdict::Refused => (paint.bad("✗"), paint.bad("refused")),
        Verdict::Unchecked => (paint.bad("?"), paint.bad("unchecked")),
    };
    let word = match view.verdict {
        Verdict::WaitsForSetup => "waits for setup",
        other => other.word(),
    };
    let left = format!("✓ view {name}");
    let painted = format!("{mark} {}", paint.bold(&format!("view {name}")));
    header(&left, word, &painted, &shown)
}

/// Everything of a view, what stands in its way first.
pub(super) fn view(config: &Config, view: &ViewReport<'_>, paint: Paint) -> String {
    let (declared, contract) = (view.declared, &view.declared.contract);
    let mut lines = vec![verdict(view, paint)];
    lines.extend(findings(view, paint));
    let place = config.place(&declared.span(""));
    let mut say = |name: &str, text: &str| lines.push(row(paint, 2, name, NAMES, text));
    say("owner", &format!("{}, in {}:{place}", contract.owner, config.file().display()));
    say("key", &key(view));
    if !view.columns().is_empty() {
        say(
            "answers",
            &format!(
                "{}: {}",
                match declared.query.rows {
                    candor_core::Rows::One => "one object, or absent",
                    candor_core::Rows::Many => "an array of objects",
                },
                view.columns().join(", ")
            ),
        );
    }
    say(
        "source",
        &format!(
            "{}, proven by the {}",
            declared.source,
            match contract.proof {
                ProofKind::Log => "log",
                _ => "clock",
            }
        ),
    );
    for read in view.reads() {
        say("reads", &format!("{} ({})", read.table, read.columns.join(", ")));
    }
    for sentence in invalidated(view) {
        say("ended by", &sentence);
    }
    let absent = duration::format(contract.absent_ttl);
    let ttl = duration::format(contract.ttl);
    let critical = if contract.critical { ", critical" } else { "" };
    say(
        "default",
        &format!("{}{critical}; lives {ttl}, absent {absent}; refresh {}", contract.level, contract.refresh),
    );
    // Of one that is refused they all say no more than that.
    for promise in view.promises.iter().filter(|_| view.verdict != Verdict::Refused) {
        let can = if promise.can { paint.good("yes") } else { paint.bad("no ") };
        let at = 2 + NAMES + 5;
        let name = format!("{:NAMES$}", promise.level);
        lines.push(format!("  {}{can}  {}", paint.dim(&name), wrap(&promise.why, at, at)));
    }
    lines.join("\n")
}

/// What stands in a view's way, with the mends.
pub(super) fn findings(view: &ViewReport<'_>, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    // What setup mends is said once, at the source.
    for found in view.findings.iter().filter(|found| !found.is_setup) {
        let word = if found.is_refusal { paint.bad("refused") } else { paint.warn("warning") };
        let place = found.complaint.place.map_or(String::new(), |place| format!(":{place}"));
        let text = format!("{}{place}: {}", found.complaint.file.display(), found.complaint.message);
        lines.push(format!("  {word}  {}", wrap(&plain(&text), 11, 11)));
        if !found.complaint.mend.is_empty() {
            lines.push(format!(
                "           {} {}",
                paint.dim("mend:"),
                wrap(&plain(&found.complaint.mend), 17, 17)
            ));
        }
    }
    lines
}

fn key(view: &ViewReport<'_>) -> String {
    let query = &view.declared.query;
    if query.key.is_empty() {
        return "none: the view has one answer".to_owned();
    }
    let columns = query.key.iter().enumerate().map(|(at, column)| {
        let subject = if view.declared.private == Some(at) { " (the authenticated subject)" } else { "" };
        format!("{}:{}{subject}", column.name, column.kind.name())
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// What ends an entry, as sentences.
fn invalidated(view: &ViewReport<'_>) -> Vec<String> {
    let query = &view.declared.query;
    let mut sentences = Vec::new();
    for read in view.reads() {
        for way in &read.tagged_by {
            sentences.push(match way {
                TaggedBy::Key { column, parameter } => {
                    let name = query.key.get(*parameter).map_or("?", |column| &column.name);
                    format!(
                        "a change of rows of {} with {column} = ${} (key {name})",
                        read.table,
                        parameter + 1
                    )
                }
                TaggedBy::Met { column, from } => {
                    format!(
                        "a change of rows of {} with {column} = any {from} met while answering",
                        read.table
                    )
                }
                TaggedBy::Table { why } => format!("a change of any row of {} ({why})", read.table),
            });
        }
    }
    for tag in application_tags(view) {
        sentences.push(format!("an application that invalidates #{tag}"));
    }
    if view.declared.contract.proof != ProofKind::Log {
        sentences.push("time alone: no log is followed".into());
    }
    sentences
}

fn summary(report: &Report<'_>, paint: Paint) -> String {
    let mut parts =
        vec![format!("{} of {} hold", report.count(Verdict::Holds), count(report.views.len(), "view"))];
    for (verdict, what) in [
        (Verdict::Refused, "refused"),
        (Verdict::WaitsForSetup, "waiting for setup"),
        (Verdict::Unchecked, "unchecked"),
    ] {
        let number = report.count(verdict);
        if number > 0 {
            let names =
                if verdict == Verdict::Refused { brief::names(report, verdict) } else { String::new() };
            parts.push(format!("{number} {what}{names}"));
        }
    }
    if report.warnings() > 0 {
        parts.push(count(report.warnings(), "warning"));
    }
    let unset: Vec<&str> = report
        .sources
        .iter()
        .filter(|source| !source.setup.is_sound())
        .map(|source| &*source.declared.name)
        .collect();
    if !unset.is_empty() {
        parts.push(format!("run `candor setup` for {}", unset.join(", ")));
    }
    let text = wrap(&format!("{}.", parts.join(", ")), 0, 0);
    if report.is_sound() { paint.good(&text) } else { paint.bad(&text) }
}

/// A line with something at its left and something at its right end; widths are those of the unpainted texts.
fn header(left: &str, right: &str, painted_left: &str, painted_right: &str) -> String {
    let used = left.chars().count() + right.chars().count();
    let gap = WIDTH.saturating_sub(used).max(2);
    format!("{painted_left}{:gap$}{painted_right}", "")
}
