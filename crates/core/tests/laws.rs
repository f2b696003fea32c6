//! The algebra of the small nouns.

use crate::config;
use candor_core::{
    Epoch, KeyType, KeyValue, Level, LogId, Moment, Position, SessionToken, Snapshot, TokenSecret, Xid,
    duration,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

/// Few and small, so that positions are comparable as often as not.
fn positions() -> impl Strategy<Value = Position> {
    (0..3u64, 0..3u32, 0..4u64).prop_map(|(log, era, at)| position(log, era, at))
}

fn wide_positions() -> impl Strategy<Value = Position> {
    let edges = prop_oneof![any::<u64>(), 0..4u64, Just(u64::MAX)];
    (edges.clone(), any::<u32>(), edges).prop_map(|(log, era, at)| position(log, era, at))
}

fn position(log: u64, era: u32, at: u64) -> Position {
    Position { epoch: Epoch { log: LogId(log), era }, at }
}

fn token(positions: impl IntoIterator<Item = Position>) -> SessionToken {
    let mut token = SessionToken::default();
    positions.into_iter().for_each(|position| token.observe(position));
    token
}

fn merged(mut token: SessionToken, other: &SessionToken) -> SessionToken {
    other.positions().iter().for_each(|position| token.observe(*position));
    token
}

fn tokens() -> impl Strategy<Value = SessionToken> {
    vec(positions(), 0..6).prop_map(token)
}

fn key_types() -> impl Strategy<Value = KeyType> {
    (0..KeyType::ALL.len()).prop_map(|index| KeyType::ALL[index].1)
}

/// Anything, but mostly what looks like a key.
fn key_texts() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        "[+-]?[0-9]{1,20}",
        "-?0{0,4}[0-9]{1,5}",
        "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}",
        "2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9])",
        "true|false|t|f|0|1|TRUE",
    ]
}

/// Text that imitates the encoding of other values.
fn key_values() -> impl Strategy<Value = KeyValue> {
    prop_oneof![
        any::<i64>().prop_map(KeyValue::Int),
        (-2..3i64).prop_map(KeyValue::Int),
        any::<bool>().prop_map(KeyValue::Bool),
        "[tib\\x00\\x01]{0,6}".prop_map(|text| KeyValue::Text(text.into())),
        ".{0,8}".prop_map(|text| KeyValue::Text(text.into())),
    ]
}

fn encoded(values: &[KeyValue]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.encode(&mut bytes));
    bytes
}

