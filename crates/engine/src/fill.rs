//! Fills: a turn at the source, the load, the judgement, and keeping what may be kept.
//!
//! The order is the proof. The moment (and, for sources without a log, the local position) is noted before the loader is
//! called; the answer is judged after it came back, with everything that arrived meanwhile; and an application's
//! invalidation is asked about before and after the entry is put into memory.

use crate::cache::{Shared, hash};
use crate::error::{LoadError, ReadError};
use crate::flight::{Flight, FlightError, Landed, Outcome};
use crate::follow::local_stamp;
use crate::life::Happening;
use crate::limit::Priority;
use crate::load::{LoadContext, Loaded};
use crate::read::jittered;
use crate::view::{Event, View};
use candor_core::{Entry, EntryParts, Moment, Position, ProofKind, Stamp, Tag, Verdict};
use candor_tiers::Tier;
use futures_util::FutureExt;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// A load that succeeded, before its answer is judged.
pub(crate) struct Fill<'a, K> {
    pub(crate) key: &'a K,
    pub(crate) view: &'a View,
    /// Where the local ledger stood before the load began; the stamp of sources without a log.
    pub(crate) local: Option<Stamp>,
    pub(crate) begun: Moment,
    pub(crate) took: Duration,
}

/// Why an answer is given to its readers and not kept.
pub(crate) enum NotKept {
    Outdated,
    Void,
    Unstamped,
    Untagged,
    Invalidated,
}

impl NotKept {
    fn event(&self) -> Event {
        match self {
            Self::Outdated => Event::NotKeptOutdated,
            Self::Void => Event::NotKeptVoid,
            Self::Unstamped => Event::NotKeptUnstamped,
            Self::Untagged => Event::NotKeptUntagged,
            Self::Invalidated => Event::NotKeptInvalidated,
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Self::Outdated => "a change is already known that it does not reflect",
            Self::Void => "the ledger cannot judge it",
            Self::Unstamped => "its loader did not say what it saw",
            Self::Untagged => "its loader did not say what it depends on",
            Self::Invalidated => "an application invalidated the key while it was loading",
        }
    }
}

