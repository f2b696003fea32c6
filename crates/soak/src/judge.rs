//! Holds every answer against the truth, a little later, when the truth is complete.
//!
//! An answer is judged once the oracle's log and its observer are past the moment at which it ended; until then it waits in
//! a queue. Each promise gives a moment T, and the answer must reflect everything that was certainly visible before it:
//!
//! | promise | T |
//! |---|---|
//! | strong | when the read began |
//! | bounded(d) | when the read began, less d |
//! | the bound of any receipt | when the read began, less the bound |
//! | session | when the token's fence was asked for, and whatever the chain of reads has shown since |
//! | snapshot | the sum of all accounts, and one cut of the log |
//!
//! "When the read began" rather than "when it was answered" is lenient where reads wait, and never unjust.

use crate::clock::{NEVER, Nanos, nanos, now};
use crate::observation::{Asked, Content, Observation, Told, Version};
use crate::report::Report;
use crate::schema::{ACCOUNTS, AMOUNT, OWNER_LIFE};
use crate::story::{Faults, story};
use crate::truth::{Shown, State, Truth};
use std::collections::{HashMap, VecDeque};

/// A promise that an answer broke.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Broken {
    Strong,
    Bounded,
    Bound,
    Session,
    /// A later read of a chain showed less than an earlier one.
    Monotonic,
    /// A token from before a crash was honoured after it.
    LostToken,
    /// Accounts that do not add up.
    Sum,
    /// Answers that were never true together.
    Cut,
    /// No committed version is like this.
    Invented,
}

/// What an answer is worth, held against the truth.
struct Finding {
    /// When something newer was certainly visible.
    superseded: Nanos,
    /// The rows of the answer, where they stand.
    rows: Vec<(i64, Shown)>,
}

/// The judge: what waits for the truth, and what it needs to remember of earlier answers.
#[derive(Debug)]
pub(crate) struct Judge {
    waiting: VecDeque<Told>,
    pub(crate) report: Report,
    /// What each chain of reads was shown.
    chains: HashMap<u64, VecDeque<Version>>,
    /// What a cache that never judges would have answered: the last answer per door, view and key.
    kept: HashMap<(&'static str, usize, i64), Content>,
}

/// The longest that an answer waits for the truth. The server may be down for a while.
const WAIT: Nanos = 120_000_000_000;

impl Judge {
    pub(crate) fn new(report: Report) -> Self {
        Self { waiting: VecDeque::new(), report, chains: HashMap::new(), kept: HashMap::new() }
    }

