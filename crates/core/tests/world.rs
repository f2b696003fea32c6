//! A source, a ledger that follows it, entries filled from it, and a model that knows the truth about all three.
//!
//! ```text
//!   source ── records: overlapping, doubled, missing ──► ledger ──┐
//!      │                                                          ├─► verdict ══ held against the truth
//!      └───── fills ──────────────────────────────────► entries ──┘
//! ```
//!
//! The model is brute force: it keeps every change of every log for ever, with the moment at which it became visible,
//! and every entry with the moment at which it was filled. It knows what was never delivered.

mod model;
mod source;
mod step;

use candor_core::{
    Applied, Entry, EntryParts, Ledger, LedgerSize, LogId, Moment, Position, Record, Sight, Stamp, Tag,
    Verdict, Void,
};
use model::Model;
use proptest::prelude::*;
pub(crate) use source::Vouching;
use source::{Source, pick};
use std::time::Duration;
pub(crate) use step::{History, Step, histories};

type Outcome = Result<(), TestCaseError>;

/// What decides whether an entry is current.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The ledger. Its every verdict is compared with what the model expects.
    Ledger,
    /// What everyone writes first: no change on the tags was logged above the position at which the fill read.
    NaivePositions,
}

/// How often which verdict fell: a search that never finds anything proves nothing.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) current: u32,
    /// Current by the exact history, although something in its stripes changed.
    pub(crate) current_beside_changes: u32,
    /// Current although a later position than the watermark is proven.
    pub(crate) current_ahead: u32,
    pub(crate) outdated: u32,
    /// Outdated by a change that was logged before the fill.
    pub(crate) outdated_by_invisible: u32,
    /// Outdated, with a moment up to which the entry is still proven.
    pub(crate) outdated_with_moment: u32,
    pub(crate) below_horizon: u32,
    pub(crate) forgotten: u32,
    pub(crate) other_epoch: u32,
}

pub(crate) struct World {
    rule: Rule,
    source: Source,
    ledger: Ledger,
    model: Model,
    entries: Vec<Cached>,
    fences: Vec<(Moment, Position)>,
    delivered: Vec<Record>,
    glance: Option<Sight>,
    pub(crate) tally: Tally,
}

/// An entry and the truth about its fill.
struct Cached {
    entry: Entry<()>,
    generation: u64,
    log: LogId,
    filled: Moment,
}

impl World {
    pub(crate) fn new(history: &History, concurrent: bool, rule: Rule, vouching: Vouching) -> Self {
        let size = LedgerSize { stripes: history.stripes, changes: history.changes_per_shard * 64 };
        Self {
            rule,
            source: Source::new(concurrent, vouching, history.first_id),
            ledger: Ledger::new(size),
            model: Model::new(history.stripes, history.changes_per_shard),
            entries: Vec::new(),
            fences: Vec::new(),
            delivered: Vec::new(),
            glance: None,
            tally: Tally::default(),
        }
    }

    /// Lets the whole history happen. An error is a broken promise.
    pub(crate) fn run(&mut self, history: &History) -> Outcome {
        for step in &history.steps {
            self.source.tick();
            self.take(step)?;
            self.check_sight()?;
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Write { tags, skip, in_parts } => self.source.write(tags.clone(), *skip, *in_parts),
            Step::Begin { tags } => self.source.begin(tags.clone()),
            Step::Log { which, skip, in_parts } => self.source.log(*which, *skip, *in_parts),
            Step::Show { which } => self.source.show(*which),
            Step::Abort { which } => self.source.abort(*which),
            Step::Note => self.source.note(),
            Step::Deliver { offset, length } => return self.deliver(*offset, *length),
            Step::Late { which } => {
                let record = pick(*which, self.delivered.len()).map(|index| self.delivered[index].clone());
                return record.map_or(Ok(()), |record| self.apply(&record));
            }
            Step::Restart { end } => self.source.restart(*end),
            Step::Reshape => self.source.reshape(),
            Step::BreakOff => {
                self.ledger.break_off();
                self.model.settled = false;
            }
            Step::Fence => {
                self.fences
                    .push((self.source.now, Position { epoch: self.source.epoch, at: self.source.end }));
            }
            Step::Prove { which } => return self.prove(*which),
            Step::Fill { tags, vouches } => self.fill(tags, *vouches),
            Step::Glance => self.glance = self.ledger.sight(),
            Step::Judge { which, below, old, keep } => return self.judge(*which, *below, *old, *keep),
        }
        Ok(())
    }

