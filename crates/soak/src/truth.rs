//! What was true, and since when it was certainly visible.
//!
//! Nothing here comes from Candor. That a version *exists* says a replication slot of the oracle's own, in the order of
//! the log. That it was *visible* by a moment says whoever saw it on a direct connection, or whose COMMIT returned:
//! the moment is noted afterwards. Versions of one row are in the order of their row lock, so a version that was seen
//! makes all earlier ones of that row certainly visible too.
//!
//! An answer that shows a version reflects everything visible before T exactly if no later version of that row was
//! certainly visible before T. That one comparison is the whole judgement; where the oracle does not know, it says
//! "not certainly", so it may be lenient and is never unjust.
//!
//! A crash may lose versions that were seen. Each recovery begins an *era*; states are ordered by (era, version), and
//! what the recovered server shows first counts as newer than everything before it.

use crate::clock::{NEVER, Nanos, nanos};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// How long what is superseded is remembered. Longer than any bound a receipt claims here.
const MEMORY: Duration = Duration::from_secs(180);
/// Changes of a list among which the server's own order is searched for.
const SHUFFLED: usize = 10;

/// Where a row is, if it is anywhere.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) present: bool,
    pub(crate) shelf: i64,
    pub(crate) owner: i64,
}

/// One version of one row.
#[derive(Copy, Clone, Debug)]
pub(crate) struct State {
    pub(crate) era: u32,
    pub(crate) version: i64,
    pub(crate) nonce: i64,
    /// Known once the log told; what a crash lost is in no log.
    pub(crate) place: Option<Place>,
    /// The transaction, by its order in the log.
    pub(crate) commit: Option<u64>,
    /// Since when it was certainly visible, at the latest.
    pub(crate) seen: Nanos,
}

/// A state that an answer may show, and when a later one was certainly visible.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) index: u64,
    pub(crate) superseded: Nanos,
    pub(crate) commit: Option<u64>,
    /// No log has it, although the log was read up to where it would be: a crash took it back.
    pub(crate) is_lost: bool,
}

#[derive(Debug, Default)]
struct Row {
    states: VecDeque<State>,
    forgotten: u64,
}

/// One committed transaction, as the log has it.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) lsn: u64,
    pub(crate) changes: Vec<(i64, i64, i64, Place)>,
}

#[derive(Copy, Clone, Debug)]
struct ListChange {
    commit: u64,
    delta: i64,
    after: i64,
}

/// The nonces of a list's rows, added up, after each change.
#[derive(Debug, Default)]
struct List {
    base: i64,
    changes: VecDeque<ListChange>,
}

/// Everything known.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    rows: HashMap<i64, Row>,
    lists: HashMap<i64, List>,
    /// When each transaction was certainly visible, from `first_commit` on.
    commits: VecDeque<Nanos>,
    first_commit: u64,
    /// The rows as the log left them.
    latest: HashMap<i64, (i64, Place)>,
    lsn: u64,
    /// The era in force, and where in the log it begins.
    eras: Vec<u64>,
    /// Crashes: when the last thing of the old era can have happened, and since when the new one is certainly visible.
    pub(crate) crashes: Vec<(Nanos, Nanos)>,
    /// Up to when everything that was visible is in here.
    pub(crate) logged_until: Nanos,
    pub(crate) observed_until: Nanos,
    /// What must not happen, happened: the oracle cannot be believed.
    pub(crate) contradictions: Vec<String>,
    pub(crate) versions: u64,
    pub(crate) lost: u64,
}

impl Truth {
    pub(crate) fn new() -> Self {
        Self { eras: vec![0], ..Self::default() }
    }

    /// The rows before anybody writes.
    pub(crate) fn begin(&mut self, id: i64, version: i64, nonce: i64, place: Place, at: Nanos) {
        self.seen(0, id, version, nonce, at);
        if let Some(state) = self.rows.entry(id).or_default().states.back_mut() {
            state.place = Some(place);
        }
        self.latest.insert(id, (nonce, place));
        if place.is_on_a_shelf() {
            self.lists.entry(place.shelf).or_default().base += nonce;
        }
    }

