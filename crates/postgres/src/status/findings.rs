//! Judging the facts: one finding for each thing to do, the most urgent first.
//!
//! Findings of one severity stand in the order in which they are to be mended: the server, the role, the tables, the
//! publication, the slot, the room that is left.

use super::{Finding, Severity};
use crate::setup::{self, Facts, Needs, Publication, Slot, Table, TableNeed, literal, name};

/// The oldest version that can publish partitions under the name of their root and limit what a slot keeps.
const VERSION_MIN: i32 = 130_000;

/// The first release of each version whose decoding tells the publication's change to transactions that are under way. Before,
/// a table that is published while somebody writes to it may fall silent once that transaction has ended, and nothing shows it.
const DECODING_MENDED: [(i32, i32); 5] = [(13, 21), (14, 18), (15, 13), (16, 9), (17, 5)];

/// More log than this kept for a slot deserves a look. A quarter of a gigabyte is minutes of a busy server and years of
/// an idle one, and no disk is in danger yet.
const RETAINED_NOTABLE: u64 = 256 << 20;

/// Slots and senders that should be left, so that a replica or a second instance finds one.
const HEADROOM: i32 = 1;

/// A transaction that was prepared longer ago than this has been forgotten by its coordinator: the second phase follows
/// the first within moments.
const FORGOTTEN_S: i64 = 60;