impl<K, V> Shared<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Runs a flight: waits for a turn at the source, loads, judges, keeps.
    pub(crate) async fn fill(&self, flight: &Arc<Flight<K, V>>) -> Outcome<V> {
        // A refresh is wanted although nobody waits for it.
        let _wanted = (flight.priority == Priority::Refresh).then(|| flight.interest.take());
        let mut turn = self.limiter.acquire(&flight.urgency).await;
        if turn.is_err() && flight.interest.is_wanted_by_others() && flight.priority == Priority::Refresh {
            // Readers have joined what began as a refresh, so not all of its time in the queue was theirs: they get a
            // turn of their own.
            turn = self.limiter.acquire(&Priority::Reader.into()).await;
        }
        let permit = match turn {
            Ok(permit) => permit,
            Err(overload) => {
                flight.view.figures().event(Event::FillRefused);
                return Err(FlightError::Overloaded(overload));
            }
        };
        // The order is the proof: the moment and the local stamp first, then the question to the source.
        let begun = self.world.now();
        flight.begin(begun);
        let local = self.follower.ledger().sight().map(|sight| local_stamp(&sight));
        let context = LoadContext {
            key: flight.key.clone(),
            previous: self.tier.get(&flight.key).and_then(Entry::into_value),
            interest: Arc::clone(&flight.interest),
        };
        let work = AssertUnwindSafe(async { flight.loader.load(context).await }).catch_unwind();
        let limit = flight.view.contract().timeout;
        let loaded = self.world.within(begun.plus(limit), work).await;
        drop(permit);
        let took = self.world.now().since(begun);
        #[cfg(candor_sabotage)]
        let begun = if crate::sabotage::is(crate::sabotage::Sabotage::MomentAfterFill) {
            self.world.now()
        } else {
            begun
        };
        let error = match loaded {
            Some(Ok(Ok(loaded))) => {
                flight.view.filled(took);
                let fill = Fill { key: &flight.key, view: &flight.view, local, begun, took };
                return Ok(self.keep(&fill, loaded, &|| flight.is_doomed()));
            }
            Some(Ok(Err(error))) => FlightError::Load(error),
            Some(Err(_panic)) => FlightError::Load(LoadError::panicked()),
            None => FlightError::Timeout(limit),
        };
        flight.view.figures().event(Event::FillFailed);
        self.note(&flight.key, Happening::FillFailed { why: ReadError::from(error.clone()).to_string() });
        Err(error)
    }

    /// Keeps an answer if the rule allows it.
    ///
    /// `doomed` says whether an application has invalidated the key since the load began.
    pub(crate) fn keep(&self, fill: &Fill<'_, K>, loaded: Loaded<V>, doomed: &dyn Fn() -> bool) -> Landed<V> {
        let contract = fill.view.contract();
        let absent = loaded.value.is_none();
        let declared = if absent { contract.absent_ttl } else { contract.ttl };
        let ttl = jittered(loaded.ttl.unwrap_or(declared), self.world.draw_unit());
        let logged = self.follower.has_log() && contract.proof == ProofKind::Log;
        let mut tags = loaded.tags;
        let untagged = logged && tags.is_empty();
        #[cfg(candor_sabotage)]
        if absent && crate::sabotage::is(crate::sabotage::Sabotage::AbsentUntagged) {
            tags.clear();
        }
        if !logged {
            tags.push(Tag::of_hash(hash(fill.key)));
        }
        let upper = loaded.stamp.as_ref().filter(|_| logged).map(Stamp::upper);
        let stamp = if logged { loaded.stamp } else { fill.local.clone() };
        let (stamp, unstamped) = match stamp {
            Some(stamp) => (stamp, false),
            None => (fill.local.clone().unwrap_or(Stamp::Sequence(NOWHERE)), true),
        };
        let (sight, epoch) = (self.follower.ledger().sight(), stamp.upper().epoch);
        let generation = sight.map_or(0, |sight| sight.generation);
        let entry = Entry::new(EntryParts {
            value: loaded.value,
            filled_at: fill.begun,
            stamp,
            tags,
            generation,
            ttl,
        });
        let not_kept = if unstamped {
            Some(NotKept::Unstamped)
        } else if untagged {
            Some(NotKept::Untagged)
        } else if doomed() {
            Some(NotKept::Invalidated)
        } else {
            match sight.filter(|sight| sight.epoch == epoch) {
                #[cfg(candor_sabotage)]
                _ if crate::sabotage::is(crate::sabotage::Sabotage::JudgeAtInstall) => None,
                None => Some(NotKept::Void),
                Some(sight) => match self.judge_fill(&sight, &entry) {
                    Verdict::Current { .. } => None,
                    Verdict::Outdated(_) => Some(NotKept::Outdated),
                    Verdict::Void(_) => Some(NotKept::Void),
                },
            }
        };
        match &not_kept {
            None => {
                self.tier.put(fill.key.clone(), entry.clone());
                // Asked again: an invalidation between the question above and the put removed nothing.
                if doomed() {
                    self.tier.remove(fill.key);
                }
                fill.view.figures().event(Event::Kept);
            }
            Some(reason) => fill.view.figures().event(reason.event()),
        }
        let kept = not_kept.is_none();
        let not_kept = not_kept.map(|reason| reason.words());
        self.note(fill.key, Happening::Filled { position: upper, took: fill.took, absent, not_kept });
        Landed { entry, upper, kept }
    }

    fn judge_fill(&self, sight: &candor_core::Sight, entry: &Entry<V>) -> Verdict {
        #[cfg(candor_sabotage)]
        if crate::sabotage::is(crate::sabotage::Sabotage::JudgeAlwaysCurrent) {
            return Verdict::Current { proven: sight.watermark };
        }
        self.follower.ledger().judge(sight, entry)
    }
}

/// The position of an entry that is never kept.
const NOWHERE: Position =
    Position { epoch: candor_core::Epoch { log: candor_core::LogId(0), era: 0 }, at: 0 };
