//! A replication session: one connection to a walsender, from the password to the stream of changes.
//!
//! ```text
//!  connect ──► Session ──start──► Stream ──next──► events, keepalives
//!              query, identify           ◄─confirm── what we hold; "tell me where you are"
//! ```
//!
//! It hides nothing that a truthful cache must know: keepalives are told, a lost connection is an error and not a
//! reconnect, an error carries the server's code. Deliberately absent: retries, and any opinion on what a change means.
//!
//! Invariants: every wait ends at a deadline, except [`Stream::next`], which waits for the next change; nothing the
//! server sends makes us hold more than one message of a bounded size; after the first error a session is dead.

mod authenticate;
mod error;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use error::SessionError;
pub(crate) use stream::{Incoming, Stream};

use crate::connect;
use crate::lsn::Lsn;
use crate::options::ConnectOptions;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;
use std::time::Duration;
use tokio::time::timeout;
use wire::{Wire, Word};

/// How long the server may take for one answer. Creating a slot waits for transactions that run; they may take a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of one answer to [`Session::query`].
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The most bytes of one message of the stream, and so of one row.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// From this version on the log tells of `pg_logical_emit_message`.
const MESSAGES_SINCE: u32 = 14;

/// A connection to a walsender that answers questions and does not stream yet.
#[derive(Debug)]
pub(crate) struct Session {
    wire: Wire,
    /// The server's major version.
    version: u32,
    /// The process that serves us, as in `pg_stat_replication`.
    process: i32,
    /// A question whose answer was not read to its end.
    is_behind: bool,
    message_bytes_max: usize,
}

/// What the server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct System {
    /// `system_identifier` of the cluster.
    pub(crate) system: u64,
    /// The timeline written to.
    pub(crate) timeline: u32,
    /// Up to where the log was flushed.
    pub(crate) at: Lsn,
    /// The database of this session.
    pub(crate) database: String,
}

impl Session {
    /// Connects and proves who we are.
    ///
    /// # Errors
    ///
    /// No host answers in time, or the server does not let us in; with its code if it said one.
    pub(crate) async fn connect(options: &ConnectOptions) -> Result<Self, SessionError> {
        let deadline = connect::deadline(options);
        let stream = connect::open(options, deadline).await?;
        let entered = authenticate::enter(Wire::new(stream), options);
        let late = || SessionError::slow("PostgreSQL took the connection and did not let us in in time");
        let (wire, greeting) = tokio::time::timeout_at(deadline, entered).await.map_err(|_| late())??;
        let authenticate::Greeting { version, process } = greeting;
        Ok(Self { wire, version, process, is_behind: false, message_bytes_max: MESSAGE_BYTES_MAX })
    }

    /// The server's major version.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// The process that serves us, as in `pg_stat_replication`.
    pub(crate) fn process(&self) -> i32 {
        self.process
    }

