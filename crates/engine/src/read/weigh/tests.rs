//! Every reply of [`weigh`](super::weigh), by itself.

use super::{Look, Need, Step, weigh};
use crate::view::Event;
use candor_core::rule::Outdated;
use candor_core::{
    Contract, Entry, EntryParts, Epoch, Level, LogId, Moment, Position, Refresh, Sight, Stamp, Tag, Verdict,
    Void,
};
use std::time::Duration;

const EPOCH: Epoch = Epoch { log: LogId(1), era: 0 };
const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
const CURRENT: Verdict = Verdict::Current { proven: 100 };

fn outdated() -> Verdict {
    Verdict::Outdated(Outdated { by: 90, proven_before: None })
}

/// An entry filled a second ago at position 80, at watermark 100, that reflects everything up to `ago` before now.
fn look(verdict: Verdict, ago: Duration) -> Look<()> {
    let filled_at = NOW.minus(Duration::from_secs(1));
    let entry = Entry::new(EntryParts {
        value: Some(()),
        filled_at,
        stamp: Stamp::Sequence(Position { epoch: EPOCH, at: 80 }),
        tags: vec![Tag(1)],
        generation: 2,
        ttl: Duration::from_secs(60),
    });
    let sight = Sight {
        generation: 2,
        epoch: EPOCH,
        watermark: 100,
        horizon: 0,
        proven_until: Some(NOW.minus(ago)),
        vouched: 110,
    };
    Look { entry, sight, verdict, as_of: NOW.minus(ago), logged: true }
}

fn need(level: Level) -> Need {
    Need { level, begun: NOW.minus(Duration::from_millis(1)), token: None, afresh: false, is_asked: false }
}

fn bounded(millis: u64) -> Need {
    need(Level::Bounded(Duration::from_millis(millis)))
}

fn behind(at: u64) -> Need {
    Need { token: Some(Position { epoch: EPOCH, at }), ..need(Level::Session) }
}

fn step(look: Look<()>, need: &Need) -> Step {
    weigh(Some(&look), need, &Contract::default(), true, NOW)
}

const TEN: Duration = Duration::from_millis(10);

#[test]
fn nothing_there_is_filled() {
    assert_eq!(
        weigh::<()>(None, &need(Level::Any), &Contract::default(), true, NOW),
        Step::Fill(Event::MissCold)
    );
}

#[test]
fn a_current_entry_is_served_if_proven_lately_enough_and_fenced_otherwise() {
    for (need, expected) in [
        (need(Level::Any), Step::Serve),
        (bounded(11), Step::Serve),
        (bounded(10), Step::Serve),
        (bounded(9), Step::Fence(Event::FenceBound)),
        (need(Level::Strong), Step::Fence(Event::FenceStrong)),
        (behind(100), Step::Serve),
        (behind(101), Step::Fence(Event::FenceSession)),
    ] {
        assert_eq!(step(look(CURRENT, TEN), &need), expected, "{:?}", need.level);
    }
    assert_eq!(step(look(CURRENT, Duration::ZERO), &need(Level::Strong)), Step::Serve);
}

#[test]
fn a_token_is_reached_as_far_as_the_log_vouches() {
    let vouched = |to| {
        let look = look(CURRENT, TEN);
        Look { sight: Sight { vouched: to, ..look.sight }, ..look }
    };
    assert_eq!(step(vouched(90), &behind(90)), Step::Serve);
    assert_eq!(step(vouched(89), &behind(90)), Step::Fence(Event::FenceSession), "the watermark is no proof");
    assert_eq!(step(vouched(0), &need(Level::Any)), Step::Serve);
    assert_eq!((vouched(90).reflects(), vouched(1000).reflects()), (90, 100));
}

#[test]
fn what_is_of_after_the_source_was_asked_reflects_the_token_though_nobody_vouches_for_it() {
    let unvouched = |ago, log| {
        let look = look(CURRENT, ago);
        let epoch = Epoch { log: LogId(log), ..EPOCH };
        Look { sight: Sight { vouched: 0, epoch, ..look.sight }, ..look }
    };
    let asked = |is_asked| Need { is_asked, ..behind(90) };
    let fence = Step::Fence(Event::FenceSession);
    assert_eq!(step(unvouched(Duration::ZERO, 1), &asked(true)), Step::Serve);
    assert_eq!(
        step(unvouched(Duration::ZERO, 1), &asked(false)),
        fence,
        "the source may have lost the token"
    );
    assert_eq!(step(unvouched(TEN, 1), &asked(true)), fence, "it is of before the read");
    assert_eq!(
        step(unvouched(Duration::ZERO, 2), &asked(true)),
        fence,
        "of another log than the source told of"
    );
}

