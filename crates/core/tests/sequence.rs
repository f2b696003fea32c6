//! Random histories of a source that commits one transaction after another.

use crate::config;
use crate::world::{Rule, Tally, Vouching, World, histories};
use proptest::test_runner::TestRunner;
use std::cell::RefCell;

#[test]
fn every_verdict_on_a_sequence_stamp_is_true_and_none_is_needlessly_cautious() {
    let tally = RefCell::new(Tally::default());
    let outcome = TestRunner::new(config(1024)).run(&histories(false), |history| {
        let mut world = World::new(&history, false, Rule::Ledger, Vouching::NextId);
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
        ("current ahead of the watermark", tally.current_ahead),
        ("outdated", tally.outdated),
        ("outdated with a moment", tally.outdated_with_moment),
        ("below the horizon", tally.below_horizon),
        ("forgotten", tally.forgotten),
        ("of another epoch", tally.other_epoch),
    ] {
        assert!(count > 100, "the search hardly ever came across `{what}`: {tally:?}");
    }
    assert_eq!(tally.outdated_by_invisible, 0, "what is logged is visible in such a source");
}

/// The control: in [`crate::snapshot`] the same search finds the same naive rule unsound.
#[test]
fn comparing_positions_is_enough_where_the_log_does_not_run_ahead_of_visibility() {
    let outcome = TestRunner::new(config(256)).run(&histories(false), |history| {
        World::new(&history, false, Rule::NaivePositions, Vouching::NextId).run(&history)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
