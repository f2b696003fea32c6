//! Messages for tests: written from events, and recorded from a server.

use super::event::{Cell, Column, Event, Identity, Old, Relation, Tuple};
use crate::lsn::Lsn;
use bytes::{BufMut, Bytes};
use std::path::PathBuf;
use std::sync::Arc;

/// What a server would send for `event`.
pub(crate) fn encode(event: &Event) -> Bytes {
    let mut out = Vec::new();
    match event {
        Event::Begin { final_lsn, commit_micros, xid } => {
            out.put_u8(b'B');
            out.put_u64(final_lsn.0);
            out.put_i64(commit_micros - 946_684_800_000_000);
            out.put_u32(*xid);
        }
        Event::Commit { commit_lsn, end_lsn } => {
            out.put_slice(b"C\0");
            out.put_u64(commit_lsn.0);
            out.put_u64(end_lsn.0);
            out.put_i64(0);
        }
        Event::Origin { lsn, name: text } => {
            out.put_u8(b'O');
            out.put_u64(lsn.0);
            name(&mut out, text);
        }
        Event::Relation(shape) => relation(&mut out, shape),
        Event::Type { oid, schema, name: text } => {
            out.put_u8(b'Y');
            out.put_u32(*oid);
            name(&mut out, schema);
            name(&mut out, text);
        }
        Event::Insert { relation, new } => {
            out.put_u8(b'I');
            out.put_u32(relation.oid);
            tuple(&mut out, b'N', new);
        }
        Event::Update { relation, old: before, new } => {
            out.put_u8(b'U');
            out.put_u32(relation.oid);
            old(&mut out, before);
            tuple(&mut out, b'N', new);
        }
        Event::Delete { relation, old: before } => {
            out.put_u8(b'D');
            out.put_u32(relation.oid);
            old(&mut out, before);
        }
        Event::Truncate { relations, cascade, restart } => {
            out.put_u8(b'T');
            out.put_u32(u32::try_from(relations.len()).unwrap());
            out.put_u8(u8::from(*cascade) | u8::from(*restart) << 1);
            relations.iter().for_each(|relation| out.put_u32(relation.oid));
        }
        Event::Message { transactional, lsn, prefix, content } => {
            out.put_u8(b'M');
            out.put_u8(u8::from(*transactional));
            out.put_u64(lsn.0);
            name(&mut out, prefix);
            out.put_u32(u32::try_from(content.len()).unwrap());
            out.put_slice(content);
        }
    }
    out.into()
}

fn relation(out: &mut Vec<u8>, shape: &Relation) {
    out.put_u8(b'R');
    out.put_u32(shape.oid);
    name(out, &shape.schema);
    name(out, &shape.table);
    out.put_u8(match shape.identity {
        Identity::Default => b'd',
        Identity::Nothing => b'n',
        Identity::Full => b'f',
        Identity::Index => b'i',
    });
    out.put_u16(u16::try_from(shape.columns.len()).unwrap());
    for column in &shape.columns {
        out.put_u8(u8::from(column.is_key));
        name(out, &column.name);
        out.put_u32(column.type_oid);
        out.put_i32(column.modifier);
    }
}

fn old(out: &mut Vec<u8>, old: &Old) {
    match old {
        Old::None => {}
        Old::Key(cells) => tuple(out, b'K', cells),
        Old::Full(cells) => tuple(out, b'O', cells),
    }
}

fn tuple(out: &mut Vec<u8>, kind: u8, cells: &Tuple) {
    out.put_u8(kind);
    out.put_u16(u16::try_from(cells.len()).unwrap());
    for cell in cells {
        match cell {
            Cell::Null => out.put_u8(b'n'),
            Cell::Unchanged => out.put_u8(b'u'),
            Cell::Text(text) => {
                out.put_u8(b't');
                out.put_u32(u32::try_from(text.len()).unwrap());
                out.put_slice(text);
            }
        }
    }
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.put_slice(name.as_bytes());
    out.put_u8(0);
}

/// The table of most tests.
pub(crate) fn users() -> Arc<Relation> {
    let column =
        |name: &str, is_key, type_oid| Column { name: name.to_owned(), is_key, type_oid, modifier: -1 };
    Arc::new(Relation {
        oid: 16_385,
        schema: "public".to_owned(),
        table: "users".to_owned(),
        identity: Identity::Default,
        columns: vec![column("id", true, 23), column("name", false, 25)],
    })
}

/// One transaction with every kind of message in it.
pub(crate) fn transaction() -> Vec<Event> {
    let users = users();
    let text = |text: &'static str| Cell::Text(Bytes::from_static(text.as_bytes()));
    vec![
        Event::Begin { final_lsn: Lsn(0x200), commit_micros: 1_700_000_000_000_000, xid: 7 },
        Event::Origin { lsn: Lsn(0x9), name: "elsewhere".to_owned() },
        Event::Type { oid: 16_400, schema: "public".to_owned(), name: "mood".to_owned() },
        Event::Relation(users.clone()),
        Event::Insert { relation: users.clone(), new: vec![text("1"), text("Ada")] },
        Event::Update { relation: users.clone(), old: Old::None, new: vec![text("1"), Cell::Unchanged] },
        Event::Update {
            relation: users.clone(),
            old: Old::Key(vec![text("1"), Cell::Null]),
            new: vec![text("2"), text("Ada")],
        },
        Event::Delete { relation: users.clone(), old: Old::Full(vec![text("2"), text("Ada")]) },
        Event::Truncate { relations: vec![users], cascade: true, restart: false },
        Event::Message {
            transactional: true,
            lsn: Lsn(0x180),
            prefix: "candor".to_owned(),
            content: Bytes::from_static(b"hello\0there"),
        },
        Event::Commit { commit_lsn: Lsn(0x200), end_lsn: Lsn(0x230) },
    ]
}

/// What servers sent once, one stream per file: messages, each behind its length.
pub(crate) fn corpus() -> Vec<Vec<Bytes>> {
    let mut files: Vec<_> =
        std::fs::read_dir(corpus_folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| messages(&std::fs::read(path).unwrap())).collect()
}

/// Where the corpus is.
pub(crate) fn corpus_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/pgoutput"))
}

fn messages(mut file: &[u8]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = file.split_first_chunk::<4>() {
        let (message, rest) = rest.split_at(u32::from_be_bytes(*length).try_into().unwrap());
        messages.push(Bytes::copy_from_slice(message));
        file = rest;
    }
    messages
}