/// Reads an encoding back. That there is such a function is what makes the encoding injective.
fn decoded(mut bytes: &[u8]) -> Option<Vec<KeyValue>> {
    let mut values = Vec::new();
    while let Some((kind, rest)) = bytes.split_first() {
        let (value, rest) = match kind {
            b'i' => {
                let (int, rest) = rest.split_first_chunk()?;
                (KeyValue::Int(i64::from_be_bytes(*int)), rest)
            }
            b't' => {
                let (length, rest) = rest.split_first_chunk()?;
                let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                (KeyValue::Text(std::str::from_utf8(text).ok()?.into()), rest)
            }
            b'b' => {
                let (truth, rest) = rest.split_first()?;
                (KeyValue::Bool(*truth == 1), rest)
            }
            _ => return None,
        };
        values.push(value);
        bytes = rest;
    }
    Some(values)
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn reaching_is_a_partial_order(a in positions(), b in positions(), c in positions()) {
        prop_assert!(a.reaches(a));
        prop_assert!(!(a.reaches(b) && b.reaches(a)) || a == b);
        prop_assert!(!(a.reaches(b) && b.reaches(c)) || a.reaches(c));
        prop_assert!(a.epoch.log == b.epoch.log || !a.reaches(b));
    }

    #[test]
    fn tokens_come_back_whole(
        positions in vec(prop_oneof![positions(), wide_positions()], 0..16),
        secret in proptest::option::of(vec(any::<u8>(), 16..40)),
    ) {
        let token = token(positions);
        let secret = secret.map(|secret| TokenSecret::new(&secret).expect("long enough"));
        let text = token.encode(secret.as_ref());
        prop_assert_eq!(SessionToken::decode(&text, secret.as_ref()), Ok(token));
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    }

    #[test]
    fn no_text_makes_a_token_by_accident(text in "[A-Za-z0-9_-]{0,60}|AQ[A-Za-z0-9_-]{10,90}") {
        prop_assert!(SessionToken::decode(&text, None).is_err());
        let secret = TokenSecret::new(&[1; 16]).expect("long enough");
        prop_assert!(SessionToken::decode(&text, Some(&secret)).is_err());
    }

    #[test]
    fn merging_tokens_is_a_join(a in tokens(), b in tokens(), c in tokens()) {
        prop_assert_eq!(merged(a.clone(), &a), a.clone());
        prop_assert_eq!(merged(a.clone(), &b), merged(b.clone(), &a));
        prop_assert_eq!(merged(merged(a.clone(), &b), &c), merged(a.clone(), &merged(b.clone(), &c)));
        prop_assert_eq!(merged(a.clone(), &SessionToken::default()), a);
    }

    #[test]
    fn a_token_asks_for_all_that_was_observed_and_for_no_more(
        observed in vec(positions(), 0..8),
        reached in positions(),
    ) {
        let token = token(observed.clone());
        for position in &observed {
            let asked = token.position(position.epoch.log);
            prop_assert!(asked.is_some_and(|asked| asked.reaches(*position)));
        }
        let log = reached.epoch.log;
        let mut of_log = observed.iter().filter(|position| position.epoch.log == log).peekable();
        let is_asked = of_log.peek().is_some();
        let suffices = of_log.all(|position| reached.reaches(*position));
        match token.position(log) {
            Some(asked) => prop_assert_eq!(reached.reaches(asked), suffices),
            None => prop_assert!(!is_asked),
        }
        prop_assert!(token.positions().is_sorted_by_key(|position| position.epoch.log));
    }

    #[test]
    fn a_list_of_keys_is_recovered_from_its_encoding(values in vec(key_values(), 0..5)) {
        prop_assert_eq!(decoded(&encoded(&values)), Some(values));
    }

    #[test]
    fn different_lists_of_keys_are_encoded_differently(
        a in vec(key_values(), 0..4),
        b in vec(key_values(), 0..4),
    ) {
        prop_assert_eq!(a == b, encoded(&a) == encoded(&b));
    }

    #[test]
    fn a_canonical_key_reads_as_itself(kind in key_types(), text in key_texts()) {
        if let Ok(value) = kind.parse(&text) {
            prop_assert_eq!(kind.parse(&value.to_string()), Ok(value));
        }
    }

    #[test]
    fn equal_numbers_are_equal_keys_however_many_zeros_lead(int in any::<i64>(), zeros in 0..5usize) {
        let sign = if int < 0 { "-" } else { "" };
        let written = format!("{sign}{}{}", "0".repeat(zeros), int.unsigned_abs());
        prop_assert_eq!(KeyType::Int8.parse(&written), Ok(KeyValue::Int(int)));
        prop_assert_eq!(KeyType::Int4.parse(&written).is_ok(), i32::try_from(int).is_ok());
        prop_assert_eq!(KeyType::Int2.parse(&written).is_ok(), i16::try_from(int).is_ok());
    }

    #[test]
    fn durations_come_back_to_the_millisecond_above(nanos in prop_oneof![any::<u64>(), 0..4_000_000u64]) {
        let duration = Duration::from_nanos(nanos);
        let read = duration::parse(&duration::format(duration)).expect("what is written can be read");
        prop_assert!(read >= duration && read - duration < Duration::from_millis(1));
        prop_assert_eq!(duration::format(read), duration::format(duration));
    }

    #[test]
    fn what_is_read_as_a_duration_is_written_in_its_shortest_form(
        number in prop_oneof![0..100_000u64, any::<u64>()],
        unit in "ms|s|m|h|d",
    ) {
        let text = format!("{number}{unit}");
        if let Ok(read) = duration::parse(&text) {
            let written = duration::format(read);
            prop_assert_eq!(duration::parse(&written), Ok(read));
            prop_assert!(written.len() <= text.len(), "{} is longer than {}", written, text);
        }
    }

    #[test]
    fn levels_come_back(millis in any::<u64>()) {
        for level in [Level::Strong, Level::Session, Level::Any, Level::Bounded(Duration::from_millis(millis))] {
            prop_assert_eq!(Level::parse(&level.to_string()), Ok(level));
        }
    }

    #[test]
    fn no_text_upsets_a_parser(text in ".{0,20}|bounded[:=].{0,8}|[0-9]{0,22}[a-z]{0,2}") {
        let _ = (Level::parse(&text), duration::parse(&text), SessionToken::decode(&text, None));
        for (_, kind) in KeyType::ALL {
            let _ = kind.parse(&text);
        }
    }

    #[test]
    fn moments_count_nanoseconds(nanos in 0..u64::MAX / 2, wait in 0..u64::MAX / 2) {
        let (moment, wait) = (Moment::from_nanos(nanos), Duration::from_nanos(wait));
        prop_assert_eq!(moment.as_nanos(), nanos);
        prop_assert_eq!(moment.plus(wait).since(moment), wait);
        prop_assert_eq!(moment.plus(wait).minus(wait), moment);
        prop_assert_eq!(moment.since(moment.plus(wait)), Duration::ZERO);
    }

    /// Every id that can be in the log beside a snapshot, against a comparison of the full ids.
    #[test]
    fn the_low_half_of_an_id_is_enough_to_tell_whether_it_is_visible(
        xmin in (1u64 << 31)..1 << 40,
        width in 0..50u64,
        picks in vec(0..50u64, 0..10),
        offset in prop_oneof![-60..60i64, -(1i64 << 31)..1 << 31],
    ) {
        let mut in_progress: Vec<u64> =
            picks.iter().filter(|pick| **pick < width).map(|pick| xmin + pick).collect();
        in_progress.sort_unstable();
        in_progress.dedup();
        let xid = xmin.saturating_add_signed(offset);
        let visible = xid < xmin || (xid < xmin + width && !in_progress.contains(&xid));
        let upper = position(1, 0, 1);
        let in_progress = in_progress.into_boxed_slice();
        let snapshot = Snapshot { upper, certain: 0, xmin, xmax: xmin + width, in_progress };
        prop_assert_eq!(snapshot.sees(Xid(xid & 0xffff_ffff)), visible);
        prop_assert_eq!(snapshot.sees(Xid(xid)), visible);
    }
}
