//! How far the log must be told so that everything a snapshot shows is in it.
//!
//! The server's insert position is always far enough, and often further than needed: it counts what other transactions
//! have begun to write, which reaches the log's readers only when somebody's commit flushes it. What a snapshot shows are
//! the commits of those it names; where all of these were decoded already, the last of them is far enough.
//!
//! ```text
//!  a snapshot whose position is known ──► base            base: shows … 703
//!  another: shows 704 and 706 besides                     704 ends at 8810, 706 at 8930: so far, and no further
//!           shows 705 besides, of which nothing is known  rolled back, a savepoint, or not decoded yet: cannot tell
//! ```
//!
//! Bounded: so many commits are remembered, and no more transactions than that are looked for.

use super::Visible;
#[cfg(candor_sabotage)]
use candor_core::sabotage;
use candor_core::{LogId, Xid};
use std::collections::{HashMap, VecDeque};

/// Commits that are remembered. A fence follows the one before within a pulse, so at 20,000 commits a second some
/// hundreds lie between.
const COMMITS_MAX: usize = 8192;
/// Transactions looked for between two snapshots.
const BETWEEN_MAX: u64 = 2048;

/// One server from its start to its end, and the log it writes. Ids of transactions mean nothing beyond.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Era {
    pub(crate) log: LogId,
    pub(crate) started_micros: i64,
}

/// What was decoded lately, and the snapshot from which the next one is looked at.
#[derive(Debug, Default)]
pub(super) struct Shown {
    era: Option<Era>,
    base: Option<Known>,
    /// Becomes the base once the log has been told up to its position.
    next: Option<Known>,
    /// Where the commit of a transaction ends. By the 32 bits of its id that the log knows.
    ends: HashMap<u32, u64>,
    order: VecDeque<u32>,
}

/// Everything the snapshot shows is logged at or below the position.
#[derive(Debug)]
struct Known {
    snapshot: Visible,
    at: u64,
}

