//! Several keys, each at its level, and one load for all that memory cannot answer.
//!
//! Nothing here decides what an answer is worth: each key is weighed, boarded and answered as if it were alone, and has a
//! receipt of its own. Only the loads are brought together:
//!
//! ```text
//!   keys ─► plain hits ──────────────────────────────────────────────► answers
//!      └──► weigh ─► (one fence for all who need one) ─► weigh again
//!                └─ fill ─► a flight each ─┬─ somebody else's: joined ─► outcome ─► answer, or the ordinary loop
//!                                          └─ ours: one turn, one load, each lands by itself ──┘
//! ```
//!
//! All are given when the last one is there, and say how old they are by then ([`mod@waited`](super::waited)).
//!
//! A flight in a batch is a flight like any other: whoever reads its key may join it. So one key must not spoil another's:
//! a batch that the source refuses for what it is (`Contract`: a key with too many rows, an answer too large together)
//! is halved until what is refused stands alone.

use super::weigh::{Look, Need, Step, weigh};
use crate::answer::{Answer, Consistency};
use crate::cache::{Cache, Shared};
use crate::error::{LoadError, ReadError};
use crate::fill::Fill;
use crate::flight::{Boarding, Flight, FlightError, Landed, Way};
use crate::follow::FeedStatus;
use crate::life::Happening;
use crate::limit::Priority;
use crate::load::{Load, LoadContext, Loaded};
use crate::many::{Brought, LoadMany};
use crate::view::{Event, View};
use candor_core::port::{BoxFuture, Fault};
use candor_core::{Demand, Level, Moment, OnFeedDown, Origin};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Why several keys got no answers: the first that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("key {at} (counted from 0): {error}")]
pub struct ManyError {
    /// Which of the keys, counted from zero.
    pub at: usize,
    /// Why.
    pub error: ReadError,
}

/// A key's place on a flight that was boarded for it.
struct Seat<K, V> {
    boarding: Boarding<K, V>,
    /// Why memory did not answer.
    miss: Event,
}

/// What all keys of one call have in common.
pub(super) struct Call<'a, K, V> {
    pub(super) demand: &'a Demand,
    pub(super) begun: Moment,
    deadline: Moment,
    pub(super) one: Arc<dyn Load<K, V>>,
}

