//! A connection on loan.

use super::{Conn, Shared};
use crate::identity::Identity;
use candor_core::port::SourceError;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::Client;

/// A connection on loan. Dropped while a statement is under way, it has the server end the statement and is given up.
pub(crate) struct Held {
    /// `None` only while dropping.
    conn: Option<Conn>,
    is_busy: bool,
    is_reused: bool,
    shared: Arc<Shared>,
    /// Given back last, after the connection.
    _permit: OwnedSemaphorePermit,
}

impl Held {
    pub(super) fn new(
        conn: Conn,
        is_reused: bool,
        permit: OwnedSemaphorePermit,
        shared: Arc<Shared>,
    ) -> Self {
        Self { conn: Some(conn), is_busy: false, is_reused, shared, _permit: permit }
    }

    /// Gives up a connection that is found broken; the client library may notice only later.
    pub(crate) fn discard(mut self) {
        self.conn = None;
    }

    /// Whether the connection was idle before: it may have broken meanwhile.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// The client and the mark that the server owes an answer, for those who keep both.
    #[expect(clippy::expect_used, reason = "the connection is taken out only by drop")]
    pub(crate) fn parts(&mut self) -> (&mut Client, &mut bool) {
        (&mut self.conn.as_mut().expect("a held connection").client, &mut self.is_busy)
    }

    /// From here to [`Held::settled`] the server owes an answer.
    pub(crate) fn busy(&mut self) {
        self.is_busy = true;
    }

    /// Everything that was asked is answered.
    pub(crate) fn settled(&mut self) {
        self.is_busy = false;
    }

    /// The whole identity of the server whose fill named this timeline and start. Behind a pooler, or after a promotion,
    /// that is not always the one the connection began with.
    pub(crate) async fn identity(&self, timeline: u32, started_micros: i64) -> Result<Identity, SourceError> {
        let fits = |known: &Identity| known.timeline == timeline && known.started_micros == started_micros;
        if let Some(known) = self.shared.identity.lock().as_ref().filter(|known| fits(known)) {
            return Ok(known.clone());
        }
        let (identity, _) = Conn::identity(self).await?;
        if !fits(&identity) {
            return Err(SourceError::down("the server changed during a fill; try again"));
        }
        *self.shared.identity.lock() = Some(identity.clone());
        Ok(identity)
    }
}

impl Deref for Held {
    type Target = Conn;

    #[expect(clippy::expect_used, reason = "the connection is taken out only by drop")]
    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("a held connection")
    }
}

impl DerefMut for Held {
    #[expect(clippy::expect_used, reason = "the connection is taken out only by drop")]
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("a held connection")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        if conn.client.is_closed() {
            return;
        }
        if !self.is_busy {
            self.shared.idle.lock().push(conn);
            return;
        }
        let canceller = conn.canceller();
        drop(conn);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(canceller.cancel());
        }
    }
}
