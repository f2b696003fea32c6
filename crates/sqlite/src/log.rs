//! The log's thread: fences, polls and followers.
//!
//! ```text
//! fence ─┐                                        ┌─► mailbox ─► feed
//! fence ─┼─► queue ─► thread: one poll for all ───┼─► mailbox ─► feed
//! follow ┘                  │ then the answers    └─► anchor (what fills verify against)
//!                           ▼
//!        stat(path), PRAGMA data_version: as before? ─► same position, no transaction
//!                           │ no
//!                           ▼
//!        BEGIN; identity, era, newest row, the row at the anchor, new rows; COMMIT
//! ```
//!
//! A fence is only answered by a poll that began after it was asked for: everything that waits when a poll begins shares
//! it, whatever comes later waits for the next. Records reach the mailboxes before the fence is answered.
//!
//! All rows of a transaction become visible at once, so a record always covers whole transactions.

use crate::facets::{Facets, Logged};
use crate::fault;
use crate::feed::{self, Follower, Mailbox};
use crate::file::{self, Access, FileId};
use crate::history::{self, Continuity, Head, History, LogName};
use crate::look::{data_version, look, verify};
use crate::queue::Queue;
use candor_core::port::{Fault, SourceError};
use candor_core::{Position, Record};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// What the thread is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    Fence(oneshot::Sender<Result<Position, SourceError>>),
    Follow(oneshot::Sender<Result<Follower, SourceError>>),
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct LogThread {
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    pub(crate) asks: Arc<Queue<Ask>>,
    pub(crate) history: Arc<History>,
    pub(crate) facets: Arc<Facets>,
    /// Up to where everything was read; zero before the first poll. For trimming.
    pub(crate) watermark: Arc<AtomicU64>,
    pub(crate) mailbox_places: usize,
    pub(crate) record_changes_max: usize,
    pub(crate) open: Option<Open>,
    pub(crate) known: Option<Known>,
    pub(crate) mailboxes: Vec<Mailbox>,
    /// How far the registry of facets had grown when the followers were last told everything.
    pub(crate) grown: u64,
}

/// The connection, and what it said when all was well.
#[derive(Debug)]
pub(crate) struct Open {
    connection: Connection,
    file: FileId,
    /// `PRAGMA data_version` before the last complete poll: as long as it stays, nobody else has committed.
    version: Option<i64>,
}

/// Where the last poll ended.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    position: Position,
}

impl LogThread {
    /// Answers until the queue is closed.
    pub(crate) fn run(mut self) {
        while let Some(asks) = self.asks.drain() {
            let position = self.poll();
            if let Err(error) = &position
                && error.fault == Fault::Contract
            {
                self.mailboxes.drain(..).for_each(|mailbox| mailbox.end(error.clone()));
            }
            for ask in asks {
                // Whoever asked may have gone; that is no concern of the others.
                match ask {
                    Ask::Fence(answer) => drop(answer.send(position.clone())),
                    Ask::Follow(answer) => drop(answer.send(position.clone().map(|at| self.follow(at)))),
                }
            }
        }
    }

    fn follow(&mut self, from: Position) -> Follower {
        let (mailbox, follower) = feed::pair(self.mailbox_places);
        mailbox.push(&Record::opening(from.epoch, from.at));
        self.mailboxes.push(mailbox);
        follower
    }

    /// Brings everybody up to date and returns the position reached.
    fn poll(&mut self) -> Result<Position, SourceError> {
        /// Rounds in which the history may be renamed, or readers may run ahead.
        const ROUNDS: usize = 4;
        for _ in 0..ROUNDS {
            if let Some(position) = self.unchanged()? {
                return Ok(position);
            }
            let polled = self.round();
            if let Some(open) = &mut self.open
                && polled.is_err()
            {
                open.version = None;
            }
            if let Some(position) = polled? {
                return Ok(position);
            }
        }
        Err(SourceError::slow("the change log does not hold still: its history was renamed again and again"))
    }

    /// The fast path. Opens the file first if it is not the one that is open.
    fn unchanged(&mut self) -> Result<Option<Position>, SourceError> {
        let file = match FileId::at(&self.path) {
            Ok(file) => file,
            Err(error) => {
                self.open = None;
                return Err(error);
            }
        };
        if self.open.as_ref().is_none_or(|open| open.file != file) {
            self.open = None;
            let (connection, file) = file::open(&self.path, Access::Write, self.busy_timeout)?;
            self.open = Some(Open { connection, file, version: None });
        }
        let (Some(open), Some(known)) = (&self.open, &self.known) else { return Ok(None) };
        let nothing_new = open.version.is_some()
            && open.version == data_version(&open.connection).ok()
            && self.grown == self.facets.grown();
        Ok(nothing_new.then_some(known.position))
    }