    /// Asks by the simple protocol; a walsender understands SQL and its own commands. Gives the rows, as text.
    ///
    /// # Errors
    ///
    /// What the server answers; the session lives on. No answer in time, or an answer that is too large: it is dead.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, SessionError> {
        self.ask(sql)?;
        let answer = timeout(ANSWER_TIMEOUT, self.answer()).await.map_err(|_| late(sql))?;
        answer.map_err(|error| error.while_doing(&format!("`{sql}`")))
    }

    /// Asks the server who it is.
    ///
    /// # Errors
    ///
    /// As [`Session::query`], or an answer that makes no sense.
    pub(crate) async fn identify(&mut self) -> Result<System, SessionError> {
        let rows = self.query("IDENTIFY_SYSTEM").await?;
        let cell = |index: usize| rows.first().and_then(|row| row.get(index)?.as_deref());
        let system = || {
            Some(System {
                system: cell(0)?.parse().ok()?,
                timeline: cell(1)?.parse().ok()?,
                at: cell(2)?.parse().ok()?,
                database: cell(3)?.to_owned(),
            })
        };
        system().ok_or_else(|| {
            SessionError::down(format!("the answer to IDENTIFY_SYSTEM makes no sense: {rows:?}"))
        })
    }

    /// Begins to stream from a slot, at `from` or where the slot was confirmed, whichever is later.
    ///
    /// # Errors
    ///
    /// With the server's code: no such slot (42704), somebody else streams from it (55006), it cannot be streamed from,
    /// for one because the log it needs is gone (55000). A publication that does not exist is told of only when the
    /// first change is decoded, by [`Stream::next`].
    pub(crate) async fn start(
        mut self,
        slot: &str,
        publication: &str,
        from: Lsn,
    ) -> Result<Stream, SessionError> {
        let command = start_command(slot, publication, from, self.version)?;
        self.ask(&command)?;
        let doing = format!("streaming from slot `{slot}`");
        match timeout(ANSWER_TIMEOUT, self.streaming()).await {
            Err(_) => Err(late(&doing)),
            Ok(Err(error)) => Err(error.while_doing(&doing).with_advice_on_slots()),
            Ok(Ok(())) => {
                self.wire.message_bytes_max = self.message_bytes_max;
                Ok(Stream::new(self.wire))
            }
        }
    }

    fn ask(&mut self, sql: &str) -> Result<(), SessionError> {
        if std::mem::replace(&mut self.is_behind, true) {
            return Err(SessionError::down("this session has not read the answer to an earlier question"));
        }
        self.wire.message_bytes_max = ANSWER_BYTES_MAX;
        self.wire.put(|out| frontend::query(sql, out))
    }

    /// Reads until the server is ready for the next question.
    async fn answer(&mut self) -> Result<Vec<Vec<Option<String>>>, SessionError> {
        self.wire.send().await?;
        let mut rows = Vec::new();
        let mut size = 0;
        let mut refusal = None;
        loop {
            match self.wire.word().await? {
                Word::Message(Message::DataRow(row)) => {
                    size += row.buffer().len();
                    if size > ANSWER_BYTES_MAX {
                        return Err(SessionError::down(format!(
                            "an answer of more than {ANSWER_BYTES_MAX} bytes"
                        )));
                    }
                    rows.push(cells(&row)?);
                }
                Word::Message(Message::ErrorResponse(body)) => refusal = Some(SessionError::told(&body)),
                Word::Message(Message::ReadyForQuery(_)) => {
                    self.is_behind = false;
                    return refusal.map_or(Ok(rows), Err);
                }
                Word::Message(
                    Message::RowDescription(_)
                    | Message::CommandComplete(_)
                    | Message::EmptyQueryResponse
                    | Message::NoticeResponse(_)
                    | Message::ParameterStatus(_)
                    | Message::NotificationResponse(_),
                ) => {}
                _ => return Err(SessionError::unexpected("in the answer to a question")),
            }
        }
    }

    /// Reads until the stream stands.
    async fn streaming(&mut self) -> Result<(), SessionError> {
        self.wire.send().await?;
        loop {
            match self.wire.word().await? {
                Word::CopyBoth => return Ok(()),
                Word::Message(Message::ErrorResponse(body)) => return Err(SessionError::told(&body)),
                Word::Message(Message::NoticeResponse(_) | Message::ParameterStatus(_)) => {}
                _ => return Err(SessionError::unexpected("where the stream should begin")),
            }
        }
    }
}

fn cells(row: &DataRowBody) -> Result<Vec<Option<String>>, SessionError> {
    let text = |range: Option<std::ops::Range<usize>>| {
        Ok(range.map(|range| String::from_utf8_lossy(&row.buffer()[range]).into_owned()))
    };
    row.ranges()
        .map(text)
        .collect()
        .map_err(|error| SessionError::down(format!("a row makes no sense: {error}")))
}

/// `START_REPLICATION`, with the names quoted as its grammar and the plugin want it: the publication is a quoted
/// identifier in a list of such inside a string.
fn start_command(slot: &str, publication: &str, from: Lsn, version: u32) -> Result<String, SessionError> {
    let is_slot = !slot.is_empty()
        && slot.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_slot {
        return Err(SessionError::contract(format!(
            "`{slot}` cannot be the name of a slot: small letters, digits and underscores only"
        )));
    }
    if publication.is_empty() || publication.contains('\0') {
        return Err(SessionError::contract(format!("{publication:?} cannot be the name of a publication")));
    }
    let publications = format!("\"{}\"", publication.replace('"', "\"\"")).replace('\'', "''");
    let messages = if version >= MESSAGES_SINCE { ", messages 'true'" } else { "" };
    Ok(format!(
        "START_REPLICATION SLOT \"{slot}\" LOGICAL {from} \
         (proto_version '1', publication_names '{publications}'{messages})"
    ))
}

fn late(doing: &str) -> SessionError {
    SessionError::slow(format!("{doing}: PostgreSQL did not answer within {} s", ANSWER_TIMEOUT.as_secs()))
}
