//! Keeping the change log short.
//!
//! Every instance registers in `candor_readers` how far it has read, and raises its `beat` whenever it trims. Rows that
//! every live reader has passed may go, except the newest ones. Whether a reader lives is decided without comparing
//! clocks: one whose beat did not move over several of *our own* rounds is taken for dead and its row removed. If it was
//! only paused it finds out: `trimmed_to` lies beyond what it read, and its feed reports a gap.
//!
//! Trimming is a courtesy. It writes in small batches, gives way to anybody who holds the write lock, and does nothing
//! on a database that cannot be written.

use crate::fault;
use crate::file::{self, Access};
use candor_core::port::{Fault, SourceError};
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// How the log is kept short.
#[derive(Copy, Clone, Debug)]
pub struct TrimOptions {
    /// The newest rows that always stay.
    pub keep_rows: u64,
    /// Rounds without a beat after which a reader is taken for dead.
    pub dead_after_rounds: u32,
    /// Rows removed in one transaction.
    pub batch_rows: u64,
    /// Transactions in one round.
    pub batches_max: u32,
}

impl Default for TrimOptions {
    /// Ten thousand rows are some megabyte and cover a paused instance; a batch of five hundred holds the write lock for
    /// about a millisecond.
    fn default() -> Self {
        Self { keep_rows: 10_000, dead_after_rounds: 5, batch_rows: 500, batches_max: 100 }
    }
}

/// What a round did.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Trimmed {
    /// This many rows were removed; zero if there was nothing to remove.
    Rows(u64),
    /// Somebody else is writing; next time, then. Rows may have been removed before.
    Busy(u64),
    /// The database cannot be written by this process, so somebody else has to trim.
    ReadOnly,
    /// Nothing was read from the log yet, so nothing is known about what may go.
    NothingRead,
}

/// What one instance remembers between rounds.
#[derive(Debug, Default)]
pub(crate) struct Trimmer {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Our name in `candor_readers`.
    id: Option<String>,
    /// The other readers' beats, and for how many rounds they have not moved.
    others: HashMap<String, (i64, u32)>,
}

impl Trimmer {
    /// One round. `watermark` is how far this instance has read.
    pub(crate) fn round(
        &self,
        path: &Path,
        busy_timeout: Duration,
        options: TrimOptions,
        watermark: u64,
    ) -> Result<Trimmed, SourceError> {
        if watermark == 0 {
            return Ok(Trimmed::NothingRead);
        }
        let (connection, _) = file::open(path, Access::Write, busy_timeout)?;
        if connection.is_readonly("main").unwrap_or(true) {
            return Ok(Trimmed::ReadOnly);
        }
        let mut removed = 0;
        let result = self.trim(&connection, options, watermark, &mut removed);
        match result {
            Ok(()) => Ok(Trimmed::Rows(removed)),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Ok(Trimmed::ReadOnly),
            Err(error) => match fault::of("trimming the change log", &error) {
                SourceError { fault: Fault::Slow, .. } => Ok(Trimmed::Busy(removed)),
                error => Err(error),
            },
        }
    }

    fn trim(
        &self,
        connection: &Connection,
        options: TrimOptions,
        watermark: u64,
        removed: &mut u64,
    ) -> rusqlite::Result<()> {
        let needed = self.beat(connection, options, watermark)?;
        let newest: i64 =
            connection.query_row("SELECT max(seq) FROM candor_changes", [], |row| row.get(0))?;
        // At least the newest row stays: it is the position.
        let keep = options.keep_rows.max(1);
        let to = needed.min((newest as u64).saturating_sub(keep));
        for _ in 0..options.batches_max {
            let oldest: Option<i64> = connection
                .query_row("SELECT min(seq) FROM candor_changes", [], |row| row.get(0))
                .optional()?
                .flatten();
            let Some(oldest) = oldest.map(|oldest| oldest as u64).filter(|oldest| *oldest <= to) else {
                return Ok(());
            };
            let end = to.min(oldest + options.batch_rows.max(1) - 1) as i64;
            let batch = connection.unchecked_transaction()?;
            // Never the newest row, also if a backup was restored since the limit was worked out.
            let rows = batch.execute(
                "DELETE FROM candor_changes WHERE seq <= ?1 AND seq < (SELECT max(seq) FROM candor_changes)",
                [end],
            )?;
            batch.execute("UPDATE candor_log SET trimmed_to = max(trimmed_to, ?1)", [end])?;
            batch.commit()?;
            *removed += rows as u64;
        }
        Ok(())
    }

    /// Raises our beat, removes dead readers, and returns how far every live one has read.
    fn beat(&self, connection: &Connection, options: TrimOptions, watermark: u64) -> rusqlite::Result<u64> {
        let mut state = self.state.lock();
        let id = match &state.id {
            Some(id) => id.clone(),
            None => {
                let id: String =
                    connection.query_row("SELECT lower(hex(randomblob(8)))", [], |row| row.get(0))?;
                state.id = Some(id.clone());
                id
            }
        };
        let round = connection.unchecked_transaction()?;
        round.execute(
            "INSERT INTO candor_readers (id, seq, beat) VALUES (?1, ?2, 1) \
             ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, beat = beat + 1",
            (&id, watermark as i64),
        )?;
        let others: Vec<(String, i64, i64)> = round
            .prepare("SELECT id, seq, beat FROM candor_readers WHERE id <> ?1")?
            .query_map([&id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let mut needed = watermark;
        let mut seen = HashMap::new();
        for (other, seq, beat) in others {
            let still = match state.others.get(&other) {
                Some((before, still)) if *before == beat => still + 1,
                _ => 0,
            };
            if still >= options.dead_after_rounds {
                round.execute("DELETE FROM candor_readers WHERE id = ?1 AND beat = ?2", (&other, beat))?;
            } else {
                needed = needed.min(seq as u64);
                seen.insert(other, (beat, still));
            }
        }
        round.commit()?;
        state.others = seen;
        Ok(needed)
    }
}
