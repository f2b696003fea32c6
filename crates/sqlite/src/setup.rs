//! What `candor setup` puts into a database and takes out again.
//!
//! Three tables and the triggers of [`crate::triggers`]:
//!
//! * `candor_changes`: the log. `seq` counts and never repeats within one history; `mark` is random, so that a history
//!   that was restored from a backup and then reached the same numbers again is told apart. Never empty: its newest row
//!   is the position.
//! * `candor_log`: one row. `identity` names the history; `was` lists the names it had before; `watched` is the plan;
//!   `trimmed_to` says up to where old rows were removed.
//! * `candor_readers`: who still needs which rows.
//!
//! Setup is declarative: it compares what is wanted with what is there and issues only the difference, so running it
//! again changes nothing. Everything happens in one transaction, except the switch to the write-ahead log, which SQLite
//! only allows outside.

use crate::fault;
use crate::image::{quote_name, quote_text};
use crate::schema::Schema;
use crate::triggers::{self, PREFIX, Trigger};
use crate::watch::Plan;
use candor_core::port::SourceError;
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;

/// The format of tables and triggers. Raised when either changes its meaning.
pub(crate) const FORMAT: i64 = 1;

const TABLES: [(&str, &str); 3] = [
    (
        "candor_log",
        "CREATE TABLE candor_log (one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, \
         identity TEXT NOT NULL, was TEXT NOT NULL DEFAULT '', trimmed_to INTEGER NOT NULL DEFAULT 0, \
         watched TEXT NOT NULL)",
    ),
    (
        "candor_changes",
        "CREATE TABLE candor_changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, \
         mark INTEGER NOT NULL DEFAULT (random()), tbl TEXT NOT NULL, op TEXT NOT NULL, old TEXT, new TEXT, \
         touched TEXT)",
    ),
    (
        "candor_readers",
        "CREATE TABLE candor_readers (id TEXT PRIMARY KEY, seq INTEGER NOT NULL, beat INTEGER NOT NULL) \
         WITHOUT ROWID",
    ),
];

const WRITE_AHEAD: &str = "PRAGMA journal_mode = WAL";

/// What a database says of its own setup.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    pub(crate) plan: Plan,
    /// What does not match the plan. Empty if all is well.
    pub(crate) broken: Vec<String>,
}

/// Reads what is installed; `None` if nothing is. Call inside a transaction.
pub(crate) fn installed(connection: &Connection, schema: &Schema) -> rusqlite::Result<Option<Installed>> {
    let missing: Vec<&str> =
        TABLES.iter().map(|(name, _)| *name).filter(|name| schema.table(name).is_none()).collect();
    if missing.len() == TABLES.len() {
        return Ok(None);
    }
    let mut broken: Vec<String> = missing.iter().map(|name| format!("table `{name}` is missing")).collect();
    let row: Option<(i64, String)> = if missing.contains(&"candor_log") {
        None
    } else {
        let format = "SELECT format, watched FROM candor_log WHERE one = 1";
        connection.query_row(format, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?
    };
    let plan = match &row {
        Some((FORMAT, watched)) => Plan::from_json(watched),
        _ => None,
    };
    let Some(plan) = plan else {
        broken.push("the change log was written by another version".into());
        return Ok(Some(Installed { plan: Plan::default(), broken }));
    };
    let (wanted, refused) = wanted(schema, &plan);
    broken.extend(refused);
    let found = existing_triggers(connection)?;
    for trigger in &wanted {
        match found.get(&trigger.name) {
            None => broken.push(format!("trigger `{}` is missing", trigger.name)),
            Some(sql) if *sql != trigger.sql => {
                broken.push(format!("trigger `{}` does not match the schema", trigger.name));
            }
            Some(_) => {}
        }
    }
    Ok(Some(Installed { plan, broken }))
}

/// The statements that bring the database to `plan`, in order. Empty if it is there. Call inside a transaction.
pub(crate) fn statements(
    connection: &Connection,
    schema: &Schema,
    plan: &Plan,
) -> Result<Vec<String>, SourceError> {
    let (wanted, refused) = wanted(schema, plan);
    if !refused.is_empty() {
        return Err(SourceError::contract(refused.join("; ")));
    }
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut statements = Vec::new();
        if journal_mode(connection)? != "wal" {
            statements.push(WRITE_AHEAD.to_owned());
        }
        statements.extend(
            TABLES.iter().filter(|(name, _)| schema.table(name).is_none()).map(|(_, sql)| (*sql).to_owned()),
        );
        statements.extend(rows(connection, schema, plan)?);
        let found = existing_triggers(connection)?;
        let is_wanted =
            |name: &String, sql: &String| wanted.iter().any(|wish| wish.name == *name && wish.sql == *sql);
        statements.extend(
            found
                .iter()
                .filter(|(name, sql)| !is_wanted(name, sql))
                .map(|(name, _)| format!("DROP TRIGGER {}", quote_name(name))),
        );
        statements.extend(
            wanted
                .iter()
                .filter(|wish| found.get(&wish.name) != Some(&wish.sql))
                .map(|wish| wish.sql.clone()),
        );
        Ok(statements)
    };
    read().map_err(|error| fault::of("planning the setup", &error))
}

