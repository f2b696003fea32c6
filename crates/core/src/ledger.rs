//! The ledger: which tags changed, by which transaction, and how far we know.
//!
//! Entries are not hunted down when something changes; they are judged when they are read. The ledger is what they are
//! judged with. It answers in two steps:
//!
//! ```text
//!                 sight ──► one consistent glance: generation, epoch, watermark, horizon, proven-until
//!                   │
//!   entry, tag ──► stripe.last ≤ entry.proven? ── yes ─► current        (a few nanoseconds, no lock)
//!                   │ no
//!                   ▼
//!             stripe.floor ≤ entry.proven? ─── no ──► void: detail was forgotten
//!                   │ yes
//!                   ▼
//!        history of the tag ──► rule::judge ──► current (and proven further) or outdated (since when)
//! ```
//!
//! **Stripes.** A tag hashes to one of many stripes. `last` is the position of the latest change in the stripe; if it is
//! not above the position to which the entry was proven, nothing can have changed for it. Two tags in one stripe share
//! their fate only until the exact history decides: a collision costs time, never truth.
//!
//! **Bounded.** The histories hold a fixed number of changes. When an old one is forgotten the `floor` of its stripe
//! rises to it: an entry last proven below its floor is void, one proven above is untouched. Under ten thousand changed
//! tags per second this forgets gradually, stripe by stripe; an entry that is read now and then is proven further each
//! time and outlives it.
//!
//! **Order of stores.** `apply` stores the stripes first, the watermark after, proven-until last; a reader loads them in
//! the opposite order. So whoever sees a watermark also finds every change below it: *the watermark never passes a
//! change that is not in the ledger.*
//!
//! **Epochs.** A new epoch makes all of it void. The generation is a sequence lock around that rare event: odd while the
//! ledger is being emptied, and looked at again after every judgement, so that no reader mixes two epochs.

mod history;

use crate::entry::Entry;
use crate::moment::Moment;
use crate::port::Fence;
use crate::position::{Epoch, LogId, Position};
use crate::record::Record;
use crate::rule::{self, Outdated, Remembered};
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, fence};
use crate::tag::Tag;
use history::Shard;

/// How much a ledger remembers. Memory: 16 bytes per stripe, about 100 bytes per change.
#[derive(Copy, Clone, Debug)]
pub struct LedgerSize {
    /// Number of stripes; rounded up to a power of two.
    pub stripes: usize,
    /// Number of changes whose detail is kept.
    pub changes: usize,
}

impl Default for LedgerSize {
    /// A quarter of a mebibyte of stripes (half of it read on the fast path, which fits the second-level cache of a core),
    /// and detail for the last 131,072 changed tags: 13 seconds' worth at ten thousand a
    /// second, and at most some 13 MiB.
    fn default() -> Self {
        Self { stripes: 1 << 14, changes: 1 << 17 }
    }
}

/// An instance's record of what changed at one source.
#[derive(Debug)]
pub struct Ledger {
    /// Even: settled. Odd: being emptied for a new epoch.
    generation: AtomicU64,
    log: AtomicU64,
    era: AtomicU32,
    watermark: AtomicU64,
    horizon: AtomicU64,
    /// A raw [`Moment`]; zero for never.
    proven_until: AtomicU64,
    /// Up to here the log is known to leave nothing out. May lie above the watermark.
    vouched: AtomicU64,
    /// Per stripe the position of its latest change: the fast path reads only this, so it stays small.
    lasts: Box<[AtomicU64]>,
    /// Per stripe the position of the latest change whose detail was forgotten.
    floors: Box<[AtomicU64]>,
    shards: Box<[Mutex<Shard>]>,
    /// Held by whoever changes the fields above.
    writer: Mutex<()>,
    /// A record whose changes are kept back by a sabotaged order.
    #[cfg(candor_sabotage)]
    late: Mutex<Option<(Record, u64)>>,
}

/// One consistent glance at a ledger. Whatever is judged afterwards is judged against at least this much knowledge.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Which of the ledger's epochs, counted locally.
    pub generation: u64,
    /// The epoch.
    pub epoch: Epoch,
    /// The ledger holds every change in `horizon..=watermark`.
    pub watermark: u64,
    /// The oldest position from which the ledger is complete.
    pub horizon: u64,
    /// The latest moment at which a position was asked for that the watermark has since reached.
    pub proven_until: Option<Moment>,
    /// Up to here the log is known to leave nothing out ([`Fence::vouched`]). May lie above the watermark.
    pub vouched: u64,
}

