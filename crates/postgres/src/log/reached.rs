//! How far the log was told: to the followers in one number, to the server in another.
//!
//! Where something may be missing, the followers are given a number that no record of the log ends at, one above whatever was
//! reached: their chain shows them the gap. The server must never hear it.

use super::Standing;
use candor_core::LogId;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};

/// A position of the log that was followed last.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) log: LogId,
    /// What followers were told; above the log's own number where a gap was made.
    pub(super) at: u64,
    /// The log's own number: what the server may be told. It skips commits whose record begins below it, and one may begin
    /// exactly where another ends.
    pub(super) sent: u64,
    /// What the stream was begun with. It may change while nobody looks.
    pub(super) coverage: String,
    /// Whether what was known of this log no longer holds, so that going on would be a lie.
    pub(super) broken: bool,
}

impl Reached {
    /// What is reached as a stream begins that tells everything from `from` on. `before`: what was reached until now, in
    /// whatever log; `goes_on`: whether nothing is missing between the two.
    pub(super) fn beginning(before: Option<Self>, standing: &Standing, from: u64, goes_on: bool) -> Self {
        let log = standing.identity.log();
        let at = match before.filter(|before| before.log == log) {
            // The followers that come back know this log up to there, and must learn that something is missing. While nothing
            // was told since the last gap, nothing can have been proven above it, and its number does once more: were each
            // gap given one of its own, they would run into the numbers of commits to come.
            Some(before) if !goes_on => before.at.max(from + 1),
            Some(before) => from.max(before.at),
            None => from,
        };
        let sent = from;
        #[cfg(candor_sabotage)]
        let sent = if is(Sabotage::GapIsPosition) { at } else { sent };
        Self { log, at, sent, coverage: standing.coverage.clone(), broken: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn standing(system: u64) -> Standing {
        let identity = Identity { system, timeline: 1, started_micros: 1, database: "shop".into() };
        Standing { identity, coverage: "a".into(), opened: 0 }
    }

    #[test]
    fn the_server_never_hears_the_number_of_a_gap() {
        let first = Reached::beginning(None, &standing(1), 800, false);
        assert_eq!((first.at, first.sent), (800, 800));
        let gap = Reached::beginning(Some(first), &standing(1), 880, false);
        assert_eq!((gap.at, gap.sent), (881, 880), "a commit may begin at 880");
        // Nothing was told since: the followers stay where they are, and so does the server.
        let on = Reached::beginning(Some(gap.clone()), &standing(1), 880, true);
        assert_eq!((on.at, on.sent), (881, 880));
        let again = Reached::beginning(Some(gap.clone()), &standing(1), 880, false);
        assert_eq!((again.at, again.sent), (881, 880), "nothing was told since the last gap");
        let told = Reached { at: 960, sent: 960, ..again.clone() };
        let later = Reached::beginning(Some(told), &standing(1), 960, false);
        assert_eq!((later.at, later.sent), (961, 960));
        let moved = Reached::beginning(Some(again.clone()), &standing(1), 920, false);
        assert_eq!((moved.at, moved.sent), (921, 920), "somebody moved the slot on");
        let other = Reached::beginning(Some(gap), &standing(2), 400, false);
        assert_eq!((other.at, other.sent), (400, 400), "another log counts anew");
    }
}
