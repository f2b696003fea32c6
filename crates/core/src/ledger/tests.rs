//! The ledger, rule by rule: what each verdict needs, what is forgotten, what voids.

use super::*;
use crate::entry::EntryParts;
use crate::record::Change;
use crate::stamp::{Snapshot, Stamp, Xid};
use std::sync::Arc;
use std::time::Duration;

const EPOCH: Epoch = Epoch { log: LogId(7), era: 0 };
const NEXT_ERA: Epoch = Epoch { log: LogId(7), era: 1 };
const OTHER_LOG: Epoch = Epoch { log: LogId(8), era: 0 };

/// In the smallest ledger: A and B share a stripe, C has its own shard.
const A: Tag = Tag(0x40);
const B: Tag = Tag(0x80);
const C: Tag = Tag(0x81);

fn ledger(changes_per_shard: usize) -> Ledger {
    let ledger = Ledger::new(LedgerSize { stripes: 1, changes: changes_per_shard * SHARDS });
    assert_eq!(ledger.apply(&Record::opening(EPOCH, 100)), Applied::NewEpoch);
    ledger
}

fn change(at: u64, tags: &[Tag]) -> Change {
    Change { at, xid: Xid(at), tags: tags.into(), note: "".into() }
}

fn record(previous: u64, at: u64, changes: &[(u64, Tag)]) -> Record {
    let changes = changes.iter().map(|(at, tag)| change(*at, &[*tag])).collect();
    Record { epoch: EPOCH, previous, at, changes }
}

/// The next record: one change, directly above the watermark.
fn touch(ledger: &Ledger, tag: Tag) -> u64 {
    let watermark = sight(ledger).watermark;
    ledger.apply(&record(watermark, watermark + 1, &[(watermark + 1, tag)]));
    watermark + 1
}

fn sight(ledger: &Ledger) -> Sight {
    ledger.sight().expect("the ledger is settled")
}

fn entry_of(stamp: Stamp, tags: &[Tag], generation: u64) -> Entry<()> {
    Entry::new(EntryParts {
        value: Some(()),
        filled_at: Moment::ZERO,
        stamp,
        tags: tags.to_vec(),
        generation,
        ttl: Duration::MAX,
    })
}

fn entry(ledger: &Ledger, at: u64, tags: &[Tag]) -> Entry<()> {
    entry_of(Stamp::Sequence(Position { epoch: EPOCH, at }), tags, sight(ledger).generation)
}

/// A snapshot that sees every transaction but these.
fn snapshot_entry(ledger: &Ledger, certain: u64, in_progress: &[u64], tags: &[Tag]) -> Entry<()> {
    let xmin = in_progress.first().copied().unwrap_or(1000);
    let upper = Position { epoch: EPOCH, at: 1000 };
    let snapshot = Snapshot { upper, certain, xmin, xmax: 1000, in_progress: in_progress.into() };
    entry_of(Stamp::Snapshot(Arc::new(snapshot)), tags, sight(ledger).generation)
}

fn verdict(ledger: &Ledger, entry: &Entry<()>) -> Verdict {
    ledger.judge(&sight(ledger), entry)
}

fn outdated(by: u64, proven_before: Option<u64>) -> Verdict {
    Verdict::Outdated(Outdated { by, proven_before: proven_before.map(Moment::from_nanos) })
}

const OTHER_EPOCH: Verdict = Verdict::Void(Void::OtherEpoch);
const BELOW_HORIZON: Verdict = Verdict::Void(Void::BelowHorizon);
const FORGOTTEN: Verdict = Verdict::Void(Void::Forgotten);

// Stripes and the fast path.

#[test]
fn without_changes_an_entry_is_current_and_proven_to_the_watermark() {
    let ledger = ledger(8);
    let kept = entry(&ledger, 100, &[A]);
    assert_eq!(verdict(&ledger, &kept), Verdict::Current { proven: 100 });
    ledger.apply(&record(100, 170, &[]));
    assert_eq!(verdict(&ledger, &kept), Verdict::Current { proven: 170 });
}

