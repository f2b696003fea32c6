//! Holds what readers were told against the truth.
//!
//! Every value is written once, so an answer names the commit it comes from, and the commit after it on the same key is
//! the one it does not reflect. Each promise then is a comparison:
//!
//! | promise | broken when |
//! |---|---|
//! | position | the answer was not the key's value at the position the receipt cites |
//! | bound | the next commit was visible longer ago than the bound, when the read began |
//! | strong | the next commit was visible before the read began |
//! | bounded(d) | the next commit was visible longer than d before the read began |
//! | session | the next commit is at or below the session's token |
//! | snapshot | two answers of one snapshot cite different positions (and each position must be right) |
//!
//! "When the read began" instead of "when the answer was given" makes the check a little lenient where reads wait, and
//! never unjust.

use crate::history::{Commit, History};
use candor::{Level, Moment, ProofKind};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What a reader asked for and was told.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The key.
    pub key: u32,
    /// The answer.
    pub value: Option<u64>,
    /// The level it was read at.
    pub level: Level,
    /// Noted before the read began.
    pub begun: Moment,
    /// The number the session's token stood for when the read began.
    pub token: Option<u64>,
    /// The claimed bound.
    pub bound: Option<Duration>,
    /// The cited position.
    pub position: Option<u64>,
    /// The kind of proof.
    pub proof: ProofKind,
    /// Which snapshot the answer is part of.
    pub snapshot: Option<u64>,
}

/// A promise that was broken.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// The answer is no value the key ever had.
    Invented,
    /// The cited position is wrong.
    Position,
    /// The bound claims too much.
    Bound,
    /// A strong read missed a commit.
    Strong,
    /// A bounded read missed a commit.
    Bounded,
    /// A session went behind its token.
    Session,
    /// A snapshot does not hold together.
    Snapshot,
}

/// The result of an audit.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Answers checked.
    pub answers: u64,
    /// Answers that did not reflect the latest commit that was visible when the read began. Allowed by weaker levels;
    /// the measure of how much there was to get wrong.
    pub stale: u64,
    /// The oldest answer in truth: how long the next commit had been visible.
    pub worst_staleness: Duration,
    /// The largest bound claimed.
    pub worst_bound: Duration,
    /// Broken promises, by kind, each with one example.
    pub broken: BTreeMap<Broken, (u64, Observation)>,
}

impl Audit {
    /// Checks all observations.
    pub fn of(history: &History, observations: &[Observation]) -> Self {
        let mut audit = Self::default();
        let mut truths: HashMap<u32, Vec<Commit>> = HashMap::new();
        let mut snapshots: HashMap<u64, u64> = HashMap::new();
        for observation in observations {
            let truth = truths.entry(observation.key).or_insert_with(|| history.of(observation.key));
            audit.check(truth, observation);
            if let (Some(snapshot), Some(position)) = (observation.snapshot, observation.position)
                && *snapshots.entry(snapshot).or_insert(position) != position
            {
                audit.note(Broken::Snapshot, observation);
            }
        }
        audit
    }

    /// How many false receipts and broken promises there were.
    pub fn violations(&self) -> u64 {
        self.broken.values().map(|(count, _)| count).sum()
    }

    fn check(&mut self, truth: &[Commit], seen: &Observation) {
        self.answers += 1;
        self.worst_bound = self.worst_bound.max(seen.bound.unwrap_or_default());
        let candidates: Vec<usize> = truth
            .iter()
            .enumerate()
            .filter(|(_, commit)| commit.value == seen.value)
            .map(|(i, _)| i)
            .collect();
        // "Absent" may be any of several stretches; the reader is given the benefit of the doubt, so the one that
        // fits the cited position, or else the latest.
        let fits = |index: &usize| {
            let next = truth.get(index + 1);
            seen.position.is_none_or(|at| truth[*index].at <= at && next.is_none_or(|next| at < next.at))
        };
        let Some(index) = candidates.iter().rev().copied().find(|i| fits(i)).or(candidates.last().copied())
        else {
            return self.note(Broken::Invented, seen);
        };
        if seen.proof == ProofKind::Log && !fits(&index) {
            self.note(Broken::Position, seen);
        }
        let Some(next) = truth.get(index + 1) else { return };
        let missed_for = seen.begun.since(next.visible);
        if next.visible < seen.begun {
            self.stale += 1;
            self.worst_staleness = self.worst_staleness.max(missed_for);
        }
        if seen.bound.is_some_and(|bound| missed_for > bound) {
            self.note(Broken::Bound, seen);
        }
        match seen.level {
            Level::Strong if next.visible < seen.begun => self.note(Broken::Strong, seen),
            Level::Bounded(limit) if missed_for > limit => self.note(Broken::Bounded, seen),
            _ => {}
        }
        if seen.token.is_some_and(|token| next.at <= token) {
            self.note(Broken::Session, seen);
        }
    }

    fn note(&mut self, broken: Broken, seen: &Observation) {
        self.broken.entry(broken).or_insert_with(|| (0, seen.clone())).0 += 1;
    }
}

impl std::fmt::Display for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} answers checked, {} of them stale within their level; worst staleness {:?}, worst bound claimed {:?}; {} promises broken",
            self.answers,
            self.stale,
            self.worst_staleness,
            self.worst_bound,
            self.violations()
        )?;
        for (broken, (count, example)) in &self.broken {
            write!(f, "\n  {broken:?}: {count}, for instance {example:?}")?;
        }
        Ok(())
    }
}
