//! A view at run time: its contract and what is counted about it.

use crate::answer::Carried;
use crate::stats::{Counters, Histogram};
use candor_core::{Contract, Origin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A contract in force, with its figures.
#[derive(Debug, Default)]
pub struct View {
    contract: Contract,
    figures: Figures,
    /// Moving average of what a fill costs, in nanoseconds; what early refresh weighs against the end of an entry.
    fill_cost: AtomicU64,
}

/// Why a read did not take what memory held, or a fill was not kept. The rows of the bypass and eviction figures.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// Memory held nothing.
    MissCold,
    /// The time to live had ended.
    MissExpired,
    /// A change on the entry's tags.
    MissOutdated,
    /// The ledger could not judge the entry.
    MissVoid,
    /// The proof was older than the read's demand, and no log could renew it.
    MissBound,
    /// The read was strong and needed a fence.
    FenceStrong,
    /// The proof was older than the read's bound and needed a fence.
    FenceBound,
    /// The session was ahead of the watermark.
    FenceSession,
    /// The log could not be followed.
    FeedDown,
    /// A fill failed the rule: a change was not visible in it. Given to its readers and not kept.
    NotKeptOutdated,
    /// A fill could not be judged.
    NotKeptVoid,
    /// A loader gave no stamp although the source has a log.
    NotKeptUnstamped,
    /// A loader gave no tags although the source has a log, so no change could ever concern the entry.
    NotKeptUntagged,
    /// An application invalidated the key while it was loading.
    NotKeptInvalidated,
    /// A fill that was kept.
    Kept,
    /// A fill failed.
    FillFailed,
    /// The limiter refused a fill.
    FillRefused,
    /// A fill for nobody, to keep an entry fresh.
    Refresh,
    /// An answer that was less than asked for.
    Degraded,
    /// A read that ended in an error.
    Failed,
    /// An application's invalidation.
    Invalidated,
}

impl Event {
    const COUNT: usize = 21;

    /// All of them, with the words used in metrics.
    pub const ALL: [(&'static str, Self); Self::COUNT] = [
        ("miss-cold", Self::MissCold),
        ("miss-expired", Self::MissExpired),
        ("miss-outdated", Self::MissOutdated),
        ("miss-void", Self::MissVoid),
        ("miss-bound", Self::MissBound),
        ("fence-strong", Self::FenceStrong),
        ("fence-bound", Self::FenceBound),
        ("fence-session", Self::FenceSession),
        ("feed-down", Self::FeedDown),
        ("not-kept-outdated", Self::NotKeptOutdated),
        ("not-kept-void", Self::NotKeptVoid),
        ("not-kept-unstamped", Self::NotKeptUnstamped),
        ("not-kept-untagged", Self::NotKeptUntagged),
        ("not-kept-invalidated", Self::NotKeptInvalidated),
        ("kept", Self::Kept),
        ("fill-failed", Self::FillFailed),
        ("fill-refused", Self::FillRefused),
        ("refresh", Self::Refresh),
        ("degraded", Self::Degraded),
        ("failed", Self::Failed),
        ("invalidated", Self::Invalidated),
    ];
}

/// What is counted per view.
#[derive(Debug, Default)]
pub struct Figures {
    events: Counters<{ Event::COUNT }>,
    origins: Counters<4>,
    bounds: Histogram,
    /// Ages of plain hits; the others are in `ages`.
    hits: Histogram,
    ages: Histogram,
    fills: Histogram,
    fill_nanos: Counters<1>,
}

impl Figures {
    /// How often this happened.
    pub fn events(&self, event: Event) -> u64 {
        self.events.sum(event as usize)
    }

    /// Answers by where they were found.
    pub fn answers(&self, origin: Origin) -> u64 {
        let plain = if origin == Origin::L1 { self.hits.count_all() } else { 0 };
        plain + self.origins.sum(slot(origin))
    }

    /// The claimed bounds of all answers that had one.
    pub fn bounds(&self) -> &Histogram {
        &self.bounds
    }

    /// The ages of all answers: pairs of upper limit in milliseconds and count, as [`Histogram::buckets`] gives them.
    pub fn ages(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ages
            .buckets()
            .zip(self.hits.buckets())
            .map(|((limit, others), (_, hits))| (limit, others + hits))
    }

    /// How long fills took.
    pub fn fills(&self) -> &Histogram {
        &self.fills
    }

    /// Time spent in fills altogether.
    pub fn fill_time(&self) -> Duration {
        Duration::from_nanos(self.fill_nanos.sum(0))
    }

    #[inline]
    pub(crate) fn event(&self, event: Event) {
        self.events.count(event as usize);
    }

    /// A plain hit: the cheapest way to count what [`Self::answer`] counts.
    #[inline]
    pub(crate) fn hit(&self, bound_nanos: u64, age_nanos: u64) {
        self.hits.count_nanos(age_nanos);
        self.bounds.count_nanos(bound_nanos);
    }

    pub(crate) fn answer(&self, carried: &Carried) {
        self.origins.count(slot(carried.origin));
        self.ages.count_nanos(carried.age_nanos);
        self.bounds.count_nanos(carried.bound_nanos);
        if carried.degraded.is_some() {
            self.event(Event::Degraded);
        }
    }
}

fn slot(origin: Origin) -> usize {
    match origin {
        Origin::L1 => 0,
        Origin::L2 => 1,
        Origin::Flight => 2,
        Origin::Source => 3,
    }
}

impl View {
    /// Puts a contract in force.
    pub fn new(contract: Contract) -> Self {
        Self { contract, ..Self::default() }
    }

    /// The promises.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// What was counted.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Counts an invalidation that an application made through another view of the same source.
    pub fn invalidated(&self) {
        self.figures.event(Event::Invalidated);
    }

    /// What a fill costs lately, in nanoseconds.
    #[inline]
    pub(crate) fn fill_cost_nanos(&self) -> u64 {
        self.fill_cost.load(Ordering::Relaxed)
    }

    /// What a fill costs lately.
    pub fn fill_cost(&self) -> Duration {
        Duration::from_nanos(self.fill_cost.load(Ordering::Relaxed))
    }

    /// Counts a fill; the average moves by an eighth.
    pub(crate) fn filled(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.figures.fills.count(took);
        self.figures.fill_nanos.add(0, nanos);
        let before = self.fill_cost.load(Ordering::Relaxed);
        let after = if before == 0 { nanos } else { before - before / 8 + nanos / 8 };
        // A lost race loses one sample of an average.
        self.fill_cost.store(after, Ordering::Relaxed);
    }
}