#[test]
fn a_change_exactly_at_the_proven_position_is_seen_and_one_above_is_not() {
    let ledger = ledger(8);
    let (before, after) = (entry(&ledger, 100, &[A]), entry(&ledger, 101, &[A]));
    assert_eq!(touch(&ledger, A), 101);
    assert_eq!(verdict(&ledger, &before), outdated(101, None));
    assert_eq!(verdict(&ledger, &after), Verdict::Current { proven: 101 });
}

#[test]
fn any_of_several_tags_makes_an_entry_outdated() {
    let ledger = ledger(8);
    let kept = entry(&ledger, 100, &[B, C]);
    touch(&ledger, A);
    assert_eq!(verdict(&ledger, &kept), Verdict::Current { proven: 101 });
    touch(&ledger, C);
    assert_eq!(verdict(&ledger, &kept), outdated(102, None));
}

#[test]
fn tags_that_collide_in_a_stripe_keep_their_own_truth() {
    let ledger = ledger(8);
    let row = |id: u32| Tag::row("users", crate::Facet::WHOLE, "id", &id.to_string());
    let first = row(0);
    let second =
        (1..).map(row).find(|tag| ledger.stripe(*tag) == ledger.stripe(first)).expect("stripes are few");
    let (mut changed, mut other) = (entry(&ledger, 100, &[first]), entry(&ledger, 100, &[second]));
    touch(&ledger, first);
    assert_eq!(verdict(&ledger, &changed), outdated(101, None));
    assert_eq!(verdict(&ledger, &other), Verdict::Current { proven: 101 });

    other.set_proven(101);
    changed.set_proven(100);
    assert_eq!(verdict(&ledger, &other), Verdict::Current { proven: 101 });
    assert_eq!(verdict(&ledger, &changed), outdated(101, None));
}

#[test]
fn an_entry_filled_ahead_of_the_watermark_is_current() {
    let ledger = ledger(8);
    let ahead = entry(&ledger, 110, &[A]);
    assert_eq!(verdict(&ledger, &ahead), Verdict::Current { proven: 110 });
    ledger.apply(&record(100, 110, &[(104, A), (110, A)]));
    assert_eq!(verdict(&ledger, &ahead), Verdict::Current { proven: 110 });
    ledger.apply(&record(110, 111, &[(111, A)]));
    assert_eq!(verdict(&ledger, &ahead), outdated(111, None));
}

#[test]
fn only_visibility_decides_for_a_snapshot_whatever_its_upper_position() {
    let ledger = ledger(8);
    ledger.apply(&record(100, 102, &[(101, A), (102, B)]));
    let blind = snapshot_entry(&ledger, 100, &[101], &[A]);
    assert!(blind.upper() > 102, "by its upper position alone it would pass");
    assert_eq!(verdict(&ledger, &blind), outdated(101, None));
    let sees_it = snapshot_entry(&ledger, 100, &[101], &[B]);
    assert_eq!(verdict(&ledger, &sees_it), Verdict::Current { proven: 102 });
}

#[test]
fn a_snapshot_keeps_what_it_was_proven_to_and_is_not_asked_again() {
    let ledger = ledger(8);
    touch(&ledger, A);
    let mut kept = snapshot_entry(&ledger, 100, &[], &[A]);
    let Verdict::Current { proven } = verdict(&ledger, &kept) else { panic!("every change is visible") };
    kept.set_proven(proven);
    assert_eq!(kept.proven(), 101);
    assert_eq!(verdict(&ledger, &kept), Verdict::Current { proven: 101 });
}

// The chain of records.

#[test]
fn a_ledger_that_has_seen_no_record_vouches_for_nothing() {
    let ledger = Ledger::new(LedgerSize::default());
    assert_eq!(ledger.sight(), None);
    assert!(!ledger.prove(Moment::ZERO, Position { epoch: EPOCH, at: 0 }));
}

