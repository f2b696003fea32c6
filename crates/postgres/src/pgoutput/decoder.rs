//! Bytes to events.
//!
//! The decoder remembers the shape of each table it was told of, because a change names its table by a number only; and
//! whether a transaction is open, because a change outside one would have no position.

use super::event::{Cell, Column, Event, Identity, Old, Relation, Tuple};
use super::reader::{Malformed, Reader};
use crate::lsn::Lsn;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Postgres counts from 2000-01-01; everybody else from 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The most that tables told of may take: a hundred thousand of ordinary width. Only a server that is broken, or none at
/// all, goes beyond.
const RELATIONS_BYTES_MAX: usize = 256 << 20;

/// What a table costs beside its names.
const RELATION_BYTES: usize = 256;
const COLUMN_BYTES: usize = size_of::<Column>();

/// Reads one session's messages, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoder {
    /// By number, with what each takes.
    relations: HashMap<u32, (Arc<Relation>, usize)>,
    /// What they all take.
    relations_bytes: usize,
    /// Where the commit of the open transaction begins.
    open: Option<Lsn>,
}

impl Decoder {
    /// Reads one message.
    ///
    /// # Errors
    ///
    /// It is not a message of protocol version 1, whole and in its place. Nothing may be decoded after.
    pub(crate) fn decode(&mut self, message: Bytes) -> Result<Event, Malformed> {
        let mut reader = Reader::new(message);
        let kind = reader.u8()?;
        let read = self.event(kind, &mut reader).and_then(|event| reader.end().map(|()| event));
        read.map_err(|Malformed(why)| {
            Malformed(format!("a log message of kind `{}` is not understood: {why}", kind.escape_ascii()))
        })
    }

    fn event(&mut self, kind: u8, reader: &mut Reader) -> Result<Event, Malformed> {
        match kind {
            b'B' => self.begin(reader),
            b'C' => self.commit(reader),
            b'O' => Ok(Event::Origin { lsn: reader.lsn()?, name: reader.name()? }),
            b'R' => self.relation(reader),
            b'Y' => Ok(Event::Type { oid: reader.u32()?, schema: schema(reader)?, name: reader.name()? }),
            b'I' => self.insert(reader),
            b'U' => self.update(reader),
            b'D' => self.delete(reader),
            b'T' => self.truncate(reader),
            b'M' => self.message(reader),
            _ => Err(Malformed("protocol version 1 has no such kind".to_owned())),
        }
    }

    fn begin(&mut self, reader: &mut Reader) -> Result<Event, Malformed> {
        let final_lsn = reader.lsn()?;
        let commit_micros = micros_since_1970(reader.i64()?);
        let xid = reader.u32()?;
        if let Some(open) = self.open.replace(final_lsn) {
            return Err(Malformed(format!("the transaction that commits at {open} is still open")));
        }
        Ok(Event::Begin { final_lsn, commit_micros, xid })
    }

    fn commit(&mut self, reader: &mut Reader) -> Result<Event, Malformed> {
        no_other(reader.u8()?, 0)?;
        let commit_lsn = reader.lsn()?;
        let end_lsn = reader.lsn()?;
        let _commit_time = reader.i64()?;
        if self.open.take() != Some(commit_lsn) {
            return Err(Malformed(format!("no transaction is open that commits at {commit_lsn}")));
        }
        if end_lsn < commit_lsn {
            return Err(Malformed(format!("the commit at {commit_lsn} ends before, at {end_lsn}")));
        }
        Ok(Event::Commit { commit_lsn, end_lsn })
    }

