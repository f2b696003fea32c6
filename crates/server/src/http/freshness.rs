//! `Cache-Control`: how long others may pass an answer on.
//!
//! A browser or a CDN that reuses an answer makes it older without asking us, so whatever it is allowed must come out
//! of what the read's own level allows. At level `bounded(d)`, with an answer proven to reflect everything that was
//! visible `bound` ago, there is `d - bound` left:
//!
//! ```text
//!      visible at the source        answered                      no longer within d
//!  ───────────┼────────────────────────┼──────────────────────────────────┼────►
//!             └─────── bound ──────────┴───────── max-age, rounded down ──┘
//!             └──────────────────────────── d ────────────────────────────┘
//! ```
//!
//! | read | header | why |
//! |---|---|---|
//! | critical view, `strong` | `no-store` | any reuse would be older than the read that reuses it |
//! | `session` | `private, no-cache` | holds for one reader, whose token moves on; may be kept and asked about |
//! | `bounded(d)` | `max-age=⌊d − bound⌋, must-revalidate` | as drawn; never beyond the time to live |
//! | `any` | `max-age=` the rest of the time to live | that is the contract's limit for this level |
//! | nothing left | `no-cache` | may be kept and asked about with its ETag |
//! | degraded, unproven | `no-store` | an exception must not outlive its cause |
//!
//! `private` is added where an answer belongs to a caller: a private view, an authorised request, a session token.
//! `must-revalidate` forbids what the standard otherwise allows, to serve past the end when we cannot be reached.
//!
//! `max-age` alone keeps the promise, whether or not a cache subtracts our [`Age`](super::headers::age_secs), which not
//! every one does (nginx does not). One that does subtracts it once more and keeps the answer a little shorter; with a
//! followed log the bound is milliseconds and `Age` zero. Caches tell answers of different levels apart by
//! [`Vary`](super::headers::vary).

use candor_core::{Contract, Demand, Level, Receipt};
use std::fmt;
use std::time::Duration;

/// What decides about the reuse of an answer, besides its receipt.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// The level the read was made at.
    pub level: Level,
    /// Only `strong` exists for the view.
    pub is_critical: bool,
    /// The answer belongs to one caller.
    pub is_personal: bool,
    /// How long an entry of this kind (found or absent) may live, from its fill.
    pub ttl: Duration,
}

impl Reuse {
    /// From the contract and the demand. `found` is false for an absence; `is_authorised` is true if the request was
    /// let in by a token.
    pub fn of(
        contract: &Contract,
        demand: &Demand,
        found: bool,
        is_private: bool,
        is_authorised: bool,
    ) -> Self {
        Self {
            level: demand.level,
            is_critical: contract.critical,
            is_personal: is_private || is_authorised || demand.token.is_some(),
            ttl: if found { contract.ttl } else { contract.absent_ttl },
        }
    }
}

/// What others may do with an answer: the header's value.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CacheControl {
    is_personal: bool,
    store: Store,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Store {
    Never,
    AskFirst,
    For(u64),
}

impl CacheControl {
    /// For an answer with this receipt.
    pub fn of(reuse: &Reuse, receipt: &Receipt) -> Self {
        let is_personal = reuse.is_personal || reuse.level == Level::Session;
        Self { is_personal, store: store(reuse, receipt) }
    }
}

impl fmt::Display for CacheControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_personal && self.store != Store::Never {
            f.write_str("private, ")?;
        }
        match self.store {
            Store::Never => f.write_str("no-store"),
            Store::AskFirst => f.write_str("no-cache"),
            Store::For(seconds) => {
                f.write_str("max-age=")?;
                seconds.fmt(f)?;
                f.write_str(", must-revalidate")
            }
        }
    }
}

