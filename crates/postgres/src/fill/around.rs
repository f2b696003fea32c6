//! What stands around the statement of a fill: its transaction, where it needs one, with the settings and the search path under
//! which it is read, and the questions to a standby.

use super::seen;
use crate::pool::local_settings;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use std::time::Duration;

/// What goes before the statement: behind a pooler its transaction, in which it sets the path; on a standby the question how
/// far it is.
pub(super) fn before(path: Option<&str>, in_recovery: bool, statement_timeout: Duration) -> Option<String> {
    // Each statement has a snapshot of its own, whatever the role's default: what is asked before must not fix it.
    let isolation = "ISOLATION LEVEL READ COMMITTED";
    #[cfg(candor_sabotage)]
    let isolation = if is(Sabotage::PoolersIsolation) { "" } else { isolation };
    let mut parts = Vec::new();
    if let Some(path) = path {
        parts.push(format!("BEGIN {isolation} READ ONLY"));
        parts.push(local_settings(statement_timeout));
        parts.push(set_path(path));
    }
    parts.extend(in_recovery.then(|| seen::REPLAYED_SQL.to_owned()));
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// For the rest of the transaction.
pub(super) fn set_path(path: &str) -> String {
    #[cfg(candor_sabotage)]
    if is(Sabotage::PathLeft) {
        return "SET LOCAL candor.search_path = 'left as it is'".into();
    }
    format!("SET LOCAL search_path = {path}")
}

/// What comes after it, in the same session: the history of a standby, the end of a pooler's transaction.
pub(super) fn after(is_pooled: bool, history_sql: Option<&str>) -> Option<String> {
    match (is_pooled, history_sql) {
        (false, None) => None,
        (false, Some(history)) => Some(history.into()),
        (true, None) => Some("COMMIT".into()),
        (true, Some(history)) => Some(format!("{history}; COMMIT")),
    }
}
