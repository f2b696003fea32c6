//! What the decoder understands, and that it refuses the rest.

use super::samples::{corpus, encode, transaction, users};
use super::*;
use crate::lsn::Lsn;
use bytes::{BufMut, Bytes};
use proptest::prelude::*;
use std::sync::Arc;

fn begin() -> Event {
    Event::Begin { final_lsn: Lsn(0x200), commit_micros: 0, xid: 7 }
}

/// A decoder amid a transaction that knows `users`.
fn amid() -> Decoder {
    let mut decoder = Decoder::default();
    decoder.decode(encode(&begin())).unwrap();
    decoder.decode(encode(&Event::Relation(users()))).unwrap();
    decoder
}

#[track_caller]
fn refused(decoder: &mut Decoder, message: impl Into<Bytes>, why: &str) {
    let told = decoder.decode(message.into()).unwrap_err().to_string();
    assert!(told.contains(why), "{told}");
}

#[test]
fn every_kind_of_message_is_understood_as_it_was_meant() {
    let mut decoder = Decoder::default();
    for event in transaction() {
        let message = encode(&event);
        assert_eq!(decoder.decode(message.clone()).as_ref(), Ok(&event));
        agree(&event, &message);
    }
}

#[test]
fn what_a_server_sent_is_understood_as_another_decoder_understands_it() {
    let streams = corpus();
    assert!(!streams.is_empty());
    for stream in streams {
        let mut decoder = Decoder::default();
        for message in stream {
            let event = decoder.decode(message.clone()).unwrap();
            agree(&event, &message);
        }
    }
}

#[test]
fn every_message_cut_short_or_followed_by_anything_is_refused() {
    let mut decoder = Decoder::default();
    for event in transaction() {
        let message = encode(&event);
        for length in 0..message.len() {
            assert!(decoder.clone().decode(message.slice(..length)).is_err(), "{event:?} cut to {length}");
        }
        let mut longer = message.to_vec();
        longer.push(0);
        refused(&mut decoder.clone(), longer, "1 bytes follow");
        decoder.decode(message).unwrap();
    }
}

#[test]
fn kinds_of_later_protocols_are_refused() {
    for kind in 0..=u8::MAX {
        if !b"BCORYIUDTM".contains(&kind) {
            refused(&mut amid(), vec![kind, 0, 0, 0, 0], "no such kind");
        }
    }
}

#[test]
fn changes_outside_a_transaction_and_commits_of_another_are_refused() {
    for event in transaction() {
        let mut closed = Decoder::default();
        closed.decode(encode(&Event::Relation(users()))).unwrap();
        let stands_alone = matches!(
            event,
            Event::Begin { .. } | Event::Relation(_) | Event::Type { .. } | Event::Origin { .. }
        );
        assert_eq!(closed.decode(encode(&event)).is_ok(), stands_alone, "{event:?}");
    }
    refused(&mut amid(), encode(&begin()), "still open");
    let commit =
        |commit_lsn, end_lsn| encode(&Event::Commit { commit_lsn: Lsn(commit_lsn), end_lsn: Lsn(end_lsn) });
    refused(&mut amid(), commit(0x201, 0x230), "no transaction is open that commits at 0/201");
    refused(&mut amid(), commit(0x200, 0x1ff), "ends before");
}

#[test]
fn a_message_that_stands_alone_needs_no_transaction() {
    let alone = Event::Message {
        transactional: false,
        lsn: Lsn(5),
        prefix: "candor".to_owned(),
        content: Bytes::from_static(b"x"),
    };
    assert_eq!(Decoder::default().decode(encode(&alone)), Ok(alone));
}

#[test]
fn a_table_that_was_never_told_of_is_refused() {
    let mut strange = (*users()).clone();
    strange.oid = 1;
    let insert = Event::Insert { relation: Arc::new(strange), new: vec![Cell::Null, Cell::Null] };
    refused(&mut amid(), encode(&insert), "table 1 was never told of");
}