#[test]
fn duplicates_change_nothing() {
    let ledger = ledger(8);
    let first = record(100, 110, &[(105, A)]);
    assert_eq!(ledger.apply(&first), Applied::Advanced);
    let kept = entry(&ledger, 110, &[A]);
    let before = sight(&ledger);
    for again in [first, record(90, 95, &[]), record(100, 105, &[(105, A)]), Record::opening(EPOCH, 110)] {
        assert_eq!(ledger.apply(&again), Applied::Duplicate);
        assert_eq!(sight(&ledger), before);
        assert_eq!(verdict(&ledger, &kept), Verdict::Current { proven: 110 });
    }
    assert_eq!(ledger.shard(A).lock().history(A).changes().len(), 1);
}

#[test]
fn of_an_overlapping_record_only_the_new_part_counts() {
    let ledger = ledger(8);
    ledger.apply(&record(100, 110, &[(105, A)]));
    assert_eq!(ledger.apply(&record(103, 120, &[(105, A), (110, C), (115, B)])), Applied::Advanced);
    assert_eq!(sight(&ledger).watermark, 120);
    assert_eq!(sight(&ledger).horizon, 100, "nothing is missing");
    assert_eq!(ledger.shard(A).lock().history(A).changes().len(), 1);
    assert_eq!(verdict(&ledger, &entry(&ledger, 104, &[C])), Verdict::Current { proven: 120 });
    assert_eq!(verdict(&ledger, &entry(&ledger, 105, &[A])), Verdict::Current { proven: 120 });
    assert_eq!(verdict(&ledger, &entry(&ledger, 114, &[B])), outdated(115, None));
}

#[test]
fn a_fence_from_behind_a_gap_says_nothing_before_the_gap_is_met() {
    let ledger = Ledger::new(LedgerSize::default());
    ledger.apply(&Record::opening(EPOCH, 100));
    let at = |at| Position { epoch: EPOCH, at };
    let asked_at = Moment::from_nanos(7);
    // It lies below the watermark: all that is known of the log was silent about something.
    let fence = Fence { position: at(100), vouched: 200, since: 101 };
    assert!(!ledger.prove(asked_at, fence));
    assert_eq!((sight(&ledger).proven_until, sight(&ledger).whole()), (None, at(0)));
    ledger.apply(&Record::opening(EPOCH, 101));
    assert!(ledger.prove(asked_at, fence));
    assert_eq!((sight(&ledger).proven_until, sight(&ledger).whole()), (Some(asked_at), at(101)));
    assert_eq!(sight(&ledger).vouched_for(300), 200);
    // What another epoch vouches for is nothing to this one.
    let next = Epoch { era: 1, ..EPOCH };
    ledger.apply(&Record::opening(next, 150));
    assert_eq!(sight(&ledger).whole().at, 0);
    ledger.prove(asked_at, fence);
    assert_eq!(sight(&ledger).whole().at, 0);
}

#[test]
fn a_gap_voids_what_was_proven_below_it_and_nothing_else() {
    let ledger = ledger(8);
    let tagged = |at| (entry(&ledger, at, &[A]), entry(&ledger, at, &[B]));
    let (below, at_gap, above) = (tagged(119), tagged(120), tagged(121));
    assert_eq!(ledger.apply(&record(120, 130, &[(125, A)])), Applied::Gap { from: 100, to: 120 });
    assert_eq!(sight(&ledger).horizon, 120);
    for (changed, unchanged, expected) in [
        (&below.0, &below.1, None),
        (&at_gap.0, &at_gap.1, Some((outdated(125, None), Verdict::Current { proven: 130 }))),
        (&above.0, &above.1, Some((outdated(125, None), Verdict::Current { proven: 130 }))),
    ] {
        let expected = expected.unwrap_or((BELOW_HORIZON, BELOW_HORIZON));
        assert_eq!((verdict(&ledger, changed), verdict(&ledger, unchanged)), expected);
    }
}

#[test]
fn records_that_arrive_after_a_gap_do_not_close_it() {
    let ledger = ledger(8);
    let kept = entry(&ledger, 100, &[C]);
    ledger.apply(&record(120, 130, &[]));
    assert_eq!(ledger.apply(&record(100, 120, &[(110, C)])), Applied::Duplicate);
    assert_eq!(verdict(&ledger, &kept), BELOW_HORIZON);
    assert_eq!(ledger.apply(&record(130, 140, &[])), Applied::Advanced);
    assert_eq!(verdict(&ledger, &kept), BELOW_HORIZON);
}

