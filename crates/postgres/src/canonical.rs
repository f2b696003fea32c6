//! The types whose text form is canonical: two values are equal if and only if their texts are.
//!
//! Tags are made of text, by the log from what pgoutput prints and by fills from keys and from values met. So only these
//! types name rows. Everything else (`char(n)`, `numeric`, `citext`, timestamps, arrays, domains, and text under a
//! collation that takes different strings for equal) is reached by the tag of its table. Dates are canonical under
//! `DateStyle = ISO`, which every connection of ours sets.

use candor_core::{KeyType, KeyValue};
use std::borrow::Cow;
use tokio_postgres::types::Type;

/// Types that compare with each other and agree in text.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Canon {
    /// `int2`, `int4`, `int8`: of any width, equal numbers have equal digits.
    Int,
    /// `text` and `varchar`, compared byte by byte.
    Text,
    Uuid,
    Bool,
    Date,
}

/// The kind of a column's type; `None` if its text is not canonical.
pub(crate) fn canon(type_oid: u32, is_deterministic: bool) -> Option<Canon> {
    match Type::from_oid(type_oid)? {
        Type::INT2 | Type::INT4 | Type::INT8 => Some(Canon::Int),
        Type::TEXT | Type::VARCHAR if is_deterministic => Some(Canon::Text),
        Type::UUID => Some(Canon::Uuid),
        Type::BOOL => Some(Canon::Bool),
        Type::DATE => Some(Canon::Date),
        _ => None,
    }
}

/// The kind of a key column.
pub(crate) fn canon_of_key(kind: KeyType) -> Canon {
    match kind {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => Canon::Int,
        KeyType::Text => Canon::Text,
        KeyType::Uuid => Canon::Uuid,
        KeyType::Bool => Canon::Bool,
        KeyType::Date => Canon::Date,
    }
}

/// Whether a row tag made of a key of this type meets the row tags of a column of this type.
#[cfg(test)]
fn fits(kind: KeyType, type_oid: u32, is_deterministic: bool) -> bool {
    canon(type_oid, is_deterministic) == Some(canon_of_key(kind))
}

/// Whether two kinds compare with each other and agree in text.
pub(crate) fn fits_canon(a: Option<Canon>, b: Option<Canon>) -> bool {
    a.is_some() && a == b
}

/// The type of the placeholder of a key column. Statements of fills must be prepared with it: what a view means was
/// asked of the server with exactly these types.
pub(crate) fn parameter_type(kind: KeyType) -> Type {
    match kind {
        KeyType::Int2 => Type::INT2,
        KeyType::Int4 => Type::INT4,
        KeyType::Int8 => Type::INT8,
        KeyType::Text => Type::TEXT,
        KeyType::Uuid => Type::UUID,
        KeyType::Bool => Type::BOOL,
        KeyType::Date => Type::DATE,
    }
}

/// The text of a key value as pgoutput prints it: `t` and `f` for truth values, everything else as it is written.
pub(crate) fn key_text(value: &KeyValue) -> Cow<'_, str> {
    match value {
        KeyValue::Int(int) => int.to_string().into(),
        KeyValue::Text(text) => (&**text).into(),
        KeyValue::Bool(true) => "t".into(),
        KeyValue::Bool(false) => "f".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_types_with_one_text_per_value_are_canonical() {
        for (kind, oid) in [
            (KeyType::Int8, Type::INT2),
            (KeyType::Int2, Type::INT8),
            (KeyType::Text, Type::VARCHAR),
            (KeyType::Uuid, Type::UUID),
            (KeyType::Bool, Type::BOOL),
            (KeyType::Date, Type::DATE),
        ] {
            assert!(fits(kind, oid.oid(), true), "{kind:?} {oid}");
        }
        for (kind, oid) in [
            (KeyType::Text, Type::BPCHAR),
            (KeyType::Int8, Type::NUMERIC),
            (KeyType::Date, Type::TIMESTAMP),
            (KeyType::Text, Type::INT4),
            (KeyType::Text, Type::NAME),
            (KeyType::Int8, Type::OID),
        ] {
            assert!(!fits(kind, oid.oid(), true), "{kind:?} {oid}");
        }
        assert!(!fits(KeyType::Text, Type::TEXT.oid(), false), "a collation may take two strings for equal");
    }

    #[test]
    fn keys_are_written_as_the_log_writes_them() {
        assert_eq!(key_text(&KeyValue::Bool(true)), "t");
        assert_eq!(key_text(&KeyValue::Bool(false)), "f");
        assert_eq!(key_text(&KeyValue::Int(-7)), "-7");
        assert_eq!(key_text(&KeyValue::Text("2026-11-21".into())), "2026-11-21");
    }
}
