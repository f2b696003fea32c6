//! One transaction of the stream on its way to a record.

use crate::facets::{Facets, Gathered, Kind, Row, Seen};
use crate::pgoutput::{Cell, Old, Relation, ReplicaIdentity, Tuple};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{Change, Xid};

/// What has been read of the transaction that is being told.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) xid: Xid,
    gathered: Gathered,
}

impl Transaction {
    pub(super) fn new(xid: u32, tags_max: usize) -> Self {
        Self { xid: Xid(u64::from(xid)), gathered: Gathered::new(tags_max) }
    }

    pub(super) fn insert(&mut self, facets: &Facets, relation: &Relation, new: &Tuple) {
        self.row(facets, relation, Kind::Insert, None, Some(cells(new)));
    }

    pub(super) fn update(&mut self, facets: &Facets, relation: &Relation, old: &Old, new: &Tuple) {
        let old = match old {
            #[cfg(candor_sabotage)]
            _ if is(Sabotage::KeyChangeNewOnly) => only_key(relation, new),
            _ if is_unreliable(facets, relation, old) => vec![Seen::Unknown; relation.columns.len()],
            // Nothing of the identity changed: its columns are what they are now.
            Old::None => only_key(relation, new),
            Old::Key(key) => only_key(relation, key),
            Old::Full(row) => cells(row),
        };
        self.row(facets, relation, Kind::Update, Some(old), Some(cells(new)));
    }

    pub(super) fn delete(&mut self, facets: &Facets, relation: &Relation, old: &Old) {
        let old = match old {
            _ if facets.is_uneven(relation.oid) => None,
            Old::None => None,
            Old::Key(key) => Some(only_key(relation, key)),
            Old::Full(row) => Some(cells(row)),
        };
        self.row(facets, relation, Kind::Delete, old, None);
    }

    pub(super) fn truncate(&mut self, facets: &Facets, relation: &Relation) {
        #[cfg(candor_sabotage)]
        if is(Sabotage::TruncateIgnored) {
            return;
        }
        facets.gather_whole(&name(facets, relation), &mut self.gathered);
    }

    /// The change, if it concerns any view.
    pub(super) fn finish(self, facets: &Facets, end: u64) -> Option<Change> {
        let (tags, note) = facets.finish(self.gathered)?;
        Some(Change { at: end, xid: self.xid, tags, note })
    }

    fn row<'a>(
        &mut self,
        facets: &Facets,
        relation: &'a Relation,
        kind: Kind,
        old: Option<Vec<Seen<'a>>>,
        new: Option<Vec<Seen<'a>>>,
    ) {
        let table = name(facets, relation);
        if !facets.knows(&table) {
            return;
        }
        let names = relation.columns.iter().map(|column| column.name.as_str()).collect();
        facets.gather(&Row { table: &table, names, old, new, kind }, &mut self.gathered);
    }
}

/// Whether what the log says of the old row, or leaves unsaid, may be that of another replica identity than it names. Under FULL
/// it would always show the row.
fn is_unreliable(facets: &Facets, relation: &Relation, old: &Old) -> bool {
    facets.is_uneven(relation.oid) || (*old == Old::None && relation.identity == ReplicaIdentity::Full)
}

/// The name under which views know the table.
fn name(facets: &Facets, relation: &Relation) -> Box<str> {
    facets.table(relation.oid, || table(relation))
}

/// What the stream calls the table.
pub(super) fn table(relation: &Relation) -> String {
    format!("{}.{}", relation.schema, relation.table)
}

fn cells(tuple: &Tuple) -> Vec<Seen<'_>> {
    tuple.iter().map(seen).collect()
}

/// The columns of the replica identity; nothing is known of the others.
fn only_key<'a>(relation: &Relation, tuple: &'a Tuple) -> Vec<Seen<'a>> {
    let columns = relation.columns.iter().zip(tuple);
    columns.map(|(column, cell)| if column.is_key { seen(cell) } else { Seen::Unknown }).collect()
}

fn seen(cell: &Cell) -> Seen<'_> {
    match cell {
        Cell::Null => Seen::Null,
        Cell::Unchanged => Seen::Unchanged,
        Cell::Text(text) => Seen::Text(text),
    }
}
