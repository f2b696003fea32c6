//! What is wrong with a configuration file, where, and how to mend it.
//!
//! A complaint shows the offending line with a caret. The line may hold a secret (an unclosed quote after a password is
//! an error like any other), so every shown line is masked first: values of fields whose name speaks of a secret, a
//! token or a password, and passwords in URLs. Masking keeps the width, so the caret stays right.

use super::origin::Place;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, where, and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Where in the file; `None` for the file as a whole.
    pub place: Option<Place>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to write instead; empty if nobody can know.
    pub mend: String,
    pub(super) excerpt: Option<Box<Excerpt>>,
}

/// Everything that is wrong with a file, in the order of the file. Never empty where it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    list: Vec<Complaint>,
    /// Complaints beyond [`Complaints::SHOWN_MAX`].
    more: usize,
}

/// The part of a line that is shown, and what of it is marked; in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    line: String,
    indent: usize,
    width: usize,
}

impl Complaint {
    /// A complaint about a file as a whole.
    pub fn of_file(file: &Path, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { file: file.into(), place: None, message: message.into(), mend: mend.into(), excerpt: None }
    }
}

impl Complaints {
    /// How many complaints are kept. Whoever mends a hundred runs the check again anyway.
    pub const SHOWN_MAX: usize = 100;

    /// The complaints, in the order of the file.
    pub fn list(&self) -> &[Complaint] {
        &self.list
    }

    /// How many there are, those not kept included.
    pub fn count(&self) -> usize {
        self.list.len() + self.more
    }

    /// Adds one. It is built only if it is kept, because finding its line costs a walk through the file.
    pub(crate) fn add(&mut self, complaint: impl FnOnce() -> Complaint) {
        if self.list.len() < Self::SHOWN_MAX {
            self.list.push(complaint());
        } else {
            self.more += 1;
        }
    }

    /// `Ok` if there is nothing to complain about.
    pub(crate) fn verdict<T>(self, value: T) -> Result<T, Self> {
        if self.list.is_empty() { Ok(value) } else { Err(self.sorted()) }
    }

    pub(super) fn sorted(mut self) -> Self {
        self.list.sort_by_key(|complaint| complaint.place);
        self
    }
}

impl From<Complaint> for Complaints {
    fn from(complaint: Complaint) -> Self {
        Self { list: vec![complaint], more: 0 }
    }
}

impl FromIterator<Complaint> for Complaints {
    fn from_iter<I: IntoIterator<Item = Complaint>>(each: I) -> Self {
        let mut complaints = Self::default();
        for complaint in each {
            complaints.add(|| complaint);
        }
        complaints.sorted()
    }
}

