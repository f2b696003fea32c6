//! Whose fault a failed call of SQLite is.
//!
//! SQLite's result codes fall into three drawers: somebody holds a lock (*slow*: try again), the file cannot be read
//! (*down*), or the statement asks for what is not there (*contract*). Everything unknown is the contract's, because it
//! will not go away by itself.

use candor_core::port::SourceError;
use rusqlite::{Error, ErrorCode};

/// Sorts an error by whose fault it is. `doing` begins the sentence: "a fill of view `user`".
pub(crate) fn of(doing: &str, error: &Error) -> SourceError {
    let message = format!("{doing}: {error}");
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            SourceError::slow(format!("{message} (another connection holds a lock on the database)"))
        }
        Some(ErrorCode::OperationInterrupted) => {
            SourceError::slow(format!("{message} (nobody waited for it any longer)"))
        }
        Some(ErrorCode::SchemaChanged) => {
            SourceError::slow(format!("{message} (the schema changed meanwhile)"))
        }
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory,
        ) => SourceError::down(message),
        _ => SourceError::contract(message),
    }
}

/// What callers get when the threads behind the handle have ended.
pub(crate) fn closed() -> SourceError {
    SourceError::down("the SQLite source is closed")
}

/// What callers get when a queue has no room.
pub(crate) fn full(what: &str, places: usize) -> SourceError {
    SourceError::slow(format!("{what}: all {places} places in the queue are taken"))
}

/// The sentence everything says that needs the change log and does not find it.
pub(crate) fn not_set_up(found: &str) -> SourceError {
    SourceError::contract(format!("{found}; run `candor setup`"))
}
