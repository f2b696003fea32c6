//! What a row of the change log says of the row that changed: its key columns, in a form people can read.
//!
//! `TrackId=5,AlbumId=NULL,"odd name"='it''s'`. The triggers write it with SQLite's own `quote()`; this file names
//! columns on the way in and reads images on the way out. The reader is strict and never panics: what it does not
//! understand, the log tells as a gap.
//!
//! *Values that SQLite calls equal under a canonical comparison have equal texts here*, on the side of the log and on the
//! side of keys and met values alike.

use rusqlite::types::ValueRef;
use std::borrow::Cow;

/// A value of a key column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// A name as it stands in SQL: quoted whatever it is.
pub(crate) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal.
pub(crate) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as it stands in an image: quoted only where a reader could mistake it.
pub(crate) fn image_name(name: &str) -> Cow<'_, str> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if plain { Cow::Borrowed(name) } else { Cow::Owned(quote_name(name)) }
}

impl Value {
    /// From a column of a result.
    pub(crate) fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(int) => Self::Int(int),
            ValueRef::Real(real) => Self::Real(real),
            ValueRef::Text(text) => Self::Text(text.to_vec()),
            ValueRef::Blob(blob) => Self::Blob(blob.to_vec()),
        }
    }

    /// The texts under which the value is tagged; none for NULL, which equals nothing.
    ///
    /// Text ends at a NUL, because `quote()` ends there. A real number that is whole has the text of the integer it
    /// equals. SQLite stores such numbers as integers in key columns, with one exception: -2^63, which older versions
    /// also print with too few digits; numbers close to it are tagged as if they were it.
    pub(crate) fn tag_text(&self) -> Option<String> {
        /// Wide enough for fifteen digits.
        const NEAR: f64 = 1e4;
        const LOWEST: f64 = i64::MIN as f64;
        match self {
            Self::Null => None,
            Self::Int(int) => Some(int.to_string()),
            Self::Real(real) if (real - LOWEST).abs() <= NEAR => Some(i64::MIN.to_string()),
            Self::Real(real) if real.fract() == 0.0 && real.abs() < -LOWEST => {
                Some((*real as i64).to_string())
            }
            Self::Real(real) => Some(format!("{real:e}")),
            Self::Text(text) => {
                let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
                Some(String::from_utf8_lossy(&text[..end]).into_owned())
            }
            Self::Blob(blob) => {
                Some(blob.iter().fold("x'".to_owned(), |text, byte| format!("{text}{byte:02x}")))
            }
        }
    }
}

/// Reads an image; column names come back in lower case. `None` if it is not one.
pub(crate) fn parse(image: &[u8]) -> Option<Vec<(String, Value)>> {
    let mut rest = Reader(image);
    let mut columns = Vec::new();
    if image.is_empty() {
        return Some(columns);
    }
    loop {
        let name = rest.name()?;
        rest.expect(b'=')?;
        columns.push((name, rest.value()?));
        if rest.0.is_empty() {
            return Some(columns);
        }
        rest.expect(b',')?;
    }
}