#[test]
fn a_glance_from_before_a_gap_proves_no_more_than_it_saw() {
    let ledger = ledger(8);
    let kept = entry(&ledger, 100, &[C]);
    let early = sight(&ledger);
    ledger.apply(&record(120, 130, &[(121, A)]));
    assert_eq!(ledger.judge(&early, &kept), Verdict::Current { proven: 100 });
    assert_eq!(ledger.judge_at(&early, &kept, u64::MAX), BELOW_HORIZON);
}

// Epochs.

#[test]
fn a_new_epoch_voids_everything_whether_the_log_or_the_era_is_new() {
    for epoch in [NEXT_ERA, OTHER_LOG] {
        let ledger = ledger(8);
        touch(&ledger, A);
        ledger.prove(Moment::from_nanos(5), Position { epoch: EPOCH, at: 101 });
        let old_sight = sight(&ledger);
        let old = [entry(&ledger, 100, &[A]), entry(&ledger, 101, &[A]), entry(&ledger, 101, &[C])];
        let opening = Record { epoch, previous: 101, at: 103, changes: vec![change(103, &[B])] };
        assert_eq!(ledger.apply(&opening), Applied::NewEpoch);

        let new_sight = sight(&ledger);
        assert_eq!((new_sight.epoch, new_sight.watermark, new_sight.horizon), (epoch, 103, 101));
        assert_eq!(new_sight.proven_until, None);
        assert_ne!(new_sight.generation, old_sight.generation);
        for old in &old {
            assert_eq!(ledger.judge(&new_sight, old), OTHER_EPOCH);
            assert_eq!(ledger.judge_at(&new_sight, old, 101), OTHER_EPOCH);
            assert!(!ledger.is_untouched(&new_sight, old) && !ledger.is_untouched(&old_sight, old));
            assert!(matches!(ledger.judge(&old_sight, old), Verdict::Void(_)));
            assert!(matches!(ledger.judge_at(&old_sight, old, 101), Verdict::Void(_)));
        }
        let fresh = entry(&ledger, 103, &[A]);
        assert_eq!(ledger.judge(&old_sight, &fresh), OTHER_EPOCH);
        assert_eq!(ledger.judge(&new_sight, &fresh), Verdict::Current { proven: 103 });
        assert_eq!(verdict(&ledger, &entry(&ledger, 102, &[B])), outdated(103, None));
    }
}

#[test]
fn a_new_epoch_forgets_the_floors_and_histories_of_the_old_one() {
    let ledger = ledger(1);
    for _ in 0..10 {
        touch(&ledger, A);
    }
    ledger.apply(&Record::opening(OTHER_LOG, 3));
    assert_eq!(verdict(&ledger, &entry(&ledger, 3, &[A])), Verdict::Current { proven: 3 });
    assert!(ledger.shard(A).lock().history(A).changes().is_empty());
    assert_eq!(ledger.floors[ledger.stripe(A)].load(Ordering::Relaxed), 0);
}

#[test]
fn breaking_off_voids_everything_until_a_record_opens_a_new_generation() {
    let ledger = ledger(8);
    let old_sight = sight(&ledger);
    let old = entry(&ledger, 100, &[A]);
    ledger.break_off();
    ledger.break_off();
    assert_eq!(ledger.sight(), None);
    assert_eq!(ledger.judge(&old_sight, &old), OTHER_EPOCH);
    assert_eq!(ledger.judge_at(&old_sight, &old, 100), OTHER_EPOCH);

    // Also the very next link of the same chain opens anew.
    assert_eq!(ledger.apply(&record(100, 101, &[])), Applied::NewEpoch);
    assert_eq!(verdict(&ledger, &old), OTHER_EPOCH);
    assert_eq!(sight(&ledger).epoch, EPOCH);
    assert_eq!(verdict(&ledger, &entry(&ledger, 100, &[A])), Verdict::Current { proven: 101 });
}

// Proofs of time.