impl std::error::Error for Complaint {}
impl std::error::Error for Complaints {}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(place) = self.place {
            write!(f, ":{place}")?;
        }
        writeln!(f, ": {}", self.message)?;
        if let (Some(place), Some(excerpt)) = (self.place, &self.excerpt) {
            let line = place.line.to_string();
            let gutter = line.len();
            writeln!(f, "{:gutter$} |", "")?;
            writeln!(f, "{line} | {}", excerpt.line)?;
            writeln!(
                f,
                "{:gutter$} | {:indent$}{:^<width$}",
                "",
                "",
                "^",
                indent = excerpt.indent,
                width = excerpt.width
            )?;
        }
        if !self.mend.is_empty() {
            writeln!(f, "  mend: {}", self.mend)?;
        }
        Ok(())
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{complaint}")?;
        }
        if self.more > 0 {
            writeln!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl Excerpt {
    /// Characters shown of a long line.
    const WIDTH_MAX: usize = 120;
    /// Bytes of a line beyond which none of it is shown: nobody wrote it by hand, and masking it takes its time.
    const LINE_BYTES_MAX: usize = 4096;

    /// The surroundings of `width` characters at `column` (from zero) of a line.
    pub(super) fn of(line: &str, column: usize, width: usize) -> Option<Self> {
        if line.len() > Self::LINE_BYTES_MAX {
            return None;
        }
        // Of a long line the part around the mark: it starts a little before.
        let start = if column >= Self::WIDTH_MAX { column - 20 } else { 0 };
        // A control character would move the caret, or the terminal.
        let printable = |c: char| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        let shown: String = mask(line).chars().skip(start).take(Self::WIDTH_MAX).map(printable).collect();
        let indent = column - start;
        let room = shown.chars().count().saturating_sub(indent);
        Some(Self { line: shown, indent, width: width.clamp(1, room.max(1)) })
    }
}

/// Replaces what may be secret, one character by one star.
fn mask(line: &str) -> String {
    let mut shown: Vec<char> = line.chars().collect();
    let mut hide = |range: std::ops::Range<usize>| {
        for c in &mut shown[range] {
            if !matches!(c, ' ' | '\t' | '"' | '\'' | '{' | '}' | ',' | '=') {
                *c = '*';
            }
        }
    };
    let chars: Vec<char> = line.chars().collect();
    for (index, _) in chars.iter().enumerate().filter(|(_, c)| **c == '=') {
        if names_a_secret(&chars[..index]) {
            hide(index..chars.len());
        }
    }
    for start in 0..chars.len().saturating_sub(2) {
        if chars[start..start + 3] == [':', '/', '/'] {
            let rest = &chars[start + 3..];
            // Not only to the first slash: one that a password holds unescaped is itself what is complained about.
            let authority = rest.iter().position(|c| matches!(c, '"' | '\'' | ' ')).unwrap_or(rest.len());
            // The last at-sign ends the credentials: a password may hold one, a host may not.
            if let Some(at) = rest[..authority].iter().rposition(|c| *c == '@') {
                let colon = rest[..at].iter().position(|c| *c == ':').unwrap_or(at);
                hide(start + 3 + colon..start + 3 + at);
            }
        }
    }
    shown.into_iter().collect()
}

/// Whether a line continues a string over several lines whose field must not be shown; `before` is the text before it.
/// Its own line names no field, so it could not be masked.
pub(super) fn continues_a_secret(before: &str) -> bool {
    ["\"\"\"", "'''"].into_iter().any(|quotes| {
        let opened = before.rfind(quotes).filter(|_| before.matches(quotes).count() % 2 == 1);
        opened.is_some_and(|at| {
            let line = before[..at].rsplit('\n').next().unwrap_or_default().trim_end();
            let name: Vec<char> = line.strip_suffix('=').unwrap_or(line).chars().collect();
            names_a_secret(&name)
        })
    })
}

/// Whether the field name at the end of `before` is one whose value must not be shown.
fn names_a_secret(before: &[char]) -> bool {
    let name: String = before
        .iter()
        .rev()
        .skip_while(|c| c.is_whitespace())
        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\''))
        .collect();
    let name: String = name.chars().rev().collect::<String>().to_lowercase();
    !name.ends_with("tokens_file") && ["secret", "token", "password"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_shows_the_line_the_caret_and_the_mend() {
        let complaint = Complaint {
            file: "candor.toml".into(),
            place: Some(Place { line: 14, column: 7 }),
            message: "`1hour` is not a duration".into(),
            mend: "write 1h".into(),
            excerpt: Excerpt::of("ttl = \"1hour\"", 6, 7).map(Box::new),
        };
        let expected = "candor.toml:14:7: `1hour` is not a duration\n   |\n14 | ttl = \"1hour\"\n   |       ^^^^^^^\n  mend: write 1h\n";
        assert_eq!(complaint.to_string(), expected);
    }

    #[test]
    fn secrets_are_masked_with_their_width() {
        for (line, shown) in [
            (r#"session_secret = "hunter2"#, r#"session_secret = "*******"#),
            (
                r#"auth = { tokens_file = "t", token = "ab" }"#,
                r#"auth = { tokens_file = "t", token = "**" }"#,
            ),
            (r#"url = "postgres://app:pa@ss@db/shop""#, r#"url = "postgres://app******@db/shop""#),
            (r#"url = "postgres://app@db/shop""#, r#"url = "postgres://app@db/shop""#),
            (r#"'Password'='x=y'"#, r#"'Password'='*=*'"#),
            (r#"sql = "SELECT 1""#, r#"sql = "SELECT 1""#),
        ] {
            assert_eq!(mask(line), shown);
        }
    }

    #[test]
    fn a_long_line_is_shown_around_the_mark_and_terminal_codes_are_not() {
        let line = format!("{}\x1b[31m", "x".repeat(500));
        let excerpt = Excerpt::of(&line, 500, 99).unwrap();
        assert_eq!((excerpt.indent, excerpt.width), (20, 5));
        assert!(excerpt.line.ends_with("\u{fffd}[31m"));
        assert_eq!(Excerpt::of("", 0, 0), Some(Excerpt { line: String::new(), indent: 0, width: 1 }));
        assert_eq!(Excerpt::of(&"x".repeat(5000), 0, 1), None);
    }

    #[test]
    fn complaints_are_sorted_and_bounded() {
        let mut complaints = Complaints::default();
        for line in (1..=150).rev() {
            let place = Some(Place { line, column: 1 });
            complaints.add(|| Complaint { place, ..Complaint::of_file(Path::new("c.toml"), "m", "") });
        }
        let complaints = complaints.verdict(()).unwrap_err();
        assert_eq!((complaints.list().len(), complaints.count()), (100, 150));
        assert!(complaints.list()[0].place < complaints.list()[1].place);
        assert!(complaints.to_string().ends_with("and 50 more\n"));
    }
}
