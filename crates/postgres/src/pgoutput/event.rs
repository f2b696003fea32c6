//! The nouns of the log.

use crate::lsn::Lsn;
use bytes::Bytes;
use std::sync::Arc;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A transaction that committed begins.
    Begin {
        /// Where its commit record begins.
        final_lsn: Lsn,
        /// When it committed, by the server's clock, in microseconds since 1970.
        commit_micros: i64,
        /// Its number, without the epoch.
        xid: u32,
    },
    /// It ends.
    Commit {
        /// Where its commit record begins: the `final_lsn` of its Begin.
        commit_lsn: Lsn,
        /// Where its commit record ends.
        end_lsn: Lsn,
    },
    /// The transaction was replicated here from elsewhere.
    Origin {
        /// Its commit there.
        lsn: Lsn,
        /// The name of the replication origin.
        name: String,
    },
    /// The shape of a table, before its first change and again after it was altered.
    Relation(Arc<Relation>),
    /// A type that is not built in.
    Type {
        /// Its number.
        oid: u32,
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
    },
    /// A new row.
    Insert {
        /// Where.
        relation: Arc<Relation>,
        /// The row.
        new: Tuple,
    },
    /// A changed row.
    Update {
        /// Where.
        relation: Arc<Relation>,
        /// What is known of the row before.
        old: Old,
        /// The row.
        new: Tuple,
    },
    /// A row that is gone.
    Delete {
        /// Where.
        relation: Arc<Relation>,
        /// What is known of it; never [`Old::None`].
        old: Old,
    },
    /// Tables emptied by one command.
    Truncate {
        /// Which.
        relations: Vec<Arc<Relation>>,
        /// `CASCADE`.
        cascade: bool,
        /// `RESTART IDENTITY`.
        restart: bool,
    },
    /// Written by `pg_logical_emit_message`.
    Message {
        /// Whether it belongs to the transaction around it, or stands alone.
        transactional: bool,
        /// Where it is.
        lsn: Lsn,
        /// Whom it is for.
        prefix: String,
        /// Anything.
        content: Bytes,
    },
}

/// The shape of a table, as far as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    /// Its number; for a partition published by its root, the root's.
    pub(crate) oid: u32,
    /// Its schema.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) table: String,
    /// What is logged of old rows.
    pub(crate) identity: Identity,
    /// The published columns, in the order of the cells.
    pub(crate) columns: Vec<Column>,
}

/// One published column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its exact name.
    pub(crate) name: String,
    /// Whether it belongs to the replica identity.
    pub(crate) is_key: bool,
    /// The number of its type.
    pub(crate) type_oid: u32,
    /// The type's modifier, such as the length of a `varchar`; -1 without.
    pub(crate) modifier: i32,
}

/// `REPLICA IDENTITY`: what the log keeps of a row's old values.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The primary key, when it changed or the row is gone.
    Default,
    /// Nothing.
    Nothing,
    /// Everything.
    Full,
    /// The columns of a unique index.
    Index,
}

/// What an update or a delete tells of the row before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// Nothing: no column of the replica identity changed.
    None,
    /// The columns of the replica identity; every other cell is [`Cell::Null`], whatever it was.
    Key(Tuple),
    /// All of it.
    Full(Tuple),
}

/// One cell per column of the relation.
pub(crate) type Tuple = Vec<Cell>;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// NULL.
    Null,
    /// Stored out of line and not changed by the update: the log does not hold it.
    Unchanged,
    /// Its text form. Not copied: it keeps the whole buffer it was read into alive.
    Text(Bytes),
}
