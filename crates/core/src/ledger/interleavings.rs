//! Readers beside writers in every interleaving, and with every value that the memory model lets a load return.
//!
//! Built by `cargo x concurrency` only. Each scenario is a short history whose truth is known from its numbers alone:
//! the moment `n` is the one at which the position `n` was asked for, so an entry that lacks a change at `n` reflects
//! only moments before `n`. Readers look while the history is written, and no verdict may claim more.

mod orderings;

use super::*;
use crate::entry::EntryParts;
use crate::record::Change;
use crate::stamp::{Stamp, Xid};
use crate::sync::checked::begin_execution;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const EPOCH: Epoch = Epoch { log: LogId(1), era: 1 };
const NEXT: Epoch = Epoch { log: LogId(2), era: 2 };

/// A and B share a stripe; C has its own.
const A: Tag = Tag(0);
const B: Tag = Tag(2);
const C: Tag = Tag(1);

/// A short history beside readers.
struct Scenario {
    name: &'static str,
    /// Changes remembered.
    remembered: usize,
    /// How often a thread may be interrupted where it could go on. `None` for always: then every interleaving is tried.
    interruptions: Option<usize>,
    /// What has happened before anyone looks. The ledger has been told the beginning of the epoch at zero.
    before: fn(&Ledger),
    /// What happens meanwhile, each in a thread of its own.
    meanwhile: &'static [fn(&Ledger)],
    /// Entries that readers ask for: where they were filled, their tags, the first change they lack.
    entries: &'static [(u64, &'static [Tag], u64)],
    /// The same for those who look after the beginning of the next epoch.
    next: &'static [(u64, &'static [Tag], u64)],
    /// Whether the log falls silent, so that it counts what it vouches for, and not how far it has told.
    is_silent: bool,
    /// The verdicts that some reader must meet, or the scenario shows nothing.
    met: &'static [&'static str],
}

/// How a reader asks.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Asks {
    Untouched,
    Judge,
    JudgeExactly,
    JudgeAtWatermark,
}

impl Asks {
    const ALL: [Self; 4] = [Self::Untouched, Self::Judge, Self::JudgeExactly, Self::JudgeAtWatermark];
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a change",
        remembered: 4,
        interruptions: None,
        before: |_| {},
        meanwhile: &[|ledger| {
            apply(ledger, EPOCH, 0, 1, &[A]);
            prove(ledger, EPOCH, 1);
        }],
        entries: &[(0, &[A], 1), (0, &[C, A], 1), (0, &[B], NEVER)],
        next: &[],
        is_silent: false,
        met: &["current", "outdated"],
    },
    Scenario {
        name: "two changes",
        remembered: 4,
        interruptions: None,
        before: |_| {},
        meanwhile: &[|ledger| {
            apply(ledger, EPOCH, 0, 1, &[C]);
            prove(ledger, EPOCH, 1);
            apply(ledger, EPOCH, 1, 2, &[A]);
            prove(ledger, EPOCH, 2);
        }],
        entries: &[(0, &[A], 2), (0, &[C, A], 1), (1, &[C, A], 2)],
        next: &[],
        is_silent: false,
        met: &["current", "outdated"],
    },
    Scenario {
        name: "proven by another thread",
        remembered: 4,
        interruptions: None,
        before: |_| {},
        meanwhile: &[|ledger| apply(ledger, EPOCH, 0, 1, &[A]), |ledger| prove(ledger, EPOCH, 1)],
        entries: &[(0, &[A], 1)],
        next: &[],
        is_silent: false,
        met: &["current", "outdated"],
    },
    Scenario {
        name: "a gap",
        remembered: 4,
        interruptions: None,
        before: |ledger| prove(ledger, EPOCH, 0),
        // The change at 1, on A, is lost.
        meanwhile: &[|ledger| {
            apply(ledger, EPOCH, 1, 2, &[C]);
            prove(ledger, EPOCH, 2);
        }],
        entries: &[(0, &[A], 1), (0, &[A, C], 1)],
        next: &[],
        is_silent: false,
        met: &["current", "outdated", "void"],
    },
    Scenario {
        name: "a silence, and a gap",
        remembered: 4,
        interruptions: None,
        // The change at 1, on A, is never told; the log goes on.
        before: |ledger| {
            ledger.prove(Moment::ZERO, Fence { position: at(EPOCH, 0), vouched: 0, since: 0 });
            apply(ledger, EPOCH, 0, 1, &[C]);
        },
        meanwhile: &[|ledger| {
            ledger.apply(&Record::opening(EPOCH, 2));
            ledger.prove(Moment::from_nanos(2), Fence { position: at(EPOCH, 2), vouched: 2, since: 2 });
        }],
        entries: &[(0, &[A], 1)],
        next: &[],
        is_silent: true,
        met: &["current", "void"],
    },
    Scenario {
        name: "detail is forgotten",
        remembered: 1,
        interruptions: None,
        before: |_| {},
        meanwhile: &[|ledger| {
            apply(ledger, EPOCH, 0, 1, &[A]);
            prove(ledger, EPOCH, 1);
            apply(ledger, EPOCH, 1, 2, &[B]);
        }],
        entries: &[(0, &[A], 1), (0, &[B], 2)],
        next: &[],
        is_silent: false,
        met: &["current", "outdated", "void"],
    },
    Scenario {
        name: "another epoch",
        remembered: 4,
        interruptions: Some(3),
        before: |ledger| {
            apply(ledger, EPOCH, 0, 1, &[A]);
            prove(ledger, EPOCH, 1);
        },
        meanwhile: &[|ledger| {
            ledger.apply(&Record::opening(NEXT, 10));
            prove(ledger, NEXT, 10);
            apply(ledger, NEXT, 10, 11, &[A]);
        }],
        entries: &[(0, &[A], 1), (1, &[A], NEVER)],
        next: &[(10, &[A], 11)],
        is_silent: false,
        met: &["current", "outdated", "void"],
    },
    Scenario {
        name: "the feed breaks off, and another epoch begins",
        remembered: 4,
        interruptions: Some(3),
        before: |ledger| apply(ledger, EPOCH, 0, 1, &[A]),
        meanwhile: &[|ledger| {
            ledger.break_off();
            ledger.apply(&Record::opening(NEXT, 10));
        }],
        entries: &[(0, &[A], 1)],
        next: &[(10, &[A], NEVER)],
        is_silent: false,
        met: &["current", "outdated", "void"],
    },
];

