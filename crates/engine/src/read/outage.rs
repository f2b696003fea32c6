//! When the log or the source fails: what the contract says, and nothing else.

use super::weigh::{Look, Need, Step};
use crate::answer::Answer;
use crate::cache::Cache;
use crate::error::ReadError;
use crate::flight::FlightError;
use crate::life::Happening;
use crate::view::Event;
use candor_core::port::Fault;
use candor_core::{Degraded, Level, Moment, OnFeedDown, OnSourceDown};
use std::hash::Hash;

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// What the contract says about a log that cannot be followed, where `step` is what would be done otherwise.
    /// `None` means: do that.
    ///
    /// An entry whose proof is young enough for the level is served whatever the log does now. Hints have no such
    /// measure, so for them the contract's word counts.
    pub(super) fn without_log(
        &self,
        key: &K,
        look: Option<&Look<V>>,
        step: &Step,
        need: &Need,
        why: &str,
        now: Moment,
    ) -> Option<Result<Answer<V>, ReadError>> {
        let satisfied = matches!(step, Step::Serve | Step::ServeAndRefresh);
        if satisfied && need.level != Level::Any {
            return None;
        }
        self.view.figures().event(Event::FeedDown);
        let contract = self.view.contract();
        let unmet = |what: &str| {
            let why = format!("the log cannot be followed ({why}){what}");
            Some(Err(ReadError::LevelUnmet { level: need.level, why }))
        };
        match contract.on_feed_down {
            OnFeedDown::Source => None,
            OnFeedDown::Error => unmet(""),
            OnFeedDown::Stale(limit) => {
                match look.filter(|look| need.may_degrade(contract) && now.since(look.as_of) <= limit) {
                    Some(look) => {
                        let degraded = (!satisfied).then_some(Degraded::FeedDown);
                        Some(Ok(self.degrade(key, look.clone(), degraded)))
                    }
                    // A hint beyond the limit is no longer within the contract.
                    None if satisfied => {
                        unmet(", and what memory holds is older than the contract allows then")
                    }
                    None => None,
                }
            }
        }
    }

    /// What the contract says about a source that does not answer.
    pub(super) fn without_source(
        &self,
        key: &K,
        need: &Need,
        error: FlightError,
    ) -> Result<Answer<V>, ReadError> {
        let contract = self.view.contract();
        let reason = match &error {
            FlightError::Load(load) if load.fault == Fault::Down => Degraded::SourceDown,
            FlightError::Load(load) if load.fault == Fault::Slow => Degraded::SourceSlow,
            FlightError::Timeout(_) => Degraded::SourceSlow,
            FlightError::Overloaded(_) => Degraded::Overloaded,
            FlightError::Load(_) => return Err(error.into()),
        };
        if let OnSourceDown::Stale(limit) = contract.on_source_down
            && need.may_degrade(contract)
            && let Some(look) = self.look(key)
            && self.shared.world.now().since(look.as_of) <= limit
        {
            return Ok(self.degrade(key, look, Some(reason)));
        }
        Err(error.into())
    }

    fn degrade(&self, key: &K, look: Look<V>, degraded: Option<Degraded>) -> Answer<V> {
        if let Some(degraded) = degraded {
            self.note(key, Happening::Degraded { why: degraded.word() });
        }
        self.answer_from_memory(look, degraded)
    }
}
