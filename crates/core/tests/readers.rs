//! Readers without locks beside a writer at full speed.
//!
//! Each test has a history whose truth follows from the numbers alone, so that a reader can check what it saw without
//! asking anyone. The writers do a fixed number of rounds and the readers at least that many looks: the work is bounded,
//! not the time.

use candor_core::{
    Change, Entry, EntryParts, Epoch, Ledger, LedgerSize, LogId, Moment, Position, Record, Sight, Stamp, Tag,
    Verdict, Xid,
};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// More than there are processors: the rarest interleavings need a reader that is put to sleep in the middle of a glance.
fn readers() -> usize {
    thread::available_parallelism().map_or(2, usize::from).min(8) + 1
}

/// Runs `write` beside readers that call `look` with a count until the writer is done, and at least `looks_min` times.
fn race(looks_min: u64, write: impl FnOnce() + Send, look: impl Fn(u64) + Sync) {
    let (start, done) = (Barrier::new(readers() + 1), AtomicBool::new(false));
    let (start, done, look) = (&start, &done, &look);
    thread::scope(|scope| {
        for _ in 0..readers() {
            scope.spawn(move || {
                start.wait();
                let mut count = 0;
                while count < looks_min || !done.load(Ordering::Relaxed) {
                    look(count);
                    count += 1;
                }
            });
        }
        scope.spawn(move || {
            // Also when the writer fails, the readers are let go.
            let _finish = OnDrop(done);
            start.wait();
            write();
        });
    });
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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

fn record(epoch: Epoch, previous: u64, at: u64, tags: &[Tag]) -> Record {
    let change = Change { at, xid: Xid(at), tags: tags.into(), note: "".into() };
    let changes = if tags.is_empty() { Vec::new() } else { vec![change] };
    Record { epoch, previous, at, changes }
}

/// Epochs in which everything carries the epoch's number: log, era, and the thousands of every position and moment.
mod epochs {
    use super::*;

    /// Below the 2^15 after which the sixteen bits of a generation in an entry begin again.
    const EPOCHS: u64 = 1_500;
    const RECORDS: u64 = 40;
    const LOOKS_MIN: u64 = 5_000;
    /// Most of a reader's time, so that it is most likely there that it is interrupted.
    const GLANCES: usize = 100;
    /// Changes at every even position, as the last of many, so that there is time between the first and it.
    const HOT: Tag = Tag(5);

    fn epoch(number: u64) -> Epoch {
        Epoch { log: LogId(number), era: number as u32 }
    }

    fn first(number: u64) -> u64 {
        number * 1000
    }

    fn write(ledger: &Ledger) {
        let beside: Vec<Tag> = (10..40).map(Tag).collect();
        let mut with_hot = beside.clone();
        with_hot.push(HOT);
        for number in 1..=EPOCHS {
            let epoch = epoch(number);
            ledger.apply(&Record::opening(epoch, first(number)));
            for at in first(number) + 1..=first(number) + RECORDS {
                let tags = if at % 2 == 0 { &with_hot } else { &beside };
                ledger.apply(&record(epoch, at - 1, at, tags));
                assert!(ledger.prove(Moment::from_nanos(at), Position { epoch, at }));
            }
            if number % 4 == 0 {
                ledger.break_off();
            }
        }
    }

    /// No field of a glance may be of another epoch than the others, and none may be ahead of what it rests on.
    fn check_sight(sight: &Sight) {
        let number = sight.epoch.log.0;
        assert_eq!(sight.epoch, epoch(number), "{sight:?}");
        assert_eq!(sight.generation, 2 * number, "one settled generation for each epoch: {sight:?}");
        assert_eq!(sight.horizon, first(number), "{sight:?}");
        assert!((first(number)..=first(number) + RECORDS).contains(&sight.watermark), "{sight:?}");
        if let Some(until) = sight.proven_until {
            assert!((first(number) + 1..=sight.watermark).contains(&until.as_nanos()), "{sight:?}");
        }
    }

    fn check_verdict(sight: &Sight, filled: u64, limit: u64, verdict: Verdict) {
        let unseen = filled / 2 * 2 + 2;
        match verdict {
            Verdict::Current { proven } => {
                assert!(proven >= sight.watermark.min(limit));
                assert!(proven < unseen || proven == filled, "{unseen} is unseen at {proven}: {sight:?}");
            }
            Verdict::Outdated(outdated) => {
                assert_eq!(outdated.by, unseen, "{sight:?}");
                if let Some(moment) = outdated.proven_before {
                    assert!((first(sight.epoch.log.0)..unseen).contains(&moment.as_nanos()), "{sight:?}");
                }
            }
            Verdict::Void(_) => {}
        }
    }

    fn look(ledger: &Ledger, count: u64) {
        // Taken one after another and checked later.
        let glances: [Option<Sight>; GLANCES] = std::array::from_fn(|_| ledger.sight());
        glances.iter().flatten().for_each(check_sight);
        let Some(sight) = ledger.sight() else { return };
        let filled = sight.watermark - (count % 3).min(sight.watermark - sight.horizon);
        let entry = entry(&sight, filled, &[HOT]);
        // Once in a while a reader is slow and the ledger has moved on.
        if count.is_multiple_of(97) {
            thread::yield_now();
        }
        let (limit, verdict) = if count.is_multiple_of(5) {
            (sight.watermark, ledger.judge_at(&sight, &entry, sight.watermark))
        } else {
            (u64::MAX, ledger.judge(&sight, &entry))
        };
        check_verdict(&sight, filled, limit, verdict);
    }

    #[test]
    fn no_reader_mixes_two_epochs_or_misses_a_change_below_its_watermark() {
        let ledger = Ledger::new(LedgerSize { stripes: 64, changes: 64 * 64 });
        race(LOOKS_MIN, || write(&ledger), |count| look(&ledger, count));
    }
}

/// One log that is proven at each position at the moment of the same number, and entries of many tags, which are looked
/// at one by one. An entry reflects the moments before the first position it does not see, and none after.
mod wide {
    use super::*;

    const ROUNDS: u64 = 10_000;
    const LOOKS_MIN: u64 = 500;
    const EPOCH: Epoch = Epoch { log: LogId(1), era: 0 };
    const STRIPES: u64 = 256;

    fn ledger() -> Ledger {
        let ledger = Ledger::new(LedgerSize { stripes: STRIPES as usize, changes: 1 << 20 });
        ledger.apply(&Record::opening(EPOCH, 0));
        ledger
    }

    fn step(ledger: &Ledger, at: u64, tags: &[Tag]) {
        ledger.apply(&record(EPOCH, at - 1, at, tags));
        ledger.prove(Moment::from_nanos(at), Position { epoch: EPOCH, at });
    }

    /// The n-th tag of a half of the entry's tags. They rotate, so that none changes often enough to be forgotten.
    fn rotating(half: u64, round: u64) -> [Tag; 1] {
        [Tag(half * STRIPES / 2 + round % (STRIPES / 2))]
    }

    /// Whatever the watermark, the very next position is a change that an entry filled there does not see.
    fn look(ledger: &Ledger) {
        let Some(sight) = ledger.sight() else { return };
        let filled = sight.watermark;
        let tags: Vec<Tag> = (0..STRIPES).map(Tag).collect();
        // As when a stripe collides: straight to the exact histories.
        match ledger.judge_at(&sight, &entry(&sight, filled, &tags), u64::MAX) {
            Verdict::Current { proven } => assert_eq!(proven, filled),
            Verdict::Outdated(outdated) => {
                let moment = outdated.proven_before.map_or(0, Moment::as_nanos);
                assert!(moment <= filled, "filled at {filled}, said to reflect {moment}: {outdated:?}");
            }
            Verdict::Void(_) => {}
        }
    }

    #[test]
    fn an_outdated_entry_reflects_the_moment_it_claims_though_its_tags_are_looked_at_one_by_one() {
        let ledger = ledger();
        let write = || {
            for round in 1..=ROUNDS {
                let last = 2 * round;
                // A tag of the first half may have been looked at already, one of the second not yet.
                step(&ledger, last - 1, &rotating(0, round));
                step(&ledger, last, &rotating(1, round));
            }
        };
        race(LOOKS_MIN, write, |_| look(&ledger));
    }

    /// Loses the first of every three positions.
    fn write_with_gaps(ledger: &Ledger) {
        for round in 1..=ROUNDS {
            let last = 3 * round;
            step(ledger, last - 1, &[]);
            step(ledger, last, &rotating(1, round));
        }
    }

    #[test]
    fn an_outdated_entry_reflects_the_moment_it_claims_though_a_gap_opens_while_it_is_judged() {
        let ledger = ledger();
        race(LOOKS_MIN, || write_with_gaps(&ledger), |_| look(&ledger));
    }

    #[test]
    fn no_reader_sees_the_watermark_beyond_a_gap_without_the_horizon() {
        let ledger = ledger();
        let look = |_| {
            let Some(sight) = ledger.sight().filter(|sight| sight.watermark > 0) else { return };
            // Everything on this tag was lost, and the latest loss is above what the entry saw.
            let before_loss = (sight.watermark - 1) / 3 * 3;
            let verdict = ledger.judge(&sight, &entry(&sight, before_loss, &[Tag(0)]));
            assert!(matches!(verdict, Verdict::Void(_)), "{verdict:?} at {sight:?}");
        };
        race(LOOKS_MIN, || write_with_gaps(&ledger), look);
    }
}
