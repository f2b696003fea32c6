//! What is counted, so that a zero is not bought by refusing: hits, refusals by level and reason, how tight the bounds are,
//! how fresh the answers. And the digest of every answer, which two runs of one seed have in common.

use super::audit::Seen;
use super::chance::mix;
use candor::{Level, Origin, ReadError};
use std::collections::BTreeMap;
use std::fmt;

/// Figures of one history, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Answers, all audited.
    pub answers: u64,
    /// Of these from memory.
    pub hits: u64,
    /// Marked as degraded.
    pub degraded: u64,
    /// Absent.
    pub absent: u64,
    /// That did not reflect the latest change visible when they were given; allowed by weaker levels.
    pub stale: u64,
    /// Nanoseconds claimed by all bounds, and nanoseconds those answers were stale in truth.
    pub claimed: u128,
    /// See `claimed`.
    pub true_age: u128,
    /// Snapshots of several keys.
    pub snapshots: u64,
    /// Commits of the source.
    pub commits: u64,
    /// Answers by level.
    pub levels: [u64; 4],
    /// Refusals by level and reason.
    pub refusals: BTreeMap<(usize, &'static str), u64>,
    /// Reads, and refusals among them, of histories in which nothing goes wrong.
    pub calm: (u64, u64),
    /// Mixed from every answer and refusal.
    pub digest: u64,
}

/// The names of the levels.
pub const LEVELS: [&str; 4] = ["strong", "bounded", "session", "any"];

#[inline]
fn number(level: Level) -> usize {
    match level {
        Level::Strong => 0,
        Level::Bounded(_) => 1,
        Level::Session => 2,
        Level::Any => 3,
    }
}

impl Figures {
    #[inline]
    pub(super) fn answer(&mut self, seen: &Seen<'_>, stale_for: u64) {
        let receipt = seen.receipt;
        let bound = receipt.bound.map_or(0, |bound| bound.as_nanos() as u64);
        self.answers += 1;
        self.hits += u64::from(receipt.origin == Origin::L1);
        self.degraded += u64::from(receipt.degraded.is_some());
        self.absent += u64::from(seen.value.is_none());
        self.stale += u64::from(stale_for > 0);
        self.claimed += u128::from(bound);
        self.true_age += u128::from(stale_for);
        self.levels[number(seen.level)] += 1;
        let at = receipt.position.map_or(0, |position| position.at);
        let value = seen.value.map_or(0, |value| u64::from(value) + 1);
        self.digest = mix(self.digest
            ^ value
            ^ (u64::from(seen.row) << 40)
            ^ bound.rotate_left(20)
            ^ at.rotate_left(50));
    }

    pub(super) fn refused(&mut self, level: Level, error: &ReadError) {
        let why = match error {
            ReadError::Load(_) => "source",
            ReadError::Overloaded(_) => "overloaded",
            ReadError::Timeout(_) => "timeout",
            ReadError::LevelUnmet { .. } => "level unmet",
            ReadError::SnapshotUnmet { .. } => "snapshot unmet",
            ReadError::Session(candor::SessionError::UnknownLog) => "token of an unknown log",
            ReadError::Session(candor::SessionError::Ahead { .. }) => "token ahead of the source",
            ReadError::Session(_) => "token",
            _ => "other",
        };
        *self.refusals.entry((number(level), why)).or_default() += 1;
        self.digest = mix(self.digest ^ why.len() as u64 ^ (number(level) as u64) << 32);
    }

    /// Adds another history's.
    pub fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.hits += other.hits;
        self.degraded += other.degraded;
        self.absent += other.absent;
        self.stale += other.stale;
        self.claimed += other.claimed;
        self.true_age += other.true_age;
        self.snapshots += other.snapshots;
        self.commits += other.commits;
        self.calm.0 += other.calm.0;
        self.calm.1 += other.calm.1;
        for (mine, theirs) in self.levels.iter_mut().zip(other.levels) {
            *mine += theirs;
        }
        for (why, count) in &other.refusals {
            *self.refusals.entry(*why).or_default() += count;
        }
        self.digest = mix(self.digest ^ other.digest);
    }

    /// Ends a history.
    pub(super) fn end(&mut self, is_calm: bool) {
        if is_calm {
            self.calm = (self.answers + self.refused_all(), self.refused_all());
        }
    }

    /// Reads that ended in an error.
    pub fn refused_all(&self) -> u64 {
        self.refusals.values().sum()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: u64, of: u64| part as f64 * 100.0 / of.max(1) as f64;
        let mean = |sum: u128| sum as f64 / self.answers.max(1) as f64 / 1e6;
        writeln!(
            f,
            "{} answers audited: {:.1} % from memory, {:.1} % absent, {:.2} % degraded; {} snapshots; {} commits",
            self.answers,
            share(self.hits, self.answers),
            share(self.absent, self.answers),
            share(self.degraded, self.answers),
            self.snapshots,
            self.commits
        )?;
        writeln!(
            f,
            "{:.1} % reflected the latest visible change; bounds claimed {:.3} ms in the mean, stale in truth {:.3} ms",
            100.0 - share(self.stale, self.answers),
            mean(self.claimed),
            mean(self.true_age)
        )?;
        for (level, name) in LEVELS.iter().enumerate() {
            let refused: u64 =
                self.refusals.iter().filter(|((of, _), _)| *of == level).map(|(_, count)| count).sum();
            let asked = self.levels[level] + refused;
            write!(f, "{name:8} {asked} reads, {:.3} % refused", share(refused, asked))?;
            for ((of, why), count) in &self.refusals {
                if *of == level {
                    write!(f, "; {why} {count}")?;
                }
            }
            writeln!(f)?;
        }
        let (reads, refused) = self.calm;
        writeln!(f, "without faults {reads} reads, {:.3} % refused", share(refused, reads))
    }
}
