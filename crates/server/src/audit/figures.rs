//! What the audit counts of one view.

use candor_core::Level;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What came out for one answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Outcome {
    True,
    False,
    Undecided,
    NotJudged,
}

/// The levels that are told apart, as metrics and reports name them.
pub(crate) const LEVELS: [&str; 5] = ["strong", "bounded", "session", "any", "snapshot"];

impl Outcome {
    /// All of them, with their words.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("true", Self::True),
        ("false", Self::False),
        ("undecided", Self::Undecided),
        ("not-judged", Self::NotJudged),
    ];
}

/// What is counted of one view.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    answers: [[AtomicU64; 4]; LEVELS.len()],
    /// Watches that judged something, or tried to.
    pub(crate) watches: AtomicU64,
    /// Watches in which nobody asked for the key.
    pub(crate) idle: AtomicU64,
    /// Watches that were given up, because the source had no room to spare or failed.
    pub(crate) given_up: AtomicU64,
    /// Questions to the source.
    pub(crate) looks: AtomicU64,
    /// Changes of which the log has told nothing.
    pub(crate) silent: AtomicU64,
    bound_nanos: AtomicU64,
    observed_nanos: AtomicU64,
}

/// The place of a level in [`LEVELS`].
pub(super) fn place(level: Level, is_snapshot: bool) -> usize {
    match level {
        _ if is_snapshot => 4,
        Level::Strong => 0,
        Level::Bounded(_) => 1,
        Level::Session => 2,
        Level::Any => 3,
    }
}

impl Figures {
    /// How many answers of a level came out so.
    pub(crate) fn answers(&self, level: usize, outcome: Outcome) -> u64 {
        self.answers[level][outcome as usize].load(Ordering::Relaxed)
    }

    /// The same for all levels.
    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        (0..LEVELS.len()).map(|level| self.answers(level, outcome)).sum()
    }

    /// Of the answers that were true: the sum of what they claimed, and of what was seen.
    pub(crate) fn tightness(&self) -> (Duration, Duration) {
        let sum = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        (sum(&self.bound_nanos), sum(&self.observed_nanos))
    }

    pub(super) fn count(&self, level: usize, outcome: Outcome, number: u64) {
        self.answers[level][outcome as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// A true answer claimed to be no older than `bound`, and was seen to be no older than `observed`.
    pub(super) fn seen(&self, bound: Duration, observed: Duration) {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.bound_nanos.fetch_add(nanos(bound), Ordering::Relaxed);
        self.observed_nanos.fetch_add(nanos(observed), Ordering::Relaxed);
    }
}

pub(super) fn add(figure: &AtomicU64, number: u64) {
    figure.fetch_add(number, Ordering::Relaxed);
}
