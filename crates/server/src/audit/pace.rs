//! When the next watch may begin.
//!
//! Two rules. A watch begins every so often, or more often during a *campaign*. And a source rests after each look: for
//! a hundred times as long as it was busy with it, divided by the loads it takes at once. So looks never use more than a
//! hundredth of what the source's limit allows, and a source that becomes slow is looked at less often by itself.

use candor::Moment;
use std::collections::HashMap;
use std::time::Duration;

/// A source rests this many times as long as it was busy, for each load it takes at once.
const REST: u32 = 100;

/// A time of watching more often, on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// How long it lasts.
    pub length: Duration,
    /// Between two watches.
    pub every: Duration,
    /// Only this view; all if left out.
    pub view: Option<Box<str>>,
}

/// What the next watch is to be.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) view: Option<Box<str>>,
    /// Whether the audit reads a key by itself if nobody else does. In a campaign it does so through the ordinary path;
    /// otherwise it only peeks into memory, so that what doors serve is as if there were no audit.
    pub(super) reads: bool,
}

/// When what was and may be.
#[derive(Debug, Default)]
pub(super) struct Pace {
    next: Option<Moment>,
    campaign: Option<(Campaign, Moment)>,
    /// How long each source was busy since it last rested, and when its rest ends.
    rests: HashMap<usize, (Moment, Duration)>,
}

impl Campaign {
    /// The longest.
    pub const LENGTH_MAX: Duration = Duration::from_secs(600);
    /// The fastest.
    pub const EVERY_MIN: Duration = Duration::from_millis(20);
    /// What is meant if nothing is said: ten watches a second for half a minute.
    pub const USUAL: Self =
        Self { length: Duration::from_secs(30), every: Duration::from_millis(100), view: None };
}

impl Pace {
    /// The first watch comes after the first interval; never, if there is none.
    pub(super) fn start(&mut self, every: Option<Duration>, now: Moment) {
        if self.next.is_none() {
            self.next = every.map(|every| now.plus(every));
        }
    }

    pub(super) fn begin(&mut self, campaign: Campaign, now: Moment) {
        let end = now.plus(campaign.length);
        self.campaign = Some((campaign, end));
        self.next = Some(now);
    }

    /// When to look again whether something is to be done.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        self.next.map(|next| next.max(now))
    }

    /// What to watch now, and when the one after it is due. `None`: nothing any more.
    pub(super) fn next(&mut self, every: Option<Duration>, now: Moment) -> Option<Plan> {
        if self.campaign.as_ref().is_some_and(|(_, end)| now >= *end) {
            self.campaign = None;
        }
        let (every, plan) = match &self.campaign {
            Some((campaign, _)) => (campaign.every, Plan { view: campaign.view.clone(), reads: true }),
            None => match every {
                Some(every) => (every, Plan { view: None, reads: false }),
                None => {
                    self.next = None;
                    return None;
                }
            },
        };
        self.next = Some(now.plus(every));
        Some(plan)
    }

    /// How much longer the campaign lasts.
    pub(super) fn left(&self, now: Moment) -> Option<Duration> {
        let (_, end) = self.campaign.as_ref()?;
        Some(end.since(now)).filter(|left| !left.is_zero())
    }

    /// A source was busy for the audit for so long.
    pub(super) fn spent(&mut self, source: usize, busy: Duration, now: Moment) {
        let (_, debt) = self.rests.entry(source).or_insert((now, Duration::ZERO));
        *debt += busy;
    }

    /// Whether a source has rested enough for what it did. What it rested more than that does not count.
    pub(super) fn is_rested(&mut self, source: usize, in_flight: usize, now: Moment) -> bool {
        let (since, debt) = self.rests.entry(source).or_insert((now, Duration::ZERO));
        let rest = *debt * REST / u32::try_from(in_flight.max(1)).unwrap_or(u32::MAX);
        if now.since(*since) < rest {
            return false;
        }
        (*since, *debt) = (now, Duration::ZERO);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u32) -> Moment {
        Moment::ZERO.plus(MS * millis)
    }

    #[test]
    fn a_source_rests_a_hundred_times_as_long_as_it_was_busy_for_each_load_it_takes() {
        let mut pace = Pace::default();
        assert!(pace.is_rested(0, 4, at(0)));
        pace.spent(0, 3 * MS, at(10));
        pace.spent(0, MS, at(11));
        assert!(!pace.is_rested(0, 4, at(99)), "4 ms of work are 100 ms of rest for one of four turns");
        assert!(pace.is_rested(1, 4, at(99)), "another source has done nothing");
        assert!(pace.is_rested(0, 4, at(100)));
        assert!(pace.is_rested(0, 4, at(100)), "what was rested for is forgotten");
    }

    #[test]
    fn a_campaign_hurries_and_ends() {
        let mut pace = Pace::default();
        let second = Some(1000 * MS);
        pace.start(second, at(0));
        assert_eq!(pace.due(at(0)), Some(at(1000)));
        pace.begin(Campaign { length: 100 * MS, every: 20 * MS, view: Some("user".into()) }, at(5));
        assert_eq!(pace.due(at(5)), Some(at(5)));
        let plan = pace.next(second, at(5)).unwrap();
        assert!(plan.reads && plan.view.as_deref() == Some("user"));
        assert_eq!((pace.due(at(6)), pace.left(at(6))), (Some(at(25)), Some(99 * MS)));
        let after = pace.next(second, at(105)).unwrap();
        assert!(!after.reads && after.view.is_none() && pace.left(at(105)).is_none());
        assert_eq!(pace.due(at(106)), Some(at(1105)));
        assert!(pace.next(None, at(1105)).is_none() && pace.due(at(1106)).is_none());
    }
}
