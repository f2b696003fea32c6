//! Memory under a scheduler that decides at each of its locks who goes on.
//!
//! Built by `cargo x concurrency` only; quick_cache brings the means to run itself under Shuttle. No promise rests on a
//! tier, so what is stated is only its contract: what is found was put there, whole, and is proven no further than
//! somebody proved that very fill.

use super::*;
use candor_core::{EntryParts, Epoch, LogId, Moment, Position, Stamp, Tag};
use std::time::Duration;

/// How many schedules are tried, if `CANDOR_SCHEDULES` says nothing.
const SCHEDULES: usize = 20_000;
const KEYS: u64 = 2;

/// The value names the fill, and a fill at 10 may be proven up to 19.
fn entry(key: u64, at: u64) -> Entry<(u64, u64)> {
    Entry::new(EntryParts {
        value: Some((key, at)),
        filled_at: Moment::from_nanos(at),
        stamp: Stamp::Sequence(Position { epoch: Epoch { log: LogId(1), era: 0 }, at }),
        tags: vec![Tag(key)],
        generation: 2,
        ttl: Duration::from_secs(1),
    })
}

fn look(memory: &Memory<u64, (u64, u64)>, key: u64) {
    let Some(found) = memory.get(&key) else { return };
    let Some((of, at)) = found.value().copied() else { panic!("an answer that nobody put there: {found:?}") };
    assert_eq!(of, key, "the answer of another key: {found:?}");
    assert_eq!((found.upper(), found.tags()), (at, &[Tag(key)][..]), "put together from two: {found:?}");
    assert!((at..at + 10).contains(&found.proven()), "proven for another fill: {found:?}");
}

/// Reads, proves further what it found, and sometimes drops it.
fn use_it(memory: &Memory<u64, (u64, u64)>, drops: bool) {
    for key in 1..=KEYS {
        if let Some(mut found) = memory.get(&key) {
            found.set_proven(found.upper() + 9);
            memory.prove(&key, &found);
        }
        look(memory, key);
    }
    if drops {
        memory.remove(&1);
        memory.retain(&mut |key, _| *key != 2);
    }
}

fn readers_and_fills(drops: bool) {
    // Room for one entry and a half: what is put is dropped for space as well.
    let memory = Arc::new(Memory::new(slot_bytes::<u64, (u64, u64)>() * 3 / 2, |_, _| 0));
    let fills = |at: [u64; 2]| {
        let memory = Arc::clone(&memory);
        move || {
            for (key, at) in [(1, at[0]), (2, at[1])] {
                memory.put(key, entry(key, at));
                look(&memory, key);
            }
        }
    };
    let uses = {
        let memory = Arc::clone(&memory);
        move || use_it(&memory, drops)
    };
    let threads = [
        shuttle::thread::spawn(fills([10, 40])),
        shuttle::thread::spawn(fills([20, 30])),
        shuttle::thread::spawn(uses),
    ];
    use_it(&memory, false);
    for thread in threads {
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
    let usage = memory.usage();
    assert!(usage.bytes <= usage.bytes_max, "{usage:?}");
    (1..=KEYS).for_each(|key| look(&memory, key));
}

#[test]
fn what_is_found_was_put_there_and_is_proven_as_far_as_that_fill_was() {
    let schedules = std::env::var("CANDOR_SCHEDULES").ok().and_then(|number| number.parse().ok());
    let quarter = schedules.unwrap_or(SCHEDULES).div_ceil(4);
    for drops in [false, true] {
        shuttle::check_random(move || readers_and_fills(drops), quarter);
        shuttle::check_pct(move || readers_and_fills(drops), quarter, 3);
    }
}
