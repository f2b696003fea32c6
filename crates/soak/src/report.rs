//! What came of it, for people and for machines.

use crate::clock::{Nanos, millis};
use crate::histogram::Histogram;
use crate::judge::Broken;
use crate::observation::{Asked, Observation};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Stories kept of each kind of broken promise.
const STORIES: u64 = 3;

/// The figures of one level at one door.
#[derive(Debug, Default)]
struct Line {
    answers: u64,
    from: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    refused_in_calm: u64,
    stale: u64,
    exposed: [u64; 3],
    caught: u64,
}

/// The report of one run.
#[derive(Debug, Default)]
pub struct Report {
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    lines: BTreeMap<(&'static str, Asked), Line>,
    broken: BTreeMap<Broken, u64>,
    /// Each false receipt's story, a few of each kind.
    pub stories: Vec<String>,
    /// What the oracle itself got wrong; must be empty.
    pub contradictions: Vec<String>,
    /// Answers that may show what a crash lost and nobody else saw.
    pub(crate) unknown: u64,
    /// Snapshots in the server's own order, which is not that of its log.
    pub(crate) reordered: u64,
    bounds: Histogram,
    ages: Histogram,
    slack: Histogram,
    pub(crate) unservable: Histogram,
    gaps: Histogram,
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) versions: u64,
    pub(crate) acknowledged: u64,
    pub(crate) lost: u64,
    /// Answers that showed what a crash then took back.
    pub(crate) lost_shown: u64,
    pub(crate) memory_max: usize,
    pub(crate) unjudged: usize,
    /// The server of Candor's that ended by itself; with its last words.
    pub deaths: Vec<String>,
    from_memory: BTreeMap<&'static str, Nanos>,
}