    fn deliver(&mut self, offset: i64, length: u64) -> Outcome {
        let end = self.source.end;
        let previous = self.model.watermark.saturating_add_signed(offset).min(end);
        let record = self.source.record(previous, previous.saturating_add(length).min(end));
        self.delivered.push(record.clone());
        self.apply(&record)
    }

    fn apply(&mut self, record: &Record) -> Outcome {
        let expected = self.model.apply(record);
        let applied: Applied = self.ledger.apply(record);
        prop_assert_eq!(applied, expected);
        Ok(())
    }

    fn prove(&mut self, which: usize) -> Outcome {
        let Some(index) = pick(which, self.fences.len()) else { return Ok(()) };
        let (asked_at, fence) = self.fences[index];
        let expected = self.model.prove(asked_at, fence);
        prop_assert_eq!(self.ledger.prove(asked_at, fence), expected);
        Ok(())
    }

    /// Fills an entry, as an engine does: only while the ledger is of the source's own epoch.
    fn fill(&mut self, tags: &[Tag], vouches: bool) {
        let Some(sight) = self.ledger.sight().filter(|sight| sight.epoch == self.source.epoch) else {
            return;
        };
        let filled = self.source.now;
        let stamp: Stamp = self.source.stamp(vouches);
        let (tags, generation, ttl) = (tags.to_vec(), sight.generation, Duration::MAX);
        let entry =
            Entry::new(EntryParts { value: Some(()), filled_at: filled, stamp, tags, generation, ttl });
        self.entries.push(Cached { entry, generation, log: self.source.epoch.log, filled });
    }

    fn judge(&mut self, which: usize, below: Option<u64>, old: bool, keep: bool) -> Outcome {
        let Some(index) = pick(which, self.entries.len()) else { return Ok(()) };
        let sight = if old { self.glance } else { self.ledger.sight() };
        let Some(sight) = sight else { return Ok(()) };
        let limit = below.map(|below| sight.watermark.saturating_sub(below));
        let cached = &self.entries[index];
        let verdict = match (self.rule, limit) {
            (Rule::NaivePositions, _) if self.is_live(&sight) => self.model.naive_verdict(cached, &sight),
            (Rule::NaivePositions, _) => Verdict::Void(Void::OtherEpoch),
            (Rule::Ledger, Some(limit)) => self.ledger.judge_at(&sight, &cached.entry, limit),
            (Rule::Ledger, None) => self.ledger.judge(&sight, &cached.entry),
        };
        self.check_truth(cached, &sight, limit.unwrap_or(u64::MAX), verdict)?;
        if self.rule == Rule::Ledger {
            self.check_completeness(cached, &sight, limit, verdict)?;
        }
        self.tally.count(verdict, cached, &sight, &self.model);
        if let Verdict::Current { proven } = verdict
            && keep
        {
            self.entries[index].entry.set_proven(proven);
        }
        Ok(())
    }

    /// Soundness: nothing is claimed that is not so, whatever was or was not delivered.
    fn check_truth(&self, cached: &Cached, sight: &Sight, limit: u64, verdict: Verdict) -> Outcome {
        match verdict {
            Verdict::Current { proven } => {
                prop_assert!(proven >= sight.watermark.min(limit), "proven {} at {:?}", proven, sight);
                let hidden = self.unseen(cached).find(|at| *at <= proven);
                prop_assert_eq!(hidden, None, "called current and proven to {}", proven);
                prop_assert_eq!(cached.log, sight.epoch.log);
                if limit >= sight.watermark {
                    self.check_reflects(cached, sight.proven_until)?;
                }
            }
            Verdict::Outdated(outdated) => {
                prop_assert_eq!(self.unseen(cached).min(), Some(outdated.by), "not the first unseen change");
                prop_assert!(outdated.by <= limit);
                self.check_reflects(cached, outdated.proven_before)?;
            }
            Verdict::Void(_) => {}
        }
        Ok(())
    }