impl Sight {
    /// The watermark as a position.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, at: self.watermark }
    }

    /// The watermark, as far as the log vouches for it: the ledger holds everything that happened up to here. The watermark
    /// alone goes on with a log that has fallen silent about a table.
    #[inline]
    pub fn whole(&self) -> Position {
        Position { epoch: self.epoch, at: self.vouched_for(self.watermark) }
    }

    /// How much of what was judged up to `at` may be said: no more than the log vouches for.
    #[inline]
    pub fn vouched_for(&self, at: u64) -> u64 {
        #[cfg(candor_sabotage)]
        if crate::sabotage::is(crate::sabotage::Sabotage::WatermarkVouches) {
            return at;
        }
        at.min(self.vouched)
    }
}

/// What a ledger says of an entry.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No change on its tags, or only visible ones. `proven` is how far the judgement reached.
    Current {
        /// The entry is now proven up to here.
        proven: u64,
    },
    /// There is a change it does not reflect.
    Outdated(Outdated),
    /// The ledger cannot say.
    Void(Void),
}

/// Why a ledger cannot say.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Void {
    /// The entry, or the glance, belongs to another epoch.
    OtherEpoch,
    /// The entry was last proven before the ledger's knowledge begins.
    BelowHorizon,
    /// Detail about one of its stripes was forgotten since it was last proven.
    Forgotten,
}

impl Void {
    /// The word used in explanations.
    pub fn word(self) -> &'static str {
        match self {
            Self::OtherEpoch => "of another epoch",
            Self::BelowHorizon => "proven before the ledger's horizon",
            Self::Forgotten => "its detail was forgotten",
        }
    }
}

/// What became of a record.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The watermark moved to the record's position.
    Advanced,
    /// Nothing new.
    Duplicate,
    /// Records are missing between the two positions; the horizon rose to the second.
    Gap {
        /// The watermark before.
        from: u64,
        /// The new horizon.
        to: u64,
    },
    /// The first record of another epoch; everything before it is void.
    NewEpoch,
}

/// The locks of the exact histories.
const SHARDS: usize = if cfg!(all(test, candor_interleavings)) { 1 } else { 64 };

