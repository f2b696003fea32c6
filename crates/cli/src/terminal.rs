//! Printing. Stdout holds what was asked for, stderr everything else; colours only where a person looks.

use clap::builder::styling::{AnsiColor, Style};
use serde_json::Value;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// The width everything is laid out for.
pub(crate) const WIDTH: usize = 100;

/// Where output goes and in which form.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Terminal {
    json: bool,
    quiet: bool,
    out: Paint,
    err: Paint,
}

/// Colours, or none. Widths are counted before painting: codes have none, and count as characters all the same.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Terminal {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let wanted = |is_terminal: bool| {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            Paint { on: is_terminal && !refused && !is_dumb }
        };
        Self { json, quiet, out: wanted(io::stdout().is_terminal()), err: wanted(io::stderr().is_terminal()) }
    }

    /// Whether stdout is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether only what was asked for is printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Colours for stdout.
    pub(crate) fn paint(&self) -> Paint {
        self.out
    }

    /// Colours for stderr.
    pub(crate) fn err(&self) -> Paint {
        self.err
    }

    /// Whether progress may be shown.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }

    /// A line, or lines, on stdout. A reader that has gone (`| head`) ends the program quietly.
    pub(crate) fn out(&self, text: impl Display) {
        let mut out = io::stdout().lock();
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            let code = if error.kind() == ErrorKind::BrokenPipe { 0 } else { 70 };
            std::process::exit(code);
        }
    }

    /// The same for a program that goes on without its reader: a service does not end because nobody reads its banner.
    pub(crate) fn banner(&self, text: impl Display) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// A value as it came; on a screen without what would move the cursor, which JSON does not always escape.
    pub(crate) fn value(&self, text: &str) {
        if io::stdout().is_terminal() { self.out(plain(text)) } else { self.out(text) }
    }

    /// A JSON document on one line of stdout.
    pub(crate) fn json(&self, value: &Value) {
        self.out(value);
    }

    /// What a person may want to know besides; nothing with `--quiet`.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            // Who closed the other end does not want to know.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

impl Paint {
    /// Whether there are colours.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default().bold(), text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    pub(crate) fn warn(self, text: &str) -> String {
        self.with(AnsiColor::Yellow.on_default().bold(), text)
    }

    pub(crate) fn name(self, text: &str) -> String {
        self.with(AnsiColor::Cyan.on_default(), text)
    }
}

/// Text from a source without what would move the cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Breaks text into lines of at most `WIDTH` characters, the first after `first` characters that stand there already,
/// the others after `indent` spaces. Words are never broken.
pub(crate) fn wrap(text: &str, first: usize, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = first;
    let mut is_fresh = true;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if !is_fresh && column + 1 + width > WIDTH {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
            is_fresh = true;
        }
        if !is_fresh {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
        is_fresh = false;
    }
    lines
}

/// A row of a definition list: a name in a column of `width`, then text that wraps beside it.
pub(crate) fn row(paint: Paint, indent: usize, name: &str, width: usize, text: &str) -> String {
    let at = indent + width;
    format!("{:indent$}{}{}", "", paint.dim(&format!("{name:width$}")), wrap(text, at, at))
}

/// `1 view`, `2 views`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_beside_its_name_and_words_stay_whole() {
        let text = "word ".repeat(30);
        let row = row(Paint { on: false }, 2, "name", 10, &text);
        assert!(row.lines().all(|line| line.chars().count() <= WIDTH && !line.ends_with(' ')), "{row}");
        assert!(
            row.starts_with("  name      word")
                && row.lines().nth(1).unwrap().starts_with("            word")
        );
        assert_eq!(wrap(&"x".repeat(150), 5, 5), "x".repeat(150), "a long word is not broken");
    }

    #[test]
    fn text_of_a_source_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}c"), "a\u{fffd}[2Jb\u{fffd}c");
    }

    #[test]
    fn no_colour_means_no_codes() {
        assert_eq!(Paint { on: false }.bad("x"), "x");
        assert!(Paint { on: true }.bad("x").contains("\u{1b}["));
    }
}
