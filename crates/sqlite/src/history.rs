//! Is this still the history we know?
//!
//! A position is a row of the change log: its number and its random mark. Everything this process has seen of the
//! database, by polls and by fills, is summed up in one *anchor*: the furthest such row, with the identity of its
//! history. Every poll and every fill looks the anchor up in its own transaction:
//!
//! ```text
//! same identity, same mark at the anchor's number            the history continues
//! same identity, number at or below `trimmed_to`             it continues, but rows were trimmed: a gap
//! another identity that lists ours among its former names    somebody else noticed a rewritten history
//! anything else                                              the history was rewritten: a new log begins
//! ```
//!
//! Only the log's thread decides that a history was rewritten; a fill that does not find the anchor asks it for a poll
//! and tries again. So one process never uses two names for one history.

use crate::fault;
use crate::file::FileId;
use candor_core::port::SourceError;
use candor_core::{Epoch, LogId, Position};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};
use xxhash_rust::xxh3::Xxh3;

/// The name of a history, as this process uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogName {
    pub(crate) identity: String,
    pub(crate) file: FileId,
    /// Random and not zero if a rewritten history could not be given a new identity in the database.
    pub(crate) salt: i64,
}

impl LogName {
    pub(crate) fn id(&self) -> LogId {
        let mut hash = Xxh3::new();
        hash.update(self.identity.as_bytes());
        hash.update(&self.file.bytes());
        hash.update(&self.salt.to_le_bytes());
        LogId(hash.digest())
    }
}

/// The furthest row of the log that this process has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) log: LogName,
    pub(crate) seq: u64,
    pub(crate) mark: i64,
}

/// What one transaction sees of the log.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) identity: String,
    /// Former identities, newest first.
    was: String,
    pub(crate) trimmed_to: u64,
    pub(crate) era: u32,
    pub(crate) seq: u64,
    pub(crate) mark: i64,
    /// The mark found at the anchor's number.
    at_anchor: Option<i64>,
}

/// How what a transaction sees relates to the anchor.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// The anchor stands where it stood.
    Unbroken,
    /// The anchor was trimmed; nothing speaks against the history.
    Trimmed,
    /// Another instance gave the rewritten history its new name.
    Renamed,
    /// The history was rewritten.
    Rewritten,
}

impl Head {
    /// Reads it. The first read of a transaction, so that it fixes the snapshot of everything that follows.
    pub(crate) fn read(connection: &Connection, anchor: Option<&Anchor>) -> Result<Self, SourceError> {
        let run = || -> rusqlite::Result<Option<Self>> {
            let mut log = connection.prepare_cached("SELECT identity, was, trimmed_to FROM candor_log")?;
            let Some((identity, was, trimmed_to)) =
                log.query_row([], |row| Ok((row.get(0)?, row.get(1)?, number(row, 2)?))).optional()?
            else {
                return Ok(None);
            };
            let mut newest = connection
                .prepare_cached("SELECT seq, mark FROM candor_changes ORDER BY seq DESC LIMIT 1")?;
            let Some((seq, mark)) =
                newest.query_row([], |row| Ok((number(row, 0)?, row.get(1)?))).optional()?
            else {
                return Ok(None);
            };
            let at_anchor = match anchor {
                Some(anchor) if anchor.seq == seq => Some(mark),
                Some(anchor) => connection
                    .prepare_cached("SELECT mark FROM candor_changes WHERE seq = ?1")?
                    .query_row([anchor.seq as i64], |row| row.get(0))
                    .optional()?,
                None => None,
            };
            let era = era(connection)?;
            Ok(Some(Self { identity, was, trimmed_to, era, seq, mark, at_anchor }))
        };
        match run() {
            Ok(Some(head)) => Ok(head),
            Ok(None) => Err(fault::not_set_up("the change log is empty")),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Holds what was read against the anchor it was read with.
    pub(crate) fn continuity(&self, anchor: &Anchor, file: FileId) -> Continuity {
        if anchor.log.identity != self.identity || anchor.log.file != file {
            let replaced = anchor.log.file != file;
            let renamed = self.was.split(' ').any(|was| was == anchor.log.identity);
            return if replaced || renamed { Continuity::Renamed } else { Continuity::Rewritten };
        }
        match self.at_anchor {
            Some(mark) if mark == anchor.mark => Continuity::Unbroken,
            None if anchor.seq <= self.trimmed_to && anchor.seq < self.seq => Continuity::Trimmed,
            _ => Continuity::Rewritten,
        }
    }

    pub(crate) fn position(&self, log: LogId) -> Position {
        Position { epoch: Epoch { log, era: self.era }, at: self.seq }
    }
}

/// A number SQLite counts from one.
fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| number as u64)
}