    /// Completeness: what the model can still know, the ledger knows.
    fn check_completeness(
        &self,
        cached: &Cached,
        sight: &Sight,
        limit: Option<u64>,
        verdict: Verdict,
    ) -> Outcome {
        if cached.generation != sight.generation {
            prop_assert_eq!(verdict, Verdict::Void(Void::OtherEpoch));
        } else if !self.is_live(sight) {
            prop_assert!(matches!(verdict, Verdict::Void(_)), "{:?} by an old glance", verdict);
        } else {
            let first = self.unseen(cached).find(|at| *at <= limit.unwrap_or(self.model.watermark));
            let expected = self.model.expected(&cached.entry, sight, limit, first);
            let excused = verdict == Verdict::Void(Void::Forgotten) && self.model.may_forget(&cached.entry);
            prop_assert!(verdict == expected || excused, "{:?}, expected {:?}", verdict, expected);
        }
        let is_ours = cached.generation == sight.generation && self.is_live(sight);
        let untouched = is_ours && self.model.is_untouched(&cached.entry, sight);
        prop_assert_eq!(self.ledger.is_untouched(sight, &cached.entry), untouched);
        Ok(())
    }

    /// Whether the ledger is still of the generation of this glance.
    fn is_live(&self, sight: &Sight) -> bool {
        self.ledger.sight().is_some_and(|now| now.generation == sight.generation)
    }

    /// Every change on the entry's tags that was visible at `moment` was visible to its fill.
    fn check_reflects(&self, cached: &Cached, moment: Option<Moment>) -> Outcome {
        let Some(moment) = moment else { return Ok(()) };
        let hidden = self.source.logged.iter().find(|logged| {
            logged.log == cached.log
                && logged.touches(cached.entry.tags())
                && logged.is_visible_at(moment)
                && !logged.is_visible_at(cached.filled)
        });
        prop_assert!(hidden.is_none(), "said to reflect {:?}, but does not see {:?}", moment, hidden);
        Ok(())
    }

    /// The positions of the changes on the entry's tags that its fill did not see, ascending.
    fn unseen(&self, cached: &Cached) -> impl Iterator<Item = u64> {
        self.source
            .logged
            .iter()
            .filter(|logged| {
                logged.log == cached.log
                    && logged.touches(cached.entry.tags())
                    && !logged.is_visible_at(cached.filled)
            })
            .map(|logged| logged.at)
    }

    /// The glance is exactly what the model expects, and its proof of time is true.
    fn check_sight(&self) -> Outcome {
        let sight = self.ledger.sight();
        let seen = sight.map(|sight| (sight.epoch, sight.watermark, sight.horizon, sight.proven_until));
        prop_assert_eq!(seen, self.model.sight());
        if let Some(sight) = sight
            && let Some(moment) = sight.proven_until
        {
            let beyond = self.source.logged.iter().find(|logged| {
                logged.log == sight.epoch.log && logged.at > sight.watermark && logged.is_visible_at(moment)
            });
            prop_assert!(beyond.is_none(), "{:?} was visible at {:?}", beyond, moment);
        }
        Ok(())
    }
}

impl Tally {
    fn count(&mut self, verdict: Verdict, cached: &Cached, sight: &Sight, model: &Model) {
        match verdict {
            Verdict::Current { proven } => {
                self.current += 1;
                self.current_beside_changes += u32::from(model.is_touched(&cached.entry));
                self.current_ahead += u32::from(proven > sight.watermark);
            }
            Verdict::Outdated(outdated) => {
                self.outdated += 1;
                self.outdated_by_invisible += u32::from(outdated.by <= cached.entry.upper());
                self.outdated_with_moment += u32::from(outdated.proven_before.is_some());
            }
            Verdict::Void(Void::BelowHorizon) => self.below_horizon += 1,
            Verdict::Void(Void::Forgotten) => self.forgotten += 1,
            Verdict::Void(Void::OtherEpoch) => self.other_epoch += 1,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.current += other.current;
        self.current_beside_changes += other.current_beside_changes;
        self.current_ahead += other.current_ahead;
        self.outdated += other.outdated;
        self.outdated_by_invisible += other.outdated_by_invisible;
        self.outdated_with_moment += other.outdated_with_moment;
        self.below_horizon += other.below_horizon;
        self.forgotten += other.forgotten;
        self.other_epoch += other.other_epoch;
    }
}