    /// A version was visible at `at`: somebody saw it, or its COMMIT had returned.
    pub(crate) fn seen(&mut self, era: u32, id: i64, version: i64, nonce: i64, at: Nanos) {
        let row = self.rows.entry(id).or_default();
        match row.state(era, version, nonce) {
            Found::At(index) => self.visible_by(id, index, at),
            Found::Forgotten => {}
            Found::Other => {
                self.contradict(format!("row {id}: version {version} of era {era} was seen with two nonces"))
            }
        }
    }

    /// The state at `index` was visible at `at`, and with it whatever is before it and was not lost.
    fn visible_by(&mut self, id: i64, index: usize, at: Nanos) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let era = row.states[index].era;
        for state in row.states.range_mut(..=index).rev() {
            if state.seen <= at {
                break;
            }
            if state.era != era && state.commit.is_none() {
                continue;
            }
            state.seen = at;
            if let Some(commit) = state.commit.and_then(|commit| commit.checked_sub(self.first_commit))
                && let Some(seen) = self.commits.get_mut(commit as usize)
            {
                *seen = (*seen).min(at);
            }
        }
    }

    /// The next transaction of the log.
    pub(crate) fn logged(&mut self, commit: &Commit) {
        if commit.lsn <= self.lsn || commit.changes.is_empty() {
            return;
        }
        self.lsn = commit.lsn;
        let era = self.eras.iter().rposition(|begin| *begin <= commit.lsn).unwrap_or(0) as u32;
        let number = self.first_commit + self.commits.len() as u64;
        self.commits.push_back(NEVER);
        let mut deltas: BTreeMap<i64, i64> = BTreeMap::new();
        for &(id, version, nonce, place) in &commit.changes {
            self.versions += 1;
            self.place(id, version, nonce, place, era, number);
            if let Some((nonce, place)) = self.latest.insert(id, (nonce, place))
                && place.is_on_a_shelf()
            {
                *deltas.entry(place.shelf).or_default() -= nonce;
            }
            if place.is_on_a_shelf() {
                *deltas.entry(place.shelf).or_default() += nonce;
            }
        }
        for (shelf, delta) in deltas {
            let list = self.lists.entry(shelf).or_default();
            let after = list.changes.back().map_or(list.base, |change| change.after) + delta;
            list.changes.push_back(ListChange { commit: number, delta, after });
        }
    }

    /// Notes what the log says of one version, wherever it stands already; else in `era`.
    fn place(&mut self, id: i64, version: i64, nonce: i64, place: Place, era: u32, commit: u64) {
        let eras = self.eras.len() as u32;
        let row = self.rows.entry(id).or_default();
        if row.twin(version, nonce, eras).is_none() {
            // What a crash lost may have had this number, before the new era was declared.
            let found = (era..eras)
                .map(|era| row.state(era, version, nonce))
                .find(|found| !matches!(found, Found::Other));
            if found.is_none() {
                return self.contradict(format!(
                    "row {id}: the log has version {version} of era {era} with another nonce"
                ));
            }
        }
        for era in 0..eras {
            let row = self.rows.entry(id).or_default();
            let Some(index) = row.at(era, version).filter(|index| row.states[*index].nonce == nonce) else {
                continue;
            };
            let state = &mut row.states[index];
            (state.place, state.commit) = (Some(place), Some(commit));
            let at = row.states.range(index..).map(|state| state.seen).find(|seen| *seen != NEVER);
            if let Some(at) = at {
                // Passes it on to its transaction, too.
                row.states[index].seen = NEVER;
                self.visible_by(id, index, at);
            }
        }
    }

    fn contradict(&mut self, what: String) {
        if self.contradictions.len() < 20 {
            self.contradictions.push(what);
        }
    }

    /// The server recovered from a crash. `lsn`: nothing of the era before lies above it. Returns the new era.
    pub(crate) fn recovered(&mut self, crashed: Nanos, recovered: Nanos, lsn: u64) -> u32 {
        self.eras.push(lsn);
        self.crashes.push((crashed, recovered));
        (self.eras.len() - 1) as u32
    }

    /// Everything that the recovered server shows has been looked at.
    pub(crate) fn settle(&mut self, at: Nanos) {
        if let Some(last) = self.crashes.last_mut() {
            last.1 = last.1.min(at);
        }
    }

    /// The latest state of a row that an answer may show: one that `is_it` says yes to.
    pub(crate) fn row(&self, id: i64, is_it: impl Fn(&State) -> bool) -> Option<Shown> {
        let row = self.rows.get(&id)?;
        let mut superseded = NEVER;
        for (index, state) in row.states.iter().enumerate().rev() {
            if is_it(state) {
                return Some(Shown {
                    index: row.forgotten + index as u64,
                    superseded,
                    commit: state.commit,
                    is_lost: state.place.is_none(),
                });
            }
            superseded = superseded.min(state.seen);
        }
        None
    }

    /// The first state of a row that an answer may show: what a crash took back to has a place in each era.
    pub(crate) fn first(&self, id: i64, is_it: impl Fn(&State) -> bool) -> Option<u64> {
        let row = self.rows.get(&id)?;
        row.states.iter().position(is_it).map(|index| row.forgotten + index as u64)
    }

    /// The transactions that wrote a row after one of its states, in order. One that the state comes after is none of
    /// them, though the row may have fallen back to what it wrote.
    pub(crate) fn commits_after(&self, id: i64, index: u64) -> impl Iterator<Item = u64> {
        let row = self.rows.get(&id);
        row.into_iter().flat_map(move |row| {
            let place = (index + 1).saturating_sub(row.forgotten) as usize;
            let reflected = row.states.iter().take(place).filter_map(|state| state.commit).max();
            let later = row.states.iter().skip(place).filter_map(|state| state.commit);
            later.filter(move |commit| reflected.is_none_or(|reflected| *commit > reflected))
        })
    }

    /// When a list whose nonces have this sum was certainly no longer what a reader saw.
    pub(crate) fn list(&self, shelf: i64, sum: i64) -> Option<(Nanos, bool)> {
        let Some(list) = self.lists.get(&shelf) else {
            // Nothing was ever on it.
            return (sum == 0).then_some((NEVER, true));
        };
        let mut superseded = NEVER;
        for change in list.changes.iter().rev() {
            if change.after == sum {
                return Some((superseded, true));
            }
            superseded = superseded.min(self.visible(change.commit));
        }
        if list.base == sum {
            return Some((superseded, true));
        }
        self.shuffled(list, sum).map(|superseded| (superseded, false))
    }

    /// When a row changed last before a moment, as far as is certain.
    pub(crate) fn row_changed(&self, id: i64, before: Nanos) -> Option<Nanos> {
        let states = self.rows.get(&id)?.states.iter().rev();
        states.map(|state| state.seen).find(|seen| *seen <= before)
    }

    /// When a list changed last before a moment, as far as is certain.
    pub(crate) fn list_changed(&self, shelf: i64, before: Nanos) -> Option<Nanos> {
        let changes = self.lists.get(&shelf)?.changes.iter().rev();
        changes.map(|change| self.visible(change.commit)).find(|seen| *seen <= before)
    }

    /// A snapshot of the server may see a commit and not an earlier one of the log.
    fn shuffled(&self, list: &List, sum: i64) -> Option<Nanos> {
        let count = list.changes.len();
        let mut later = NEVER;
        for start in (0..count).rev().take(400) {
            if let Some(out) = list.changes.get(start + SHUFFLED) {
                later = later.min(self.visible(out.commit));
            }
            let before = if start == 0 { list.base } else { list.changes[start - 1].after };
            let window: Vec<_> = list.changes.range(start..count.min(start + SHUFFLED)).collect();
            // The first of the window is left out: with it, an earlier start has it.
            for chosen in 1..1_u32 << (window.len() - 1) {
                let is_in = |at: usize| at > 0 && chosen >> (at - 1) & 1 == 1;
                let total: i64 = (0..window.len()).filter(|at| is_in(*at)).map(|at| window[at].delta).sum();
                if before + total == sum {
                    let missing = (0..window.len()).filter(|at| !is_in(*at));
                    return missing
                        .map(|at| self.visible(window[at].commit))
                        .min()
                        .map(|seen| seen.min(later));
                }
            }
        }
        None
    }

    /// Since when a transaction was certainly visible.
    pub(crate) fn visible(&self, commit: u64) -> Nanos {
        let place = commit.checked_sub(self.first_commit).map(|at| at as usize);
        place.and_then(|at| self.commits.get(at)).copied().unwrap_or(0)
    }

    /// The end of the last recovery, if there was one.
    pub(crate) fn last_recovery(&self) -> Nanos {
        self.crashes.last().map_or(0, |crash| crash.1)
    }

    /// Forgets what nobody can claim any more. Memory stays bounded by the writes of [`MEMORY`].
    pub(crate) fn prune(&mut self, now: Nanos) {
        let horizon = now.saturating_sub(nanos(MEMORY));
        for row in self.rows.values_mut() {
            let mut later = NEVER;
            let mut keep = row.states.len();
            while keep > 0 && later > horizon {
                keep -= 1;
                later = later.min(row.states[keep].seen);
            }
            let before = row.states.iter().take(keep);
            self.lost += before.filter(|state| state.place.is_none()).count() as u64;
            row.states.drain(..keep);
            row.forgotten += keep as u64;
        }
        let commits = std::mem::take(&mut self.commits);
        let old = commits.iter().take_while(|seen| **seen < horizon).count() as u64;
        self.commits = commits;
        let first = self.first_commit + old;
        for list in self.lists.values_mut() {
            while let Some(change) = list.changes.front().filter(|change| change.commit < first).copied() {
                list.base = change.after;
                list.changes.pop_front();
            }
        }
        self.commits.drain(..old as usize);
        self.first_commit = first;
    }

    /// States and changes held, to see that memory is bounded.
    pub(crate) fn size(&self) -> usize {
        let rows: usize = self.rows.values().map(|row| row.states.len()).sum();
        rows + self.commits.len() + self.lists.values().map(|list| list.changes.len()).sum::<usize>()
    }

    /// The last changes of a list, for a story: its sum after each, and since when that was certainly visible.
    pub(crate) fn list_story(&self, shelf: i64) -> Vec<(u64, i64, Nanos)> {
        let changes = self.lists.get(&shelf).into_iter().flat_map(|list| list.changes.iter().rev().take(12));
        changes.map(|change| (change.commit, change.after, self.visible(change.commit))).collect()
    }

    /// The last states of a row, for a story.
    pub(crate) fn story(&self, id: i64, from: Nanos) -> Vec<State> {
        let states = self.rows.get(&id).into_iter().flat_map(|row| row.states.iter());
        let states: Vec<_> = states.filter(|state| state.seen >= from).copied().collect();
        states[..states.len().min(24)].to_vec()
    }
}

