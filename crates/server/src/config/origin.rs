//! The text of a configuration file, and the way from a byte in it to what a person sees.
//!
//! Everything that is read keeps its span, so that a complaint raised much later (by a source that holds a view against
//! its live schema, say) can still point at the very characters that should change.

use super::complaint::{Complaint, Excerpt, continues_a_secret};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A range of bytes in an [`Origin`]'s text.
pub type Span = Range<usize>;

/// A line and a column as editors count them: from one, columns in characters.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from one.
    pub line: usize,
    /// The column in characters, from one.
    pub column: usize,
}

/// A configuration file and its text. The text may hold secrets, so neither [`fmt::Debug`] nor a complaint shows them.
#[derive(Clone)]
pub struct Origin {
    file: PathBuf,
    text: Box<str>,
}

impl Origin {
    /// The largest file that is read. Ten thousand views fit; a log file named by mistake does not.
    pub const BYTES_MAX: u64 = 1 << 20;

    /// The text of a file, from wherever it came.
    pub fn new(file: impl Into<PathBuf>, text: impl Into<Box<str>>) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A complaint if the file cannot be read, is larger than [`Self::BYTES_MAX`] or is not UTF-8.
    pub fn read(file: &Path) -> Result<Self, Complaint> {
        let refuse = |message: String, mend: &str| Complaint::of_file(file, message, mend);
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file that fits from one that does not, whatever its metadata claims.
        let read = File::open(file).and_then(|open| open.take(Self::BYTES_MAX + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Err(refuse(
                format!("the file cannot be read: {error}"),
                "check the path and that this user may read it",
            ));
        }
        if bytes.len() as u64 > Self::BYTES_MAX {
            return Err(refuse(
                format!("the file is larger than {} bytes", Self::BYTES_MAX),
                "check that the path names a configuration file",
            ));
        }
        String::from_utf8(bytes).map(|text| Self::new(file, text)).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            // What follows the valid part changes, what comes before it does not, so the offset still holds.
            let shown = Self::new(file, String::from_utf8_lossy(error.as_bytes()));
            shown.complaint(at..at, "the file is not valid UTF-8 here", "save the file as UTF-8")
        })
    }

    /// The file, as it was named.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A path written in this file: relative paths start at the file's directory.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// The place of a byte.
    pub fn place(&self, at: usize) -> Place {
        self.locate(at).place
    }

    /// A complaint about a part of the text.
    pub fn complaint(&self, span: Span, message: impl Into<String>, mend: impl Into<String>) -> Complaint {
        let Located { place, before, line } = self.locate(span.start);
        let marked = self.text.get(span).and_then(|marked| marked.lines().next());
        let width = marked.map_or(1, |marked| marked.chars().count());
        let excerpt = Excerpt::of(line, place.column - 1, width).filter(|_| !continues_a_secret(before));
        Complaint {
            file: self.file.clone(),
            place: Some(place),
            message: message.into(),
            mend: mend.into(),
            excerpt: excerpt.map(Box::new),
        }
    }

    /// Where in the text the string value at `span` begins, behind its quotes, if it stands there as it reads. Escapes
    /// move things; then its parts have no place of their own.
    pub(crate) fn beginning(&self, span: &Span, value: &str) -> Option<usize> {
        let raw = self.text.get(span.clone())?;
        raw.find(value).filter(|_| !value.is_empty()).map(|offset| span.start + offset)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn locate(&self, at: usize) -> Located<'_> {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = self.text.split_at(at);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = after.find('\n').map_or(self.text.len(), |newline| at + newline);
        let (before, left) = before.split_at(start);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let place = Place { line, column: left.chars().count() + 1 };
        Located { place, before, line: self.text[start..end].trim_end_matches('\r') }
    }
}

/// A place, the line there, and everything before that line.
struct Located<'a> {
    place: Place,
    before: &'a str,
    line: &'a str,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("file", &self.file).finish_non_exhaustive()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_the_end_of_the_text_is_a_place() {
        let origin = Origin::new("c.toml", "a = 1\r\nü = \"x\"\n");
        assert_eq!(origin.place(0), Place { line: 1, column: 1 });
        assert_eq!(origin.place(12), Place { line: 2, column: 5 });
        assert_eq!(origin.place(8), Place { line: 2, column: 1 }, "inside a character is at the character");
        assert_eq!(origin.place(999), Place { line: 3, column: 1 });
    }

    #[test]
    fn relative_paths_start_beside_the_file() {
        let origin = Origin::new("etc/candor.toml", "");
        assert_eq!(origin.resolve("shop.db"), Path::new("etc/shop.db"));
        assert_eq!(origin.resolve("/data/shop.db"), Path::new("/data/shop.db"));
        assert_eq!(Origin::new("candor.toml", "").resolve("shop.db"), Path::new("shop.db"));
    }

    #[test]
    fn a_part_of_a_value_is_found_unless_escapes_moved_it() {
        let text = r#"sql = "a $2" "#;
        let origin = Origin::new("c.toml", text);
        assert_eq!(origin.beginning(&(6..12), "a $2"), Some(7));
        assert_eq!(origin.beginning(&(6..12), ""), None);
        let escaped = Origin::new("c.toml", r#"sql = "\u0061 $2""#);
        assert_eq!(escaped.beginning(&(6..17), "a $2"), None);
    }

    #[test]
    fn files_that_cannot_be_a_configuration_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("candor.toml");
        let message = |path: &Path| Origin::read(path).unwrap_err().to_string();
        assert!(message(&path).contains("cannot be read"));
        assert!(message(folder.path()).contains("cannot be read"));
        std::fs::write(&path, vec![b'#'; 1 + (1 << 20)]).unwrap();
        assert!(message(&path).contains("larger than 1048576 bytes"));
        std::fs::write(&path, b"[l1]\nx = \"\xff\"\n").unwrap();
        let complaint = Origin::read(&path).unwrap_err();
        assert_eq!(complaint.place, Some(Place { line: 2, column: 6 }));
        assert!(complaint.to_string().contains("UTF-8"));
    }

    #[test]
    fn debug_shows_the_file_and_not_its_secrets() {
        let shown = format!("{:?}", Origin::new("c.toml", "session_secret = \"hunter2\""));
        assert!(shown.contains("c.toml") && !shown.contains("hunter2"));
    }
}