    /// One look at the log. `None` if another is needed.
    fn round(&mut self) -> Result<Option<Position>, SourceError> {
        let Some(open) = &self.open else { return Ok(None) };
        let (connection, file) = (&open.connection, open.file);
        // Before the transaction: a commit between the two makes the next poll look once more than it needs to.
        let version = data_version(connection).map_err(|error| fault::of("a fence", &error))?;
        let grown = self.facets.grown();
        let (anchor, _) = self.history.glance();
        // Before the first poll there is nothing to tell: it opens an epoch.
        let from = self.known.as_ref().map_or(i64::MAX, |known| known.position.at as i64);
        let seen = look(connection, anchor, from, self.record_changes_max)?;
        let head = &seen.head;

        let name = match &seen.anchor {
            None => LogName { identity: head.identity.clone(), file, salt: 0 },
            Some(anchor) => match head.continuity(anchor, file) {
                Continuity::Unbroken | Continuity::Trimmed => anchor.log.clone(),
                Continuity::Renamed => LogName { identity: head.identity.clone(), file, salt: 0 },
                Continuity::Rewritten => return self.rewritten(head, file),
            },
        };
        let position = head.position(name.id());
        let goes_on = self.known.as_ref().filter(|known| known.position.epoch == position.epoch);
        let record = match goes_on {
            None => {
                if verify(connection)? != head.era {
                    return Ok(None);
                }
                Record::opening(position.epoch, position.at)
            }
            Some(known) => self.record(known.position, position, head, seen.rows.as_deref()),
        };
        if seen.anchor.as_ref().is_none_or(|anchor| anchor.log != name) {
            self.history.begin(name.clone(), head.seq, head.mark);
        } else if self.history.polled(name.clone(), head.seq, head.mark) {
            return Ok(None);
        }
        let is_news = goes_on.is_none_or(|known| known.position.at != record.at);
        if goes_on.is_some() && self.grown != grown {
            // A view prepared meanwhile may meet entries that other instances filled, and the changes told so far were
            // not decoded for it. No record at this position could say so.
            let late = SourceError::slow("a view was prepared after the log was followed; follow it anew");
            self.mailboxes.drain(..).for_each(|mailbox| mailbox.end(late.clone()));
        }
        if is_news {
            self.mailboxes.retain(|mailbox| mailbox.push(&record));
        }
        self.known = Some(Known { position });
        self.grown = grown;
        self.watermark.store(position.at, Ordering::Release);
        if let Some(open) = &mut self.open {
            open.version = Some(version);
        }
        Ok(Some(position))
    }

    /// What lies between two positions of one epoch.
    fn record(&self, from: Position, to: Position, head: &Head, rows: Option<&[Logged]>) -> Record {
        let gap = Record::opening(to.epoch, to.at);
        let Some(changes) =
            rows.and_then(|rows| rows.iter().map(|row| self.facets.change(row)).collect::<Option<Vec<_>>>())
        else {
            return gap;
        };
        let previous = from.at.max(head.trimmed_to).min(to.at);
        Record { epoch: to.epoch, previous, at: to.at, changes }
    }

    /// Gives the history a new name and lets the poll begin again; where that cannot be written, the name is new in this
    /// process only.
    fn rewritten(&mut self, head: &Head, file: FileId) -> Result<Option<Position>, SourceError> {
        let Some(open) = &mut self.open else { return Ok(None) };
        open.version = None;
        if history::rename(&open.connection, &head.identity) {
            // The new name lists the present one as former, so that the next round would not find ours, if ours is older.
            let identity: String = open
                .connection
                .query_row("SELECT identity FROM candor_log", [], |row| row.get(0))
                .map_err(|error| fault::of("renaming a rewritten history", &error))?;
            self.history.begin(LogName { identity, file, salt: 0 }, head.seq, head.mark);
        } else {
            let salt: i64 = open
                .connection
                .query_row("SELECT random() | 1", [], |row| row.get(0))
                .map_err(|error| fault::of("renaming a rewritten history", &error))?;
            let log = LogName { identity: head.identity.clone(), file, salt };
            self.history.begin(log, head.seq, head.mark);
        }
        self.known = None;
        Ok(None)
    }
}

impl Drop for LogThread {
    /// Also when the thread panics: nobody may wait for an answer that will not come.
    fn drop(&mut self) {
        self.asks.close();
    }
}
