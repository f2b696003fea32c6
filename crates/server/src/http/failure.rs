//! What the engine could not do, as problems. What a source says about itself goes to the log and stays there: it may
//! name files, addresses and SQL.

use super::problem::{Kind, Problem};
use crate::service::{FeedHealth, ServedSource, ServedView};
use candor::{Overload, ReadError, SessionError};
use candor_core::port::Fault;
use std::time::Duration;

const TAKE_ANOTHER: &str = "take a new token with POST /v1/fence, or read once without one";

/// The problem behind a failed read.
pub(crate) fn of_read(view: &ServedView, source: &ServedSource, error: &ReadError) -> Problem {
    of(view.name(), source, error)
}

/// The problem behind a failed fence.
pub(crate) fn of_fence(source: &ServedSource, error: &ReadError) -> Problem {
    of("", source, error)
}

fn of(view: &str, source: &ServedSource, error: &ReadError) -> Problem {
    let name = source.name();
    match error {
        ReadError::Load(load) => {
            tracing::warn!(view, source = name, error = %load, "a fill failed");
            match load.fault {
                Fault::Down => Problem::new(
                    Kind::SourceDown,
                    format!("the source `{name}` cannot be reached"),
                    "try again later; the server's log says more",
                )
                .retry_after(Duration::from_secs(1)),
                Fault::Slow => slow(format!("the source `{name}` did not answer in time")),
                Fault::Contract => Problem::new(
                    Kind::BadContract,
                    format!("the source `{name}` cannot give what the view `{view}` asks for"),
                    "whoever owns the contract mends it; the server's log says what is wrong",
                ),
            }
        }
        ReadError::Overloaded(overload) => {
            let wait = match overload {
                Overload::QueueFull { .. } => source.limits().queue_timeout,
                Overload::QueueTimeout { waited } => *waited,
            };
            Problem::new(
                Kind::Overloaded,
                format!("the source `{name}` is protected from more load: {overload}"),
                "slow down, or accept older answers",
            )
            .retry_after(wait)
        }
        ReadError::Timeout(limit) => slow(format!(
            "no answer within the {} the contract allows",
            candor_core::duration::format(*limit)
        )),
        ReadError::LevelUnmet { level, why } => {
            tracing::info!(view, source = name, %level, why, "a level cannot be met");
            unproven(source, &format!("{level} cannot be met"))
        }
        ReadError::SnapshotUnmet { why } => {
            tracing::info!(view, source = name, why, "no snapshot");
            unproven(source, "no snapshot can be shown to hold together")
        }
        ReadError::Critical { view, asked } => Problem::new(
            Kind::BadLevel,
            format!("the view `{view}` is critical and only read at strong, not at {asked}"),
            "leave the level out, or ask for strong",
        ),
        ReadError::Session(error) => of_session(source, error),
        ReadError::ShuttingDown => draining(),
        other => {
            tracing::error!(view, source = name, error = %other, "an error this door does not know");
            internal()
        }
    }
}

fn of_session(source: &ServedSource, error: &SessionError) -> Problem {
    match error {
        // Before a log was ever followed, a sound token cannot be told from one of another log.
        SessionError::UnknownLog
            if source.cache().follower().ledger().sight().is_none() && source.is_logged() =>
        {
            unproven(source, "the session token cannot be checked yet")
        }
        SessionError::UnknownLog => Problem::new(
            Kind::LostSession,
            "the session token is of a log that is not followed here: the source's history was rewritten, or the token is of another service",
            TAKE_ANOTHER,
        ),
        SessionError::Ahead { wanted, reached } => Problem::new(
            Kind::LostSession,
            format!("the session token is at position {wanted}, but the source itself is only at {reached}"),
            TAKE_ANOTHER,
        ),
        other => Problem::new(Kind::BadSession, other.to_string(), TAKE_ANOTHER),
    }
}

fn unproven(source: &ServedSource, what: &str) -> Problem {
    let name = source.name();
    let why = match source.feed() {
        FeedHealth::Down(_) => format!("the log of `{name}` cannot be followed at the moment"),
        FeedHealth::Starting => format!("the log of `{name}` is not followed yet"),
        FeedHealth::Following(_) => {
            format!("the source `{name}` does not answer in time, or changes faster than it can be read")
        }
        FeedHealth::None => format!("the source `{name}` has no log"),
    };
    Problem::new(Kind::LevelUnmet, format!("{what}: {why}"), "try again, or ask for less")
        .retry_after(Duration::from_secs(1))
}

fn slow(detail: String) -> Problem {
    Problem::new(Kind::SourceSlow, detail, "try again later, or accept older answers")
}

/// The server is stopping.
pub(crate) fn draining() -> Problem {
    Problem::new(Kind::Draining, "this instance is stopping", "ask another")
        .retry_after(Duration::from_secs(1))
}

/// A fault of ours.
pub(crate) fn internal() -> Problem {
    Problem::new(
        Kind::Internal,
        "the request met a fault in Candor itself",
        "tell whoever runs the service; its log says more",
    )
}
