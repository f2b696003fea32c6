//! Random histories of a source whose log runs ahead of visibility, and the rules that fail there.

use crate::config;
use crate::world::{History, Rule, Step, Tally, Vouching, World, histories};
use candor_core::Tag;
use proptest::test_runner::{TestError, TestRunner};
use std::cell::RefCell;

#[test]
fn every_verdict_on_a_snapshot_is_true_and_none_is_needlessly_cautious() {
    let tally = RefCell::new(Tally::default());
    let outcome = TestRunner::new(config(2048)).run(&histories(true), |history| {
        let mut world = World::new(&history, true, Rule::Ledger, Vouching::NextId);
        world.run(&history)?;
        tally.borrow_mut().add(&world.tally);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let tally = tally.into_inner();
    for (what, count) in [
        ("current", tally.current),
        ("current beside changes", tally.current_beside_changes),
        ("outdated", tally.outdated),
        ("outdated by a change logged before the fill", tally.outdated_by_invisible),
        ("outdated with a moment", tally.outdated_with_moment),
        ("below the horizon", tally.below_horizon),
        ("forgotten", tally.forgotten),
        ("of another epoch", tally.other_epoch),
    ] {
        assert!(count > 100, "the search hardly ever came across `{what}`: {tally:?}");
    }
}

/// The log shows a commit, a fill begins after that and still reads the old value.
fn log_before_visibility(note: bool) -> History {
    let tags = vec![Tag(0x40)];
    let deliver = Step::Deliver { offset: 0, length: 10 };
    let mut steps = vec![deliver.clone(), Step::Begin { tags: tags.clone() }];
    steps.push(Step::Log { which: 0, skip: 0, in_parts: false });
    steps.extend(note.then_some(Step::Note));
    steps.extend([deliver, Step::Fill { tags, vouches: true }]);
    steps.push(Step::Judge { which: 0, below: None, old: false, keep: true });
    History { stripes: 64, changes_per_shard: 8, first_id: 726, steps }
}

#[test]
fn a_fill_that_begins_after_its_invalidation_can_still_be_stale() {
    let history = log_before_visibility(false);
    let mut judged = World::new(&history, true, Rule::Ledger, Vouching::NextId);
    judged.run(&history).expect("the rule tells");
    assert_eq!(judged.tally.outdated_by_invisible, 1);
    let mut naive = World::new(&history, true, Rule::NaivePositions, Vouching::NextId);
    naive.run(&history).expect_err("the naive rule calls it current");
}

#[test]
fn an_xmax_vouches_for_nothing_that_is_logged_and_unfinished() {
    let history = log_before_visibility(true);
    World::new(&history, true, Rule::Ledger, Vouching::NextId).run(&history).expect("the next id vouches");
    World::new(&history, true, Rule::Ledger, Vouching::Xmax).run(&history).expect_err("xmax does not");
}

#[test]
fn the_search_finds_out_rules_that_are_unsound() {
    for (rule, vouching) in [(Rule::NaivePositions, Vouching::NextId), (Rule::Ledger, Vouching::Xmax)] {
        let outcome = TestRunner::new(config(2048))
            .run(&histories(true), |history| World::new(&history, true, rule, vouching).run(&history));
        let Err(TestError::Fail(reason, found)) = outcome else {
            panic!("{rule:?} with {vouching:?} was taken for sound");
        };
        assert!(reason.message().contains("called current"), "{reason}: {found:?}");
    }
}