/// The statements that take everything out. The write-ahead log stays: it is the better mode with or without Candor.
pub(crate) fn removal(connection: &Connection, schema: &Schema) -> Result<Vec<String>, SourceError> {
    let found = existing_triggers(connection).map_err(|error| fault::of("planning the removal", &error))?;
    let triggers = found.keys().map(|name| format!("DROP TRIGGER {}", quote_name(name)));
    let tables = TABLES.iter().filter(|(name, _)| schema.table(name).is_some());
    Ok(triggers.chain(tables.map(|(name, _)| format!("DROP TABLE {name}"))).collect())
}

/// Runs statements made by `plan` in one transaction that holds the write lock from before the plan was made.
pub(crate) fn apply(
    connection: &Connection,
    plan: impl Fn(&Connection, &Schema) -> Result<Vec<String>, SourceError>,
) -> Result<Vec<String>, SourceError> {
    let doing = |error| fault::of("setting up the database", &error);
    let schema = Schema::read(connection).map_err(doing)?;
    let mut done = Vec::new();
    if plan(connection, &schema)?.first().is_some_and(|first| first == WRITE_AHEAD) {
        let mode: String = connection.query_row(WRITE_AHEAD, [], |row| row.get(0)).map_err(doing)?;
        if mode != "wal" {
            return Err(SourceError::contract(format!(
                "the database stays in journal mode `{mode}`; put it on a file system that has shared memory"
            )));
        }
        done.push(WRITE_AHEAD.to_owned());
    }
    connection.execute_batch("BEGIN IMMEDIATE").map_err(doing)?;
    let run = || -> Result<Vec<String>, SourceError> {
        let schema = Schema::read(connection).map_err(doing)?;
        let statements = plan(connection, &schema)?;
        for statement in &statements {
            connection.execute_batch(statement).map_err(doing)?;
        }
        connection.execute_batch("COMMIT").map_err(doing)?;
        Ok(statements)
    };
    let result = run();
    if result.is_err() && !connection.is_autocommit() {
        // The first error tells; that the rollback fails too would add nothing.
        let _ = connection.execute_batch("ROLLBACK");
    }
    done.extend(result?);
    Ok(done)
}

/// `PRAGMA journal_mode`, in lower case.
pub(crate) fn journal_mode(connection: &Connection) -> rusqlite::Result<String> {
    connection
        .query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))
        .map(|mode| mode.to_lowercase())
}

/// The rows that must stand in the tables. A log of another format begins a new history.
fn rows(connection: &Connection, schema: &Schema, plan: &Plan) -> rusqlite::Result<Vec<String>> {
    let watched = quote_text(&plan.to_json());
    let stored: Option<(i64, String)> = match schema.table("candor_log") {
        Some(_) => {
            let stored = "SELECT format, watched FROM candor_log WHERE one = 1";
            connection.query_row(stored, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?
        }
        None => None,
    };
    let empty = match schema.table("candor_changes") {
        Some(_) => !connection.prepare("SELECT 1 FROM candor_changes")?.exists([])?,
        None => true,
    };
    let mut statements = Vec::new();
    match stored {
        Some((FORMAT, stored)) if !empty => {
            if stored != plan.to_json() {
                statements.push(format!("UPDATE candor_log SET watched = {watched}"));
            }
        }
        _ => statements.push(format!(
            "INSERT OR REPLACE INTO candor_log (one, format, identity, watched) \
             VALUES (1, {FORMAT}, lower(hex(randomblob(16))), {watched})"
        )),
    }
    if empty {
        statements.push("INSERT INTO candor_changes (tbl, op) VALUES ('candor_log', 'setup')".into());
    }
    Ok(statements)
}

fn wanted(schema: &Schema, plan: &Plan) -> (Vec<Trigger>, Vec<String>) {
    let (mut wanted, mut refused) = (Vec::new(), Vec::new());
    for (name, watch) in &plan.tables {
        match schema.table(name) {
            None => refused.push(format!("table `{name}` does not exist")),
            Some(table) => match triggers::of(table, watch) {
                Ok(triggers) => wanted.extend(triggers),
                Err(why) => refused.push(why),
            },
        }
    }
    (wanted, refused)
}

fn existing_triggers(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut triggers = connection.prepare(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, ?1) = ?2 \
         AND sql LIKE '%candor_changes%'",
    )?;
    triggers.query_map((PREFIX.len() as i64, PREFIX), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
