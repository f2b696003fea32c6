//! Key values as parameters, all in text form: Postgres reads each by its own rules for the type.

use crate::canonical::key_text;
use bytes::BytesMut;
use candor_core::{KeyType, KeyValue};

use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// A parameter in text form.
#[derive(Debug)]
pub(super) struct Text(String);

impl Text {
    /// One value.
    pub(super) fn of(value: &KeyValue) -> Self {
        Self(key_text(value).into_owned())
    }

    /// An array of values. Every element is quoted, so that none is read as NULL, as a brace or as two.
    pub(super) fn of_array<'a>(values: impl Iterator<Item = &'a KeyValue>) -> Self {
        let mut array = String::from("{");
        for value in values {
            if array.len() > 1 {
                array.push(',');
            }
            array.push('"');
            for c in key_text(value).chars() {
                if matches!(c, '"' | '\\') {
                    array.push('\\');
                }
                array.push(c);
            }
            array.push('"');
        }
        array.push('}');
        Self(array)
    }
}

impl ToSql for Text {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// The type of an array of them.
pub(super) fn array_type(kind: KeyType) -> Type {
    match kind {
        KeyType::Int2 => Type::INT2_ARRAY,
        KeyType::Int4 => Type::INT4_ARRAY,
        KeyType::Int8 => Type::INT8_ARRAY,
        KeyType::Text => Type::TEXT_ARRAY,
        KeyType::Uuid => Type::UUID_ARRAY,
        KeyType::Bool => Type::BOOL_ARRAY,
        KeyType::Date => Type::DATE_ARRAY,
    }
}