fn store(reuse: &Reuse, receipt: &Receipt) -> Store {
    if reuse.is_critical || receipt.degraded.is_some() {
        return Store::Never;
    }
    let living = reuse.ttl.saturating_sub(receipt.age);
    let left = match (reuse.level, receipt.bound) {
        (Level::Strong, _) | (Level::Bounded(_), None) => return Store::Never,
        (Level::Session, _) => return Store::AskFirst,
        (Level::Bounded(limit), Some(bound)) => limit.saturating_sub(bound).min(living),
        (Level::Any, _) => living,
    };
    match left.as_secs() {
        0 => Store::AskFirst,
        seconds => Store::For(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_core::{Degraded, Origin, ProofKind};

    const MS: Duration = Duration::from_millis(1);

    fn receipt(bound_ms: Option<u32>, age_ms: u32) -> Receipt {
        Receipt {
            origin: Origin::L1,
            proof: ProofKind::Log,
            bound: bound_ms.map(|bound| MS * bound),
            age: MS * age_ms,
            position: None,
            upper: None,
            degraded: None,
        }
    }

    fn control(reuse: &Reuse, receipt: &Receipt) -> String {
        CacheControl::of(reuse, receipt).to_string()
    }

    fn reuse(level: Level) -> Reuse {
        Reuse { level, is_critical: false, is_personal: false, ttl: Duration::from_secs(60) }
    }

    #[test]
    fn nothing_is_allowed_beyond_the_level_or_the_time_to_live() {
        let bounded = |millis: u32| Level::Bounded(MS * millis);
        for (level, bound, age, expected) in [
            (bounded(2000), Some(38), 5_000, "max-age=1, must-revalidate"),
            (bounded(2000), Some(1000), 5_000, "max-age=1, must-revalidate"),
            (bounded(2000), Some(1001), 5_000, "no-cache"),
            (bounded(2000), Some(0), 5_000, "max-age=2, must-revalidate"),
            (bounded(2000), Some(3000), 5_000, "no-cache"),
            (bounded(2000), None, 5_000, "no-store"),
            (bounded(30_000), Some(0), 50_000, "max-age=10, must-revalidate"),
            (bounded(30_000), Some(0), 61_000, "no-cache"),
            (Level::Any, None, 20_000, "max-age=40, must-revalidate"),
            (Level::Any, Some(1), 59_001, "no-cache"),
            (Level::Session, Some(0), 0, "private, no-cache"),
            (Level::Strong, Some(0), 0, "no-store"),
        ] {
            assert_eq!(control(&reuse(level), &receipt(bound, age)), expected, "{level} {bound:?} {age}");
        }
    }

    #[test]
    fn for_any_bound_the_answer_is_still_within_its_level_when_the_last_cache_lets_go() {
        for limit in (0..5000).step_by(137) {
            for bound in (0..5000).step_by(41) {
                let level = Level::Bounded(MS * limit);
                if let Store::For(seconds) = store(&reuse(level), &receipt(Some(bound), 0)) {
                    assert!(u64::from(bound) + seconds * 1000 <= u64::from(limit), "{bound} of {limit}");
                }
            }
        }
    }

    #[test]
    fn exceptions_and_critical_views_are_not_kept_anywhere() {
        let degraded = Receipt { degraded: Some(Degraded::FeedDown), ..receipt(Some(0), 0) };
        assert_eq!(control(&reuse(Level::Any), &degraded), "no-store");
        let critical = Reuse { is_critical: true, is_personal: true, ..reuse(Level::Any) };
        assert_eq!(control(&critical, &receipt(Some(0), 0)), "no-store");
    }

    #[test]
    fn what_belongs_to_a_caller_is_kept_by_nobody_else() {
        let contract = Contract::default();
        let demand = Demand::from(Level::Any);
        let of = |is_private, is_authorised| {
            control(&Reuse::of(&contract, &demand, true, is_private, is_authorised), &receipt(None, 0))
        };
        assert_eq!(of(false, false), "max-age=3600, must-revalidate");
        assert_eq!(of(true, false), "private, max-age=3600, must-revalidate");
        assert_eq!(of(false, true), "private, max-age=3600, must-revalidate");
        let absent = Reuse::of(&contract, &demand, false, false, false);
        assert_eq!(control(&absent, &receipt(None, 0)), "max-age=30, must-revalidate");
    }
}
