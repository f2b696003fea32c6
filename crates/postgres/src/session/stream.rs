//! The stream of changes, and what we tell the server meanwhile.

use super::SessionError;
use super::wire::{Wire, Word};
use crate::lsn::Lsn;
use crate::pgoutput::{Decoder, Event, Malformed, Reader};
use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::CopyData;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout_at};

/// How long the server may leave a status update untaken. A walsender reads between any two writes, so it is dead or
/// frozen by then; its own patience with us is a minute (`wal_sender_timeout`).
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Seconds from 1970 to 2000, from where Postgres counts.
const EPOCH_SECONDS: u64 = 946_684_800;

/// One thing the server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A message of the log.
    Event {
        /// Where the change is. It goes back and forth between transactions and proves no progress: that is what
        /// `Commit` and keepalives are for.
        wal_end: Lsn,
        /// What it says.
        event: Event,
    },
    /// The server has decoded everything below a position, and sent what of it concerns us.
    Keepalive {
        /// That position.
        wal_end: Lsn,
        /// It wants a [`Stream::confirm`] soon, or it will take us for dead.
        reply_requested: bool,
    },
}

/// A walsender that streams.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) wire: Wire,
    decoder: Decoder,
    /// What the server should be told and could not be yet. A newer status replaces an older one, so a server that does
    /// not listen costs us no memory.
    status: Option<Status>,
    /// Since when something is to be written.
    unsent_since: Option<Instant>,
    /// The first error, which is the last thing this stream has to say.
    ended: Option<SessionError>,
}

#[derive(Clone, Copy, Debug)]
struct Status {
    received: Lsn,
    flushed: Lsn,
    reply_requested: bool,
}

impl Stream {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, decoder: Decoder::default(), status: None, unsent_since: None, ended: None }
    }

    /// The next thing the server tells; also writes what [`Stream::confirm`] could not. Waits as long as it takes: whoever
    /// wants to know whether the server lives asks for a keepalive. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The stream has ended, with the server's code if it gave one. Every later call gives the same error.
    pub(crate) async fn next(&mut self) -> Result<Incoming, SessionError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let next = self.advance().await;
        if let Err(error) = &next {
            self.ended = Some(error.clone());
        }
        next
    }

    /// Tells the server what we received and what it need not keep for us any longer; with `reply_requested` it answers
    /// with a keepalive. Writes what the server takes at once and leaves the rest to [`Stream::next`], so it never waits,
    /// and two statuses that could not leave become one.
    ///
    /// # Errors
    ///
    /// The stream has ended.
    pub(crate) async fn confirm(
        &mut self,
        received: Lsn,
        flushed: Lsn,
        reply_requested: bool,
    ) -> Result<(), SessionError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let before = self.status.unwrap_or(Status { received, flushed, reply_requested: false });
        self.status = Some(Status {
            received: before.received.max(received),
            flushed: before.flushed.max(flushed),
            reply_requested: before.reply_requested || reply_requested,
        });
        self.put_status()?;
        self.wire.nudge().await;
        self.look_at_the_time();
        Ok(())
    }

    async fn advance(&mut self) -> Result<Incoming, SessionError> {
        loop {
            while let Some(word) = self.wire.take()? {
                if let Some(incoming) = self.understand(word)? {
                    return Ok(incoming);
                }
            }
            self.put_status()?;
            self.look_at_the_time();
            match self.unsent_since {
                None => self.wire.turn().await?,
                Some(since) => match timeout_at(since + WRITE_TIMEOUT, self.wire.turn()).await {
                    Ok(turned) => turned?,
                    Err(_) => return Err(deaf()),
                },
            }
            self.look_at_the_time();
            // A server may talk and not listen.
            if self.unsent_since.is_some_and(|since| since.elapsed() > WRITE_TIMEOUT) {
                return Err(deaf());
            }
        }
    }

    /// Puts the status on the wire when there is room for it.
    fn put_status(&mut self) -> Result<(), SessionError> {
        if !self.wire.is_outbox_empty() {
            return Ok(());
        }
        match self.status.take() {
            Some(status) => self.wire.put(|out| status.write(out)),
            None => Ok(()),
        }
    }

    fn look_at_the_time(&mut self) {
        self.unsent_since = match self.unsent_since {
            _ if !self.wire.is_writing() => None,
            None => Some(Instant::now()),
            since => since,
        };
    }

    fn understand(&mut self, word: Word) -> Result<Option<Incoming>, SessionError> {
        match word {
            Word::Message(Message::CopyData(body)) => {
                let incoming = self.incoming(body.into_bytes());
                let broken = |Malformed(why): Malformed| {
                    SessionError::down(format!(
                        "the log cannot be followed, since skipping what is not understood could skip a change: {why}"
                    ))
                };
                incoming.map(Some).map_err(broken)
            }
            Word::Message(Message::ErrorResponse(body)) => {
                Err(SessionError::told(&body).while_doing("the stream of changes ended"))
            }
            Word::Message(Message::CopyDone | Message::CommandComplete(_)) => {
                Err(SessionError::down("the server ended the stream of changes: it is shutting down"))
            }
            Word::Message(
                Message::NoticeResponse(_) | Message::ParameterStatus(_) | Message::NotificationResponse(_),
            ) => Ok(None),
            _ => Err(SessionError::unexpected("amid the stream of changes")),
        }
    }

    fn incoming(&mut self, data: Bytes) -> Result<Incoming, Malformed> {
        let mut reader = Reader::new(data);
        match reader.u8()? {
            b'w' => {
                let _wal_start = reader.lsn()?;
                let wal_end = reader.lsn()?;
                let _sent_at = reader.i64()?;
                Ok(Incoming::Event { wal_end, event: self.decoder.decode(reader.rest())? })
            }
            b'k' => {
                let wal_end = reader.lsn()?;
                let _sent_at = reader.i64()?;
                let reply_requested = reader.u8()? != 0;
                reader.end()?;
                Ok(Incoming::Keepalive { wal_end, reply_requested })
            }
            other => Err(Malformed(format!("the stream carries a message of unknown kind {other}"))),
        }
    }
}

fn deaf() -> SessionError {
    SessionError::slow(format!(
        "PostgreSQL has taken no word from us for {} s: it is frozen, or the way to it is",
        WRITE_TIMEOUT.as_secs()
    ))
}

impl Status {
    fn write(self, out: &mut BytesMut) -> std::io::Result<()> {
        let mut body = BytesMut::with_capacity(34);
        body.put_u8(b'r');
        body.put_u64(self.received.0);
        body.put_u64(self.flushed.0);
        // Applied: what is acknowledged is held, and there is nothing else to do with it.
        body.put_u64(self.flushed.0);
        body.put_i64(micros_since_2000());
        body.put_u8(u8::from(self.reply_requested));
        CopyData::new(body.freeze())?.write(out);
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "shown to people in pg_stat_replication.reply_time; compared with nothing"
)]
fn micros_since_2000() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since_2000 = since_1970.saturating_sub(Duration::from_secs(EPOCH_SECONDS));
    i64::try_from(since_2000.as_micros()).unwrap_or(i64::MAX)
}