    pub(crate) fn take(&mut self, told: Told) {
        self.waiting.push_back(told);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Judges what can be judged by now.
    pub(crate) fn judge(&mut self, truth: &Truth, faults: &Faults, limit: usize) -> usize {
        let complete = truth.logged_until.min(truth.observed_until);
        let mut done = 0;
        while done < limit {
            let Some(told) = self.waiting.front() else { break };
            match told {
                Told::Answer(seen) if seen.ended >= complete && now() < seen.ended + WAIT => break,
                _ => done += 1,
            }
            match self.waiting.pop_front() {
                Some(Told::Answer(seen)) => self.hold(*seen, truth, faults),
                Some(Told::Refused { door, asked, why, begun }) => {
                    self.report.refused(door, asked, &why, faults.is_near(begun));
                }
                None => {}
            }
        }
        done
    }

    fn hold(&mut self, seen: Observation, truth: &Truth, faults: &Faults) {
        let finding = find(truth, &seen.content);
        self.weigh(&seen, truth, finding.as_ref());
        if finding.as_ref().is_some_and(|finding| finding.rows.iter().any(|(_, shown)| shown.is_lost)) {
            self.report.lost_shown += 1;
        }
        let mut broken: Vec<(Broken, Nanos)> = Vec::new();
        match &finding {
            None => {
                let newest = claims(&seen).into_iter().map(|(_, moment)| moment).max().unwrap_or(0);
                // A crash loses commits that nobody but the reader saw; after the recovery nobody may show them.
                if newest < truth.last_recovery() {
                    self.report.unknown += 1;
                } else {
                    broken.push((Broken::Invented, 0));
                }
            }
            Some(finding) => {
                let late = claims(&seen).into_iter().filter(|(_, moment)| finding.superseded < *moment);
                broken.extend(late.map(|(promise, _)| (promise, finding.superseded)));
                broken.extend(self.chain(&seen, truth, finding).map(|promise| (promise, finding.superseded)));
                broken.extend(
                    self.together(&seen, truth, finding).map(|promise| (promise, finding.superseded)),
                );
            }
        }
        if !broken.is_empty() && is_clouded(&seen, truth) {
            self.report.unknown += 1;
            return;
        }
        for (promise, superseded) in broken {
            let told = self.report.broke(promise);
            if told {
                let text = story(promise, &seen, superseded, truth, faults, self.report.seed);
                self.report.stories.push(text);
            }
        }
    }

    /// Counts what was at stake.
    fn weigh(&mut self, seen: &Observation, truth: &Truth, finding: Option<&Finding>) {
        let superseded = finding.map_or(NEVER, |finding| finding.superseded);
        let changed = last_change(truth, &seen.content, seen.begun);
        let kept = self.kept.insert((seen.door, seen.view, seen.key), seen.content.clone());
        let kept = kept.and_then(|kept| find(truth, &kept)).map_or(NEVER, |kept| kept.superseded);
        let age = seen.begun.saturating_sub(superseded);
        self.report.answered(seen, age, changed.map(|at| seen.begun - at), kept < seen.begun);
    }

    /// What a chain of session reads must not go behind.
    fn chain(&mut self, seen: &Observation, truth: &Truth, finding: &Finding) -> Option<Broken> {
        let given = seen.given.as_ref()?;
        // An instance that has not heard of the crash may still answer out of what it kept of the old history.
        let is_lost =
            |(crashed, recovered): &(Nanos, Nanos)| given.made < *crashed && *recovered < seen.begun;
        if seen.receipt.origin == "source" && truth.crashes.iter().any(is_lost) {
            return Some(Broken::LostToken);
        }
        if self.chains.len() > 4096 {
            self.chains.clear();
        }
        let shown = self.chains.entry(given.chain).or_default();
        let known: Vec<(i64, u64)> = shown
            .iter()
            .filter_map(|version| Some((version.id, truth.first(version.id, is_of(version))?)))
            .collect();
        let commits: Vec<u64> =
            shown.iter().filter_map(|version| truth.row(version.id, is_of(version))?.commit).collect();
        let behind = finding.rows.iter().any(|(id, shown)| {
            known.iter().any(|(other, earlier)| other == id && *earlier > shown.index)
                || truth.commits_after(*id, shown.index).any(|commit| commits.contains(&commit))
        });
        for version in seen.content.versions() {
            shown.push_back(version);
        }
        while shown.len() > 32 {
            shown.pop_front();
        }
        behind.then_some(Broken::Monotonic)
    }

    /// Whether the answers of a snapshot were ever true together.
    fn together(&mut self, seen: &Observation, truth: &Truth, finding: &Finding) -> Option<Broken> {
        let Content::Accounts(_, sum) = seen.content else { return None };
        if sum != ACCOUNTS * AMOUNT {
            return Some(Broken::Sum);
        }
        let from = finding.rows.iter().filter_map(|(_, shown)| shown.commit).max()?;
        let next = |(id, shown): &(i64, Shown)| truth.commits_after(*id, shown.index).min();
        let until = finding.rows.iter().filter_map(next).min().unwrap_or(u64::MAX);
        if from < until {
            return None;
        }
        // The server itself may show a commit and not an earlier one of the log, to whoever asks it in between.
        if seen.receipt.origin != "l1" && truth.visible(until) >= seen.begun {
            self.report.reordered += 1;
            return None;
        }
        Some(Broken::Cut)
    }
}

/// Commits that nobody has put on disk yet lie no further back than the server's `wal_writer_delay` of two seconds.
const UNWRITTEN: Nanos = 2_500_000_000;

/// Whether a list may show what a crash took back. Such a commit is in no log, and where it takes away what an earlier one had
/// put there, the sum is that of a list which the earlier one never came to.
fn is_clouded(seen: &Observation, truth: &Truth) -> bool {
    let is_list = matches!(seen.content, Content::List { .. });
    let is_before = |(crashed, recovered): &(Nanos, Nanos)| {
        seen.begun < *recovered && seen.begun.saturating_add(UNWRITTEN) > *crashed
    };
    is_list && truth.crashes.iter().any(is_before)
}

/// What the answer claims: everything visible before the moment is in it.
fn claims(seen: &Observation) -> Vec<(Broken, Nanos)> {
    let mut claims = Vec::new();
    match seen.asked {
        Asked::Strong => claims.push((Broken::Strong, seen.begun)),
        Asked::Bounded(limit) => claims.push((Broken::Bounded, seen.begun.saturating_sub(nanos(limit)))),
        _ => {}
    }
    if let Some(bound) = seen.receipt.bound {
        claims.push((Broken::Bound, seen.begun.saturating_sub(nanos(bound))));
    }
    if let Some(given) = &seen.given {
        claims.push((Broken::Session, given.floor));
    }
    claims
}

/// Whether a state is the version that an answer shows.
fn is_of(version: &Version) -> impl Fn(&State) -> bool {
    let version = (version.version, version.nonce);
    move |state| (state.version, state.nonce) == version
}

/// Finds the answer in the truth: the latest states it can be. `None`: there never was such a thing.
fn find(truth: &Truth, content: &Content) -> Option<Finding> {
    let row = |version: &Version| Some((version.id, truth.row(version.id, is_of(version))?));
    let all = |versions: &[Version]| {
        let rows = versions.iter().map(row).collect::<Option<Vec<_>>>()?;
        let superseded = rows.iter().map(|(_, shown)| shown.superseded).min().unwrap_or(NEVER);
        Some(Finding { superseded, rows })
    };
    let absent = |id: i64| truth.row(id, |state| state.place.is_none_or(|place| !place.present));
    match content {
        Content::Row(one) => all(std::slice::from_ref(one)),
        Content::Joined(one, other) => {
            let is_one = is_of(one);
            let belongs = |state: &State| {
                is_one(state) && state.place.is_none_or(|place| OWNER_LIFE + place.owner == other.id)
            };
            truth.row(one.id, belongs)?;
            all(&[*one, *other])
        }
        Content::Accounts(versions, _) => all(versions),
        Content::Absent(id) => {
            let shown = absent(*id)?;
            Some(Finding { superseded: shown.superseded, rows: vec![(*id, shown)] })
        }
        Content::NotJoined(id) => {
            let mut best = absent(*id).map_or(0, |shown| shown.superseded);
            // Or it was there, and what it would have been joined with was not.
            for owner in OWNER_LIFE..OWNER_LIFE + crate::schema::OWNERS {
                let with = |state: &State| {
                    state.place.is_some_and(|place| place.present && OWNER_LIFE + place.owner == owner)
                };
                if let (Some(item), Some(owner)) = (truth.row(*id, with), absent(owner)) {
                    best = best.max(item.superseded.min(owner.superseded));
                }
            }
            Some(Finding { superseded: best, rows: Vec::new() })
        }
        Content::List { shelf, sum } => {
            let (superseded, _) = truth.list(*shelf, *sum)?;
            Some(Finding { superseded, rows: Vec::new() })
        }
        Content::Strange(_) => None,
    }
}

/// When what the answer speaks of changed last before a moment, as far as is certain.
fn last_change(truth: &Truth, content: &Content, before: Nanos) -> Option<Nanos> {
    match content {
        Content::List { shelf, .. } => truth.list_changed(*shelf, before),
        Content::Absent(id) | Content::NotJoined(id) => truth.row_changed(*id, before),
        other => other.versions().iter().filter_map(|version| truth.row_changed(version.id, before)).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Claim, Given};
    use crate::truth::{Commit, Place};

    const PLACE: Place = Place { present: true, shelf: -1, owner: -1 };

    /// Two rows, of which a crash takes back the second version that both got in one transaction, after it was seen.
    fn fallen_back() -> Truth {
        let mut truth = Truth::new();
        for id in [1, 2] {
            truth.begin(id, 0, 10, PLACE, 0);
        }
        let both = |lsn, version, nonce| Commit {
            lsn,
            changes: vec![(1, version, nonce, PLACE), (2, version, nonce, PLACE)],
        };
        truth.logged(&both(100, 1, 11));
        for id in [1, 2] {
            truth.seen(0, id, 1, 11, 1_000);
            truth.seen(0, id, 2, 12, 2_000);
        }
        let era = truth.recovered(3_000, NEVER, 200);
        for id in [1, 2] {
            truth.seen(era, id, 1, 11, 4_000);
        }
        truth.settle(4_000);
        truth.logged(&both(300, 2, 22));
        for id in [1, 2] {
            truth.seen(era, id, 2, 22, 5_000);
        }
        truth
    }

    /// The row at a session read of the only chain there is.
    fn shown(begun: Nanos, id: i64, version: i64, nonce: i64) -> Observation {
        Observation {
            door: "library a",
            view: 0,
            key: id,
            asked: Asked::Session,
            content: Content::Row(Version { id, version, nonce }),
            begun,
            ended: begun,
            given: Some(Given { chain: 1, floor: 0, made: begun }),
            receipt: Claim { origin: "l1".into(), ..Claim::default() },
        }
    }

    /// What is found against a chain of reads.
    fn judged(truth: &Truth, reads: &[Observation]) -> Vec<Broken> {
        let mut judge = Judge::new(Report::begun(1));
        let found = reads.iter().filter_map(|seen| {
            let finding = find(truth, &seen.content).expect("the oracle knows it");
            judge.chain(seen, truth, &finding)
        });
        found.collect()
    }

    #[test]
    fn what_a_crash_took_back_was_newer_than_what_the_row_fell_back_to() {
        let truth = fallen_back();
        let reads = [shown(1_500, 1, 1, 11), shown(2_500, 1, 2, 12), shown(2_600, 2, 2, 12)];
        assert_eq!(judged(&truth, &reads), []);
    }

    #[test]
    fn a_later_read_of_a_chain_that_shows_less_is_noticed() {
        let truth = fallen_back();
        let newer_first = [shown(2_500, 1, 2, 12), shown(2_600, 1, 0, 10)];
        assert_eq!(judged(&truth, &newer_first), [Broken::Monotonic]);
        let half_of_it = [shown(5_500, 1, 2, 22), shown(5_600, 2, 1, 11)];
        assert_eq!(judged(&truth, &half_of_it), [Broken::Monotonic]);
    }

    #[test]
    fn accounts_of_which_one_fell_back_were_true_together() {
        let truth = fallen_back();
        let versions: Vec<Version> = [1, 2].map(|id| Version { id, version: 2, nonce: 12 }).into();
        let mixed = vec![versions[0], Version { id: 2, version: 1, nonce: 11 }];
        let seen = shown(2_500, 1, 2, 12);
        for (versions, broken) in [(versions, None), (mixed, None)] {
            let content = Content::Accounts(versions, ACCOUNTS * AMOUNT);
            let finding = find(&truth, &content).expect("the oracle knows it");
            let mut judge = Judge::new(Report::begun(1));
            let seen = Observation { content, ..seen.clone() };
            assert_eq!(judge.together(&seen, &truth, &finding), broken);
        }
    }

    /// A shelf that got two items. Whoever reads the first one's nonce alone lacks the second, or a crash took back that
    /// somebody took it away.
    fn shelf() -> Truth {
        let mut truth = Truth::new();
        let on_it = Place { shelf: 3, ..PLACE };
        for (id, lsn) in [(1, 100), (2, 200)] {
            truth.begin(id, 0, 10, PLACE, 0);
            truth.logged(&Commit { lsn, changes: vec![(id, 1, 500 + id, on_it)] });
            truth.seen(0, id, 1, 500 + id, lsn * 10_000_000);
        }
        truth
    }

    /// A strong read of the shelf that lacks the second item.
    fn lacking(begun: Nanos) -> Observation {
        let content = Content::List { shelf: 3, sum: 501 };
        Observation { content, asked: Asked::Strong, given: None, ..shown(begun, 1, 1, 501) }
    }

    fn false_receipts(truth: &Truth, seen: Observation) -> (u64, u64) {
        let mut judge = Judge::new(Report::begun(1));
        judge.hold(seen, truth, &Faults::default());
        (judge.report.violations(), judge.report.unknown)
    }

    #[test]
    fn a_list_that_a_crash_may_have_taken_back_is_not_known() {
        let (mut truth, begun) = (shelf(), 5_000_000_000);
        assert_eq!(false_receipts(&truth, lacking(begun)), (1, 0));
        truth.recovered(begun + 1_000_000_000, NEVER, 300);
        truth.settle(begun + 2_000_000_000);
        assert_eq!(false_receipts(&truth, lacking(begun)), (0, 1));
        // Long before, everything was on disk; and what began afterwards shows the new history.
        for begun in [begun - 2_000_000_000, begun + 3_000_000_000] {
            assert_eq!(false_receipts(&truth, lacking(begun)), (1, 0));
        }
    }
}