#[test]
fn a_row_of_another_width_than_its_table_is_refused() {
    let insert = Event::Insert { relation: users(), new: vec![Cell::Null] };
    refused(&mut amid(), encode(&insert), "has 1 columns, and the table was told of with 2");
}

#[test]
fn an_altered_table_is_read_by_its_new_shape() {
    let mut decoder = amid();
    let mut altered = (*users()).clone();
    altered.columns.truncate(1);
    let altered = Arc::new(altered);
    decoder.decode(encode(&Event::Relation(altered.clone()))).unwrap();
    let insert = Event::Insert { relation: altered, new: vec![Cell::Null] };
    assert_eq!(decoder.decode(encode(&insert)), Ok(insert));
}

#[test]
fn what_is_built_in_has_its_schema_left_out() {
    let mut message = vec![b'Y'];
    message.put_u32(23);
    message.put_slice(b"\0int4\0");
    let read = Decoder::default().decode(message.into());
    assert_eq!(read, Ok(Event::Type { oid: 23, schema: "pg_catalog".to_owned(), name: "int4".to_owned() }));
}

#[test]
fn names_that_are_not_utf8_binary_values_and_unknown_flags_are_refused() {
    refused(&mut Decoder::default(), &b"Y\0\0\0\x17\0\xff\0"[..], "not UTF-8");
    let mut insert = encode(&Event::Insert { relation: users(), new: vec![Cell::Null, Cell::Null] }).to_vec();
    *insert.last_mut().unwrap() = b'b';
    refused(&mut amid(), insert, "unknown form");
    for (event, flags_at) in transaction().iter().filter_map(|event| match event {
        Event::Commit { .. } | Event::Message { .. } => Some((event, 1)),
        Event::Truncate { .. } => Some((event, 5)),
        _ => None,
    }) {
        let mut message = encode(event).to_vec();
        message[flags_at] |= 0x80;
        refused(&mut amid(), message, "unknown flags");
    }
}

#[test]
fn more_tables_than_any_publication_has_are_refused_before_memory_is_gone() {
    let mut decoder = Decoder::default();
    let mut shape = (*users()).clone();
    shape.table = "t".repeat(1 << 20);
    let told = (0..300).find_map(|oid| {
        shape.oid = oid;
        decoder.decode(encode(&Event::Relation(Arc::new(shape.clone())))).err()
    });
    assert!(told.unwrap().to_string().contains("publish fewer tables"));
    // The same table told of again and again takes its place once.
    let mut decoder = Decoder::default();
    for _ in 0..300 {
        decoder.decode(encode(&Event::Relation(Arc::new(shape.clone())))).unwrap();
    }
}

#[test]
fn a_length_beyond_the_message_takes_no_memory() {
    let mut insert = vec![b'I'];
    insert.put_u32(users().oid);
    insert.put_slice(b"N\0\x02nt\xff\xff\xff\xff");
    refused(&mut amid(), insert, "ends in the middle");
    refused(&mut amid(), &b"T\xff\xff\xff\xff\0"[..], "ends in the middle");
}

fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        Just(Cell::Null),
        Just(Cell::Unchanged),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|text| Cell::Text(text.into())),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Decoder::default().decode(message.clone().into());
        let _ = amid().decode(message.into());
    }

    #[test]
    fn any_row_reads_back_as_it_was(old in [cell(), cell()], new in [cell(), cell()], kind in 0..3) {
        let old = match kind {
            0 => Old::None,
            1 => Old::Key(old.to_vec()),
            _ => Old::Full(old.to_vec()),
        };
        let update = Event::Update { relation: users(), old, new: new.to_vec() };
        let message = encode(&update);
        let read = amid().decode(message.clone());
        prop_assert_eq!(read.as_ref(), Ok(&update));
        agree(&update, &message);
    }
}
