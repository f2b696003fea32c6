//! Rows as JSON.
//!
//! Integers and reals become numbers (a real keeps its point), text becomes a string, a blob a base64 string, NULL and
//! what JSON has no number for (the infinities) `null`. Text that is not UTF-8 is refused rather than mangled.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use candor_core::port::SourceError;
use rusqlite::Row;
use rusqlite::types::ValueRef;

/// The bounds of one answer.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
}

/// Appends a row as an object; `names` are the columns, already written as JSON strings.
pub(crate) fn row(into: &mut Vec<u8>, names: &[Box<str>], row: &Row<'_>) -> Result<(), SourceError> {
    into.push(b'{');
    for (place, name) in names.iter().enumerate() {
        if place > 0 {
            into.push(b',');
        }
        into.extend_from_slice(name.as_bytes());
        into.push(b':');
        let value = row.get_ref(place).map_err(|error| SourceError::contract(error.to_string()))?;
        match value {
            ValueRef::Null => into.extend_from_slice(b"null"),
            ValueRef::Integer(int) => into.extend_from_slice(int.to_string().as_bytes()),
            // Zero has one form: SQLite calls 0.0 and -0.0 equal, so a change between the two is not in the log. What is
            // not finite is written as null.
            ValueRef::Real(real) => append(into, &if real == 0.0 { 0.0 } else { real })?,
            ValueRef::Text(bytes) => {
                let Ok(text) = std::str::from_utf8(bytes) else {
                    return Err(SourceError::contract(format!(
                        "column {name} holds text that is not UTF-8; select it as hex({}) or mend the data",
                        name.trim_matches('"')
                    )));
                };
                append(into, &text)?;
            }
            ValueRef::Blob(blob) => {
                into.push(b'"');
                into.extend_from_slice(STANDARD.encode(blob).as_bytes());
                into.push(b'"');
            }
        }
    }
    into.push(b'}');
    Ok(())
}

/// A JSON string.
pub(crate) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn append(into: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<(), SourceError> {
    serde_json::to_writer(into, value).map_err(|error| SourceError::contract(error.to_string()))
}
