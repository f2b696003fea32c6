//! Why a session ended or a question failed, with the code the server gave.

use crate::fault::fault;
use candor_core::port::{Fault, SourceError};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorResponseBody;
use std::fmt;
use tokio_postgres::error::SqlState;

/// A failure of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionError {
    /// Whose fault it is and what happened.
    pub(crate) error: SourceError,
    /// The SQLSTATE, if the server gave one.
    pub(crate) code: Option<Box<str>>,
}

impl SessionError {
    pub(crate) fn down(message: impl Into<String>) -> Self {
        Self { error: SourceError::down(message), code: None }
    }

    pub(crate) fn slow(message: impl Into<String>) -> Self {
        Self { error: SourceError::slow(message), code: None }
    }

    pub(crate) fn contract(message: impl Into<String>) -> Self {
        Self { error: SourceError::contract(message), code: None }
    }

    /// The server said something that has no place there.
    pub(crate) fn unexpected(place: &str) -> Self {
        Self::down(format!(
            "PostgreSQL sent something unexpected {place}: is it a pooler or a proxy that answers?"
        ))
    }

    /// An error message of the server.
    pub(crate) fn told(body: &ErrorResponseBody) -> Self {
        let mut code = None;
        let (mut message, mut notes) = (String::new(), Vec::new());
        let mut fields = body.fields();
        // A field that cannot be read ends the list: what was read before it is told.
        while let Ok(Some(field)) = fields.next() {
            let text = String::from_utf8_lossy(field.value_bytes());
            match field.type_() {
                b'C' => code = Some(text.into_owned()),
                b'M' => message = text.into_owned(),
                b'D' | b'H' => notes.push(text.into_owned()),
                _ => {}
            }
        }
        let shown = code.as_deref().unwrap_or("no code");
        notes.insert(0, format!("PostgreSQL says: {message} ({shown})"));
        let fault = code.as_deref().map_or(Fault::Down, |code| fault(&SqlState::from_code(code)));
        let error = SourceError { fault, message: notes.join("; ") };
        Self { error, code: code.map(String::into_boxed_str) }
    }

    /// Whether the server gave this code.
    pub(crate) fn is(&self, code: &SqlState) -> bool {
        self.code.as_deref() == Some(code.code())
    }

    /// The same, with what was being done.
    pub(super) fn while_doing(mut self, doing: &str) -> Self {
        self.error.message = format!("{doing}: {}", self.error.message);
        self
    }

    /// The same, with what to do about the slots people meet.
    pub(super) fn with_advice_on_slots(mut self) -> Self {
        let advice = if self.is(&SqlState::UNDEFINED_OBJECT) {
            "; `candor setup` creates it"
        } else if self.is(&SqlState::OBJECT_IN_USE) {
            "; one session at a time may: give this instance a slot of its own, or end the other session"
        } else if self.is(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) {
            "; if the log it needs is gone (max_slot_wal_keep_size), drop the slot and run `candor setup`"
        } else {
            ""
        };
        self.error.message.push_str(advice);
        self
    }
}

impl From<SourceError> for SessionError {
    fn from(error: SourceError) -> Self {
        Self { error, code: None }
    }
}

impl From<SessionError> for SourceError {
    fn from(error: SessionError) -> Self {
        error.error
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for SessionError {}
