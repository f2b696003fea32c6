//! What fences remember of their answers: under which snapshot the log was last found to tell what its stream was begun with,
//! and what it vouches for since. The simulation compiles this file, too.

#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};

/// After so many glances in a row that were not enough, the whole question is asked at once, until it finds a snapshot
/// unchanged.
const GLANCES_MAX: u32 = 2;

/// The latest snapshot under which the fingerprint was that of the stream.
#[derive(Debug)]
pub(super) struct Intact<Stream, Snapshot> {
    under: Option<(Stream, Snapshot)>,
    /// What that stream vouches for: logged before the question that found it intact.
    vouched: u64,
    /// Glances in a row that were not enough.
    in_vain: u32,
}

impl<Stream, Snapshot> Default for Intact<Stream, Snapshot> {
    fn default() -> Self {
        Self { under: None, vouched: 0, in_vain: 0 }
    }
}

impl<Stream: PartialEq, Snapshot: PartialEq> Intact<Stream, Snapshot> {
    pub(super) fn is_glance_worth_it(&self) -> bool {
        self.under.is_some() && self.in_vain < GLANCES_MAX
    }

    /// Whether the fingerprint was found intact under this very snapshot: then what was vouched for.
    pub(super) fn under(&mut self, stream: &Stream, snapshot: &Snapshot) -> Option<u64> {
        let known = self.under.as_ref().is_some_and(|(of, under)| under == snapshot && of == stream);
        #[cfg(candor_sabotage)]
        let known = known || is(Sabotage::FingerprintOfAnySnapshot);
        self.in_vain = if known { 0 } else { self.in_vain + 1 };
        known.then_some(self.vouched)
    }

    /// The fingerprint was found intact by a question before which this much had been logged. What the stream vouches for.
    pub(super) fn found(&mut self, stream: Stream, snapshot: Snapshot, logged: u64) -> u64 {
        let is_same_stream = self.under.as_ref().is_some_and(|(of, _)| *of == stream);
        self.vouched = if is_same_stream { self.vouched.max(logged) } else { logged };
        let under = (stream, snapshot);
        if self.under.as_ref() == Some(&under) {
            self.in_vain = 0;
        } else {
            self.under = Some(under);
        }
        self.vouched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the server of a stream started, and what it was begun with.
    type Stream = (i64, &'static str);

    #[test]
    fn a_glance_is_enough_only_under_the_snapshot_and_for_the_stream_that_were_found_intact() {
        let mut intact: Intact<Stream, &str> = Intact::default();
        assert!(!intact.is_glance_worth_it(), "nothing was found intact yet");
        assert_eq!(intact.found((7, "a"), "700:702:700", 90), 90);
        assert!(intact.is_glance_worth_it());
        assert_eq!(intact.under(&(7, "a"), &"700:702:700"), Some(90));
        for (of, snapshot) in [
            ((7, "a"), "700:703:700"),
            ((7, "a"), "702:702:"),
            ((7, "b"), "700:702:700"),
            ((8, "a"), "700:702:700"),
        ] {
            assert_eq!(intact.under(&of, &snapshot), None, "{of:?} {snapshot}");
        }
        let later = intact.found((7, "a"), "700:703:700", 80);
        assert_eq!(later, 90, "what was vouched for once stays so");
        let anew = intact.found((7, "b"), "700:703:700", 80);
        assert_eq!(anew, 80, "but for another stream");
    }

    #[test]
    fn where_every_fence_meets_a_new_snapshot_the_glance_is_left_out_until_one_is_met_again() {
        let mut intact: Intact<Stream, String> = Intact::default();
        let snapshot = |number: u64| format!("{number}:{number}:");
        intact.found((7, "a"), snapshot(1), 1);
        for number in 2..10 {
            if intact.is_glance_worth_it() {
                assert_eq!(intact.under(&(7, "a"), &snapshot(number)), None);
            }
            intact.found((7, "a"), snapshot(number), number);
        }
        assert!(!intact.is_glance_worth_it());
        intact.found((7, "a"), snapshot(9), 9);
        assert!(intact.is_glance_worth_it());
        assert!(intact.under(&(7, "a"), &snapshot(9)).is_some());
    }
}
