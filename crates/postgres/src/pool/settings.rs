//! The settings of every statement, and how they reach the server.
//!
//! `search_path` is not among them: what names mean is asked of the role that fills, and set by its fills ([`crate::names`]).

use crate::options::PostgresOptions;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Spelling of values in JSON, and reading of SQL, where the settings of a role, a database or an earlier user of the session
/// could change it. Two instances must give the same bytes for the same row, and a text means what it meant when the view was
/// held against the schema.
const SPELLING: [(&str, &str); 11] = [
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
];

/// A name of ours among the settings. A session that does not know it has lost all others that came with it.
const MARK: &str = "candor.session";

/// The settings of a session, for the start of a direct connection. What is asked here answers within milliseconds, and to
/// compile a statement takes longer than that whenever the planner thinks the catalogs large.
pub(super) fn startup_options(options: &PostgresOptions) -> String {
    let mut text = format!(
        "-c {MARK}=direct -c default_transaction_read_only=on -c jit=off -c statement_timeout={}",
        milliseconds(options.statement_timeout)
    );
    for (name, value) in SPELLING {
        text.push_str(&format!(" -c {name}={value}"));
    }
    text
}

/// Asks whether the settings arrived.
pub(super) const MARK_SQL: &str = "SELECT coalesce(current_setting('candor.session', true), '') = 'direct' \
     AND current_setting('default_transaction_read_only') = 'on'";

/// The settings of one transaction, behind a pooler.
pub(crate) fn local_settings(statement_timeout: Duration) -> String {
    // Whoever used the session before may have taken another role, for which rows and schemas are others.
    let mut text = format!(
        "SET LOCAL role TO DEFAULT; SET LOCAL jit=off; SET LOCAL statement_timeout={}",
        milliseconds(statement_timeout)
    );
    for (name, value) in SPELLING {
        text.push_str(&format!("; SET LOCAL {name}='{value}'"));
    }
    text
}

/// Zero would mean no limit at all.
fn milliseconds(duration: Duration) -> u128 {
    duration.as_millis().clamp(1, i32::MAX as u128)
}

/// Whether a refusal may be a pooler's, of settings that are not its own.
pub(super) fn is_poolers_refusal(error: &tokio_postgres::Error) -> bool {
    let Some(db) = error.as_db_error() else { return false };
    let refuses = *db.code() == SqlState::PROTOCOL_VIOLATION || *db.code() == SqlState::FEATURE_NOT_SUPPORTED;
    refuses || db.message().contains("startup parameter")
}

/// What to do about a refused connection.
pub(super) fn advice(error: &tokio_postgres::Error) -> &'static str {
    match error.code() {
        Some(code) if *code == SqlState::INVALID_PASSWORD => "; check the user and the password",
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "; check the user, and the server's pg_hba.conf for a line that admits it"
        }
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "; check the database's name",
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
            "; lower connections_max, or put a pooler in between"
        }
        _ => "",
    }
}
