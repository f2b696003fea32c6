//! What was found at a server. Plain data: planning and judging look at nothing else.

use crate::lsn::Lsn;
use crate::setup::quote::name;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that setup and check look at.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) server: Server,
    pub(crate) role: Role,
    pub(crate) slot_name: String,
    pub(crate) slot: Option<Slot>,
    pub(crate) publication_name: String,
    pub(crate) publication: Option<Publication>,
    /// By the names asked for; `None` if there is no such table.
    pub(crate) tables: BTreeMap<String, Option<Table>>,
    pub(crate) triggers: Triggers,
    /// Transactions of this database that wait for the second phase of their commit, the oldest first.
    pub(crate) prepared: Vec<Prepared>,
}

/// A transaction that was prepared and neither committed nor rolled back yet.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// The name its coordinator gave it.
    pub(crate) gid: String,
    pub(crate) owner: String,
    /// How long it has been waiting.
    pub(crate) age_s: i64,
}

/// The server and the database.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// `server_version_num`: 150018 is 15.18.
    pub(crate) version: i32,
    pub(crate) version_text: String,
    pub(crate) wal_level: String,
    pub(crate) slots_max: i32,
    pub(crate) slots_used: i32,
    pub(crate) senders_max: i32,
    pub(crate) senders_used: i32,
    /// `max_slot_wal_keep_size`; `None` is without limit.
    pub(crate) keep_bytes_max: Option<u64>,
    /// `idle_replication_slot_timeout` as the server writes it; `None` if it is off or unknown to this version.
    pub(crate) idle_slot_timeout: Option<String>,
    pub(crate) is_in_recovery: bool,
    pub(crate) encoding: String,
    pub(crate) database: String,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) is_superuser: bool,
    /// Whether it may use slots: a superuser, REPLICATION, or what managed services have instead.
    pub(crate) may_replicate: bool,
    /// CREATE on the database, which publications need.
    pub(crate) may_create: bool,
}

/// The replication slot.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// `None` for a physical slot.
    pub(crate) plugin: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) is_temporary: bool,
    /// Whether it tells of transactions when they are prepared, before they commit.
    pub(crate) is_two_phase: bool,
    pub(crate) active_pid: Option<i32>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub(crate) wal_status: Option<String>,
    /// Bytes that may be written before the slot is in danger.
    pub(crate) safe_bytes: Option<i64>,
    pub(crate) restart: Option<Lsn>,
    pub(crate) confirmed: Option<Lsn>,
    /// Bytes of log kept for it.
    pub(crate) retained_bytes: Option<u64>,
    /// Why Postgres gave it up, from 16 on.
    pub(crate) invalidation: Option<String>,
}

impl Slot {
    /// Whether Candor can read it: pgoutput, this database, lasting.
    pub(crate) fn is_ours(&self, database: &str) -> bool {
        self.plugin.as_deref() == Some("pgoutput")
            && self.database.as_deref() == Some(database)
            && !self.is_temporary
    }

    pub(crate) fn describe(&self) -> String {
        match (&self.plugin, &self.database) {
            (Some(plugin), Some(database)) => {
                let life = if self.is_temporary { ", temporary" } else { "" };
                format!("plugin {}, database {}{life}", name(plugin), name(database))
            }
            _ => "physical".to_owned(),
        }
    }

    /// Why it cannot be read any more; `None` if it can.
    pub(crate) fn why_lost(&self) -> Option<String> {
        if let Some(why) = &self.invalidation {
            return Some(why.clone());
        }
        (self.wal_status.as_deref() == Some("lost"))
            .then(|| "the log it needs was removed, see max_slot_wal_keep_size".to_owned())
    }
}

/// The publication.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// Whether it carries our mark.
    pub(crate) is_ours: bool,
    /// Whether the role may alter it.
    pub(crate) is_owned: bool,
    pub(crate) is_for_all: bool,
    /// insert, update, delete and truncate.
    pub(crate) is_complete: bool,
    /// `publish_via_partition_root`.
    pub(crate) is_via_root: bool,
    /// `FOR TABLES IN SCHEMA`.
    pub(crate) schemas: BTreeSet<String>,
    /// `FOR TABLE`, by `schema.table`.
    pub(crate) listed: BTreeMap<String, Listed>,
}

/// A table named by a publication.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) schema: String,
    pub(crate) table: String,
    /// Whether a row filter or a list of columns hides something.
    pub(crate) is_filtered: bool,
}

