//! The log: one task per database reads the replication stream; followers and fences hang on it.
//!
//! ```text
//!  fence ── position now ◄── server               walsender ── pgoutput ──► task ──► visibility
//!    │                                                ▲                      │
//!    └── reach it! ───────────────────────────────────┘ keepalive asked      ├─► mailbox ─► feed
//!                                                                            └─► mailbox ─► feed
//! ```
//!
//! A fence asks the server for its insert position and whether the publication and the tables still are what the followed
//! stream was begun with ([`fence`]). So a schema change that nobody told us of ends the stream at the first fence that can
//! see it, and nothing is proven across it. Then the task asks the walsender for a keepalive until its position is reached.
//!
//! **Chain.** Every record names its predecessor. A mailbox that is full loses records; the next one to arrive shows its
//! follower the gap.
//!
//! **Nothing is acknowledged before it is in the mailboxes.** The slot keeps what we have not confirmed, so a connection
//! that is cut costs time alone: the stream goes on where it was. A slot that was lost, moved or made anew shows by its
//! confirmed position, and opens a gap.

mod fence;
mod intact;
mod mark;
mod reached;
mod stand;
mod task;
mod transaction;

use crate::facets::Facets;
use crate::identity::Identity;
use crate::names::Names;
use crate::options::PostgresOptions;
use crate::pool::Pool;
use crate::view::Views;
use crate::visibility::Visibility;
use candor_core::port::{BoxFuture, Fault, Feed, SourceError};
use candor_core::{Epoch, Record};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use mark::{grants, leave_mark, mark_of};

/// Fences and followers that may wait for the task. It answers in microseconds unless it is connecting, and then all are
/// refused alike.
const ASKS: usize = 1024;

/// What the task is asked.
#[derive(Debug)]
enum Ask {
    /// A new follower.
    Follow(oneshot::Sender<Result<Tail, SourceError>>),
    /// Bring the watermark up to this position soon.
    Reach(u64),
    /// What the stream was begun with is no longer so.
    Stale(Standing),
}

/// A stream that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The log it tells of.
    pub(crate) identity: Identity,
    /// Fingerprint of the publication and its tables.
    pub(crate) coverage: String,
    /// The number at which it was opened. Whoever was not told so far has not heard what was missing before it.
    pub(crate) opened: u64,
}

impl Standing {
    fn epoch(&self) -> Epoch {
        Epoch { log: self.identity.log(), era: 0 }
    }
}

/// Whether the log is followed, or why not.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Standing(Standing),
    Down(SourceError),
}

/// What the handle, the fills and the task share.
pub(crate) struct Log {
    /// For fences and for looking around; apart from the fills' connections, so that no herd of fills delays a proof.
    pool: Pool,
    /// For what fills from a standby ask of the primary, so that they delay no proof either.
    pub(crate) looks: Pool,
    questions: fence::Questions,
    facets: Arc<Facets>,
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<State>,
    pub(crate) visibility: Arc<Visibility>,
}

impl Log {
    /// Starts the task. Must be called inside a Tokio runtime.
    pub(crate) fn start(
        options: &PostgresOptions,
        names: Arc<Names>,
        facets: Arc<Facets>,
        views: Arc<Views>,
    ) -> Arc<Self> {
        let looking = PostgresOptions { connections_max: 3, ..options.clone() };
        let (asks, asked) = mpsc::channel(ASKS);
        let down = SourceError::down("the log is not followed yet");
        let (state, watched) = watch::channel(State::Down(down));
        let visibility = Arc::new(Visibility::default());
        let task = task::Task {
            options: options.clone(),
            pool: Arc::new(Pool::new(looking.clone())),
            asks: asked,
            state,
            facets: Arc::clone(&facets),
            views,
            names,
            visibility: Arc::clone(&visibility),
            followers: Vec::new(),
            ended: Arc::default(),
            reached: None,
            is_told_of_ddl: false,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "sockets need the real runtime; the engine's seams stay apart"
        )]
        tokio::spawn(task.run());
        Arc::new(Self {
            pool: Pool::new(looking.clone()),
            looks: Pool::new(looking),
            questions: fence::Questions::of(&options.publication),
            facets,
            asks,
            state: watched,
            visibility,
        })
    }

    /// The stream being read, or why there is none.
    pub(crate) fn standing(&self) -> Result<Standing, SourceError> {
        match &*self.state.borrow() {
            State::Standing(standing) => Ok(standing.clone()),
            State::Down(error) => Err(error.clone()),
        }
    }

    /// Begins to follow. See [`candor_core::port::Log::follow`].
    pub(crate) async fn follow(&self) -> Result<Box<dyn Feed>, SourceError> {
        let (answer, wait) = oneshot::channel();
        let closed = || SourceError::down("the log's task has ended");
        self.asks.send(Ask::Follow(answer)).await.map_err(|_| closed())?;
        let tail = wait.await.map_err(|_| closed())??;
        Ok(Box::new(tail))
    }
}

/// Why there is no proof while the publication is being changed.
fn is_pending() -> SourceError {
    SourceError::down(
        "a transaction that is not visible yet changes the publication, and may be in force for the log already; nothing is \
         proven until it ends. If it waits for a synchronous standby, mend that",
    )
}

/// One follower's end of the log.
#[derive(Debug)]
struct Tail {
    records: mpsc::Receiver<Record>,
    ended: Arc<Mutex<Option<SourceError>>>,
}

impl Feed for Tail {
    /// Cancel-safe, as the channel is.
    fn next(&mut self) -> BoxFuture<'_, Result<Record, SourceError>> {
        Box::pin(async move {
            match self.records.recv().await {
                Some(record) => Ok(record),
                None => Err(self
                    .ended
                    .lock()
                    .clone()
                    .unwrap_or_else(|| SourceError::down("the log's task has ended"))),
            }
        })
    }
}

/// How long the task waits between attempts: at once after a cut, then less and less often.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(50 << failures.min(6))
}

/// Whether trying again soon can help.
fn is_passing(error: &SourceError) -> bool {
    error.fault != Fault::Contract
}