#[test]
fn a_moment_is_proven_when_the_watermark_has_reached_its_fence() {
    let ledger = ledger(8);
    let fence = Position { epoch: EPOCH, at: 105 };
    let asked_at = Moment::from_nanos(50);
    assert!(!ledger.prove(asked_at, fence));
    ledger.apply(&record(100, 104, &[]));
    assert!(!ledger.prove(asked_at, fence));
    assert_eq!(sight(&ledger).proven_until, None);
    ledger.apply(&record(104, 105, &[]));
    assert!(ledger.prove(asked_at, fence));
    assert_eq!(sight(&ledger).proven_until, Some(asked_at));
}

#[test]
fn a_fence_of_another_epoch_or_a_broken_ledger_proves_nothing() {
    let ledger = ledger(8);
    for epoch in [NEXT_ERA, OTHER_LOG] {
        assert!(!ledger.prove(Moment::ZERO, Position { epoch, at: 0 }));
    }
    ledger.break_off();
    assert!(!ledger.prove(Moment::ZERO, Position { epoch: EPOCH, at: 0 }));
    ledger.apply(&Record::opening(NEXT_ERA, 200));
    assert_eq!(sight(&ledger).proven_until, None);
    assert!(ledger.prove(Moment::ZERO, Position { epoch: EPOCH, at: 200 }), "an era reaches the one before");
}

#[test]
fn proven_until_never_goes_back() {
    let ledger = ledger(8);
    let fence = Position { epoch: EPOCH, at: 100 };
    for (asked_at, until) in [(50, 50), (20, 50), (60, 60)] {
        assert!(ledger.prove(Moment::from_nanos(asked_at), fence));
        assert_eq!(sight(&ledger).proven_until, Some(Moment::from_nanos(until)));
    }
}

#[test]
fn outdated_names_the_first_unseen_change_and_the_moment_proven_before_it() {
    let ledger = ledger(8);
    let kept = entry(&ledger, 100, &[A, C]);
    let prove = |nanos| {
        let fence = sight(&ledger).position();
        assert!(ledger.prove(Moment::from_nanos(nanos), fence));
    };
    prove(10);
    ledger.apply(&record(100, 101, &[(101, B)]));
    prove(20);
    ledger.apply(&record(101, 103, &[(102, C), (103, A)]));
    prove(30);
    ledger.apply(&record(103, 104, &[(104, A)]));
    assert_eq!(verdict(&ledger, &kept), outdated(102, Some(20)));
    assert_eq!(verdict(&ledger, &entry(&ledger, 102, &[A, C])), outdated(103, Some(20)));
    assert_eq!(verdict(&ledger, &entry(&ledger, 103, &[A, C])), outdated(104, Some(30)));

    let blind = snapshot_entry(&ledger, 100, &[103], &[A, C]);
    assert_eq!(verdict(&ledger, &blind), outdated(103, Some(20)), "102 and 104 are visible in it");
}

#[test]
fn an_outdated_entry_claims_no_moment_later_than_the_glance() {
    let ledger = ledger(8);
    let kept = entry(&ledger, 100, &[A]);
    let fence = Position { epoch: EPOCH, at: 100 };
    ledger.prove(Moment::from_nanos(10), fence);
    let early = sight(&ledger);
    ledger.prove(Moment::from_nanos(20), fence);
    touch(&ledger, A);
    assert_eq!(ledger.judge(&early, &kept), outdated(101, Some(10)));
    assert_eq!(verdict(&ledger, &kept), outdated(101, Some(20)));
}

// Judging at a position.

#[test]
fn a_limit_leaves_later_changes_out() {
    let ledger = ledger(8);
    let kept = entry(&ledger, 100, &[A]);
    ledger.apply(&record(100, 110, &[(105, A)]));
    let sight = sight(&ledger);
    assert_eq!(ledger.judge_at(&sight, &kept, 104), Verdict::Current { proven: 104 });
    assert_eq!(ledger.judge_at(&sight, &kept, 105), outdated(105, None));
    assert_eq!(ledger.judge_at(&sight, &kept, u64::MAX), outdated(105, None));
    let other = entry(&ledger, 100, &[B]);
    assert_eq!(ledger.judge_at(&sight, &other, 104), Verdict::Current { proven: 104 });
    assert_eq!(ledger.judge_at(&sight, &other, u64::MAX), Verdict::Current { proven: 110 });
}