    fn relation(&mut self, reader: &mut Reader) -> Result<Event, Malformed> {
        let size = reader.left();
        let oid = reader.u32()?;
        let schema = schema(reader)?;
        let table = reader.name()?;
        let identity = match reader.u8()? {
            b'd' => Identity::Default,
            b'n' => Identity::Nothing,
            b'f' => Identity::Full,
            b'i' => Identity::Index,
            other => return Err(Malformed(format!("no replica identity is called {other}"))),
        };
        let count = reader.u16()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let flags = reader.u8()?;
            no_other(flags, 1)?;
            let name = reader.name()?;
            columns.push(Column {
                name,
                is_key: flags == 1,
                type_oid: reader.u32()?,
                modifier: reader.i32()?,
            });
        }
        let size = size + RELATION_BYTES + columns.len() * COLUMN_BYTES;
        let relation = Arc::new(Relation { oid, schema, table, identity, columns });
        self.remember(relation.clone(), size)?;
        Ok(Event::Relation(relation))
    }

    fn remember(&mut self, relation: Arc<Relation>, size: usize) -> Result<(), Malformed> {
        let before = self.relations.insert(relation.oid, (relation, size)).map_or(0, |(_, size)| size);
        self.relations_bytes = self.relations_bytes - before + size;
        if self.relations_bytes > RELATIONS_BYTES_MAX {
            return Err(Malformed(format!(
                "the shapes of {} tables take more than {RELATIONS_BYTES_MAX} bytes: publish fewer tables",
                self.relations.len()
            )));
        }
        Ok(())
    }

    fn insert(&mut self, reader: &mut Reader) -> Result<Event, Malformed> {
        let relation = self.changed(reader)?;
        match reader.u8()? {
            b'N' => Ok(Event::Insert { new: tuple(reader, &relation)?, relation }),
            other => Err(no_tuple(other)),
        }
    }

    fn update(&mut self, reader: &mut Reader) -> Result<Event, Malformed> {
        let relation = self.changed(reader)?;
        let mut kind = reader.u8()?;
        let old = match kind {
            b'K' => Old::Key(tuple(reader, &relation)?),
            b'O' => Old::Full(tuple(reader, &relation)?),
            _ => Old::None,
        };
        if old != Old::None {
            kind = reader.u8()?;
        }
        match kind {
            b'N' => Ok(Event::Update { new: tuple(reader, &relation)?, old, relation }),
            other => Err(no_tuple(other)),
        }
    }

    fn delete(&mut self, reader: &mut Reader) -> Result<Event, Malformed> {
        let relation = self.changed(reader)?;
        let old = match reader.u8()? {
            b'K' => Old::Key(tuple(reader, &relation)?),
            b'O' => Old::Full(tuple(reader, &relation)?),
            other => return Err(no_tuple(other)),
        };
        Ok(Event::Delete { relation, old })
    }

    fn truncate(&mut self, reader: &mut Reader) -> Result<Event, Malformed> {
        let count = reader.u32()?;
        let flags = reader.u8()?;
        no_other(flags, 3)?;
        let mut relations = Vec::new();
        for _ in 0..count {
            relations.push(self.changed(reader)?);
        }
        Ok(Event::Truncate { relations, cascade: flags & 1 != 0, restart: flags & 2 != 0 })
    }

    fn message(&mut self, reader: &mut Reader) -> Result<Event, Malformed> {
        let flags = reader.u8()?;
        no_other(flags, 1)?;
        let transactional = flags == 1;
        if transactional && self.open.is_none() {
            return Err(outside());
        }
        let lsn = reader.lsn()?;
        let prefix = reader.name()?;
        let length = reader.u32()?;
        Ok(Event::Message { transactional, lsn, prefix, content: reader.bytes(length)? })
    }

    /// The table a change is in.
    fn changed(&self, reader: &mut Reader) -> Result<Arc<Relation>, Malformed> {
        if self.open.is_none() {
            return Err(outside());
        }
        let oid = reader.u32()?;
        let known = self.relations.get(&oid).map(|(relation, _)| relation.clone());
        known.ok_or_else(|| Malformed(format!("table {oid} was never told of")))
    }
}

/// Postgres leaves out the name of the schema of what is built in.
fn schema(reader: &mut Reader) -> Result<String, Malformed> {
    let name = reader.name()?;
    Ok(if name.is_empty() { "pg_catalog".to_owned() } else { name })
}

fn tuple(reader: &mut Reader, relation: &Relation) -> Result<Tuple, Malformed> {
    let count = usize::from(reader.u16()?);
    if count != relation.columns.len() {
        return Err(Malformed(format!(
            "a row of {}.{} has {count} columns, and the table was told of with {}",
            relation.schema,
            relation.table,
            relation.columns.len()
        )));
    }
    let mut cells = Vec::with_capacity(count.min(reader.left()));
    for _ in 0..count {
        cells.push(match reader.u8()? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let length = reader.u32()?;
                Cell::Text(reader.bytes(length)?)
            }
            other => return Err(Malformed(format!("a value has the unknown form {other}"))),
        });
    }
    Ok(cells)
}

fn micros_since_1970(micros_since_2000: i64) -> i64 {
    micros_since_2000.saturating_add(EPOCH_MICROS)
}

/// Flags we do not know may change the meaning of everything else.
fn no_other(flags: u8, known: u8) -> Result<(), Malformed> {
    match flags & !known {
        0 => Ok(()),
        _ => Err(Malformed(format!("it has unknown flags ({flags})"))),
    }
}

fn no_tuple(kind: u8) -> Malformed {
    Malformed(format!("where a row should begin, there is byte {kind}"))
}

fn outside() -> Malformed {
    Malformed("it stands outside any transaction".to_owned())
}