impl Place {
    fn is_on_a_shelf(self) -> bool {
        self.present && self.shelf >= 0
    }
}

enum Found {
    At(usize),
    /// Older than all that is remembered.
    Forgotten,
    /// Another version has its number.
    Other,
}

impl Row {
    fn at(&self, era: u32, version: i64) -> Option<usize> {
        self.states.binary_search_by_key(&(era, version), |state| (state.era, state.version)).ok()
    }

    /// The same version in any era.
    fn twin(&self, version: i64, nonce: i64, eras: u32) -> Option<&State> {
        let found = (0..eras).rev().filter_map(|era| self.at(era, version)).map(|index| &self.states[index]);
        found.into_iter().find(|state| state.nonce == nonce)
    }

    /// The place of a state, made if it was unknown.
    fn state(&mut self, era: u32, version: i64, nonce: i64) -> Found {
        match self.states.binary_search_by_key(&(era, version), |state| (state.era, state.version)) {
            Ok(index) if self.states[index].nonce == nonce => Found::At(index),
            Ok(_) => Found::Other,
            Err(0) if self.forgotten > 0 => Found::Forgotten,
            Err(index) => {
                let twin = self.twin(version, nonce, era);
                let (place, commit) = twin.map_or((None, None), |twin| (twin.place, twin.commit));
                // Whatever is later in this era and was seen, was seen with this below it.
                let next = self.states.get(index).filter(|next| next.era == era);
                let seen = next.map_or(NEVER, |next| next.seen);
                self.states.insert(index, State { era, version, nonce, place, commit, seen });
                Found::At(index)
            }
        }
    }
}
