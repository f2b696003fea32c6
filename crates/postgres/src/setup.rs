//! What `candor setup` asks of a database and takes out again.
//!
//! Postgres keeps the log itself. Setup only makes it readable for the tables that views rest on:
//!
//! * a *replica identity* on each table whose old values the views need;
//! * a *publication*, which names the tables;
//! * if wanted, *event triggers* that write changes of the schema into the log;
//! * where a standby answers, a *sequence* that holds a mark of the primary;
//! * a *replication slot*, which keeps the log until it was read.
//!
//! Setup is declarative: it compares what is wanted with what is there and issues only the difference, so running it
//! again changes nothing. Planning is pure; [`facts`] reads, [`apply`] writes.
//!
//! Invariants:
//! - The application's own statements never fail because of us. Postgres refuses UPDATE and DELETE on a published table
//!   without a usable replica identity, so identities come first, and a table that has none stays out.
//! - A publication is only narrowed, and only dropped, if it carries [`MARK`].
//! - A slot that works is never dropped; one that Postgres invalidated is made anew, and the plan says so. So is one that is
//!   older than the publication: Postgres looks the publication up as it was when a change was written, and no reader comes
//!   past a change that is older than it.
//! - A line that begins with `--` is a remark. It is shown, and neither run nor counted.
//! - Of a plan with an [`obstacle`] nothing is run.

mod apply;
mod ddl;
mod facts;
mod mark;
mod publish;
mod quote;
mod read;
mod replica;

#[cfg(test)]
mod tests;

pub(crate) use apply::apply;
pub(crate) use ddl::PREFIX;
pub(crate) use ddl::is_installed as has_event_triggers;
pub(crate) use facts::{Facts, Publication, Slot, Table};
pub(crate) use publish::set_parameters;
pub(crate) use quote::{literal, name};
pub(crate) use read::facts;
pub(crate) use replica::statement as identity_statement;

use std::collections::{BTreeMap, BTreeSet};

/// What tells our publication and our schema from those of others, as their comment.
pub(crate) const MARK: &str = "made by candor setup";

/// What all views of a source need of the log together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// By `schema.table`; for partitions the root.
    pub(crate) tables: BTreeMap<String, TableNeed>,
}

/// What is needed of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableNeed {
    /// What the log must tell of a row that is changed or deleted.
    pub(crate) identity: IdentityNeed,
}

/// Which old values the log must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdentityNeed {
    /// That something changed is enough.
    None,
    /// The old values of these columns.
    Columns(BTreeSet<String>),
}

impl Needs {
    /// A table of which changes must be told; with a column, its old values too.
    pub(crate) fn add(&mut self, table: &str, old_values_of: Option<String>) {
        let need = self.tables.entry(table.to_owned()).or_insert(TableNeed { identity: IdentityNeed::None });
        let Some(column) = old_values_of else { return };
        match &mut need.identity {
            IdentityNeed::Columns(columns) => drop(columns.insert(column)),
            IdentityNeed::None => need.identity = IdentityNeed::Columns([column].into()),
        }
    }

    /// Everything either of them needs.
    pub(crate) fn merge(&mut self, other: Self) {
        for (table, need) in other.tables {
            match need.identity {
                IdentityNeed::None => self.add(&table, None),
                IdentityNeed::Columns(columns) => {
                    columns.into_iter().for_each(|column| self.add(&table, Some(column)));
                }
            }
        }
    }
}

/// What setup may do beyond what is necessary.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SetupOptions {
    /// Event triggers, so that changes of the schema are seen in the log, in order. Only a superuser can make them.
    pub event_trigger: bool,
    /// Changes of replica identities. Without them a table whose identity does not suffice is read by table.
    pub replica_identity: bool,
    /// A place for the primary's mark, by which its standbys are known. Set by itself where a standby is named.
    pub standby: bool,
}

impl Default for SetupOptions {
    fn default() -> Self {
        Self { event_trigger: false, replica_identity: true, standby: false }
    }
}

/// Whether a line of a plan explains instead of being run.
pub fn is_remark(line: &str) -> bool {
    line.starts_with("--")
}

/// Why nothing of a plan may be run yet, with what to do first.
pub(crate) fn obstacle(facts: &Facts, needs: &Needs) -> Option<String> {
    if is_unneeded(facts, needs) {
        return None;
    }
    if facts.server.wal_level != "logical" {
        return Some(format!(
            "wal_level is `{}`: the log does not tell which rows changed, and no slot can be made; first ALTER SYSTEM SET \
             wal_level = logical, and restart the server",
            facts.server.wal_level
        ));
    }
    let process = slot_before_publication(facts)?.active_pid?;
    Some(format!(
        "slot {slot} is being read by process {process}, and publication {publication} is to be made: the slot is older than \
         it, cannot be read past that, and has to be made anew; stop Candor (or whoever reads the slot), then run `candor \
         setup` again",
        slot = name(&facts.slot_name),
        publication = name(&facts.publication_name)
    ))
}

