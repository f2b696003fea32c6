//! Whose fault a failure is: what Postgres says, in the words of the port.

use candor_core::port::{Fault, SourceError};
use tokio_postgres::error::SqlState;

/// A failed call of the client library while doing something (`a fill of view \`user\``).
pub(crate) fn of(doing: &str, error: &tokio_postgres::Error) -> SourceError {
    let Some(db) = error.as_db_error() else {
        let told = with_causes(error);
        let next = next_step(&told);
        return SourceError::down(format!("{doing}: {told}{next}"));
    };
    let mut message = format!("{doing}: {} ({})", db.message(), db.code().code());
    for part in [db.detail(), db.hint()].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(part);
    }
    SourceError { fault: fault(db.code()), message }
}

/// What to do about what the client library refuses by itself, which it says in few words and without a code.
fn next_step(told: &str) -> &'static str {
    if told.contains("password missing") {
        "; the server asks for a password, and none is given: set PGPASSWORD, or write it in the url (as ${NAME}, from the \
         environment), or in ~/.pgpass as host:port:database:user:password (mode 600: one that others may read is not used)"
    } else if told.contains("server does not support TLS") {
        "; the server has no TLS, and sslmode demands it: switch it on there (ssl = on), or say sslmode=prefer here, where \
         nobody on the way can listen"
    } else {
        ""
    }
}

/// Whose fault an SQLSTATE is.
pub(crate) fn fault(code: &SqlState) -> Fault {
    let class = code.code().get(..2).unwrap_or_default();
    match class {
        // Statement and lock timeouts, cancellations.
        "57" if *code == SqlState::QUERY_CANCELED => Fault::Slow,
        "55" => Fault::Slow,
        "40" => Fault::Slow,
        // Connection, resources, operator intervention, system and internal errors.
        "08" | "53" | "57" | "58" | "XX" | "F0" => Fault::Down,
        // Wrong password, no such database: nothing is reachable until a person acts, but the contract is not at fault.
        "28" | "3D" => Fault::Down,
        _ => Fault::Contract,
    }
}

/// An error with what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
