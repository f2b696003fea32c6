//! From text to a table with spans: every syntax error of a file at once, with a mend.
//!
//! The parser recovers after an error. What it recovers after a broken value is guesswork, so then only the syntax is
//! reported; after a mere duplicate the rest of the file is still worth reading.

use super::complaint::{Complaint, Complaints};
use super::origin::{Origin, Span};
use toml::de::{DeTable, DeValue};

/// A parsed file.
pub(crate) struct Document<'a> {
    pub(crate) root: DeTable<'a>,
    /// Duplicates, which do not keep the rest from being read.
    pub(crate) complaints: Complaints,
}

impl<'a> Document<'a> {
    /// Parses the text.
    pub(crate) fn parse(origin: &'a Origin) -> Result<Self, Complaints> {
        let (root, errors) = DeTable::parse_recoverable(origin.text());
        let root = root.into_inner();
        let mut complaints = Complaints::default();
        let is_readable = errors.iter().all(is_duplicate);
        // The fields of a section that is declared twice fall together too, which is the same mistake and not another.
        let mut told_until = 0;
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            if is_duplicate(error) {
                if span.start < told_until {
                    continue;
                }
                if line_around(origin.text(), span.start).starts_with('[') {
                    told_until = next_header(origin.text(), span.end);
                }
                complaints.add(|| duplicate(origin, &root, span));
            } else {
                complaints.add(|| syntax(origin, error.message(), span));
            }
        }
        if is_readable { Ok(Self { root, complaints }) } else { Err(complaints.sorted()) }
    }
}

fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message().starts_with("duplicate key")
}

fn syntax(origin: &Origin, message: &str, span: Span) -> Complaint {
    let mend = if message.contains("must be quoted") {
        "put the value in quotes"
    } else if message.contains(" string") {
        "close the string with a quote on the same line"
    } else if message.contains("unclosed") {
        "close the bracket"
    } else if message.contains("no value") || message.contains("assignment") || message.contains("key-value")
    {
        "write one `name = value` on a line"
    } else {
        "see https://toml.io for the form of a TOML file"
    };
    origin.complaint(span, format!("not valid TOML: {message}"), mend)
}

fn duplicate(origin: &Origin, root: &DeTable<'_>, span: Span) -> Complaint {
    let name = origin.text().get(span.clone()).unwrap_or_default();
    let line = line_around(origin.text(), span.start);
    // A header repeats the earlier header of the same text; a field the last field of its name before it.
    let first = if line.starts_with('[') {
        origin.text().lines().position(|earlier| earlier.trim() == line).map(|index| index + 1)
    } else {
        let mut earlier = None;
        last_key_before(root, name, span.start, &mut earlier);
        earlier.map(|at| origin.place(at).line)
    };
    let first = first.map_or(String::new(), |line| format!(", first on line {line}"));
    let noun = match line.trim_start_matches('[').split(['.', ']']).next().map(str::trim) {
        Some("view") if line.starts_with('[') => "view ",
        Some("source") if line.starts_with('[') => "source ",
        Some("feed") if line.starts_with('[') => "feed ",
        _ => "",
    };
    origin.complaint(span, format!("{noun}`{name}` is declared twice{first}"), "keep one of the two")
}

/// The line around a byte, without the blanks at its ends.
fn line_around(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..].lines().next().unwrap_or_default().trim()
}

/// Where the next section begins, or the end of the text.
fn next_header(text: &str, after: usize) -> usize {
    text[after..].find("\n[").map_or(text.len(), |offset| after + offset + 1)
}

fn last_key_before(table: &DeTable<'_>, name: &str, before: usize, found: &mut Option<usize>) {
    for (key, value) in table.iter() {
        if key.get_ref() == name && key.span().start < before {
            *found = Some((*found).unwrap_or(0).max(key.span().start));
        }
        if let DeValue::Table(inner) = value.get_ref() {
            last_key_before(inner, name, before, found);
        }
    }
}
