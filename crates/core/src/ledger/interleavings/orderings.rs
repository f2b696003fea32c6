//! Every ordering of the ledger, weakened: a place that asks for one has a scenario that misses it, or stands in a list.

use super::*;
use crate::sync::checked::{Place, places_met, weaken};
use std::panic::{AssertUnwindSafe, catch_unwind};

const SOURCE: &str = include_str!("../../ledger.rs");

/// Places whose ordering no verdict depends on, in the order of the source, by their text, so that the list lives as long
/// as they do. They stay as they are: on most machines they cost nothing, and a reader need not know the reasons below.
const UNMISSED: &[&str] = &[
    // Nothing is loaded between them and the fence that ends every look.
    "horizon: self.horizon.load(Ordering::Acquire),",
    "let untouched = proven >= self.watermark.load(Ordering::Acquire)",
    "|| entry.tags().iter().all(|tag| self.lasts[self.stripe(*tag)].load(Ordering::Acquire) <= proven);",
    // What is claimed of an outdated entry is no more than the glance, so a horizon that rises later harms nobody.
    "if is_below_horizon(proven, self.horizon.load(Ordering::Acquire)) {",
    // Read and raised under the lock of the shard.
    "if is_below_floor(proven, floor.load(Ordering::Acquire).max(history.forgotten())) {",
    // The watermark is stored after it, and releases both.
    "self.horizon.store(record.previous, Ordering::Release);",
    // It tells readers to give up, and nothing more.
    "self.generation.store(generation + 1, Ordering::Release);",
    // Between the fence that begins an epoch and the generation that releases everything.
    "position.store(0, Ordering::Release);",
    "self.watermark.store(record.at, Ordering::Release);",
    // Under the lock of the shard, and before the watermark.
    "self.floors[self.stripe(forgotten)].fetch_max(at, Ordering::Release);",
    "self.lasts[self.stripe(*tag)].fetch_max(change.at, Ordering::Release);",
];

/// The line of the ledger's source in this place.
fn text_of(place: Place) -> Option<&'static str> {
    let (file, line) = place;
    file.ends_with("src/ledger.rs").then(|| SOURCE.lines().nth(line as usize - 1).unwrap_or_default().trim())
}

/// The first scenario that goes wrong with these places weakened.
fn found_out(weakened: &[Place]) -> Option<(&'static str, Asks)> {
    weaken(weakened.iter().copied());
    let found = SCENARIOS.iter().find_map(|scenario| {
        Asks::ALL.into_iter().find_map(|asks| {
            let tried = catch_unwind(AssertUnwindSafe(|| every_way(scenario, asks)));
            tried.is_err().then_some((scenario.name, asks))
        })
    });
    weaken([]);
    found
}

#[test]
fn every_ordering_that_is_not_listed_is_missed_by_a_verdict() {
    assert_eq!(found_out(&[]), None, "the ledger as it is");
    let (mut listed, mut unmissed) = (UNMISSED.iter().peekable(), Vec::new());
    for place in places_met() {
        let Some(text) = text_of(place) else { continue };
        if listed.next_if(|next| **next == text).is_some() {
            unmissed.push(place);
            continue;
        }
        let found = found_out(&[place]);
        println!("{text}\n    missed by: {found:?}");
        assert!(found.is_some(), "nobody misses the ordering of line {}: {text}", place.1);
    }
    assert_eq!(listed.next(), None, "no longer in the source, or no longer met in this order");
    // All of them at once.
    assert_eq!(found_out(&unmissed), None, "an ordering that is listed is missed after all");
}
