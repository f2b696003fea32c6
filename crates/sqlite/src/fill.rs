//! One fill: position, answers and tags, all from one read transaction.

use crate::facets::Registration;
use crate::fault;
use crate::file::FileId;
use crate::history::{self, Continuity, Head, History, LogName, Standing};
use crate::image::Value;
use crate::json::{self, Bounds};
use crate::view::{Compiled, MET_MAX, Met};
use candor_core::port::{Fill, Filled, SourceError};
use candor_core::{Epoch, KeyValue, Position, Rows, Stamp, Tag, ViewQuery};
use rusqlite::{CachedStatement, Connection};
use std::borrow::Cow;

/// What became of an attempt.
pub(crate) enum Attempt {
    Done(Fill),
    /// Good, provided that the log's thread finds the history unbroken.
    DoneIfLogAgrees(Fill),
    /// The view was compiled for another schema.
    OtherEra,
    /// The log's thread must look at the history first.
    AskLog,
}

/// Reads all keys in one transaction.
pub(crate) fn attempt(
    connection: &Connection,
    file: FileId,
    history: &History,
    query: &ViewQuery,
    compiled: &Compiled,
    keys: &[Box<[KeyValue]>],
    bounds: Bounds,
) -> Result<Attempt, SourceError> {
    let doing = format!("a fill of view `{}`", query.name);
    let failed = |error| fault::of(&doing, &error);
    let (anchor, polls) = history.glance();
    if compiled.is_logged && anchor.is_none() {
        return Ok(Attempt::AskLog);
    }
    connection.execute_batch("BEGIN").map_err(failed)?;
    let read = || -> Result<(Attempt, Option<(LogName, Head)>), SourceError> {
        let (position, seen) = match &anchor {
            Some(anchor) if compiled.is_logged => {
                let head = Head::read(connection, Some(anchor))?;
                if head.continuity(anchor, file) != Continuity::Unbroken {
                    return Ok((Attempt::AskLog, None));
                }
                (head.position(anchor.log.id()), Some((anchor.log.clone(), head)))
            }
            _ => (unlogged(connection, file).map_err(failed)?, None),
        };
        if position.epoch.era != compiled.era {
            return Ok((Attempt::OtherEra, None));
        }
        let answers = answers(connection, query, compiled, keys, bounds, &doing)?;
        Ok((Attempt::Done(Fill { stamp: Stamp::Sequence(position), answers }), seen))
    };
    let result = read();
    let ended = connection.execute_batch("ROLLBACK").map_err(failed);
    let (attempt, seen) = result?;
    ended?;
    let (fill, log, head) = match (attempt, seen) {
        (Attempt::Done(fill), Some((log, head))) => (fill, log, head),
        (attempt, _) => return Ok(attempt),
    };
    Ok(match history.filled(&log, head.seq, head.mark, polls) {
        Standing::Agreed => Attempt::Done(fill),
        Standing::Ahead => Attempt::DoneIfLogAgrees(fill),
        Standing::Passed if history::is_there(connection, head.seq, head.mark)? => Attempt::Done(fill),
        Standing::Passed => Attempt::AskLog,
    })
}

/// The position of a view that is not followed in the log: it names the file and the era, and counts nothing.
fn unlogged(connection: &Connection, file: FileId) -> rusqlite::Result<Position> {
    let log = LogName { identity: String::new(), file, salt: 0 };
    Ok(Position { epoch: Epoch { log: log.id(), era: history::era(connection)? }, at: 0 })
}