impl Publication {
    /// Whether changes of a table are published, wherever in it they happen.
    pub(crate) fn holds(&self, table: &Table) -> bool {
        self.lacks(table).is_empty()
    }

    /// What has to be added for that, as SQL names it.
    ///
    /// Partitions come with their root, also those made later. A table that inherits comes with its parent only if it is
    /// there when the parent is added, so each is looked at by itself.
    pub(crate) fn lacks(&self, table: &Table) -> Vec<String> {
        let is_missing = |relation: &&Relation| {
            !(self.listed.contains_key(&relation.key()) || self.schemas.contains(&relation.schema))
        };
        let is_single = table.root.kind == "p" || table.parts.is_empty();
        let parts = if is_single { &[] } else { table.parts.as_slice() };
        let only = if is_single { "" } else { "ONLY " };
        std::iter::once(&table.root)
            .chain(parts)
            .filter(|_| !self.is_for_all)
            .filter(is_missing)
            .map(|relation| format!("{only}{}", relation.sql()))
            .collect()
    }

    /// Whether something of a table is withheld.
    pub(crate) fn filters(&self, key: &str) -> bool {
        self.listed.get(key).is_some_and(|listed| listed.is_filtered)
    }
}

/// A table, and the tables below it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) root: Relation,
    /// Partitions and tables that inherit, at all depths.
    pub(crate) parts: Vec<Relation>,
    pub(crate) may_select: bool,
}

impl Table {
    /// Everything that has a replica identity. The root of partitions has one that nothing is written under, but the
    /// log is labelled with it.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &Relation> {
        self.all().filter(|relation| relation.has_identity())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Relation> {
        std::iter::once(&self.root).chain(&self.parts)
    }

    /// Why it cannot be published; `None` if it can.
    pub(crate) fn why_not(&self) -> Option<String> {
        let what = match (self.root.kind.as_str(), self.root.persistence.as_str()) {
            ("r" | "p", "p") => None,
            ("r" | "p", "u") => Some("is unlogged"),
            ("r" | "p", _) => Some("is temporary"),
            ("f", _) => Some("is a foreign table"),
            ("v", _) => Some("is a view"),
            ("m", _) => Some("is a materialized view"),
            _ => Some("is not a table"),
        };
        if let Some(what) = what {
            return Some(format!("{} {what}", self.root.sql()));
        }
        let foreign = self.parts.iter().find(|part| part.kind == "f" || part.persistence != "p")?;
        Some(format!("{} has the part {}, whose changes are in no log", self.root.sql(), foreign.sql()))
    }
}

/// One relation of the catalog.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) schema: String,
    pub(crate) table: String,
    /// `relkind`.
    pub(crate) kind: String,
    /// `relpersistence`.
    pub(crate) persistence: String,
    /// `relreplident`: `d`, `n`, `f` or `i`.
    pub(crate) identity: String,
    /// Whether the role may alter it.
    pub(crate) is_owned: bool,
    /// Whether another publication holds it: its subscribers rest on the identity as well.
    pub(crate) is_published_elsewhere: bool,
    /// The unique indexes that may serve as replica identity.
    pub(crate) keys: Vec<Key>,
}

/// A unique index over columns that are never null: valid, immediate, whole.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) index: String,
    pub(crate) is_primary: bool,
    /// Whether it was named with USING INDEX.
    pub(crate) is_chosen: bool,
    pub(crate) columns: BTreeSet<String>,
}

impl Relation {
    /// As SQL names it.
    pub(crate) fn sql(&self) -> String {
        format!("{}.{}", name(&self.schema), name(&self.table))
    }

    /// As the log and the views name it.
    pub(crate) fn key(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    pub(crate) fn has_identity(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "p") && self.persistence == "p"
    }
}

/// What writes changes of the schema into the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Triggers {
    /// Whether the schema `candor` is there.
    pub(crate) has_schema: bool,
    /// Whether it carries our mark.
    pub(crate) is_schema_ours: bool,
    /// Whether something lies in it that is not ours.
    pub(crate) is_schema_shared: bool,
    /// The text of the function, if it is there.
    pub(crate) function: Option<String>,
    /// Those of our event triggers that are there, and whether they fire.
    pub(crate) events: BTreeMap<String, bool>,
    /// Whether the sequence for the primary's mark is there.
    pub(crate) has_mark: bool,
    /// Whether setup made it.
    pub(crate) is_mark_ours: bool,
}