/// Reads a list of column names, in lower case. `None` if it is not one.
pub(crate) fn parse_names(list: &[u8]) -> Option<Vec<String>> {
    let mut rest = Reader(list);
    let mut names = Vec::new();
    if list.is_empty() {
        return Some(names);
    }
    loop {
        names.push(rest.name()?);
        if rest.0.is_empty() {
            return Some(names);
        }
        rest.expect(b',')?;
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !keep(*byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn name(&mut self) -> Option<String> {
        let bytes = if self.0.first() == Some(&b'"') {
            self.quoted(b'"')?
        } else {
            let name = self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_').to_vec();
            if name.is_empty() {
                return None;
            }
            name
        };
        Some(lower(&String::from_utf8_lossy(&bytes)))
    }

    fn value(&mut self) -> Option<Value> {
        match self.0.first()? {
            b'\'' => self.quoted(b'\'').map(Value::Text),
            b'X' | b'x' => {
                self.0 = &self.0[1..];
                self.quoted(b'\'').and_then(|hex| bytes_of(&hex)).map(Value::Blob)
            }
            _ => {
                let word = std::str::from_utf8(self.take_while(|byte| byte != b',')).ok()?;
                number(word)
            }
        }
    }

    /// Text between two quotes, in which a doubled quote stands for one.
    fn quoted(&mut self, quote: u8) -> Option<Vec<u8>> {
        self.expect(quote)?;
        let mut text = Vec::new();
        loop {
            text.extend_from_slice(self.take_while(|byte| byte != quote));
            self.expect(quote)?;
            if self.expect(quote).is_none() {
                return Some(text);
            }
            text.push(quote);
        }
    }
}

fn number(word: &str) -> Option<Value> {
    if word == "NULL" {
        return Some(Value::Null);
    }
    if let Ok(int) = word.parse::<i64>() {
        return Some(Value::Int(int));
    }
    // `Inf` is how some versions print infinity, `9.0e+999` how others do; both read as infinity.
    word.parse::<f64>().ok().filter(|real| !real.is_nan()).map(Value::Real)
}

fn bytes_of(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let (pairs, rest) = hex.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8)).collect()
}

/// SQLite compares names without regard to the case of ASCII letters, and only of those.
pub(crate) fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_image_reads_back() {
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(
            parse(br#"TrackId=5,AlbumId=NULL,Name='it''s, "x"=1',"odd ""name"=X'00FF',p=-1.5"#),
            Some(vec![
                ("trackid".into(), Value::Int(5)),
                ("albumid".into(), Value::Null),
                ("name".into(), text("it's, \"x\"=1")),
                ("odd \"name".into(), Value::Blob(vec![0, 255])),
                ("p".into(), Value::Real(-1.5)),
            ])
        );
        assert_eq!(parse(b""), Some(vec![]));
        assert_eq!(parse(b"a=9.0e+999"), Some(vec![("a".into(), Value::Real(f64::INFINITY))]));
        assert_eq!(parse_names(br#"Name,"odd, name""#), Some(vec!["name".into(), "odd, name".into()]));
    }

    #[test]
    fn what_is_not_an_image_is_refused() {
        for image in
            ["a", "a=", "=1", "a=1,", "a='x", "a=X'0'", "a=X'zz'", "a=1;b=2", "a=nan", "\"a=1", "a=''x"]
        {
            assert_eq!(parse(image.as_bytes()), None, "{image}");
        }
        assert_eq!(parse_names(b"a,,b"), None);
    }

    #[test]
    fn equal_values_have_equal_texts() {
        assert_eq!(Value::Real(5.0).tag_text(), Value::Int(5).tag_text());
        assert_eq!(Value::Real(i64::MIN as f64).tag_text(), Value::Int(i64::MIN).tag_text());
        assert_eq!(Value::Real(-9.22337203685478e18).tag_text(), Value::Int(i64::MIN).tag_text());
        assert_eq!(Value::Text(b"a\0b".to_vec()).tag_text(), Some("a".into()));
        assert_eq!(Value::Null.tag_text(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (parse(&bytes), parse_names(&bytes));
        }

        #[test]
        fn what_sqlite_quotes_reads_back(text in "[^\0]{0,20}", int in any::<i64>(), real in -1e300..1e300f64) {
            let connection = rusqlite::Connection::open_in_memory().unwrap();
            let image: Vec<u8> = connection
                .query_row(
                    "SELECT CAST('a=' || quote(?1) || ',b=' || quote(?2) || ',c=' || quote(?3) AS BLOB)",
                    (&text, int, real),
                    |row| row.get(0),
                )
                .unwrap();
            let read = parse(&image).unwrap();
            prop_assert_eq!(&read[0].1, &Value::Text(text.into_bytes()));
            prop_assert_eq!(&read[1].1, &Value::Int(int));
            prop_assert_eq!(&read[2].1, &Value::Real(real));
        }
    }
}