fn answers(
    connection: &Connection,
    query: &ViewQuery,
    compiled: &Compiled,
    keys: &[Box<[KeyValue]>],
    bounds: Bounds,
    doing: &str,
) -> Result<Vec<Filled>, SourceError> {
    let failed = |error| fault::of(doing, &error);
    let mut statement = connection.prepare_cached(&query.sql).map_err(failed)?;
    let mut bytes_left = bounds.bytes_max;
    let mut answers = Vec::with_capacity(keys.len());
    for key in keys {
        if key.len() != query.key.len() {
            return Err(SourceError::contract(format!(
                "{doing}: the key has {} parts, the view {} key columns",
                key.len(),
                query.key.len()
            )));
        }
        bind(&mut statement, &compiled.slots, key).map_err(failed)?;
        let value = value(&mut statement, query.rows, compiled, bounds, &mut bytes_left, doing)?;
        let mut tags = compiled.fixed.clone();
        tags.extend(compiled.by_key.iter().map(|(tagged, place)| row_tag(tagged, &key_text(&key[*place]))));
        for met in &compiled.met {
            met_tags(connection, met, key, &mut tags).map_err(failed)?;
        }
        tags.sort_unstable();
        tags.dedup();
        answers.push(Filled { value, tags });
    }
    Ok(answers)
}

fn value(
    statement: &mut CachedStatement<'_>,
    expected: Rows,
    compiled: &Compiled,
    bounds: Bounds,
    bytes_left: &mut usize,
    doing: &str,
) -> Result<Option<Box<[u8]>>, SourceError> {
    let mut rows = statement.raw_query();
    let mut value = Vec::new();
    let mut found = 0;
    while let Some(row) = rows.next().map_err(|error| fault::of(doing, &error))? {
        found += 1;
        if expected == Rows::One && found > 1 {
            return Err(SourceError::contract(format!(
                "{doing}: more than one row for a key, but the view declares rows = \"one\"; declare \"many\", or make the key unique"
            )));
        }
        if found > bounds.rows_max {
            return Err(SourceError::contract(format!(
                "{doing}: more than {} rows; narrow the SQL",
                bounds.rows_max
            )));
        }
        value.push(if found == 1 { b'[' } else { b',' });
        json::row(&mut value, &compiled.names, row)
            .map_err(|error| SourceError { fault: error.fault, message: format!("{doing}: {error}") })?;
        if value.len() > *bytes_left {
            return Err(SourceError::contract(format!(
                "{doing}: more than {} bytes; narrow the SQL",
                bounds.bytes_max
            )));
        }
    }
    *bytes_left -= value.len();
    Ok(match (expected, found) {
        (Rows::One, 0) => None,
        (Rows::One, _) => Some(value[1..].into()),
        (Rows::Many, 0) => Some(b"[]".as_slice().into()),
        (Rows::Many, _) => {
            value.push(b']');
            Some(value.into())
        }
    })
}

/// The rows of another table that the answer reaches, or would reach if they were there.
fn met_tags(
    connection: &Connection,
    met: &Met,
    key: &[KeyValue],
    tags: &mut Vec<Tag>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&met.sql)?;
    bind(&mut statement, &met.slots, key)?;
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if let Some(text) = Value::of(row.get_ref(0)?).tag_text() {
            found.push(row_tag(&met.tagged, &text));
        }
        if found.len() > MET_MAX {
            tags.push(Tag::table(&met.table.table, met.table.facet()));
            return Ok(());
        }
    }
    tags.append(&mut found);
    Ok(())
}

fn row_tag(tagged: &Registration, text: &str) -> Tag {
    Tag::row(&tagged.table, tagged.facet(), tagged.by.as_deref().unwrap_or_default(), text)
}

/// The text under which the log tags a row with this value.
fn key_text(value: &KeyValue) -> Cow<'_, str> {
    match value {
        KeyValue::Int(int) => int.to_string().into(),
        KeyValue::Text(text) => Cow::Borrowed(text),
        KeyValue::Bool(truth) => if *truth { "1" } else { "0" }.into(),
    }
}

fn bind(statement: &mut CachedStatement<'_>, slots: &[usize], key: &[KeyValue]) -> rusqlite::Result<()> {
    for (place, slot) in slots.iter().enumerate() {
        match &key[*slot] {
            KeyValue::Int(int) => statement.raw_bind_parameter(place + 1, int)?,
            KeyValue::Text(text) => statement.raw_bind_parameter(place + 1, &**text)?,
            KeyValue::Bool(truth) => statement.raw_bind_parameter(place + 1, i64::from(*truth))?,
        }
    }
    Ok(())
}