/// Lacks nothing in this epoch.
const NEVER: u64 = u64::MAX;

fn apply(ledger: &Ledger, epoch: Epoch, previous: u64, at: u64, tags: &[Tag]) {
    let change = Change { at, xid: Xid(at), tags: tags.into(), note: "".into() };
    ledger.apply(&Record { epoch, previous, at, changes: vec![change] });
}

fn prove(ledger: &Ledger, epoch: Epoch, number: u64) {
    ledger.prove(Moment::from_nanos(number), at(epoch, number));
}

fn at(epoch: Epoch, at: u64) -> Position {
    Position { epoch, at }
}

fn entry(sight: &Sight, at: u64, tags: &[Tag]) -> Entry<()> {
    Entry::new(EntryParts {
        value: Some(()),
        filled_at: Moment::ZERO,
        stamp: Stamp::Sequence(Position { epoch: sight.epoch, at }),
        tags: tags.to_vec(),
        generation: sight.generation,
        ttl: Duration::MAX,
    })
}

thread_local! {
    static MET: RefCell<Met> = RefCell::default();
}

/// What the executions of a scenario came to.
#[derive(Default)]
struct Met {
    executions: u64,
    verdicts: BTreeSet<&'static str>,
}

/// Runs one scenario with one kind of reader in every way it can go.
///
/// # Panics
///
/// Where a verdict claims too much.
fn every_way(scenario: &'static Scenario, asks: Asks) -> Met {
    MET.take();
    let mut model = loom::model::Builder::new();
    // Enough for every scenario; beyond it Loom would stop with an error, not overlook anything.
    model.max_branches = 10_000;
    model.preemption_bound = scenario.interruptions;
    model.check(move || one_way(scenario, asks));
    MET.take()
}