// Bounded memory.

#[test]
fn a_full_shard_forgets_its_oldest_tag_and_raises_the_floor_of_that_stripe_only() {
    let ledger = Ledger::new(LedgerSize { stripes: 4 * SHARDS, changes: 3 * SHARDS });
    ledger.apply(&Record::opening(EPOCH, 100));
    // Four stripes of one shard, two tags in each; `stranger` is of another shard.
    let tag = |stripe: u64, n: u64| Tag(stripe * SHARDS as u64 + n * 4 * SHARDS as u64);
    let stranger = Tag(1);
    let early = |tags: &[Tag]| entry(&ledger, 100, tags);
    let entries = [early(&[tag(0, 1)]), early(&[tag(1, 1)]), early(&[tag(3, 1)]), early(&[stranger])];
    let proven_on = entry(&ledger, 101, &[tag(0, 1)]);

    for stripe in 0..3 {
        touch(&ledger, tag(stripe, 0));
    }
    let current = Verdict::Current { proven: 103 };
    for entry in &entries {
        assert_eq!(verdict(&ledger, entry), current, "nothing is forgotten yet");
    }
    touch(&ledger, tag(2, 1));
    let current = Verdict::Current { proven: 104 };
    assert_eq!(verdict(&ledger, &entries[0]), FORGOTTEN, "its stripe's only detail is gone");
    for entry in &entries[1..] {
        assert_eq!(verdict(&ledger, entry), current);
    }
    assert_eq!(verdict(&ledger, &proven_on), current, "it was proven up to the forgotten change");
    assert_eq!(verdict(&ledger, &early(&[tag(3, 1), tag(0, 1)])), FORGOTTEN, "one tag suffices");
}

#[test]
fn whatever_happens_a_shard_holds_no_more_than_its_capacity() {
    let ledger = ledger(5);
    for n in 0..1000 {
        touch(&ledger, if n % 3 == 0 { A } else { Tag(n * SHARDS as u64) });
        assert!(ledger.shard(A).lock().len() <= 5);
    }
}

#[test]
fn a_tag_that_changes_too_often_forgets_its_own_oldest_changes_and_nobody_elses() {
    let ledger = ledger(100);
    let (kept, neighbour) = (entry(&ledger, 100, &[A]), entry(&ledger, 100, &[B]));
    for _ in 0..4 {
        touch(&ledger, A);
    }
    assert_eq!(verdict(&ledger, &kept), outdated(101, None));
    touch(&ledger, A);
    assert_eq!(verdict(&ledger, &kept), FORGOTTEN);
    assert_eq!(verdict(&ledger, &entry(&ledger, 101, &[A])), outdated(102, None));
    assert_eq!(verdict(&ledger, &neighbour), Verdict::Current { proven: 105 });
}

#[test]
fn a_tag_forgotten_and_changed_again_still_knows_that_it_forgot() {
    let ledger = ledger(1);
    let blind = snapshot_entry(&ledger, 100, &[101], &[A]);
    touch(&ledger, A);
    touch(&ledger, B);
    assert_eq!(verdict(&ledger, &blind), FORGOTTEN);
    touch(&ledger, A);
    assert_eq!(verdict(&ledger, &blind), FORGOTTEN, "the visible third change does not hide the first");
}

#[test]
fn the_parts_of_one_transaction_are_forgotten_no_earlier_than_its_last() {
    let ledger = ledger(2);
    let blind = snapshot_entry(&ledger, 100, &[101], &[A]);
    let parts: Vec<_> = (0..7).map(|_| (101, A)).collect();
    ledger.apply(&record(100, 101, &parts));
    assert!(!matches!(verdict(&ledger, &blind), Verdict::Current { .. }));
    for _ in 0..7 {
        touch(&ledger, B);
        assert!(!matches!(verdict(&ledger, &blind), Verdict::Current { .. }));
    }
    assert_eq!(verdict(&ledger, &entry(&ledger, 101, &[A])), Verdict::Current { proven: 108 });
}
