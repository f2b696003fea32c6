//! The decoder held against an independent one, field by field.

use super::event::{Cell, Event, Identity, Old, Relation};
use pg_walstream::{
    ColumnData, LogicalReplicationMessage as Theirs, LogicalReplicationParser, ReplicationError, TupleData,
};

/// What the other decoder says of a message.
pub(crate) fn read(message: &[u8]) -> Result<Theirs, ReplicationError> {
    let mut parser = LogicalReplicationParser::with_protocol_version(1);
    parser.parse_wal_message(message).map(|read| read.message)
}

/// Whether both decoders understood the same.
///
/// # Panics
///
/// With both readings if not.
#[track_caller]
pub(crate) fn agree(ours: &Event, message: &[u8]) {
    match read(message) {
        Ok(theirs) => assert!(same(ours, &theirs), "\n  ours: {ours:?}\ntheirs: {theirs:?}"),
        Err(error) => panic!("\n  ours: {ours:?}\ntheirs: {error}\n{message:?}"),
    }
}

fn same(ours: &Event, theirs: &Theirs) -> bool {
    match (ours, theirs) {
        (
            Event::Begin { final_lsn: lsn, commit_micros, xid: id },
            Theirs::Begin { final_lsn, timestamp, xid },
        ) => {
            (lsn.0, id) == (*final_lsn, xid)
                && *commit_micros == timestamp.saturating_add(946_684_800_000_000)
        }
        (
            Event::Commit { commit_lsn: at, end_lsn: end },
            Theirs::Commit { flags, commit_lsn, end_lsn, .. },
        ) => (0, at.0, end.0) == (*flags, *commit_lsn, *end_lsn),
        (Event::Origin { lsn, name }, Theirs::Origin { origin_lsn, origin_name }) => {
            (lsn.0, name) == (*origin_lsn, origin_name)
        }
        (Event::Relation(ours), theirs @ Theirs::Relation { .. }) => same_shape(ours, theirs),
        (Event::Type { oid, schema, name }, Theirs::Type { type_id, namespace, type_name }) => {
            oid == type_id && same_schema(schema, namespace) && name == type_name
        }
        (Event::Insert { relation, new }, Theirs::Insert { relation_id, tuple }) => {
            relation.oid == *relation_id && same_row(new, tuple)
        }
        (
            Event::Update { relation, old, new },
            Theirs::Update { relation_id, old_tuple, new_tuple, key_type },
        ) => {
            relation.oid == *relation_id
                && same_row(new, new_tuple)
                && same_old(old, old_tuple.as_ref(), *key_type)
        }
        (Event::Delete { relation, old }, Theirs::Delete { relation_id, old_tuple, key_type }) => {
            relation.oid == *relation_id && same_old(old, Some(old_tuple), Some(*key_type))
        }
        (Event::Truncate { relations, cascade, restart }, Theirs::Truncate { relation_ids, flags }) => {
            relations.iter().map(|relation| relation.oid).eq(relation_ids.iter().copied())
                && *flags == u8::from(*cascade) | u8::from(*restart) << 1
        }
        (
            Event::Message { transactional, lsn: at, prefix: whom, content: what },
            Theirs::Message { flags, lsn, prefix, content },
        ) => u8::from(*transactional) == *flags && (at.0, whom, what) == (*lsn, prefix, content),
        _ => false,
    }
}

fn same_shape(ours: &Relation, theirs: &Theirs) -> bool {
    let Theirs::Relation { relation_id, namespace, relation_name, replica_identity, columns } = theirs else {
        return false;
    };
    let identity = match ours.identity {
        Identity::Default => b'd',
        Identity::Nothing => b'n',
        Identity::Full => b'f',
        Identity::Index => b'i',
    };
    let same_column = |(ours, theirs): (&super::event::Column, &pg_walstream::ColumnInfo)| {
        ours.name == *theirs.name
            && u8::from(ours.is_key) == theirs.flags
            && ours.type_oid == theirs.type_id
            && ours.modifier == theirs.type_modifier
    };
    ours.oid == *relation_id
        && same_schema(&ours.schema, namespace)
        && ours.table == **relation_name
        && identity == *replica_identity
        && ours.columns.len() == columns.len()
        && ours.columns.iter().zip(columns).all(same_column)
}

/// We call the schema of what is built in by its name.
fn same_schema(ours: &str, theirs: &str) -> bool {
    ours == theirs || (ours == "pg_catalog" && theirs.is_empty())
}

fn same_old(ours: &Old, theirs: Option<&TupleData>, kind: Option<char>) -> bool {
    match (ours, theirs, kind) {
        (Old::None, None, None) => true,
        (Old::Key(ours), Some(theirs), Some('K')) | (Old::Full(ours), Some(theirs), Some('O')) => {
            same_row(ours, theirs)
        }
        _ => false,
    }
}

fn same_row(ours: &[Cell], theirs: &TupleData) -> bool {
    let same_cell = |(ours, theirs): (&Cell, &ColumnData)| match ours {
        Cell::Null => theirs.is_null(),
        Cell::Unchanged => theirs.is_unchanged(),
        Cell::Text(text) => theirs.is_text() && theirs.as_bytes() == &text[..],
    };
    ours.len() == theirs.columns.len() && ours.iter().zip(&theirs.columns).all(same_cell)
}
