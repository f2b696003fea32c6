//! Messages on a connection: whole ones out of bytes, and bytes out at the pace of the peer.
//!
//! Both buffers live here and not in futures, so every future of this file may be dropped at any time: what was read
//! stays read, what was to be written is written later.

use super::SessionError;
use crate::connect::RawStream;
use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::{Header, Message};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout_at};

/// Room for one read. A walsender sends up to 128 KiB at a time under load, and single messages when idle.
const READ_BYTES: usize = 64 << 10;

/// Before we know who speaks: enough for any word of a greeting.
const GREETING_BYTES_MAX: usize = 64 << 10;

/// How long a server that no longer listens may take to say why.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// `CopyBothResponse`, which postgres-protocol does not know.
const COPY_BOTH_TAG: u8 = b'W';

/// One message of the server.
pub(super) enum Word {
    /// The stream of changes begins.
    CopyBoth,
    /// Anything else.
    Message(Message),
}

/// A connection, with what was read and not yet understood, and what is to be written.
#[derive(Debug)]
pub(super) struct Wire {
    stream: RawStream,
    inbox: BytesMut,
    outbox: BytesMut,
    /// Handed to the stream, which may hold it in a buffer of its own.
    is_unflushed: bool,
    /// Why nothing can be written any more, and since when. The server may have said why before it hung up, and its last
    /// words may still be on their way from the kernel to us, so reading goes on for a moment.
    unwritable: Option<(String, Instant)>,
    /// The largest message to be read.
    pub(super) message_bytes_max: usize,
}

impl Wire {
    pub(super) fn new(stream: RawStream) -> Self {
        Self {
            stream,
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            is_unflushed: false,
            unwritable: None,
            message_bytes_max: GREETING_BYTES_MAX,
        }
    }

    /// Whether a password may be sent as it is.
    pub(super) fn is_private(&self) -> bool {
        self.stream.is_private()
    }

    /// Adds a message to what is to be written.
    pub(super) fn put(
        &mut self,
        message: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), SessionError> {
        message(&mut self.outbox)
            .map_err(|error| SessionError::contract(format!("this cannot be said to PostgreSQL: {error}")))
    }

    /// Whether something is still to be written.
    pub(super) fn is_writing(&self) -> bool {
        !self.outbox.is_empty() || self.is_unflushed
    }

    /// Whether the next message may be put without waiting for an earlier one to leave.
    pub(super) fn is_outbox_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Writes everything. For questions, which are small and asked when the server listens.
    pub(super) async fn send(&mut self) -> Result<(), SessionError> {
        poll_fn(|cx| self.poll_write(cx)).await;
        // A failed write is told by the next read, with what the server had to say before.
        Ok(())
    }

    /// The next message.
    pub(super) async fn word(&mut self) -> Result<Word, SessionError> {
        loop {
            if let Some(word) = self.take()? {
                return Ok(word);
            }
            self.turn().await?;
        }
    }

    /// A message that was read already.
    pub(super) fn take(&mut self) -> Result<Option<Word>, SessionError> {
        let broken = |error| SessionError::down(format!("this is not PostgreSQL's protocol: {error}"));
        let Some(header) = Header::parse(&self.inbox).map_err(broken)? else {
            return Ok(None);
        };
        let length = usize::try_from(header.len()).unwrap_or(usize::MAX);
        if length > self.message_bytes_max {
            return Err(SessionError::down(format!(
                "absurd row size: PostgreSQL announces a message of {length} bytes, and at most {} are read; a row \
                 this large cannot be followed",
                self.message_bytes_max
            )));
        }
        if self.inbox.len() <= length {
            return Ok(None);
        }
        if header.tag() == COPY_BOTH_TAG {
            self.inbox.advance(1 + length);
            return Ok(Some(Word::CopyBoth));
        }
        Ok(Message::parse(&mut self.inbox).map_err(broken)?.map(Word::Message))
    }

    /// Waits until something was read, or everything was written; does both as far as the peer lets us. Neither waits
    /// for the other: two peers that only write to each other would wait for ever.
    pub(super) async fn turn(&mut self) -> Result<(), SessionError> {
        if let Some((_, since)) = &self.unwritable {
            let until = *since + LAST_WORDS_TIMEOUT;
            let read = timeout_at(until, poll_fn(|cx| self.poll_read(cx))).await;
            return read.unwrap_or_else(|_| Err(self.lost("nothing can be written")));
        }
        poll_fn(|cx| {
            let wrote = self.is_writing() && self.poll_write(cx).is_ready();
            match self.poll_read(cx) {
                Poll::Ready(read) => Poll::Ready(read),
                Poll::Pending if wrote => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Writes what the peer takes at once, and waits for nothing.
    pub(super) async fn nudge(&mut self) {
        poll_fn(|cx| {
            let _ = self.poll_write(cx);
            Poll::Ready(())
        })
        .await;
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        // Room grows with what has arrived, never with what was announced.
        if self.inbox.capacity() - self.inbox.len() < READ_BYTES / 8 {
            self.inbox.reserve(READ_BYTES);
        }
        match ready!(pin!(self.stream.read_buf(&mut self.inbox)).poll(cx)) {
            Ok(0) => Poll::Ready(Err(self.lost("it hung up"))),
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.lost(&error.to_string()))),
        }
    }

    /// Ready when everything was written, or nothing can be any more.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let failed = match ready!(self.poll_drain(cx)) {
            Ok(()) => return Poll::Ready(()),
            Err(error) => error.to_string(),
        };
        self.outbox.clear();
        self.is_unflushed = false;
        self.unwritable.get_or_insert_with(|| (failed, Instant::now()));
        Poll::Ready(())
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outbox))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.outbox.advance(count),
            }
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn lost(&self, why: &str) -> SessionError {
        let also =
            self.unwritable.as_ref().map(|(error, _)| format!(" (writing: {error})")).unwrap_or_default();
        SessionError::down(format!("the connection to PostgreSQL is lost: {why}{also}"))
    }
}
