//! The judgement against a source whose whole history is known: every sequence of values, every place of the looks and
//! of the answer.

use super::*;
use candor_core::{Epoch, Level, LogId, Moment, Position, Stamp};
use proptest::prelude::*;

fn json(value: u8) -> Option<Json> {
    // Zero is a row that is not there.
    (value != 0).then(|| Json::new(format!("{{\"v\":{value}}}").into_bytes().into()))
}

fn at(tick: usize) -> Moment {
    Moment::from_nanos(tick as u64 * 10)
}

fn look(tick: usize, value: u8) -> Arc<Look> {
    let stamp = Stamp::Sequence(Position { epoch: Epoch { log: LogId(1), era: 0 }, at: tick as u64 });
    let (begun, ended) = (at(tick), at(tick));
    Arc::new(Look { begun, ended, stamp, values: vec![json(value)], tags: Vec::new() })
}

fn served(claimed: usize, given: usize, value: u8) -> Served {
    Served {
        level: Level::Any,
        claimed: Some(at(claimed)),
        given: at(given),
        values: vec![json(value)],
        receipts: Vec::new(),
    }
}

proptest! {
    /// `history[t]` is what the source says at tick t; each step is a change, also one to the same value.
    #[test]
    fn no_answer_that_was_ever_so_is_called_false_and_whatever_was_never_so_is_never_called_true(
        history in prop::collection::vec(0u8..4, 2..12),
        places in prop::collection::vec(0usize..12, 1..4),
        (claimed, given, value) in (0usize..12, 0usize..12, 0u8..4),
    ) {
        let end = history.len() - 1;
        let (claimed, given) = (claimed.min(given).min(end), given.max(claimed).min(end));
        let mut places: Vec<usize> = places.into_iter().map(|place| place.min(end)).collect();
        places.sort_unstable();
        let looks: Vec<_> = places.iter().map(|place| look(*place, history[*place])).collect();
        let told = |before: usize, after: usize| Some(places[after] - places[before]);
        let was_so = history[claimed..=given].contains(&value);
        match judge(&looks, &served(claimed, given, value), told) {
            Verdict::False { before, after } => {
                prop_assert!(!was_so);
                prop_assert!(places[before] <= claimed && places[after] >= given);
            }
            Verdict::True { .. } => {
                let first = places.iter().rev().find(|place| **place <= claimed).unwrap();
                let last = places.iter().find(|place| **place >= given).unwrap();
                prop_assert!(history[*first..=*last].contains(&value));
            }
            Verdict::Undecided => prop_assert!(true),
            Verdict::NotJudged => prop_assert!(places[0] > claimed || *places.last().unwrap() < given),
        }
    }
}

#[test]
fn an_answer_that_neither_look_saw_is_false_unless_the_log_tells_of_a_way_there_and_back() {
    let looks = [look(1, 7), look(9, 7)];
    let lie = served(3, 5, 6);
    for (changes, verdict) in [
        (Some(0), Verdict::False { before: 0, after: 1 }),
        (Some(1), Verdict::False { before: 0, after: 1 }),
        (Some(2), Verdict::Undecided),
        (None, Verdict::Undecided),
    ] {
        assert_eq!(judge(&looks, &lie, |_, _| changes), verdict, "{changes:?}");
    }
    assert_eq!(judge(&looks, &served(3, 5, 7), |_, _| None), Verdict::True { still: true });
    let changed = [look(1, 7), look(9, 8)];
    assert_eq!(judge(&changed, &served(3, 5, 7), |_, _| None), Verdict::True { still: false });
    assert_eq!(judge(&changed, &served(3, 5, 0), |_, _| Some(1)), Verdict::False { before: 0, after: 1 });
}

#[test]
fn a_look_in_the_middle_tells_two_changes_apart() {
    let looks = [look(1, 7), look(4, 8), look(9, 9)];
    assert_eq!(judge(&looks, &served(2, 6, 5), |_, _| Some(2)), Verdict::False { before: 0, after: 2 });
    assert_eq!(judge(&looks, &served(2, 6, 5), |_, _| Some(3)), Verdict::Undecided);
    let stale = judge(&looks, &served(5, 6, 7), |_, _| Some(1));
    assert_eq!(stale, Verdict::False { before: 1, after: 2 }, "what was so before the look in the middle");
}

#[test]
fn claims_older_than_every_look_and_answers_without_a_claim_are_not_judged() {
    let looks = [look(3, 7), look(9, 7)];
    assert_eq!(judge(&looks, &served(2, 5, 6), |_, _| Some(0)), Verdict::NotJudged);
    assert_eq!(judge(&looks, &served(4, 10, 6), |_, _| Some(0)), Verdict::NotJudged);
    let nothing = Served { claimed: None, ..served(4, 5, 6) };
    assert_eq!(judge(&looks, &nothing, |_, _| Some(0)), Verdict::NotJudged);
}

#[test]
fn the_same_rows_in_another_order_are_the_same_answer() {
    let json = |text: &str| Some(Json::new(text.as_bytes().into()));
    let (one, other) = (json("[{\"a\":1},{\"a\":2}]"), json("[{\"a\":2},{\"a\":1}]"));
    assert!(same(one.as_ref(), other.as_ref()));
    for (one, other) in [
        (one.clone(), json("[{\"a\":2}]")),
        (one, json("[{\"a\":2},{\"a\":2}]")),
        (json("{\"a\":1}"), json("{\"a\":2}")),
        (json("[]"), None),
    ] {
        assert!(!same(one.as_ref(), other.as_ref()), "{one:?} {other:?}");
    }
}
