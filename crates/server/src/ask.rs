//! What every door says alike of what it is asked: what is refused from the start, why nothing was given, and the session
//! token that several answers leave with. The service says it; doors only render.

use crate::service::ServedAnswer;
use candor::ReadError;
use candor_core::{Demand, SessionToken};

/// What is refused before anybody is asked: the view or the source can never give it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOffered {
    /// A snapshot of a view without a log.
    #[error("the view `{view}` has no log behind it, so nothing shows that answers hold together")]
    Snapshot {
        /// The view.
        view: Box<str>,
    },
    /// A fence of a source without a log.
    #[error("no view of `{source_name}` is proven by a log, so it gives no session tokens")]
    Fence {
        /// The source.
        source_name: Box<str>,
    },
}

/// Why the service gave nothing.
#[derive(Debug)]
pub enum AskError {
    /// It cannot be asked for.
    Refused(NotOffered),
    /// It could not be had.
    Failed {
        /// For which of several keys, counted from zero; `None` where it concerns all.
        at: Option<usize>,
        /// Why.
        error: ReadError,
    },
}

impl AskError {
    pub(crate) fn of_all(error: ReadError) -> Self {
        Self::Failed { at: None, error }
    }
}

/// The token a later read must present to not go behind any of these answers, nor behind the token it was asked with.
pub fn session_of(demand: &Demand, answers: &[ServedAnswer]) -> SessionToken {
    let mut session = demand.token.clone().unwrap_or_default();
    answers.iter().filter_map(|answer| answer.receipt().upper).for_each(|upper| session.observe(upper));
    session
}
