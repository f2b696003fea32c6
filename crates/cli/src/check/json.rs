//! The report for programs. Members are only ever added.
//!
//! ```text
//! {"config": file, "ok": bool,
//!  "sources": [{"name", "kind": "sqlite", "path",
//!    "setup": {"state": "intact"|"missing"|"incomplete"|"not-needed", "missing": [sentence], "statements": number},
//!    "journal_mode", "sqlite_version", "is_writable", "watched": [table], "log_rows", "trimmed_to", "warnings": [sentence]}],
//!  "views": [{"name", "owner", "source", "file", "line", "column", "verdict": "holds"|"waits-for-setup"|"refused"
//!      |"unchecked",
//!    "key": [{"name", "type"}], "private": column|null, "critical": bool, "rows": "one"|"many", "columns": [name],
//!    "reads": [{"table", "columns": [name], "tagged_by": [{"by": "key", "column", "parameter": from 1}
//!                                                        |{"by": "met", "column", "from"}|{"by": "table", "why"}]}],
//!    "application_tags": [name], "proof": "log"|"clock", "default_level", "ttl_ms", "absent_ttl_ms",
//!    "promises": {"strong"|"bounded"|"session"|"any"|"snapshot": {"can": bool, "why"}},
//!    "findings": [{"severity": "refused"|"warning", "file", "line", "column", "message", "mend"}]}],
//!  "summary": {"views", "hold", "wait_for_setup", "refused", "unchecked", "warnings"},
//!  "error": as of any command that fails, where a source could not be asked}
//! ```
//!
//! A PostgreSQL source has, in place of `path` and what follows `setup`: `"address"`, `"server_version"`, `"wal_level"`,
//! `"is_standby"`, `"standby"`, `"role"`, `"database"`, `"publication"`, `"slot": {"name", "exists", "active_pid", "wal_status",
//! "retained_bytes", "safe_bytes"}`, `"tables": [{"table", "published", "replica_identity", "identity_suffices"}]`,
//! `"event_triggers"`, `"findings": [{"severity": "broken"|"risk"|"note", "what", "mend"}]`, the most urgent first.
//!
//! A source that could not be asked has `"setup": {"state": "unknown", …}` and its `errors`: `[{"file", "line", "column",
//! "message", "mend"}]`, and nothing of what only it could tell.

use super::postgres;
use super::report::{MissedSource, Report, Setup, SourceReport, Status, Verdict, ViewReport};
use crate::failure::{Failure, complaint};
use crate::start;
use candor_core::duration::millis_up;
use candor_core::{Dependency, Rows, TaggedBy};
use candor_server::Config;
use serde_json::{Map, Value, json};

/// The report as JSON.
pub(super) fn render(report: &Report<'_>, failure: Option<&Failure>) -> Value {
    let known = report.sources.iter().map(source);
    let mut json = json!({
        "config": report.config.file().display().to_string(),
        "ok": report.is_sound(),
        "sources": known.chain(report.missed.iter().map(missed)).collect::<Vec<_>>(),
        "views": report.views.iter().map(|one| view(report.config, one)).collect::<Vec<_>>(),
        "summary": {
            "views": report.views.len(),
            "hold": report.count(Verdict::Holds),
            "wait_for_setup": report.count(Verdict::WaitsForSetup),
            "refused": report.count(Verdict::Refused),
            "unchecked": report.count(Verdict::Unchecked),
            "warnings": report.warnings(),
        },
    });
    if let Some(failure) = failure {
        json["error"] = failure.json();
    }
    json
}

fn missed(source: &MissedSource<'_>) -> Value {
    let (place, place_is) = start::place_member(source.declared);
    json!({
        "name": source.declared.name,
        "kind": source.declared.kind.word(),
        place: place_is,
        "setup": { "state": "unknown", "missing": [], "statements": 0 },
        "errors": source.complaints.iter().map(complaint).collect::<Vec<_>>(),
    })
}