impl Shown {
    /// A commit was decoded; its record ends at `end`.
    pub(super) fn decoded(&mut self, end: u64, xid: Xid) {
        if self.order.len() == COMMITS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ends.remove(&oldest);
        }
        // An id that stands here twice would be four thousand million transactions apart.
        if self.ends.insert(xid.0 as u32, end).is_none() {
            self.order.push_back(xid.0 as u32);
        }
    }

    /// What was decoded may not be all there was.
    pub(super) fn restart(&mut self) {
        #[cfg(candor_sabotage)]
        if sabotage::is(sabotage::Sabotage::ShownOfFormerLog) {
            return;
        }
        *self = Self::default();
    }

    /// A position at or above everything that `snapshot` shows; `None` if a transaction it shows is not known. `at` is
    /// one such position, read by the statement that took the snapshot; `told` is how far the log has been told.
    pub(super) fn position(&mut self, era: Era, snapshot: &Visible, at: u64, told: u64) -> Option<u64> {
        if self.era != Some(era) {
            (self.era, self.base, self.next) = (Some(era), None, None);
        }
        if self.next.as_ref().is_some_and(|next| next.at <= told) {
            self.base = self.next.take();
        }
        let found = self.base.as_ref().and_then(|base| self.beyond(base, snapshot));
        match found {
            Some(enough) => {
                let enough = enough.min(at);
                self.base = Some(Known { snapshot: snapshot.clone(), at: enough });
                self.forget_below(snapshot.xmin);
                Some(enough)
            }
            None => {
                self.next.get_or_insert_with(|| Known { snapshot: snapshot.clone(), at });
                None
            }
        }
    }

    /// Every base from here on shows these, and asks for none of them. Were they kept, one would be found in place of a
    /// transaction of much later whose id has the same 32 bits.
    fn forget_below(&mut self, xmin: u64) {
        while let Some(oldest) = self.order.front()
            && (oldest.wrapping_sub(xmin as u32) as i32) < 0
        {
            self.ends.remove(oldest);
            self.order.pop_front();
        }
    }

    /// How far the log must be told beyond the base, if every transaction between the two snapshots is known.
    fn beyond(&self, base: &Known, snapshot: &Visible) -> Option<u64> {
        let begun = base.snapshot.xmax..snapshot.xmax;
        if begun.end.saturating_sub(begun.start) > BETWEEN_MAX {
            return None;
        }
        let ran = base.snapshot.in_progress.iter().copied();
        let ended = ran.filter(|xid| *xid < snapshot.xmax).chain(begun);
        ended.filter(|xid| snapshot.in_progress.binary_search(xid).is_err()).try_fold(
            base.at,
            |enough, xid| {
                let end = self.ends.get(&(xid as u32));
                #[cfg(candor_sabotage)]
                let end = if sabotage::is(sabotage::Sabotage::ShownUnknown) { end.or(Some(&0)) } else { end };
                let end = end?;
                Some(enough.max(*end))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ERA: Era = Era { log: LogId(7), started_micros: 1 };

    fn snapshot(text: &str) -> Visible {
        Visible::parse(text).unwrap()
    }

    fn based(text: &str, at: u64) -> Shown {
        let mut shown = Shown::default();
        assert_eq!(shown.position(ERA, &snapshot(text), at, 0), None, "nothing is known yet");
        assert_eq!(shown.position(ERA, &snapshot(text), at, at), Some(at), "the log was told up to there");
        shown
    }

    #[test]
    fn what_others_have_begun_to_write_is_not_waited_for() {
        let mut shown = based("700:700:", 100);
        assert_eq!(shown.position(ERA, &snapshot("700:700:"), 500, 100), Some(100), "nothing new is shown");
        shown.decoded(140, Xid(700));
        assert_eq!(shown.position(ERA, &snapshot("701:701:"), 900, 140), Some(140));
    }

    #[test]
    fn a_transaction_that_was_not_decoded_cannot_be_told_from_one_that_never_will_be() {
        let mut shown = based("700:702:700", 100);
        shown.decoded(140, Xid(702));
        assert_eq!(shown.position(ERA, &snapshot("703:703:"), 160, 140), None, "700 ended, somehow");
        shown.decoded(150, Xid(700));
        assert_eq!(shown.position(ERA, &snapshot("703:703:"), 160, 150), Some(150));
    }

    #[test]
    fn a_transaction_that_rolled_back_is_left_behind_when_the_log_has_passed_it() {
        let mut shown = based("700:700:", 100);
        assert_eq!(shown.position(ERA, &snapshot("701:701:"), 160, 120), None);
        shown.decoded(170, Xid(701));
        assert_eq!(shown.position(ERA, &snapshot("702:702:"), 190, 170), Some(170), "700 lies below 160");
    }

    #[test]
    fn another_start_of_the_server_begins_anew() {
        let mut shown = based("700:700:", 100);
        let restarted = Era { started_micros: 2, ..ERA };
        assert_eq!(shown.position(restarted, &snapshot("700:700:"), 500, 100), None);
        let mut shown = based("700:700:", 100);
        shown.restart();
        assert_eq!(shown.position(ERA, &snapshot("700:700:"), 500, 100), None);
    }

    #[test]
    fn ids_of_the_log_have_32_bits_and_wrap_around() {
        let wrap = 1_u64 << 32;
        let mut shown = based(&format!("{0}:{0}:", wrap - 1), 100);
        shown.decoded(110, Xid(wrap - 1));
        shown.decoded(120, Xid(0));
        let after = format!("{0}:{0}:", wrap + 1);
        assert_eq!(shown.position(ERA, &snapshot(&after), 500, 120), Some(120));
    }

    #[test]
    fn a_commit_of_long_ago_is_not_taken_for_one_whose_id_has_the_same_32_bits() {
        let mut shown = based("700:700:", 100);
        shown.decoded(140, Xid(700));
        assert_eq!(shown.position(ERA, &snapshot("701:701:"), 900, 140), Some(140));
        let (later, told) = ((1_u64 << 32) + 700, 5_000);
        let before = format!("{later}:{later}:");
        assert_eq!(shown.position(ERA, &snapshot(&before), told, told), None, "too many lie between");
        assert_eq!(shown.position(ERA, &snapshot(&before), told, told), Some(told));
        let after = format!("{0}:{0}:", later + 1);
        assert_eq!(shown.position(ERA, &snapshot(&after), 9_000, told), None, "it was not decoded yet");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_was_forgotten_cannot_be_told() {
        let mut shown = based("700:700:", 100);
        for number in 0..COMMITS_MAX as u64 + 1 {
            shown.decoded(101 + number, Xid(700 + number));
        }
        assert_eq!((shown.ends.len(), shown.order.len()), (COMMITS_MAX, COMMITS_MAX));
        assert_eq!(shown.position(ERA, &snapshot("701:701:"), 500, 101), None, "700 was forgotten");
    }

    proptest! {
        /// Transactions commit or roll back in any order, become visible later, are decoded at their own pace; at any
        /// moment a snapshot may be taken. Whatever position is named, everything the snapshot shows lies at or below.
        #[test]
        fn no_position_lies_below_what_its_snapshot_shows(steps in prop::collection::vec((0_u8..6, any::<prop::sample::Index>()), 1..200)) {
            let (mut shown, mut log, mut insert) = (Shown::default(), Vec::<(u64, u64)>::new(), 1_u64);
            let (mut next, mut decoded, mut told) = (700_u64, 0, 0);
            let (mut running, mut logged, mut finished) = (Vec::<u64>::new(), Vec::<u64>::new(), 699_u64);
            for (step, index) in steps {
                match step {
                    0 => {
                        running.push(next);
                        next += 1;
                        insert += 1;
                    }
                    1 if !running.is_empty() => {
                        let xid = running.remove(index.index(running.len()));
                        insert += 10;
                        log.push((xid, insert));
                        logged.push(xid);
                    }
                    2 if !running.is_empty() => finished = finished.max(running.remove(index.index(running.len()))),
                    3 if !logged.is_empty() => finished = finished.max(logged.remove(index.index(logged.len()))),
                    4 if decoded < log.len() => {
                        let (xid, end) = log[decoded];
                        shown.decoded(end, Xid(xid));
                        (decoded, told) = (decoded + 1, end);
                    }
                    _ => {
                        let xmax = finished + 1;
                        let mut open: Vec<u64> = running.iter().chain(&logged).copied().filter(|xid| *xid < xmax).collect();
                        open.sort_unstable();
                        let xmin = open.first().copied().unwrap_or(xmax);
                        let seen = Visible { xmin, xmax, in_progress: open.clone().into() };
                        let shows = |xid: u64| xid < xmax && !open.contains(&xid);
                        let least = log.iter().filter(|(xid, _)| shows(*xid)).map(|(_, end)| *end).max().unwrap_or(0);
                        if let Some(position) = shown.position(ERA, &seen, insert, told) {
                            prop_assert!(least <= position && position <= insert, "{position} below {least}");
                        }
                    }
                }
            }
        }
    }
}