/// `PRAGMA schema_version`.
pub(crate) fn era(connection: &Connection) -> rusqlite::Result<u32> {
    connection
        .prepare_cached("PRAGMA schema_version")?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(|era| era as u32)
}

/// A missing change log is the most common mistake and deserves its own sentence.
fn unreadable(error: rusqlite::Error) -> SourceError {
    let text = error.to_string();
    if text.contains("no such table: candor_") || text.contains("no such column") {
        return fault::not_set_up("the database has no change log");
    }
    fault::of("reading the change log", &error)
}

/// Gives a rewritten history a new name, unless somebody else has already done so. Returns whether that could be written.
pub(crate) fn rename(connection: &Connection, identity: &str) -> bool {
    /// Former names kept: more than instances that may notice one rewriting after another.
    const FORMER: usize = 64;
    let run = || -> rusqlite::Result<()> {
        let was: Option<String> = connection
            .query_row("SELECT was FROM candor_log WHERE identity = ?1", [identity], |row| row.get(0))
            .optional()?;
        let Some(was) = was else { return Ok(()) };
        let former: Vec<&str> = std::iter::once(identity)
            .chain(was.split(' '))
            .filter(|name| !name.is_empty())
            .take(FORMER)
            .collect();
        connection.execute(
            "UPDATE candor_log SET identity = lower(hex(randomblob(16))), was = ?2 \
             WHERE identity = ?1 AND was = ?3",
            (identity, former.join(" "), &was),
        )?;
        Ok(())
    };
    run().is_ok()
}

/// The anchor, shared by the log's thread and the readers.
#[derive(Debug, Default)]
pub(crate) struct History {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    anchor: Option<Anchor>,
    polls: u64,
    /// Where the latest poll stood.
    polled: u64,
}

impl History {
    /// The anchor, and how many polls there have been.
    pub(crate) fn glance(&self) -> (Option<Anchor>, u64) {
        let state = self.state.lock();
        (state.anchor.clone(), state.polls)
    }

    /// The log's thread has seen this row. Returns whether readers have meanwhile seen more, in which case the poll must
    /// be repeated: what they saw has not been verified.
    pub(crate) fn polled(&self, log: LogName, seq: u64, mark: i64) -> bool {
        let mut state = self.state.lock();
        let ahead = state.anchor.as_ref().is_some_and(|anchor| anchor.log == log && anchor.seq > seq);
        state.polls += 1;
        state.polled = seq;
        if !ahead {
            state.anchor = Some(Anchor { log, seq, mark });
        }
        ahead
    }

    /// Begins a history anew, whatever was seen before.
    pub(crate) fn begin(&self, log: LogName, seq: u64, mark: i64) {
        let mut state = self.state.lock();
        state.polls += 1;
        state.polled = seq;
        state.anchor = Some(Anchor { log, seq, mark });
    }

    /// A fill has seen this row.
    pub(crate) fn filled(&self, log: &LogName, seq: u64, mark: i64, polls_before: u64) -> Standing {
        let mut state = self.state.lock();
        let has_polled = state.polls != polls_before;
        // Under another name than the present one nothing can be proven anyway.
        if let Some(anchor) = state.anchor.as_mut().filter(|anchor| anchor.log == *log) {
            if anchor.seq > seq || (anchor.seq == seq && anchor.mark != mark) {
                return Standing::Passed;
            }
            (anchor.seq, anchor.mark) = (seq, mark);
        }
        if has_polled && state.polled < seq { Standing::Ahead } else { Standing::Agreed }
    }
}

/// Where a fill stands against everything that was seen while it ran.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// At the anchor, which whoever looks next looks up; nothing was seen that could speak against it.
    Agreed,
    /// Polls that ended while it ran stand lower: the log must look again before the fill may answer, because the history
    /// may have been rewritten between the two.
    Ahead,
    /// The anchor stands higher, or at another row of the same number, and so says nothing of the fill's own row: a
    /// rewritten history may have passed it. That row must be looked up once more, see [`is_there`].
    Passed,
}

/// Whether the row is there now, in a transaction of its own. If it is, it belongs to the history that everybody sees;
/// should that be rewritten later, the anchor, which stands no lower, is missed by the next poll.
pub(crate) fn is_there(connection: &Connection, seq: u64, mark: i64) -> Result<bool, SourceError> {
    let run = || -> rusqlite::Result<Option<i64>> {
        connection
            .prepare_cached("SELECT mark FROM candor_changes WHERE seq = ?1")?
            .query_row([seq as i64], |row| row.get(0))
            .optional()
    };
    run().map(|found| found == Some(mark)).map_err(unreadable)
}