fn source(source: &SourceReport<'_>) -> Value {
    let missing: &[String] = match &source.setup {
        Setup::Incomplete(why) => why,
        _ => &[],
    };
    let (place, place_is) = start::place_member(source.declared);
    let mut told = json!({
        "name": source.declared.name,
        "kind": source.declared.kind.word(),
        place: place_is,
        "setup": { "state": source.setup.word(), "missing": missing, "statements": source.statements },
    });
    let rest = match &source.status {
        Status::Sqlite(status) => sqlite(status),
        Status::Postgres(status) => postgres::json(source, status),
    };
    if let (Value::Object(told), Value::Object(rest)) = (&mut told, rest) {
        told.extend(rest);
    }
    told
}

fn sqlite(status: &candor_sqlite::Status) -> Value {
    json!({
        "journal_mode": status.journal_mode,
        "sqlite_version": status.sqlite_version,
        "is_writable": status.is_writable,
        "watched": status.watched.tables.keys().collect::<Vec<_>>(),
        "log_rows": status.log_rows,
        "trimmed_to": status.trimmed_to,
        "warnings": status.warnings,
    })
}

fn view(config: &Config, view: &ViewReport<'_>) -> Value {
    let (declared, query) = (view.declared, &view.declared.query);
    let place = config.place(&declared.span(""));
    let key: Vec<Value> =
        query.key.iter().map(|column| json!({ "name": column.name, "type": column.kind.name() })).collect();
    let reads: Vec<Value> = view
        .reads()
        .iter()
        .map(|read| {
            let ways: Vec<Value> = read.tagged_by.iter().map(tagged).collect();
            json!({ "table": read.table, "columns": read.columns, "tagged_by": ways })
        })
        .collect();
    let promises: Map<String, Value> = view
        .promises
        .iter()
        .map(|promise| (promise.level.to_owned(), json!({ "can": promise.can, "why": promise.why })))
        .collect();
    let findings: Vec<Value> = view
        .findings
        .iter()
        .map(|found| {
            let mut told = json!({ "severity": if found.is_refusal { "refused" } else { "warning" } });
            if let (Value::Object(told), Value::Object(rest)) = (&mut told, complaint(&found.complaint)) {
                told.extend(rest);
            }
            told
        })
        .collect();
    json!({
        "name": declared.name,
        "owner": declared.contract.owner,
        "source": declared.source,
        "file": config.file().display().to_string(),
        "line": place.line,
        "column": place.column,
        "verdict": view.verdict.word(),
        "key": key,
        "private": declared.private.map(|at| &query.key[at].name),
        "critical": declared.contract.critical,
        "rows": match query.rows { Rows::One => "one", Rows::Many => "many" },
        "columns": view.columns(),
        "reads": reads,
        "application_tags": application_tags(view),
        "proof": declared.contract.proof.word(),
        "default_level": declared.contract.level.to_string(),
        "ttl_ms": millis_up(declared.contract.ttl),
        "absent_ttl_ms": millis_up(declared.contract.absent_ttl),
        "promises": promises,
        "findings": findings,
    })
}

fn tagged(way: &TaggedBy) -> Value {
    match way {
        TaggedBy::Key { column, parameter } => {
            json!({ "by": "key", "column": column, "parameter": parameter + 1 })
        }
        TaggedBy::Met { column, from } => json!({ "by": "met", "column": column, "from": from }),
        TaggedBy::Table { why } => json!({ "by": "table", "why": why }),
    }
}

/// The tags that only applications invalidate.
pub(super) fn application_tags<'v>(view: &'v ViewReport<'_>) -> Vec<&'v str> {
    let declared = view.declared.query.invalidated_by.iter().flatten();
    declared
        .filter_map(|dependency| match dependency {
            Dependency::Application(name) => Some(&**name),
            _ => None,
        })
        .collect()
}
