//! Answers that waited for others of the same call.
//!
//! A bound counts back from the moment at which the answer is given. Where several are given together, that moment is the
//! last one's: what came from memory while another key was being loaded is older by the whole load. So each answer ages
//! by the time it waited, and whoever is then older than its level or its contract allows is read again.

use crate::answer::{Answer, Consistency};
use crate::cache::Cache;
use crate::error::ReadError;
use crate::read::together::{Call, ManyError};
use candor_core::{Contract, Degraded, Level, Moment, OnFeedDown, OnSourceDown};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// How often answers are read again before the level counts as unmet. Reading again is answered from memory, as a rule.
const ATTEMPTS: usize = 4;

/// An answer, and the moment at which it was made.
pub(super) type Made<V, L> = (Answer<V, L>, Moment);

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Gives answers that were made one after another, all of them now.
    pub(super) async fn give_together<L: Consistency>(
        &self,
        keys: &[K],
        mut made: Vec<Made<V, L>>,
        call: &Call<'_, K, V>,
    ) -> Result<Vec<Answer<V, L>>, ManyError> {
        #[cfg(candor_sabotage)]
        if crate::sabotage::is(crate::sabotage::Sabotage::BoundBeforeWaiting) {
            return Ok(made.into_iter().map(|(answer, _)| answer).collect());
        }
        let (level, contract) = (call.demand.level, self.view.contract());
        let mut attempts = ATTEMPTS;
        loop {
            let now = self.shared.world.now();
            let too_old = |(answer, at): &Made<V, L>| is_too_old(answer, now.since(*at), level, contract);
            let late: Vec<usize> = (0..made.len()).filter(|at| too_old(&made[*at])).collect();
            let Some(at) = late.first().copied() else {
                return Ok(made.into_iter().map(|(answer, at)| answer.waited(now.nanos_since(at))).collect());
            };
            if attempts == 0 {
                let why = "the source takes longer for the other keys than the level allows for this one";
                let error = ReadError::LevelUnmet { level, why: why.to_owned() };
                return Err(ManyError { at, error });
            }
            attempts -= 1;
            let again = late.into_iter().map(|at| async move {
                let read = self.read_demanding_since(
                    &keys[at],
                    call.demand.clone(),
                    call.begun,
                    Arc::clone(&call.one),
                );
                let answer = read.await.map_err(|error| ManyError { at, error })?;
                Ok((at, (answer.at(), self.shared.world.now())))
            });
            let again: Vec<_> = again.collect();
            let again = stream::iter(again).buffered(self.shared.limiter.in_flight());
            for (at, answer) in again.try_collect::<Vec<_>>().await? {
                made[at] = answer;
            }
        }
    }
}

/// Whether an answer that waited so long is older than may be.
fn is_too_old<V, L>(answer: &Answer<V, L>, waited: Duration, level: Level, contract: &Contract) -> bool {
    let receipt = answer.receipt();
    let limit = match (receipt.degraded, level) {
        (None, Level::Bounded(limit)) => Some(limit),
        (None, _) => None,
        (Some(Degraded::FeedDown), _) => match contract.on_feed_down {
            OnFeedDown::Stale(limit) => Some(limit),
            OnFeedDown::Source | OnFeedDown::Error => None,
        },
        (Some(_), _) => match contract.on_source_down {
            OnSourceDown::Stale(limit) => Some(limit),
            OnSourceDown::Error => None,
        },
    };
    limit.zip(receipt.bound).is_some_and(|(limit, bound)| bound + waited > limit)
}