/// Whether there is nothing to publish, and nothing published.
fn is_unneeded(facts: &Facts, needs: &Needs) -> bool {
    needs.tables.is_empty() && facts.publication.is_none()
}

/// The slot, if it is Candor's.
fn our_slot(facts: &Facts) -> Option<&Slot> {
    facts.slot.as_ref().filter(|slot| slot.is_ours(&facts.server.database))
}

/// The same if there is no publication: one that is made now is younger.
fn slot_before_publication(facts: &Facts) -> Option<&Slot> {
    our_slot(facts).filter(|_| facts.publication.is_none())
}

/// The statements that bring the database to what is needed, in order. Empty if it is there.
pub(crate) fn plan(facts: &Facts, needs: &Needs, options: SetupOptions) -> Vec<String> {
    let mut statements = Vec::new();
    if is_unneeded(facts, needs) {
        return statements;
    }
    statements.extend(obstacle(facts, needs).map(|why| format!("-- {why}")));
    let published = publish::statements(facts, needs, options);
    let is_anew = slot_before_publication(facts).is_some() && !published.iter().all(|line| is_remark(line));
    if is_anew {
        // First: were the publication made and the slot not dropped, the next run would find nothing amiss.
        statements.push(format!(
            "-- slot {} is older than the publication, and cannot be read past that: made anew. What changed meanwhile was \
             seen by nobody, so every entry is loaded again",
            name(&facts.slot_name)
        ));
        statements.push(drop_slot(&facts.slot_name));
    }
    if options.replica_identity {
        for (table, need) in present(facts, needs) {
            for relation in table.stored() {
                statements.extend(replica::statement(relation, &need.identity));
            }
        }
    }
    statements.extend(published);
    if options.standby {
        statements.extend(mark::statements(facts));
    }
    if options.event_trigger {
        statements.extend(ddl::statements(facts, options.standby));
    }
    if is_anew {
        statements.push(create_slot(&facts.slot_name));
    } else {
        statements.extend(slot(facts));
    }
    statements
}

/// Why nothing may be taken out yet, with what to do first.
pub(crate) fn removal_obstacle(facts: &Facts) -> Option<String> {
    let process = our_slot(facts)?.active_pid?;
    Some(format!(
        "slot {} is being read by process {process}: stop Candor first; nothing is removed",
        name(&facts.slot_name)
    ))
}

/// The statements that take everything out that setup put in. Empty if there is nothing.
pub(crate) fn removal(facts: &Facts) -> Vec<String> {
    if let Some(why) = removal_obstacle(facts) {
        return vec![format!("-- {why}")];
    }
    let mut statements = Vec::new();
    if our_slot(facts).is_some() {
        statements.push(drop_slot(&facts.slot_name));
    }
    let published = facts.publication.as_ref().filter(|publication| publication.is_ours);
    if published.is_some() {
        statements.push(format!("DROP PUBLICATION {}", name(&facts.publication_name)));
    }
    statements.extend(mark::removal(facts));
    statements.extend(ddl::removal(facts));
    if published.is_some() {
        statements.push("-- replica identities stay as they are: others may rest on them".into());
    }
    statements
}

/// The tables that are there, with what is needed of them.
fn present<'a>(facts: &'a Facts, needs: &'a Needs) -> impl Iterator<Item = (&'a Table, &'a TableNeed)> {
    needs.tables.iter().filter_map(|(key, need)| Some((facts.tables.get(key)?.as_ref()?, need)))
}

/// The slot comes last: from here on the log is kept, which costs disk until somebody reads it.
fn slot(facts: &Facts) -> Vec<String> {
    let named = &facts.slot_name;
    let create = create_slot(named);
    match &facts.slot {
        None => vec![create],
        Some(slot) if !slot.is_ours(&facts.server.database) => vec![format!(
            "-- slot {} belongs to another reader ({}): name another one in candor.toml",
            name(named),
            slot.describe()
        )],
        Some(slot) => match slot.why_lost() {
            None => Vec::new(),
            Some(why) => vec![
                format!(
                    "-- slot {} is lost ({why}): made anew. What changed meanwhile was seen by nobody, so every \
                     entry is loaded again",
                    name(named)
                ),
                drop_slot(named),
                create,
            ],
        },
    }
}

fn create_slot(slot: &str) -> String {
    format!("SELECT pg_create_logical_replication_slot({}, 'pgoutput')", literal(slot))
}

/// The statement that drops a slot.
pub(crate) fn drop_slot(slot: &str) -> String {
    format!("SELECT pg_drop_replication_slot({})", literal(slot))
}