fn one_way(scenario: &'static Scenario, asks: Asks) {
    begin_execution();
    MET.with_borrow_mut(|met| met.executions += 1);
    let ledger = Arc::new(Ledger::new(LedgerSize { stripes: 2, changes: scenario.remembered }));
    ledger.apply(&Record::opening(EPOCH, 0));
    (scenario.before)(&ledger);
    let former = ledger.sight();
    let threads: Vec<_> = scenario
        .meanwhile
        .iter()
        .map(|write| {
            let ledger = Arc::clone(&ledger);
            loom::thread::spawn(move || write(&ledger))
        })
        .collect();
    if let Some(sight) = ledger.sight() {
        check_sight(&sight);
        look(&ledger, scenario, &sight, asks);
        // Whatever was filled in the former epoch is nothing in this one, though its numbers may be as high.
        if let Some(former) = former.filter(|former| former.epoch != sight.epoch) {
            for filled in [0, sight.watermark] {
                let verdict = ledger.judge(&sight, &entry(&former, filled, &[C]));
                assert!(matches!(verdict, Verdict::Void(Void::OtherEpoch)), "{verdict:?} at {sight:?}");
            }
        }
    }
    for thread in threads {
        assert!(thread.join().is_ok(), "a writer failed");
    }
}

/// A glance is of one epoch, and no moment is proven beyond the watermark.
fn check_sight(sight: &Sight) {
    assert_eq!(sight.epoch.log.0, u64::from(sight.epoch.era), "two epochs in {sight:?}");
    let (numbers, generation) = if sight.epoch == EPOCH { (0..=9, 2) } else { (10..=19, 4) };
    assert!(
        numbers.contains(&sight.watermark) && numbers.contains(&sight.horizon),
        "two epochs in {sight:?}"
    );
    assert_eq!(sight.generation, generation, "{sight:?}");
    if let Some(moment) = sight.proven_until.map(Moment::as_nanos) {
        assert!(numbers.contains(&moment) && moment <= sight.watermark, "claimed and not applied: {sight:?}");
    }
}

fn look(ledger: &Ledger, scenario: &Scenario, sight: &Sight, asks: Asks) {
    let entries = if sight.epoch == EPOCH { scenario.entries } else { scenario.next };
    for (filled, tags, lacks) in entries {
        // Filled later than the reader's glance is filled in the future.
        if *filled > sight.watermark {
            continue;
        }
        let entry = entry(sight, *filled, tags);
        let verdict = match asks {
            Asks::Untouched if ledger.is_untouched(sight, &entry) => {
                Verdict::Current { proven: entry.proven().max(sight.watermark) }
            }
            Asks::Untouched => continue,
            Asks::Judge => ledger.judge(sight, &entry),
            Asks::JudgeExactly => ledger.judge_at(sight, &entry, u64::MAX),
            Asks::JudgeAtWatermark => ledger.judge_at(sight, &entry, sight.watermark),
        };
        check_verdict(scenario, sight, *lacks, verdict);
    }
}

fn check_verdict(scenario: &Scenario, sight: &Sight, lacks: u64, verdict: Verdict) {
    let too_late = |moment: Option<Moment>| moment.is_some_and(|moment| moment.as_nanos() >= lacks);
    let word = match verdict {
        Verdict::Current { proven } => {
            let said = if scenario.is_silent { sight.vouched_for(proven) } else { proven };
            assert!(said < lacks, "proven to {said}, and lacks {lacks}: {sight:?}");
            // What a receipt would name.
            assert!(!too_late(sight.proven_until), "lacks {lacks}, and is said to reflect {sight:?}");
            "current"
        }
        Verdict::Outdated(outdated) => {
            assert!(outdated.by >= lacks, "{outdated:?} is no change it lacks: {sight:?}");
            assert!(!too_late(outdated.proven_before), "lacks {lacks}: {outdated:?} at {sight:?}");
            "outdated"
        }
        Verdict::Void(_) => "void",
    };
    MET.with_borrow_mut(|met| met.verdicts.insert(word));
}

#[test]
fn no_verdict_claims_more_than_is_true_in_any_interleaving() {
    for scenario in SCENARIOS {
        let (mut executions, mut verdicts) = (0, BTreeSet::new());
        for asks in Asks::ALL {
            let met = every_way(scenario, asks);
            executions += met.executions;
            verdicts.extend(met.verdicts);
        }
        println!("{}: {executions} executions", scenario.name);
        let expected: BTreeSet<_> = scenario.met.iter().copied().collect();
        assert_eq!(verdicts, expected, "{}", scenario.name);
    }
}