#[test]
fn what_a_gap_has_voided_reflects_nothing_however_far_it_was_judged() {
    let hint = Need { level: Level::Any, ..behind(70) };
    assert_eq!(step(look(Verdict::Void(Void::Forgotten), TEN), &hint), Step::ServeAndRefresh);
    for void in [Void::BelowHorizon, Void::OtherEpoch] {
        assert_eq!(step(look(Verdict::Void(void), TEN), &hint), Step::Fill(Event::MissVoid), "{void:?}");
    }
}

#[test]
fn strong_does_not_take_a_fence_of_the_very_moment_it_began() {
    let began = need(Level::Strong).begun;
    let fenced_then = look(CURRENT, NOW.since(began));
    assert_eq!(step(fenced_then, &need(Level::Strong)), Step::Fence(Event::FenceStrong));
}

#[test]
fn where_no_fence_can_help_the_source_is_asked() {
    for need in [bounded(9), need(Level::Strong), behind(101)] {
        let step = weigh(Some(&look(CURRENT, TEN)), &need, &Contract::default(), false, NOW);
        assert!(matches!(step, Step::Fill(_)), "{:?}", need.level);
    }
}

#[test]
fn an_outdated_entry_is_a_hint_or_within_grace_and_bound_and_nothing_else() {
    let fill = Step::Fill(Event::MissOutdated);
    assert_eq!(step(look(outdated(), TEN), &need(Level::Any)), Step::ServeAndRefresh);
    assert_eq!(step(look(outdated(), TEN), &bounded(1000)), fill);
    let graceful = Contract { refresh: Refresh::WhileRevalidate(TEN), ..Contract::default() };
    let step = |ago, need: &Need| weigh(Some(&look(outdated(), ago)), need, &graceful, true, NOW);
    assert_eq!(step(TEN, &bounded(1000)), Step::ServeAndRefresh);
    assert_eq!(step(TEN, &bounded(9)), fill);
    assert_eq!(step(2 * TEN, &bounded(1000)), fill);
    assert_eq!(step(TEN, &need(Level::Strong)), fill);
    assert_eq!(step(TEN, &behind(80)), Step::ServeAndRefresh);
    assert_eq!(step(TEN, &behind(81)), fill, "nothing shows that it reflects the token");
}

#[test]
fn a_void_entry_is_at_most_a_hint() {
    let void = Verdict::Void(Void::Forgotten);
    assert_eq!(step(look(void, TEN), &need(Level::Any)), Step::ServeAndRefresh);
    for need in [bounded(60_000), need(Level::Strong), behind(1)] {
        assert_eq!(step(look(void, TEN), &need), Step::Fill(Event::MissVoid));
    }
}

#[test]
fn a_session_without_positions_takes_nothing_from_before_it_began() {
    let afresh = Need { afresh: true, ..need(Level::Any) };
    let before = NOW.since(afresh.begun) + TEN;
    for verdict in [CURRENT, outdated(), Verdict::Void(Void::Forgotten), Verdict::Void(Void::OtherEpoch)] {
        let look = Look { logged: false, ..look(verdict, before) };
        let step = weigh(Some(&look), &afresh, &Contract::default(), false, NOW);
        assert!(matches!(step, Step::Fill(_)), "{verdict:?}: {step:?}");
    }
}

#[test]
fn an_ended_entry_is_filled_unless_the_contract_gives_it_grace() {
    let end = look(CURRENT, TEN).entry.expires_at().unwrap();
    let fill = Step::Fill(Event::MissExpired);
    let step =
        |contract: &Contract, now| weigh(Some(&look(CURRENT, TEN)), &need(Level::Any), contract, true, now);
    assert_eq!(step(&Contract::default(), end), fill);
    let graceful = Contract { refresh: Refresh::WhileRevalidate(TEN), ..Contract::default() };
    assert_eq!(step(&graceful, end.plus(TEN)), Step::ServeAndRefresh);
    assert_eq!(step(&graceful, end.plus(2 * TEN)), fill);
}