impl Ledger {
    /// An empty ledger that has seen no record and can vouch for nothing.
    pub fn new(size: LedgerSize) -> Self {
        let stripes = size.stripes.max(SHARDS).next_power_of_two();
        let changes = (size.changes / SHARDS).max(1);
        Self {
            generation: AtomicU64::new(1),
            log: AtomicU64::new(0),
            era: AtomicU32::new(0),
            watermark: AtomicU64::new(0),
            horizon: AtomicU64::new(0),
            proven_until: AtomicU64::new(0),
            vouched: AtomicU64::new(0),
            lasts: (0..stripes).map(|_| AtomicU64::new(0)).collect(),
            floors: (0..stripes).map(|_| AtomicU64::new(0)).collect(),
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new(changes))).collect(),
            writer: Mutex::new(()),
            #[cfg(candor_sabotage)]
            late: Mutex::new(None),
        }
    }

    /// A consistent glance, or `None` before the first record and in the instant of a new epoch.
    #[inline]
    pub fn sight(&self) -> Option<Sight> {
        let generation = self.generation.load(Ordering::Acquire);
        // What was proven and vouched for before watermark and horizon before stripes: the opposite of the order in which they
        // are stored. Whoever sees what a stream vouches for sees the gap before it.
        let proven_until = self.proven_until.load(Ordering::Acquire);
        let vouched = self.vouched.load(Ordering::Acquire);
        let sight = Sight {
            generation,
            epoch: Epoch {
                log: LogId(self.log.load(Ordering::Relaxed)),
                era: self.era.load(Ordering::Relaxed),
            },
            watermark: self.watermark.load(Ordering::Acquire),
            horizon: self.horizon.load(Ordering::Acquire),
            proven_until: Moment::from_raw(proven_until),
            vouched,
        };
        self.is_still(generation).then_some(sight)
    }

    /// Whether certainly nothing changed for the entry since it was last proven: the fast path, without a lock. False
    /// means that only [`Ledger::judge`] can tell.
    #[inline]
    pub fn is_untouched<V>(&self, sight: &Sight, entry: &Entry<V>) -> bool {
        let proven = entry.proven();
        if !entry.is_of(sight.generation) || is_below_horizon(proven, sight.horizon) {
            return false;
        }
        // On a source that is quiet for a while everything is proven up to the watermark, and the stripes, which may lie
        // far away in memory, need not be looked at.
        let untouched = proven >= self.watermark.load(Ordering::Acquire)
            || entry.tags().iter().all(|tag| self.lasts[self.stripe(*tag)].load(Ordering::Acquire) <= proven);
        untouched && self.is_still(sight.generation)
    }

    /// Whether the entry is current, judged with everything the ledger holds.
    pub fn judge<V>(&self, sight: &Sight, entry: &Entry<V>) -> Verdict {
        if self.is_untouched(sight, entry) {
            return Verdict::Current { proven: entry.proven().max(sight.watermark) };
        }
        self.judge_at(sight, entry, u64::MAX)
    }

    /// Whether the entry was current at the position `limit`, by the exact histories. For answers that must hold
    /// together at one position, `limit` is at most the sight's watermark.
    pub fn judge_at<V>(&self, sight: &Sight, entry: &Entry<V>, limit: u64) -> Verdict {
        if !entry.is_of(sight.generation) {
            return Verdict::Void(Void::OtherEpoch);
        }
        let proven = entry.proven();
        // Read again: the horizon may have risen since the glance, and the histories are looked at only now.
        if is_below_horizon(proven, self.horizon.load(Ordering::Acquire)) {
            return Verdict::Void(Void::BelowHorizon);
        }
        let stamp = entry.stamp(sight.epoch);
        let mut earliest: Option<Outdated> = None;
        for tag in entry.tags() {
            let floor = &self.floors[self.stripe(*tag)];
            let shard = self.shard(*tag).lock();
            let history = shard.history(*tag);
            if is_below_floor(proven, floor.load(Ordering::Acquire).max(history.forgotten())) {
                return Verdict::Void(Void::Forgotten);
            }
            if let Err(outdated) = rule::judge(&stamp, proven, limit, history.changes())
                && earliest.is_none_or(|first| outdated.by < first.by)
            {
                earliest = Some(outdated);
            }
        }
        if !self.is_still(sight.generation) {
            return Verdict::Void(Void::OtherEpoch);
        }
        match earliest {
            // Records arrive while the tags are looked at one by one, so a change on a tag already passed, or one lost in
            // a gap, may precede this one; but none at or below the glance's watermark. Claim no more than the glance.
            Some(Outdated { by, proven_before }) => {
                Verdict::Outdated(Outdated { by, proven_before: proven_before.min(sight.proven_until) })
            }
            None => Verdict::Current { proven: proven.max(sight.watermark.min(limit)) },
        }
    }

    /// Takes a record of the feed into the ledger.
    pub fn apply(&self, record: &Record) -> Applied {
        let _writer = self.writer.lock();
        let generation = self.generation.load(Ordering::Relaxed);
        if generation % 2 == 1 || record.epoch != self.epoch() {
            self.begin(record);
            return Applied::NewEpoch;
        }
        let watermark = self.watermark.load(Ordering::Relaxed);
        if record.at <= watermark {
            return Applied::Duplicate;
        }
        #[cfg(candor_sabotage)]
        sabotaged::catch_up(self);
        let gap = record.previous > watermark;
        if gap {
            self.horizon.store(record.previous, Ordering::Release);
        }
        self.remember(record, watermark);
        self.watermark.store(record.at, Ordering::Release);
        if gap { Applied::Gap { from: watermark, to: record.previous } } else { Applied::Advanced }
    }

    /// Notes what the source answered when it was asked at `asked_at`. Returns whether the watermark has reached the position,
    /// in which case everything visible at `asked_at` is in the ledger.
    pub fn prove(&self, asked_at: Moment, fence: impl Into<Fence>) -> bool {
        let fence = fence.into();
        let _writer = self.writer.lock();
        let settled = self.generation.load(Ordering::Relaxed).is_multiple_of(2);
        let told = Position { epoch: self.epoch(), at: self.watermark.load(Ordering::Relaxed) };
        let same = told.epoch == fence.position.epoch;
        let ahead_of_gap = same && told.at < fence.since;
        #[cfg(candor_sabotage)]
        let ahead_of_gap = ahead_of_gap && !crate::sabotage::is(crate::sabotage::Sabotage::FenceBeforeGap);
        if !settled || ahead_of_gap {
            return false;
        }
        if same {
            self.vouched.fetch_max(fence.vouched, Ordering::Release);
        }
        let reached = told.reaches(fence.position);
        #[cfg(candor_sabotage)]
        let reached = reached || crate::sabotage::is(crate::sabotage::Sabotage::ProofUnreached);
        if reached {
            self.proven_until.fetch_max(asked_at.to_raw(), Ordering::Release);
        }
        reached
    }

    /// Gives up all proofs: the feed can no longer say what happened. Entries are void until the next record opens a new
    /// generation.
    pub fn break_off(&self) {
        let _writer = self.writer.lock();
        let generation = self.generation.load(Ordering::Relaxed);
        if generation.is_multiple_of(2) {
            self.generation.store(generation + 1, Ordering::Release);
        }
    }

    /// Empties the ledger for the epoch of `record` and takes the record in.
    fn begin(&self, record: &Record) {
        let odd = self.generation.load(Ordering::Relaxed) | 1;
        self.generation.store(odd, Ordering::Relaxed);
        fence(Ordering::Release);
        for shard in &self.shards {
            shard.lock().clear();
        }
        for position in self.lasts.iter().chain(&self.floors) {
            position.store(0, Ordering::Release);
        }
        self.log.store(record.epoch.log.0, Ordering::Relaxed);
        self.era.store(record.epoch.era, Ordering::Relaxed);
        self.proven_until.store(0, Ordering::Relaxed);
        self.vouched.store(0, Ordering::Relaxed);
        self.horizon.store(record.previous, Ordering::Relaxed);
        self.remember(record, record.previous);
        self.watermark.store(record.at, Ordering::Release);
        self.generation.store(odd + 1, Ordering::Release);
    }

    fn remember(&self, record: &Record, above: u64) {
        #[cfg(candor_sabotage)]
        if sabotaged::keeps_back(&self.late, record, above) {
            return;
        }
        self.remember_now(record, above);
    }

    #[inline]
    fn remember_now(&self, record: &Record, above: u64) {
        let proven_before = Moment::from_raw(self.proven_until.load(Ordering::Relaxed));
        for change in record.changes.iter().filter(|change| change.at > above) {
            for tag in &change.tags {
                let mut shard = self.shard(*tag).lock();
                let remembered = Remembered { at: change.at, xid: change.xid, proven_before };
                if let Some((forgotten, at)) = shard.push(*tag, remembered) {
                    self.floors[self.stripe(forgotten)].fetch_max(at, Ordering::Release);
                }
                #[cfg(candor_sabotage)]
                if sabotaged::keeps_stripes_back(&self.late, record, above) {
                    continue;
                }
                self.lasts[self.stripe(*tag)].fetch_max(change.at, Ordering::Release);
            }
        }
    }

    /// Whether the generation is settled and still this one. Ends the read side of the sequence lock.
    #[inline]
    fn is_still(&self, generation: u64) -> bool {
        fence(Ordering::Acquire);
        generation.is_multiple_of(2) && self.generation.load(Ordering::Relaxed) == generation
    }

    fn epoch(&self) -> Epoch {
        Epoch { log: LogId(self.log.load(Ordering::Relaxed)), era: self.era.load(Ordering::Relaxed) }
    }

    #[inline]
    fn stripe(&self, tag: Tag) -> usize {
        tag.0 as usize & (self.lasts.len() - 1)
    }

    /// All tags of a stripe share a shard, so that a floor and the histories above it change under one lock.
    fn shard(&self, tag: Tag) -> &Mutex<Shard> {
        &self.shards[tag.0 as usize & (SHARDS - 1)]
    }
}

#[inline]
fn is_below_horizon(proven: u64, horizon: u64) -> bool {
    #[cfg(candor_sabotage)]
    if crate::sabotage::is(crate::sabotage::Sabotage::HorizonCheck) {
        return false;
    }
    proven < horizon
}

#[inline]
fn is_below_floor(proven: u64, floor: u64) -> bool {
    #[cfg(candor_sabotage)]
    if crate::sabotage::is(crate::sabotage::Sabotage::FloorCheck) {
        return false;
    }
    proven < floor
}

#[cfg(candor_sabotage)]
mod sabotaged;

#[cfg(all(test, candor_interleavings))]
mod interleavings;
#[cfg(test)]
mod tests;
