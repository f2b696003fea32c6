//! What the log's thread reads: new rows in one transaction, whether the triggers stand, whether anything happened.

use crate::facets::Logged;
use crate::fault;
use crate::history::{Anchor, Head};
use crate::schema::Schema;
use crate::setup;
use candor_core::port::SourceError;
use rusqlite::Connection;

/// What one transaction of a poll found.
pub(crate) struct Seen {
    pub(crate) head: Head,
    pub(crate) anchor: Option<Anchor>,
    /// `None`: more than a record may hold.
    pub(crate) rows: Option<Vec<Logged>>,
}

/// One read transaction.
pub(crate) fn look(
    connection: &Connection,
    anchor: Option<Anchor>,
    from: i64,
    rows_max: usize,
) -> Result<Seen, SourceError> {
    let doing = |error| fault::of("a fence", &error);
    connection.execute_batch("BEGIN").map_err(doing)?;
    let read = || {
        let head = Head::read(connection, anchor.as_ref())?;
        let rows = rows(connection, from, rows_max).map_err(doing)?;
        Ok((head, rows))
    };
    let result = read();
    // A read transaction that does not end would hold the write-ahead log for ever; closing the connection ends it.
    let ended = connection.execute_batch("ROLLBACK").map_err(doing);
    let (head, rows) = result?;
    ended?;
    Ok(Seen { head, anchor, rows })
}

fn rows(connection: &Connection, from: i64, rows_max: usize) -> rusqlite::Result<Option<Vec<Logged>>> {
    let mut select = connection.prepare_cached(
        "SELECT seq, tbl, op, old, new, touched FROM candor_changes WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = select.query((from, rows_max as i64 + 1))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if found.len() == rows_max {
            return Ok(None);
        }
        let bytes = |column: usize| -> rusqlite::Result<Option<Vec<u8>>> {
            Ok(row.get_ref(column)?.as_bytes_or_null()?.map(<[u8]>::to_vec))
        };
        let text = |column: usize| -> rusqlite::Result<String> {
            Ok(String::from_utf8_lossy(&bytes(column)?.unwrap_or_default()).into_owned())
        };
        found.push(Logged {
            seq: row.get::<_, i64>(0)? as u64,
            table: text(1)?,
            op: text(2)?,
            old: bytes(3)?,
            new: bytes(4)?,
            touched: bytes(5)?,
        });
    }
    Ok(Some(found))
}

/// Whether the triggers are what the plan promises. A table rebuilt by a migration has lost them. Returns the era of
/// which this is true.
pub(crate) fn verify(connection: &Connection) -> Result<u32, SourceError> {
    let doing = |error| fault::of("verifying the triggers", &error);
    connection.execute_batch("BEGIN").map_err(doing)?;
    let found = Schema::read(connection)
        .and_then(|schema| setup::installed(connection, &schema).map(|found| (schema.version, found)));
    let ended = connection.execute_batch("ROLLBACK").map_err(doing);
    let (era, found) = found.map_err(doing)?;
    ended?;
    match found {
        None => Err(fault::not_set_up("the database has no change log")),
        Some(installed) if !installed.broken.is_empty() => Err(fault::not_set_up(&format!(
            "changes are no longer recorded: {}",
            installed.broken.join("; ")
        ))),
        Some(_) => Ok(era),
    }
}

/// A number that changes whenever another connection has committed.
pub(crate) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}
