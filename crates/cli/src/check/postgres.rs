//! What a check says of a PostgreSQL source: the server, the slot, the tables, and what to mend, the most urgent first.

use super::human::NAMES;
use super::report::SourceReport;
use crate::terminal::{Paint, count, plain, row, wrap};
use candor_postgres::status::{Severity, SlotStatus, Status};
use serde_json::{Value, json};

/// For people.
pub(super) fn lines(source: &SourceReport<'_>, status: &Status, paint: Paint, lines: &mut Vec<String>) {
    let feed = &source.declared.feed;
    let mut say = |name: &str, text: &str| lines.push(row(paint, 2, name, NAMES, &plain(text)));
    say("postgres", &source.declared.kind.place());
    let standby = if status.is_in_recovery { ", a standby" } else { "" };
    say("server", &format!("PostgreSQL {}, wal_level {}{standby}", status.server_version, status.wal_level));
    if let Some(place) = &status.standby {
        say("standby", &format!("{place}: answers fills that may be a copy's"));
    }
    say("slot", &status.slot.as_ref().map_or_else(|| format!("{}: there is none", feed.slot), slot));
    let published: Vec<&str> =
        status.tables.iter().filter(|table| table.is_published).map(|table| &*table.table).collect();
    let published = if published.is_empty() { "nothing".to_owned() } else { published.join(", ") };
    say("publication", &format!("{}: {published}", feed.publication));
    if source.statements > 0 {
        let statements = count(source.statements, "statement");
        say("setup", &format!("`candor setup` has {statements} to run; --dry-run shows them"));
    }
    for finding in &status.findings {
        let word = word(finding.severity);
        let shown = match finding.severity {
            Severity::Broken => paint.bad(word),
            Severity::Risk => paint.warn(word),
            Severity::Note => paint.dim(word),
        };
        lines.push(format!("  {shown}  {}", wrap(&plain(&finding.what), 10, 10)));
        lines.push(format!("          {} {}", paint.dim("mend:"), wrap(&plain(&finding.mend), 16, 16)));
    }
}

fn slot(slot: &SlotStatus) -> String {
    let read = match slot.active_pid {
        Some(process) => format!("read by process {process}"),
        None => "read by nobody now".to_owned(),
    };
    let kept = slot.retained_bytes.map_or(String::new(), |bytes| format!(", {} kept", size(bytes)));
    let left = slot.safe_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let left = left.map_or(String::new(), |bytes| format!(", {} until it is in danger", size(bytes)));
    format!("{}: {read}{kept}{left}", slot.name)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => count(usize::try_from(bytes).unwrap_or(usize::MAX), "byte"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Broken => "broken",
        Severity::Risk => "risk",
        Severity::Note => "note",
    }
}

/// For programs: the members that SQLite's have not.
pub(super) fn json(source: &SourceReport<'_>, status: &Status) -> Value {
    let feed = &source.declared.feed;
    let slot = status.slot.as_ref();
    let tables = status.tables.iter().map(|table| {
        json!({
            "table": table.table,
            "published": table.is_published,
            "replica_identity": table.replica_identity,
            "identity_suffices": table.is_identity_sufficient,
        })
    });
    let findings = status.findings.iter().map(
        |finding| json!({ "severity": word(finding.severity), "what": finding.what, "mend": finding.mend }),
    );
    json!({
        "server_version": status.server_version,
        "wal_level": status.wal_level,
        "is_standby": status.is_in_recovery,
        "standby": status.standby,
        "role": status.role,
        "database": status.database,
        "publication": feed.publication,
        "slot": {
            "name": feed.slot,
            "exists": slot.is_some(),
            "active_pid": slot.and_then(|slot| slot.active_pid),
            "wal_status": slot.and_then(|slot| slot.wal_status.clone()),
            "retained_bytes": slot.and_then(|slot| slot.retained_bytes),
            "safe_bytes": slot.and_then(|slot| slot.safe_bytes),
        },
        "tables": tables.collect::<Vec<_>>(),
        "event_triggers": status.has_event_trigger,
        "findings": findings.collect::<Vec<_>>(),
    })
}