/// A loader of several keys, asked for one.
struct One<K, V>(Arc<dyn LoadMany<K, V>>);

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Reads several keys, each at `level` by itself, in the order asked. What memory cannot answer is loaded together, in
    /// one turn at the source. For answers that hold together, see [`Cache::snapshot`].
    ///
    /// # Errors
    ///
    /// The first key that failed, with its [`ReadError`]. Half an answer would have to be read with as much care as none.
    pub async fn read_many<L: Consistency>(
        &self,
        keys: &[K],
        level: L,
        loader: Arc<dyn LoadMany<K, V>>,
    ) -> Result<Vec<Answer<V, L>>, ManyError> {
        let demand = self.demand(&level);
        let begun = self.shared.world.now();
        let deadline = begun.plus(self.view.contract().timeout);
        let one: Arc<dyn Load<K, V>> = Arc::new(One(Arc::clone(&loader)));
        let call = Call { demand: &demand, begun, deadline, one };
        let hits: Vec<Option<Answer<V, L>>> = keys.iter().map(|key| self.plain_hit(key, &level)).collect();
        for (key, hit) in keys.iter().zip(&hits) {
            if hit.as_ref().is_some_and(|hit| self.is_due_early(hit.left_nanos())) {
                self.refresh(key, &call.one);
            }
        }
        let missing = keys.iter().zip(&hits).filter(|(_, hit)| hit.is_none()).map(|(key, _)| key);
        let mut seats = self.board_together(missing.collect(), &call, loader).await.into_iter();
        let reads = keys.iter().zip(hits).enumerate().map(|(at, (key, hit))| {
            let seat = if hit.is_none() { seats.next().flatten() } else { None };
            let read = self.read_seated(key, seat, &call);
            async move {
                match hit {
                    Some(hit) => Ok((hit, begun)),
                    None => {
                        let answer = read.await.map_err(|error| ManyError { at, error })?;
                        Ok((answer.at(), self.shared.world.now()))
                    }
                }
            }
        });
        let reads: Vec<_> = reads.collect();
        // What has no seat may still have to load by itself, and no call may fill the queue that all share.
        let made = stream::iter(reads).buffered(self.shared.limiter.in_flight()).try_collect().await?;
        self.give_together(keys, made, &call).await
    }

    /// A seat for each of these keys that has to be loaded as far as memory and one fence tell; `None` for the others, and
    /// for all where it is not for a batch to say what happens.
    async fn board_together(
        &self,
        keys: Vec<&K>,
        call: &Call<'_, K, V>,
        loader: Arc<dyn LoadMany<K, V>>,
    ) -> Vec<Option<Seat<K, V>>> {
        let contract = self.view.contract();
        let none = || keys.iter().map(|_| None).collect();
        let is_down = self.logged() && matches!(self.shared.follower.status(), FeedStatus::Down(_));
        let is_refused = self.is_closed() || contract.critical && call.demand.level != Level::Strong;
        if keys.len() < 2 || is_refused || is_down && contract.on_feed_down != OnFeedDown::Source {
            return none();
        }
        let Ok(mut need) = self.need(call.demand.level, call.demand.token.as_ref(), call.begun) else {
            return none();
        };
        let step = |key: &K, need: &Need| -> (Step, Option<Look<V>>) {
            let (look, now) = (self.look(key), self.shared.world.now());
            (weigh(look.as_ref(), need, contract, self.logged() && !is_down, now), look)
        };
        let mut steps: Vec<_> = keys.iter().map(|key| step(key, &need)).collect();
        let fences = |(step, _): &(Step, _)| if let Step::Fence(event) = step { Some(*event) } else { None };
        let asked: Vec<Event> = steps.iter().filter_map(fences).collect();
        if !asked.is_empty()
            && let Ok(position) = self.prove(&need, call.deadline).await
        {
            need.is_asked = self.check_token(need.token, position).is_ok();
            asked.into_iter().for_each(|event| self.view.figures().event(event));
            steps = keys.iter().map(|key| step(key, &need)).collect();
        }
        let (mut seats, mut ours) = (Vec::with_capacity(keys.len()), Vec::new());
        for (key, (step, look)) in keys.into_iter().zip(steps) {
            let Step::Fill(miss) = step else {
                seats.push(None);
                continue;
            };
            self.missed(key, miss, look.as_ref());
            let not_before = need.floor(self.shared.world.now());
            let ticket = self.ticket(key, &call.one, Priority::Reader);
            let boarding = self.shared.flights.board(not_before, ticket);
            if boarding.way == Way::Begins {
                ours.push(Arc::clone(&boarding.flight));
            }
            seats.push(Some(Seat { boarding, miss }));
        }
        self.launch_together(ours, loader);
        seats
    }

    /// The answer for one key: of its flight if it has a seat and the flight suits, else by the ordinary way.
    async fn read_seated(
        &self,
        key: &K,
        seat: Option<Seat<K, V>>,
        call: &Call<'_, K, V>,
    ) -> Result<Answer<V>, ReadError> {
        let one = Arc::clone(&call.one);
        let Some(seat) = seat else {
            return self.read_demanding_since(key, call.demand.clone(), call.begun, one).await;
        };
        let outcome = self.read_landed(seat, key, call).await;
        let outcome = match outcome {
            Ok(None) => self.read_slowly(key, call.demand.clone(), call.begun, one).await,
            Ok(Some(answer)) => Ok(answer.with_given(call.demand.token.clone())),
            Err(error) => Err(error),
        };
        outcome.map_err(|error| self.refused(key, error))
    }

    async fn read_landed(
        &self,
        seat: Seat<K, V>,
        key: &K,
        call: &Call<'_, K, V>,
    ) -> Result<Option<Answer<V>>, ReadError> {
        // Anew, since the log may have been replaced while the load ran.
        let need: Need = self.need(call.demand.level, call.demand.token.as_ref(), call.begun)?;
        let origin = if seat.boarding.way == Way::Joined { Origin::Flight } else { Origin::Source };
        match self.shared.world.within(call.deadline, seat.boarding.flight.outcome()).await {
            Some(Ok(landed)) => self.answer_from_flight(landed, origin, seat.miss, &need),
            Some(Err(error)) => self.without_source(key, &need, error).map(Some),
            None => {
                let late = FlightError::Timeout(self.view.contract().timeout);
                self.without_source(key, &need, late).map(Some)
            }
        }
    }

    /// Starts flights as one load.
    fn launch_together(&self, mut flights: Vec<Arc<Flight<K, V>>>, loader: Arc<dyn LoadMany<K, V>>) {
        if flights.len() < 2 {
            return flights.drain(..).for_each(|flight| self.launch(flight));
        }
        let cache = self.clone();
        self.shared.world.spawn(async move {
            let mut waiting = vec![flights];
            while let Some(mut batch) = waiting.pop() {
                // Whatever panics in here, every flight lands.
                let filling = AssertUnwindSafe(cache.shared.fill_together(&batch, &cache.view, &*loader));
                let panicked = |_| Err(FlightError::Load(LoadError::panicked()));
                match filling.catch_unwind().await.unwrap_or_else(panicked) {
                    Ok(landed) => {
                        let each = batch.iter().zip(landed);
                        each.for_each(|(flight, landed)| cache.land(flight, Ok(landed)));
                    }
                    Err(error) if batch.len() > 1 && is_of_what_it_asks(&error) => {
                        waiting.push(batch.split_off(batch.len() / 2));
                        waiting.push(batch);
                    }
                    Err(error) => {
                        batch.iter().for_each(|flight| cache.failed(flight, &error));
                    }
                }
            }
        });
    }

    fn failed(&self, flight: &Arc<Flight<K, V>>, error: &FlightError) {
        let overloaded = matches!(error, FlightError::Overloaded(_));
        self.view.figures().event(if overloaded { Event::FillRefused } else { Event::FillFailed });
        if !overloaded {
            let why = ReadError::from(error.clone()).to_string();
            self.note(&flight.key, Happening::FillFailed { why });
        }
        self.land(flight, Err(error.clone()));
    }

    fn land(&self, flight: &Arc<Flight<K, V>>, outcome: Result<Landed<V>, FlightError>) {
        if let Some(next) = self.shared.flights.land(flight, outcome) {
            self.launch(next);
        }
    }
}

