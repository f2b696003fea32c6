//! Why a read got no answer, sorted by whose fault it is and what to do.

use candor_core::Level;
use candor_core::port::{Fault, SourceError};
use candor_core::{Position, TokenError};
use std::sync::Arc;
use std::time::Duration;

/// Why a read got no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The loader, or the source behind it, failed.
    #[error("the source failed: {0}")]
    Load(LoadError),
    /// The source is protected: too many loads are waiting already, or this one waited too long.
    #[error("the source is protected from more load: {0}")]
    Overloaded(Overload),
    /// The read took longer than its contract allows.
    #[error("no answer within the {} the contract allows; the source or the log is slow", candor_core::duration::format(*.0))]
    Timeout(Duration),
    /// The level cannot be met, and the contract says to say so.
    #[error("{level} cannot be met: {why}")]
    LevelUnmet {
        /// The level that was asked for.
        level: Level,
        /// What stands in the way.
        why: String,
    },
    /// The answers cannot be shown to hold together.
    #[error("no snapshot: {why}")]
    SnapshotUnmet {
        /// What stands in the way.
        why: String,
    },
    /// A critical view was asked for something weaker.
    #[error("the view `{view}` is critical and is only read at strong, not at {asked}")]
    Critical {
        /// The view.
        view: Box<str>,
        /// The refused level.
        asked: Level,
    },
    /// The session token cannot be honoured.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The cache is shutting down.
    #[error("this instance is shutting down; ask another")]
    ShuttingDown,
}

/// Why a session token cannot be honoured. The client takes a new one with a fence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// It does not decode.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// `session` was asked for without one.
    #[error("a read at `session` needs a session token")]
    Missing,
    /// It speaks of a log nobody here follows: the source's history was rewritten (restored, failed over), or the token
    /// is of another service.
    #[error(
        "the session token is of a log that is not followed here: the source's history was rewritten, or the token is of another service; take a new one with a fence"
    )]
    UnknownLog,
    /// It speaks of a position the source has not reached, so what its holder saw is no longer there.
    #[error(
        "the session token is at position {wanted}, but the source itself is only at {reached}: history was lost or the token was not issued here; take a new one with a fence"
    )]
    Ahead {
        /// The token's position.
        wanted: Position,
        /// The source's own.
        reached: Position,
    },
}

/// Which limit protects the source.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overload {
    /// The queue is full.
    #[error("{waiting} loads are waiting already")]
    QueueFull {
        /// Length of the queue.
        waiting: usize,
    },
    /// The queue did not move in time.
    #[error("no turn came within {}", candor_core::duration::format(*.waited))]
    QueueTimeout {
        /// How long this load waited.
        waited: Duration,
    },
}

/// Why a load failed. Shared by everyone who waited for it.
#[derive(Clone, Debug)]
pub struct LoadError {
    /// Whose fault it is.
    pub fault: Fault,
    source: Arc<dyn std::error::Error + Send + Sync>,
}

impl LoadError {
    /// An error of a loader. Its text is shown to whoever reads.
    pub fn new(fault: Fault, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { fault, source: Arc::from(error.into()) }
    }

    /// Keeps the fault of errors that know theirs; everything else counts as the source being down.
    pub(crate) fn of_any(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => *ours,
            Err(other) => {
                let fault = other.downcast_ref::<SourceError>().map_or(Fault::Down, |error| error.fault);
                Self::new(fault, other)
            }
        }
    }

    pub(crate) fn panicked() -> Self {
        Self::new(Fault::Down, "the loader panicked; this is a bug in the loader, and nothing was cached")
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl From<SourceError> for LoadError {
    fn from(error: SourceError) -> Self {
        Self::new(error.fault, error)
    }
}
