//! What a ledger with endless memory would know of the records it was given.

use super::Cached;
use candor_core::rule::Outdated;
use candor_core::{Applied, Entry, Epoch, LogId, Moment, Position, Record, Sight, Tag, Verdict, Void};

/// Changes a ledger remembers per tag. Written here a second time: whoever changes it should mean it.
const CHANGES_PER_TAG: usize = 4;

/// What [`Sight`] shows, but for the generation, whose numbers mean nothing.
type Shown = (Epoch, u64, u64, Option<Moment>);

#[derive(Debug)]
pub(crate) struct Model {
    stripes: u64,
    changes_per_shard: usize,
    pub(crate) settled: bool,
    pub(crate) watermark: u64,
    epoch: Epoch,
    horizon: u64,
    proven_until: Option<Moment>,
    /// Everything delivered in this generation, in order.
    arrivals: Vec<Arrival>,
}

#[derive(Debug)]
struct Arrival {
    tag: Tag,
    at: u64,
    proven_before: Option<Moment>,
}

impl Model {
    pub(crate) fn new(stripes: usize, changes_per_shard: usize) -> Self {
        Self {
            stripes: stripes as u64,
            changes_per_shard,
            settled: false,
            watermark: 0,
            epoch: Epoch { log: LogId(0), era: 0 },
            horizon: 0,
            proven_until: None,
            arrivals: Vec::new(),
        }
    }

    pub(crate) fn sight(&self) -> Option<Shown> {
        self.settled.then_some((self.epoch, self.watermark, self.horizon, self.proven_until))
    }

    pub(crate) fn apply(&mut self, record: &Record) -> Applied {
        if !self.settled || self.epoch != record.epoch {
            self.settled = true;
            self.epoch = record.epoch;
            self.horizon = record.previous;
            self.proven_until = None;
            self.arrivals.clear();
            self.remember(record, record.previous);
            return Applied::NewEpoch;
        }
        let from = self.watermark;
        if record.at <= from {
            return Applied::Duplicate;
        }
        self.remember(record, from);
        if record.previous <= from {
            return Applied::Advanced;
        }
        self.horizon = record.previous;
        Applied::Gap { from, to: record.previous }
    }

    fn remember(&mut self, record: &Record, above: u64) {
        for change in record.changes.iter().filter(|change| change.at > above) {
            let proven_before = self.proven_until;
            let arrive = |tag: &Tag| Arrival { tag: *tag, at: change.at, proven_before };
            self.arrivals.extend(change.tags.iter().map(arrive));
        }
        self.watermark = record.at;
    }

    pub(crate) fn prove(&mut self, asked_at: Moment, fence: Position) -> bool {
        let reached = self.settled
            && self.epoch.log == fence.epoch.log
            && self.epoch.era >= fence.epoch.era
            && self.watermark >= fence.at;
        if reached {
            self.proven_until = self.proven_until.max(Some(asked_at));
        }
        reached
    }

    /// The verdict of a ledger that forgets nothing, of an entry of the present generation. `first` is the first change
    /// that the entry truly does not see, up to the limit.
    pub(crate) fn expected(
        &self,
        entry: &Entry<()>,
        sight: &Sight,
        limit: Option<u64>,
        first: Option<u64>,
    ) -> Verdict {
        let proven = entry.proven().max(sight.watermark.min(limit.unwrap_or(u64::MAX)));
        if limit.is_none() && self.is_untouched(entry, sight) {
            return Verdict::Current { proven };
        }
        if entry.proven() < self.horizon {
            return Verdict::Void(Void::BelowHorizon);
        }
        let Some(by) = first else { return Verdict::Current { proven } };
        let arrival = self.arrivals.iter().find(|arrival| arrival.at == by);
        let proven_before = arrival.and_then(|arrival| arrival.proven_before).min(sight.proven_until);
        Verdict::Outdated(Outdated { by, proven_before })
    }

    /// What the fast path must find of an entry of the present generation: no more and no less.
    pub(crate) fn is_untouched(&self, entry: &Entry<()>, sight: &Sight) -> bool {
        entry.proven() >= sight.horizon && !self.is_touched(entry)
    }

    /// Whether anything in the entry's stripes changed since it was proven.
    pub(crate) fn is_touched(&self, entry: &Entry<()>) -> bool {
        let stripe = |tag: Tag| tag.0 % self.stripes;
        self.arrivals.iter().any(|arrival| {
            arrival.at > entry.proven() && entry.tags().iter().any(|tag| stripe(*tag) == stripe(arrival.tag))
        })
    }

    /// Whether a bounded ledger may have had to forget something that matters to the entry: a change in one of its
    /// stripes for lack of room in the shard, or one on its tags because there were too many later ones.
    pub(crate) fn may_forget(&self, entry: &Entry<()>) -> bool {
        let shard = |tag: Tag| tag.0 % 64;
        let stripe = |tag: Tag| tag.0 % self.stripes;
        let recent =
            |tag: Tag| self.arrivals.iter().rev().filter(move |arrival| shard(arrival.tag) == shard(tag));
        entry.tags().iter().any(|tag| {
            let by_room = recent(*tag)
                .skip(self.changes_per_shard)
                .any(|arrival| stripe(arrival.tag) == stripe(*tag) && arrival.at > entry.proven());
            let by_count = recent(*tag)
                .filter(|arrival| arrival.tag == *tag)
                .skip(CHANGES_PER_TAG)
                .any(|arrival| arrival.at > entry.proven());
            by_room || by_count
        })
    }

    /// The verdict of the naive rule: a change concerns an entry if it was logged above the position of its fill.
    pub(super) fn naive_verdict(&self, cached: &Cached, sight: &Sight) -> Verdict {
        let entry = &cached.entry;
        if cached.generation != sight.generation || entry.upper() < sight.horizon {
            return Verdict::Void(Void::OtherEpoch);
        }
        let later = self.arrivals.iter().find(|arrival| {
            arrival.at > entry.upper() && arrival.at <= sight.watermark && entry.tags().contains(&arrival.tag)
        });
        match later {
            None => Verdict::Current { proven: sight.watermark },
            Some(_) => Verdict::Void(Void::Forgotten),
        }
    }
}
