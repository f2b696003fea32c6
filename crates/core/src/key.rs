//! Values of key columns, in the one form in which they are compared.
//!
//! A key arrives as text (a path segment, a command argument, JSON) and is brought into a canonical form, so that one
//! row has one key and one tag however it was written.

use std::fmt;

/// Types whose text form is canonical, so that equal values have equal tags.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// A signed integer of at most 16 bits.
    Int2,
    /// A signed integer of at most 32 bits.
    Int4,
    /// A signed integer of at most 64 bits.
    Int8,
    /// Text that is compared byte by byte.
    Text,
    /// A UUID.
    Uuid,
    /// True or false.
    Bool,
    /// A calendar date, `2026-11-21`.
    Date,
}

/// A canonical key value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyValue {
    /// An integer.
    Int(i64),
    /// Text; also UUIDs (lower case, hyphenated) and dates (ISO 8601).
    Text(Box<str>),
    /// True or false.
    Bool(bool),
}

/// Why a key value was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not of the column's type.
    #[error("`{text}` is not {expected}")]
    Type {
        /// The refused text, shortened.
        text: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// Longer than [`KeyType::TEXT_BYTES_MAX`].
    #[error("the key value has {bytes} bytes; at most {} are accepted", KeyType::TEXT_BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl KeyType {
    /// The longest key value. Keys are kept in memory beside every entry and hashed at every read.
    pub const TEXT_BYTES_MAX: usize = 1024;

    /// All types with their names in contracts.
    pub const ALL: [(&'static str, Self); 7] = [
        ("int2", Self::Int2),
        ("int4", Self::Int4),
        ("int8", Self::Int8),
        ("text", Self::Text),
        ("uuid", Self::Uuid),
        ("bool", Self::Bool),
        ("date", Self::Date),
    ];

    /// The type of that name in a contract.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// The name in contracts.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Reads a value of this type and brings it into canonical form.
    ///
    /// # Errors
    ///
    /// [`KeyError`], whose sentence shows what would have been accepted.
    pub fn parse(self, text: &str) -> Result<KeyValue, KeyError> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return Err(KeyError::TooLong { bytes: text.len() });
        }
        let value = match self {
            Self::Int2 => integer(text).filter(|int| i16::try_from(*int).is_ok()).map(KeyValue::Int),
            Self::Int4 => integer(text).filter(|int| i32::try_from(*int).is_ok()).map(KeyValue::Int),
            Self::Int8 => integer(text).map(KeyValue::Int),
            // NUL ends a string in C, and so in SQLite's comparisons of some columns and in Postgres altogether.
            Self::Text => (!text.contains('\0')).then(|| KeyValue::Text(text.into())),
            Self::Uuid => uuid(text).map(KeyValue::Text),
            Self::Bool => boolean(text).map(KeyValue::Bool),
            Self::Date => is_date(text).then(|| KeyValue::Text(text.into())),
        };
        value.ok_or_else(|| KeyError::Type {
            text: text.chars().take(64).collect(),
            expected: self.expected(),
        })
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Int2 => "a whole number of 16 bits (int2), such as 42",
            Self::Int4 => "a whole number of 32 bits (int4), such as 42",
            Self::Int8 => "a whole number of 64 bits (int8), such as 42",
            Self::Text => "text without NUL",
            Self::Uuid => "a UUID, such as 0f8fad5b-d9cb-469f-a165-70867728950e",
            Self::Bool => "true or false",
            Self::Date => "a date, such as 2026-11-21",
        }
    }
}

impl KeyValue {
    /// Bytes of the encoding.
    pub fn encoded_bytes(&self) -> usize {
        match self {
            Self::Int(_) => 9,
            Self::Text(text) => 5 + text.len(),
            Self::Bool(_) => 2,
        }
    }

    /// Appends an encoding in which no two lists of values are alike; the key of an entry.
    pub fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::Int(int) => {
                into.push(b'i');
                into.extend_from_slice(&int.to_be_bytes());
            }
            Self::Text(text) => {
                into.push(b't');
                into.extend_from_slice(&(text.len() as u32).to_be_bytes());
                into.extend_from_slice(text.as_bytes());
            }
            Self::Bool(truth) => into.extend_from_slice(&[b'b', u8::from(*truth)]),
        }
    }
}

/// The canonical text form: what tags are made of.
impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => write!(f, "{int}"),
            Self::Text(text) => f.write_str(text),
            Self::Bool(truth) => write!(f, "{truth}"),
        }
    }
}

/// Digits with an optional minus; no plus, no spaces. Leading zeros are dropped.
fn integer(text: &str) -> Option<i64> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// The hyphenated form in either case.
fn uuid(text: &str) -> Option<Box<str>> {
    let shaped = text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    shaped.then(|| text.to_ascii_lowercase().into())
}

fn is_date(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    if text.len() != 10 || text.get(4..5) != Some("-") || text.get(7..8) != Some("-") {
        return false;
    }
    let number = |range| digits(range).and_then(|part| part.parse::<u32>().ok());
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_form() {
        let text = |text: &str| KeyValue::Text(text.into());
        for (kind, written, canonical) in [
            (KeyType::Int8, "042", KeyValue::Int(42)),
            (KeyType::Int8, "-9223372036854775808", KeyValue::Int(i64::MIN)),
            (KeyType::Int2, "32767", KeyValue::Int(32767)),
            (KeyType::Bool, "t", KeyValue::Bool(true)),
            (
                KeyType::Uuid,
                "0F8FAD5B-d9cb-469f-a165-70867728950E",
                text("0f8fad5b-d9cb-469f-a165-70867728950e"),
            ),
            (KeyType::Date, "2028-02-29", text("2028-02-29")),
            (KeyType::Text, "", text("")),
        ] {
            assert_eq!(kind.parse(written), Ok(canonical), "{written}");
        }
    }

    #[test]
    fn what_is_not_of_the_type_is_refused() {
        for (kind, written) in [
            (KeyType::Int8, ""),
            (KeyType::Int8, "+1"),
            (KeyType::Int8, " 1"),
            (KeyType::Int8, "1.0"),
            (KeyType::Int8, "9223372036854775808"),
            (KeyType::Int4, "2147483648"),
            (KeyType::Int2, "-32769"),
            (KeyType::Bool, "yes"),
            (KeyType::Uuid, "0f8fad5bd9cb469fa16570867728950e"),
            (KeyType::Date, "2026-02-29"),
            (KeyType::Date, "2026-1-1"),
            (KeyType::Date, "é026-01-1"),
            (KeyType::Text, "a\0b"),
        ] {
            assert!(kind.parse(written).is_err(), "{written:?}");
        }
        assert_eq!(KeyType::Text.parse(&"x".repeat(1025)), Err(KeyError::TooLong { bytes: 1025 }));
    }

    #[test]
    fn encodings_of_different_keys_differ() {
        let encode = |values: &[KeyValue]| {
            let mut bytes = Vec::new();
            values.iter().for_each(|value| value.encode(&mut bytes));
            bytes
        };
        let text = |text: &str| KeyValue::Text(text.into());
        assert_ne!(encode(&[text("a"), text("b")]), encode(&[text("ab"), text("")]));
        assert_ne!(encode(&[KeyValue::Int(1)]), encode(&[text("1")]));
    }
}