impl<K, V> Shared<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Runs flights of one view as one load, and judges and keeps each by itself.
    async fn fill_together(
        &self,
        flights: &[Arc<Flight<K, V>>],
        view: &View,
        loader: &dyn LoadMany<K, V>,
    ) -> Result<Vec<Landed<V>>, FlightError> {
        let keys = flights.iter().map(|flight| flight.key.clone()).collect();
        let begins = |moment| flights.iter().for_each(|flight| flight.begin(moment));
        let Brought { loaded, local, begun, took } = self.bring(keys, view, None, begins, loader).await?;
        let keep = |(flight, answer): (&Arc<Flight<K, V>>, Loaded<V>)| {
            let fill = Fill { key: &flight.key, view, local: local.clone(), begun, took };
            self.keep(&fill, answer.stamped(loaded.stamp.clone()), &|| flight.is_doomed())
        };
        Ok(flights.iter().zip(loaded.answers).map(keep).collect())
    }
}

/// Whether the source refused the load for what it asks, which may be the fault of one key, and not for how the source is.
fn is_of_what_it_asks(error: &FlightError) -> bool {
    matches!(error, FlightError::Load(load) if load.fault == Fault::Contract)
}

impl<K, V> Load<K, V> for One<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn load(&self, context: LoadContext<K, V>) -> BoxFuture<'static, Result<Loaded<V>, LoadError>> {
        let many = Arc::clone(&self.0);
        Box::pin(async move {
            let mut brought = many.load_many(vec![context.key().clone()]).await?;
            let answer = brought.answers.pop().filter(|_| brought.answers.is_empty());
            let why = "the loader gave another number of answers than keys";
            let answer = answer.ok_or_else(|| LoadError::new(Fault::Contract, why))?;
            Ok(answer.stamped(brought.stamp))
        })
    }
}
