//! Running a plan.
//!
//! One statement at a time, each its own transaction: a slot cannot be made in a transaction that has written, and a
//! table should be locked no longer than its own statement takes. The order of a plan makes every prefix of it harmless,
//! so stopping half way leaves the application as it was, and running setup again goes on from there.

use crate::fault;
use crate::setup::is_remark;
use candor_core::port::{Fault, SourceError};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// How long a statement waits for its lock. ALTER TABLE waits in front of everybody who comes later, so this is how long
/// the application may stand still behind it.
const LOCK_PATIENCE_MS: u64 = 2_000;

/// How long making a slot waits for the transactions that were writing when it began. Nobody waits behind it.
const SLOT_PATIENCE_MS: u64 = 60_000;

/// How long one statement may take altogether, in case the server falls silent.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the statements in order and returns those that were run, without remarks. Stops at the first that fails; the error
/// says which were done, and which are left for another run or another role.
///
/// The connection keeps no setting of ours, unless it breaks.
pub(crate) async fn apply(client: &Client, statements: &[String]) -> Result<Vec<String>, SourceError> {
    let run: Vec<&String> = statements.iter().filter(|line| !is_remark(line)).collect();
    for (at, statement) in run.iter().enumerate() {
        if let Err(mut error) = one(client, statement).await {
            let progress = progress(&run[..at], &run[at..]);
            error.message = format!("{} (`{}`); {progress}", error.message, first_line(statement));
            reset(client).await;
            return Err(error);
        }
    }
    reset(client).await;
    Ok(run.into_iter().cloned().collect())
}

async fn one(client: &Client, statement: &str) -> Result<(), SourceError> {
    let is_slot = statement.contains("pg_create_logical_replication_slot(");
    let patience_ms = if is_slot { SLOT_PATIENCE_MS } else { LOCK_PATIENCE_MS };
    let run = async {
        client.batch_execute(&format!("SET lock_timeout = {patience_ms}")).await?;
        client.batch_execute(statement).await
    };
    match tokio::time::timeout(PATIENCE, run).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(with_advice(&error, statement, patience_ms)),
        Err(_) => Err(SourceError::slow(format!(
            "setting up the database: no answer within {} s; look at pg_stat_activity, then run setup again",
            PATIENCE.as_secs()
        ))),
    }
}

/// Best effort: the connection is about to be closed anyway, and an error would hide what happened.
async fn reset(client: &Client) {
    let _ = tokio::time::timeout(Duration::from_secs(1), client.batch_execute("RESET lock_timeout")).await;
}

fn with_advice(error: &tokio_postgres::Error, statement: &str, patience_ms: u64) -> SourceError {
    let mut told = fault::of("setting up the database", error);
    let is_slot = is_of_slot(statement);
    let seconds = patience_ms / 1_000;
    let advice = match error.code() {
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE && is_slot => format!(
            "a transaction that was writing did not end within {seconds} s, and a slot begins only after it; the \
             oldest ones: SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY \
             xact_start"
        ),
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => format!(
            "another transaction holds the table; setup gave up after {seconds} s so that nobody waits behind it; run \
             it again at a quieter time"
        ),
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            told.fault = Fault::Contract;
            who_may(statement).to_owned()
        }
        Some(code) if is_slot && *code == SqlState::OBJECT_IN_USE => {
            told.fault = Fault::Contract;
            "somebody reads the slot: stop Candor (or whoever it is), then run it again".to_owned()
        }
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            "this is a standby: run setup on the primary".to_owned()
        }
        Some(code) if is_slot && *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            told.fault = Fault::Contract;
            "if wal_level is not logical: ALTER SYSTEM SET wal_level = logical, and restart the server"
                .to_owned()
        }
        Some(code) if is_slot && *code == SqlState::CONFIGURATION_LIMIT_EXCEEDED => {
            told.fault = Fault::Contract;
            "drop a slot that nobody reads, or raise max_replication_slots and restart the server".to_owned()
        }
        _ => return told,
    };
    told.message.push_str("; ");
    told.message.push_str(&advice);
    told
}

/// Whether a statement makes or drops a slot.
fn is_of_slot(statement: &str) -> bool {
    statement.contains("_replication_slot(")
}

/// Which role may run a statement of a plan. They are several where those who own tables do not read the log.
fn who_may(statement: &str) -> &'static str {
    let is_of = |what: &str| statement.contains(what);
    if is_of_slot(statement) {
        "a slot is for a role with REPLICATION: run this as the role that reads the log"
    } else if is_of("EVENT TRIGGER") || is_of("candor.ddl()") {
        "event triggers are for a superuser: run this as one"
    } else if is_of(" PUBLICATION ") {
        "a publication is for its owner, who owns its tables too and has CREATE on the database: run this as the owner of the \
         tables"
    } else if is_of("ALTER TABLE") {
        "a replica identity is for the owner of the table: run this as that role"
    } else {
        "the schema candor and what is in it are for the role that made them, which needs CREATE on the database: run this as \
         the owner of the tables"
    }
}

/// What was run, and what was not, the one that failed first.
fn progress(done: &[&String], left: &[&String]) -> String {
    let list = |statements: &[&String]| {
        statements.iter().map(|statement| first_line(statement)).collect::<Vec<_>>().join("; ")
    };
    let left = format!("left, shown in full by --dry-run: {}", list(left));
    match done {
        [] => format!("nothing was changed; {left}"),
        _ => format!("done before it, and kept: {}; {left}", list(done)),
    }
}

fn first_line(statement: &str) -> &str {
    statement.lines().next().unwrap_or_default()
}