impl Report {
    /// Nothing yet.
    pub(crate) fn begun(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// How many promises were broken.
    pub fn violations(&self) -> u64 {
        self.broken.values().sum()
    }

    /// Answers judged.
    pub fn answers(&self) -> u64 {
        self.lines.values().map(|line| line.answers).sum()
    }

    /// Answers for which a cache that never judges would have given something stale.
    pub fn opportunities(&self) -> u64 {
        self.lines.values().map(|line| line.caught).sum()
    }

    /// Answers by where they came from.
    pub fn answered_from(&self, origin: &str) -> u64 {
        self.lines.values().filter_map(|line| line.from.get(origin)).sum()
    }

    /// Answers from memory at levels that need a proof, through one door: what the run is about.
    pub fn proven_from_memory(&self, door: &str) -> u64 {
        let is_proven = |asked: &Asked| matches!(asked, Asked::Strong | Asked::Bounded(_));
        let lines = self.lines.iter().filter(|((name, asked), _)| *name == door && is_proven(asked));
        lines.filter_map(|(_, line)| line.from.get("l1")).sum()
    }

    /// Reads that got no answer.
    pub(crate) fn refused_in_all(&self) -> u64 {
        self.lines.values().flat_map(|line| line.refused.values()).sum()
    }

    /// Whether nothing was wrong, with Candor or with the oracle.
    pub fn is_clean(&self) -> bool {
        self.violations() == 0 && self.contradictions.is_empty() && self.deaths.is_empty()
    }

    pub(crate) fn answered(&mut self, seen: &Observation, age: Nanos, changed: Option<Nanos>, caught: bool) {
        let line = self.lines.entry((seen.door, seen.asked)).or_default();
        line.answers += 1;
        *line.from.entry(seen.receipt.origin.clone()).or_default() += 1;
        line.stale += u64::from(age > 0);
        if seen.asked == Asked::Strong && seen.receipt.origin == "l1" {
            let last = self.from_memory.insert(seen.door, seen.ended).unwrap_or(seen.ended);
            let gap = millis(seen.ended.saturating_sub(last));
            if gap > 100.0 {
                self.gaps.add(gap);
            }
        }
        line.caught += u64::from(caught);
        for (index, limit) in [10.0, 100.0, 1000.0].into_iter().enumerate() {
            line.exposed[index] += u64::from(changed.is_some_and(|changed| millis(changed) < limit));
        }
        let Some(bound) = seen.receipt.bound else { return };
        let bound = bound.as_secs_f64() * 1000.0;
        self.bounds.add(bound);
        if age > 0 {
            self.ages.add(millis(age));
            self.slack.add(bound / millis(age).max(0.001));
        }
    }

    pub(crate) fn refused(&mut self, door: &'static str, asked: Asked, why: &str, in_fault: bool) {
        let line = self.lines.entry((door, asked)).or_default();
        *line.refused.entry(why.to_owned()).or_default() += 1;
        line.refused_in_calm += u64::from(!in_fault);
    }

    /// Counts a broken promise; whether its story is wanted.
    pub(crate) fn broke(&mut self, promise: Broken) -> bool {
        let count = self.broken.entry(promise).or_default();
        *count += 1;
        *count <= STORIES
    }

    /// For people.
    pub fn human(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "soak: {:.0} s, seed {}; {} versions committed ({} transactions acknowledged to us), {} seen and lost in crashes, {} answers had shown them",
            self.seconds, self.seed, self.versions, self.acknowledged, self.lost, self.lost_shown
        );
        let faults: Vec<_> = self.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let _ = writeln!(text, "faults: {}", faults.join(", "));
        let _ = writeln!(
            text,
            "{:9} {:16} {:>9} {:>6} {:>6} {:>6} {:>7} {:>7} {:>8} {:>8} {:>8} {:>9}",
            "door",
            "level",
            "answers",
            "l1 %",
            "fl. %",
            "src %",
            "refused",
            "in calm",
            "<10 ms",
            "<100 ms",
            "stale",
            "caught"
        );
        for ((door, asked), line) in &self.lines {
            let share = |name: &str| {
                line.from.get(name).copied().unwrap_or(0) as f64 * 100.0 / line.answers.max(1) as f64
            };
            let refused: u64 = line.refused.values().sum();
            let _ = writeln!(
                text,
                "{door:9} {:16} {:>9} {:>6.1} {:>6.1} {:>6.1} {refused:>7} {:>7} {:>8} {:>8} {:>8} {:>9}",
                asked.word(),
                line.answers,
                share("l1"),
                share("flight"),
                share("source"),
                line.refused_in_calm,
                line.exposed[0],
                line.exposed[1],
                line.stale,
                line.caught
            );
        }
        text.push_str("refusals:\n");
        for (why, count) in self.refusals() {
            let _ = writeln!(text, "  {count:>8}  {why}");
        }
        for (name, histogram, unit) in self.histograms() {
            let _ = writeln!(
                text,
                "{name}: p50 {:.2}{unit}, p99 {:.2}{unit}, max {:.2}{unit} ({} values)",
                histogram.at(0.5),
                histogram.at(0.99),
                histogram.max(),
                histogram.count()
            );
        }
        let _ = writeln!(
            text,
            "oracle: {} answers may show what a crash lost, {} snapshots in the server's own order, {} answers not judged, at most {} states held",
            self.unknown, self.reordered, self.unjudged, self.memory_max
        );
        for story in &self.stories {
            text.push_str(story);
        }
        for what in &self.deaths {
            let _ = writeln!(text, "THE SERVER ENDED BY ITSELF: {what}");
        }
        for what in &self.contradictions {
            let _ = writeln!(text, "THE ORACLE CONTRADICTS ITSELF: {what}");
        }
        let _ = writeln!(
            text,
            "{} answers, {} of which an unjudged cache would have given stale; {} false receipts {:?}",
            self.answers(),
            self.opportunities(),
            self.violations(),
            self.broken
        );
        text
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let lines = self.lines.iter().map(|((door, asked), line)| {
            json!({"door": door, "level": asked.word(), "answers": line.answers, "from": line.from,
                "refused": line.refused, "refused_in_calm": line.refused_in_calm, "stale": line.stale,
                "changed_within_10_ms": line.exposed[0], "changed_within_100_ms": line.exposed[1],
                "changed_within_1_s": line.exposed[2], "stale_if_unjudged": line.caught})
        });
        let broken: BTreeMap<String, u64> = self
            .broken
            .iter()
            .map(|(broken, count)| (format!("{broken:?}").to_lowercase(), *count))
            .collect();
        let figures: BTreeMap<&str, Value> = self
            .histograms()
            .into_iter()
            .map(|(name, histogram, _)| {
                let of = json!({"p50": histogram.at(0.5), "p99": histogram.at(0.99), "max": histogram.max(),
                    "count": histogram.count()});
                (name, of)
            })
            .collect();
        json!({"seed": self.seed, "seconds": self.seconds, "answers": self.answers(), "false_receipts": self.violations(),
            "broken": broken, "levels": lines.collect::<Vec<_>>(), "faults": self.faults, "figures": figures,
            "versions": self.versions, "acknowledged": self.acknowledged, "lost": self.lost, "lost_shown": self.lost_shown, "unknown": self.unknown,
            "reordered": self.reordered, "not_judged": self.unjudged, "states_max": self.memory_max,
            "stale_if_unjudged": self.opportunities(), "contradictions": self.contradictions, "deaths": self.deaths, "stories": self.stories})
    }

    fn refusals(&self) -> BTreeMap<&str, u64> {
        let mut all = BTreeMap::new();
        for (why, count) in self.lines.values().flat_map(|line| &line.refused) {
            *all.entry(why.as_str()).or_default() += count;
        }
        all
    }

    fn histograms(&self) -> [(&'static str, &Histogram, &'static str); 5] {
        [
            ("bound claimed", &self.bounds, " ms"),
            ("true age where stale", &self.ages, " ms"),
            ("bound over true age", &self.slack, ""),
            ("commit to unservable", &self.unservable, " ms"),
            ("without strong answers from memory, where longer than 100 ms", &self.gaps, " ms"),
        ]
    }
}
