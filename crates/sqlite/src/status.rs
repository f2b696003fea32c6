//! What `candor check` wants to know of a database.

use crate::fault;
use crate::file::{self, Access};
use crate::schema::Schema;
use crate::setup;
use crate::watch::Plan;
use candor_core::port::SourceError;
use std::path::Path;
use std::time::Duration;

/// The state of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The version of SQLite that Candor uses; other programs may use another.
    pub sqlite_version: &'static str,
    /// `wal`, or one in which readers and writers wait for each other.
    pub journal_mode: String,
    /// Whether this process may write: without that nobody trims, and a rewritten history gets no lasting name.
    pub is_writable: bool,
    /// Whether changes are recorded.
    pub setup: SetupState,
    /// What is watched.
    pub watched: Plan,
    /// Rows in the change log.
    pub log_rows: u64,
    /// Up to where old rows were removed.
    pub trimmed_to: u64,
    /// What is worth knowing, as sentences.
    pub warnings: Vec<String>,
}

/// Whether changes are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupState {
    /// Nothing is installed.
    Missing,
    /// Something is missing or does not match the schema.
    Broken(Vec<String>),
    /// Everything is as it should be.
    Intact,
}

/// Looks at the database at `path`.
pub(crate) fn read(path: &Path, busy_timeout: Duration) -> Result<Status, SourceError> {
    let doing = |error| fault::of("looking at the database", &error);
    let (connection, _) = file::open(path, Access::Query, busy_timeout)?;
    let look = || -> rusqlite::Result<Status> {
        let transaction = connection.unchecked_transaction()?;
        let schema = Schema::read(&transaction)?;
        let installed = setup::installed(&transaction, &schema)?;
        let journal_mode = setup::journal_mode(&transaction)?;
        let is_writable = !transaction.is_readonly("main")?;
        let (setup, watched) = match installed {
            None => (SetupState::Missing, Plan::default()),
            Some(found) if found.broken.is_empty() => (SetupState::Intact, found.plan),
            Some(found) => (SetupState::Broken(found.broken), found.plan),
        };
        let (log_rows, trimmed_to): (i64, i64) = if setup == SetupState::Intact {
            transaction.query_row(
                "SELECT (SELECT count(*) FROM candor_changes), (SELECT trimmed_to FROM candor_log)",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
        } else {
            (0, 0)
        };
        let mut warnings = Vec::new();
        if journal_mode != "wal" {
            warnings.push(format!(
                "journal mode `{journal_mode}`: every write makes fills wait, and every fill makes writes wait; `candor setup` switches to the write-ahead log"
            ));
        }
        if !is_writable {
            warnings.push(
                "the database cannot be written: the change log is not trimmed by this instance".into(),
            );
        }
        Ok(Status {
            sqlite_version: rusqlite::version(),
            journal_mode,
            is_writable,
            setup,
            watched,
            log_rows: log_rows as u64,
            trimmed_to: trimmed_to as u64,
            warnings,
        })
    };
    look().map_err(doing)
}