/// All findings.
pub(super) fn of(facts: &Facts, needs: &Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    server(facts, &mut findings);
    role(facts, needs, &mut findings);
    for (key, need) in &needs.tables {
        table(facts, key, need, &mut findings);
    }
    if !needs.tables.is_empty() {
        publication(facts, &mut findings);
        slot(facts, &mut findings);
        prepared(facts, &mut findings);
        room(facts, &mut findings);
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn server(facts: &Facts, findings: &mut Vec<Finding>) {
    let server = &facts.server;
    if server.version < VERSION_MIN {
        findings.push(broken(
            format!(
                "PostgreSQL {} is too old: partitions and slots cannot be followed safely",
                server.version_text
            ),
            "upgrade to 13 or later",
        ));
    }
    if let Some((major, minor)) = mended_decoding(server.version) {
        findings.push(risk(
            format!(
                "PostgreSQL {} loses changes of a table that is published, or changed by ALTER TABLE, while transactions write \
                 to it: answers may stay old without a sign",
                server.version_text
            ),
            format!("upgrade to {major}.{minor} or later; until then stop all writers for `candor setup`"),
        ));
    }
    if server.is_in_recovery {
        findings.push(broken(
            "this server is a standby: the publication is made, and the log is followed, on the primary",
            "give the primary's address in the source's url",
        ));
    }
    if server.wal_level != "logical" {
        findings.push(broken(
            format!("wal_level is `{}`: the log does not tell which rows changed", server.wal_level),
            "ALTER SYSTEM SET wal_level = logical; then restart the server",
        ));
    }
    if server.encoding != "UTF8" {
        findings.push(broken(
            format!(
                "the database's encoding is {}: the log and the answers would write one text in two ways",
                server.encoding
            ),
            "move the data to a database with ENCODING 'UTF8'",
        ));
    }
}

/// The release of this server's version to upgrade to, if its own loses changes.
fn mended_decoding(version: i32) -> Option<(i32, i32)> {
    let (major, minor) = (version / 10_000, version % 10_000);
    DECODING_MENDED.into_iter().find(|(of, mended)| *of == major && minor < *mended)
}

fn role(facts: &Facts, needs: &Needs, findings: &mut Vec<Finding>) {
    let role = &facts.role;
    if !role.may_replicate && !needs.tables.is_empty() {
        findings.push(broken(
            format!("role {} may not read the log", name(&role.name)),
            format!("ALTER ROLE {} REPLICATION", name(&role.name)),
        ));
    }
    let unreadable = needs.tables.keys().filter_map(|key| facts.tables.get(key)?.as_ref());
    for table in unreadable.filter(|table| !table.may_select) {
        findings.push(broken(
            format!("role {} may not read {}", name(&role.name), table.root.sql()),
            format!(
                "GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON {} TO {role}",
                name(&table.root.schema),
                table.root.sql(),
                role = name(&role.name)
            ),
        ));
    }
    let mut asked = needs.tables.keys().filter_map(|key| facts.tables.get(key)?.as_ref());
    let is_owner = asked.all(|table| table.all().all(|relation| relation.is_owned));
    if facts.publication.is_none() && !needs.tables.is_empty() && !(role.may_create && is_owner) {
        // CREATE alone does not help who owns no tables: a publication is for their owner.
        let grant = format!(
            ", or: GRANT CREATE ON DATABASE {} TO {}",
            name(&facts.server.database),
            name(&role.name)
        );
        let grant = if is_owner { grant.as_str() } else { "" };
        findings.push(note(
            format!("role {} may not make the publication", name(&role.name)),
            format!("run `candor setup` as the owner of the tables, with CREATE on the database{grant}"),
        ));
    }
}

fn table(facts: &Facts, key: &str, need: &TableNeed, findings: &mut Vec<Finding>) {
    let Some(table) = facts.tables.get(key).and_then(Option::as_ref) else {
        findings.push(broken(
            format!("table {} does not exist", name(key)),
            "create it, or take it out of the views of candor.toml",
        ));
        return;
    };
    if let Some(why) = table.why_not() {
        findings.push(broken(
            format!("{why}: its changes are in no log"),
            "make it an ordinary table, or declare `proof = \"clock\"` for its views",
        ));
        return;
    }
    identity(facts, table, need, findings);
    let Some(publication) = &facts.publication else { return };
    if publication.filters(key) && !publication.is_for_all {
        findings.push(broken(
            format!(
                "publication {} withholds rows or columns of {}",
                name(&facts.publication_name),
                table.root.sql()
            ),
            format!(
                "ALTER PUBLICATION {p} DROP TABLE {t}; ALTER PUBLICATION {p} ADD TABLE {t}",
                p = name(&facts.publication_name),
                t = table.root.sql()
            ),
        ));
    } else if !publication.holds(table) {
        let owner =
            if table.all().all(|relation| relation.is_owned) { "" } else { " (as the table's owner)" };
        findings.push(broken(
            format!("{} is not in publication {}", table.root.sql(), name(&facts.publication_name)),
            format!(
                "ALTER PUBLICATION {} ADD TABLE {}{owner}",
                name(&facts.publication_name),
                table.root.sql()
            ),
        ));
    }
}

fn identity(facts: &Facts, table: &Table, need: &TableNeed, findings: &mut Vec<Finding>) {
    let is_published = facts.publication.as_ref().is_some_and(|publication| publication.holds(table));
    let is_failing = is_published && !table.is_publishable();
    for relation in table.stored() {
        let Some(mend) = setup::identity_statement(relation, &need.identity) else { continue };
        findings.push(if is_failing {
            broken(
                format!(
                    "{} is published and has no usable replica identity: UPDATE and DELETE on it fail",
                    relation.sql()
                ),
                mend,
            )
        } else {
            risk(
                format!(
                    "the log does not tell the old values that views need of {}: it is followed as a whole table, and \
                     every change of it makes all their entries void",
                    relation.sql()
                ),
                mend,
            )
        });
    }
    if table.root.kind == "p" && table.root.identity == "f" {
        findings.push(note(
            format!(
                "{} is partitioned and has REPLICA IDENTITY FULL, which new partitions do not inherit: until it is set \
                 for a new one, its table is followed as a whole",
                table.root.sql()
            ),
            "run `candor setup` after adding a partition",
        ));
    }
}

fn publication(facts: &Facts, findings: &mut Vec<Finding>) {
    let named = name(&facts.publication_name);
    match &facts.publication {
        None => findings.push(broken(
            format!("publication {named} does not exist: the log is not read for any table"),
            "candor setup",
        )),
        Some(Publication { is_complete: true, is_via_root: true, .. }) => {}
        Some(found) => {
            let lacking = if found.is_complete {
                "names partitions instead of their root"
            } else {
                "leaves out some of INSERT, UPDATE, DELETE and TRUNCATE"
            };
            let whose = if found.is_owned { "" } else { " (as its owner)" };
            findings.push(broken(
                format!("publication {named} {lacking}"),
                format!("{}{whose}", setup::set_parameters(&facts.publication_name)),
            ));
        }
    }
}

fn slot(facts: &Facts, findings: &mut Vec<Finding>) {
    let named = name(&facts.slot_name);
    let Some(slot) = &facts.slot else {
        findings.push(broken(format!("slot {named} does not exist: nothing keeps the log"), "candor setup"));
        return;
    };
    let drop = setup::drop_slot(&facts.slot_name);
    let kept = slot.retained_bytes.unwrap_or_default();
    if !slot.is_ours(&facts.server.database) {
        findings.push(broken(
            format!("slot {named} belongs to another reader ({})", slot.describe()),
            "name another slot in candor.toml",
        ));
    } else if slot.is_two_phase {
        findings.push(broken(
            format!("slot {named} was made with two_phase: it tells of transactions before they commit"),
            format!("{drop}; then candor setup, which makes it anew"),
        ));
    } else if let Some(why) = slot.why_lost() {
        findings.push(broken(
            format!("slot {named} is lost ({why}): what changed since was seen by nobody"),
            format!("candor setup, which drops it and makes it anew; to do without: {drop}"),
        ));
    } else if slot.wal_status.as_deref() == Some("unreserved") {
        findings.push(risk(
            format!(
                "slot {named} is about to be lost: {} of log wait for it, more than is kept",
                bytes(kept)
            ),
            match slot.active_pid {
                Some(_) => "raise max_slot_wal_keep_size, and look why Candor is behind".to_owned(),
                None => format!("start Candor; or drop the slot: {drop}"),
            },
        ));
    } else {
        used(slot, &named, &drop, kept, findings);
        filling(slot, &named, kept, findings);
    }
}

/// Before it is too late: more than half of what the server may keep for the slot is kept already.
fn filling(slot: &Slot, named: &str, kept: u64, findings: &mut Vec<Finding>) {
    let Some(left) = slot.safe_bytes.and_then(|left| u64::try_from(left).ok()) else { return };
    if kept >= RETAINED_NOTABLE.min(left) && kept > left {
        findings.push(risk(
            format!(
                "slot {named} has used more than half of what may be kept for it: {} wait, and after {} more it is lost",
                bytes(kept),
                bytes(left)
            ),
            "see that Candor runs and follows the log; or raise max_slot_wal_keep_size, if the disk has room",
        ));
    }
}

/// A slot that works: who reads it, and what it costs.
fn used(slot: &Slot, named: &str, drop: &str, kept: u64, findings: &mut Vec<Finding>) {
    match slot.active_pid {
        None => findings.push(Finding {
            severity: if kept >= RETAINED_NOTABLE { Severity::Risk } else { Severity::Note },
            what: format!(
                "nobody reads slot {named}: {} of log are kept on the server's disk, and more every day",
                bytes(kept)
            ),
            mend: format!("start Candor; if it is gone for good: {drop}"),
        }),
        Some(process) => {
            if kept >= RETAINED_NOTABLE {
                findings.push(risk(
                    format!("{} of log are kept for slot {named}: a transaction runs for long, or Candor is behind", bytes(kept)),
                    "SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start",
                ));
            }
            findings.push(note(
                format!("slot {named} is being read by process {process} of the server"),
                format!(
                    "nothing, if that is Candor; who it is: SELECT * FROM pg_stat_activity WHERE pid = {process}; a \
                     second reader needs a slot of its own"
                ),
            ));
        }
    }
}

/// Transactions that were prepared and forgotten.
fn prepared(facts: &Facts, findings: &mut Vec<Finding>) {
    for forgotten in facts.prepared.iter().filter(|prepared| prepared.age_s >= FORGOTTEN_S) {
        let gid = literal(&forgotten.gid);
        findings.push(risk(
            format!(
                "transaction {gid} of role {} was prepared {} s ago and neither committed nor rolled back: the slot keeps \
                 the log since then, and if it wrote to a table of a view before Candor began to follow the log, no \
                 answer is kept until it ends",
                name(&forgotten.owner),
                forgotten.age_s
            ),
            format!("what its coordinator decided: COMMIT PREPARED {gid}, or ROLLBACK PREPARED {gid}"),
        ));
    }
}

fn room(facts: &Facts, findings: &mut Vec<Finding>) {
    let server = &facts.server;
    let slots_left = server.slots_max - server.slots_used;
    if facts.slot.is_none() && slots_left < 1 {
        findings.push(broken(
            format!("all {} replication slots are taken", server.slots_max),
            "drop one that nobody reads (SELECT slot_name, active FROM pg_replication_slots), or raise \
             max_replication_slots and restart the server",
        ));
    } else if slots_left < HEADROOM {
        findings.push(note(
            format!("the last of {} replication slots is taken", server.slots_max),
            "raise max_replication_slots and restart the server",
        ));
    }
    let is_read = facts.slot.as_ref().is_some_and(|slot| slot.active_pid.is_some());
    let senders_left = server.senders_max - server.senders_used;
    if !is_read && senders_left < 1 {
        findings.push(broken(
            format!("all {} connections for reading the log are taken", server.senders_max),
            "raise max_wal_senders and restart the server",
        ));
    } else if senders_left < HEADROOM {
        findings.push(note(
            format!("the last of {} connections for reading the log is taken", server.senders_max),
            "raise max_wal_senders and restart the server",
        ));
    }
    if server.keep_bytes_max.is_none() {
        findings.push(note(
            "max_slot_wal_keep_size is -1: if Candor stays away, its slot fills the disk, and the server stops",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf()",
        ));
    }
    if let Some(timeout) = &server.idle_slot_timeout {
        findings.push(note(
            format!("a slot that nobody reads for {timeout} is given up (idle_replication_slot_timeout)"),
            "nothing, if Candor is never stopped for longer; it notices and loads every entry again",
        ));
    }
    if !setup::has_event_triggers(facts) {
        findings.push(note(
            "changes of the schema are noticed by the next fence, not in the order of the log",
            format!("candor setup --event-trigger, as a superuser of {}", literal(&server.database)),
        ));
    }
}

fn bytes(number: u64) -> String {
    match number {
        0..1_024 => format!("{number} bytes"),
        1_024..1_048_576 => format!("{} KiB", number >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", number >> 20),
        _ => format!("{}.{} GiB", number >> 30, ((number >> 20) & 1_023) * 10 / 1_024),
    }
}

fn broken(what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { severity: Severity::Broken, what: what.into(), mend: mend.into() }
}

fn risk(what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { severity: Severity::Risk, what: what.into(), mend: mend.into() }
}

fn note(what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { severity: Severity::Note, what: what.into(), mend: mend.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_lose_changes_are_told_which_release_does_not() {
        assert_eq!(mended_decoding(150_012), Some((15, 13)));
        assert_eq!(mended_decoding(170_000), Some((17, 5)));
        for mended in [150_013, 150_018, 160_010, 180_000] {
            assert_eq!(mended_decoding(mended), None, "{mended}");
        }
    }
}
