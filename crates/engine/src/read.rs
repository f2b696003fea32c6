//! The read path.
//!
//! A read is two demands: a moment its answer must reflect at least (*floor*), and a position it must not be behind
//! (*token*). The levels are only different floors:
//!
//! ```text
//!   strong       floor = just after the read began
//!   bounded(d)   floor = now − d
//!   session, any floor = none                  (session: token)
//! ```
//!
//! What can be shown of an answer is a moment too, and it comes for free: an entry reflects everything visible when its
//! fill began; an entry that passes the rule also reflects everything visible at the latest moment the ledger is proven
//! complete up to. So the read path is one question, asked again after every step that could change the reply:
//!
//! ```text
//!            ┌──────────────► look: entry, verdict, as-of ◄──────────────┐
//!            │                         │                                 │
//!            │        as-of ≥ floor, token reached ──► serve             │
//!            │                         │                                 │
//!            ├── fence ◄── current, but proven too long ago              │
//!            │                         │                                 │
//!            └── flight ◄── outdated, void, expired, nothing there       │
//!                  └── the answer itself satisfies ──► serve        else ┘
//! ```
//!
//! [`mod@weigh`] is that question as a pure function. Plain hits never get here: [`Cache::hit`] answers them without a lock,
//! a task or an allocation, and leaves everything else to the loop.

mod boarding;
mod need;
mod outage;
mod together;
mod waited;
pub(crate) mod weigh;

use crate::answer::{Answer, Carried, Consistency};
use crate::cache::Cache;
use crate::error::ReadError;
use crate::flight::Landed;
use crate::follow::FeedStatus;
use crate::life::Happening;
use crate::load::Load;
use crate::view::Event;
use candor_core::{
    Degraded, Demand, Entry, Epoch, Level, LogId, Moment, Origin, Position, ProofKind, Sight, Verdict, Void,
};
use candor_tiers::Tier;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
pub use together::ManyError;
use weigh::{Look, Need, Step, weigh};

/// Each attempt ends in an answer, an error, or a step that brings the next one nearer. Only a source that is slower
/// than the bound asked for, or that changes a key faster than it can be read, uses them up.
const ATTEMPTS: usize = 6;

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The fast path: an entry for which nothing changed and whose proof is young enough. `None` sends the read to the
    /// loop; it does not mean that there is nothing.
    #[inline]
    pub(crate) fn hit<L>(&self, key: &K, level: Level) -> Option<Answer<V, L>> {
        // In whole nanoseconds throughout: a `Duration` divides each time it is made or added.
        let now = self.shared.world.now();
        let ledger = self.shared.follower.ledger();
        let sight = ledger.sight()?;
        let entry = self.shared.tier.get(key)?;
        #[cfg(candor_sabotage)]
        let untouched = ledger.is_untouched(&sight, &entry)
            || crate::sabotage::is(crate::sabotage::Sabotage::JudgeAlwaysCurrent);
        #[cfg(not(candor_sabotage))]
        let untouched = ledger.is_untouched(&sight, &entry);
        let left = entry.expires_at().map_or(u64::MAX, |end| end.nanos_since(now));
        if !untouched || left == 0 {
            return None;
        }
        let logged = self.logged();
        let bound = now.nanos_since(self.as_of(&entry, &sight));
        match level {
            Level::Bounded(limit) if u128::from(bound) > limit.as_nanos() => return None,
            Level::Strong | Level::Session => return None,
            // What the contract says about a log that is down limits even hints; the loop knows how.
            Level::Any if logged && self.shared.follower.is_down() => return None,
            Level::Bounded(_) | Level::Any => {}
        }
        let age = now.nanos_since(entry.filled_at());
        let carried = Carried {
            epoch: sight.epoch,
            at: sight.vouched_for(sight.watermark.max(entry.proven())),
            upper: entry.upper(),
            bound_nanos: bound,
            age_nanos: age,
            left_nanos: left,
            has_positions: logged,
            origin: Origin::L1,
            proof: if logged { ProofKind::Log } else { ProofKind::Clock },
            degraded: None,
            miss: None,
            kept: true,
        };
        self.view.figures().hit(bound, age);
        Some(Answer::new(entry.into_value(), carried))
    }

    /// The fast path of a read, where its level and the contract leave it to memory.
    #[inline]
    pub(crate) fn plain_hit<L: Consistency>(&self, key: &K, level: &L) -> Option<Answer<V, L>> {
        let contract = self.view.contract();
        let level = level.of_plain_hit(contract.level)?;
        if contract.critical || self.is_closed() {
            return None;
        }
        self.hit(key, level)
    }

    /// Reads one key for which there was no plain hit.
    pub(crate) async fn read_demanding(
        &self,
        key: &K,
        demand: Demand,
        loader: Arc<dyn Load<K, V>>,
    ) -> Result<Answer<V>, ReadError> {
        self.read_demanding_since(key, demand, self.shared.world.now(), loader).await
    }

    /// The same for a read that began earlier, as one of several.
    async fn read_demanding_since(
        &self,
        key: &K,
        demand: Demand,
        begun: Moment,
        loader: Arc<dyn Load<K, V>>,
    ) -> Result<Answer<V>, ReadError> {
        self.check_open()?;
        if self.view.contract().critical && demand.level != Level::Strong {
            let refusal =
                ReadError::Critical { view: self.view.contract().view.clone(), asked: demand.level };
            return Err(self.refused(key, refusal));
        }
        let outcome = self.read_slowly(key, demand, begun, loader).await;
        outcome.map_err(|error| self.refused(key, error))
    }

    async fn read_slowly(
        &self,
        key: &K,
        demand: Demand,
        begun: Moment,
        loader: Arc<dyn Load<K, V>>,
    ) -> Result<Answer<V>, ReadError> {
        let contract = self.view.contract();
        let deadline = begun.plus(contract.timeout);
        let given = demand.token;
        let mut need = self.need(demand.level, given.as_ref(), begun)?;
        let mut trouble = match self.logged() && self.shared.follower.is_down() {
            true => match self.shared.follower.status() {
                FeedStatus::Down(why) => Some(why),
                _ => None,
            },
            false => None,
        };
        for _ in 0..ATTEMPTS {
            let now = self.shared.world.now();
            if now >= deadline {
                return Err(ReadError::Timeout(contract.timeout));
            }
            let look = self.look(key);
            let log_usable = self.logged() && trouble.is_none();
            let step = weigh(look.as_ref(), &need, contract, log_usable, now);
            if let Some(why) = &trouble
                && let Some(outcome) = self.without_log(key, look.as_ref(), &step, &need, why, now)
            {
                return outcome.map(|answer| answer.with_given(given));
            }
            match (step, look) {
                (Step::Serve, Some(look)) => {
                    if self.is_due_early(left_nanos(&look.entry, now)) {
                        self.refresh(key, &loader);
                    }
                    return Ok(self.answer_from_memory(look, None).with_given(given));
                }
                (Step::ServeAndRefresh, Some(look)) => {
                    self.refresh(key, &loader);
                    return Ok(self.answer_from_memory(look, None).with_given(given));
                }
                (Step::Fence(event), _) => {
                    self.view.figures().event(event);
                    match self.prove(&need, deadline).await {
                        Ok(position) => {
                            self.check_token(need.token, position)?;
                            need.is_asked = true;
                        }
                        Err(why) => trouble = Some(why),
                    }
                }
                (Step::Fill(event), look) => {
                    self.missed(key, event, look.as_ref());
                    let not_before = need.floor(now);
                    // In a box: every strong read would carry its weight, and a load costs a thousand times more.
                    match Box::pin(self.fly(key, not_before, deadline, &loader)).await {
                        Ok((landed, origin)) => {
                            if let Some(answer) = self.answer_from_flight(landed, origin, event, &need)? {
                                return Ok(answer.with_given(given));
                            }
                        }
                        Err(error) => return self.without_source(key, &need, error),
                    }
                }
                (Step::Serve | Step::ServeAndRefresh, None) => {}
            }
        }
        let why = "the source takes longer than the level allows, or changes faster than it can be read";
        Err(ReadError::LevelUnmet { level: demand.level, why: why.to_owned() })
    }

    /// What memory holds for the key, judged exactly; a successful judgement is remembered.
    pub(crate) fn look(&self, key: &K) -> Option<Look<V>> {
        let ledger = self.shared.follower.ledger();
        let sight = ledger.sight()?;
        let mut entry = self.shared.tier.get(key)?;
        let untouched = ledger.is_untouched(&sight, &entry);
        let verdict = if untouched {
            Verdict::Current { proven: entry.proven().max(sight.watermark) }
        } else {
            ledger.judge_at(&sight, &entry, u64::MAX)
        };
        #[cfg(candor_sabotage)]
        let verdict = if crate::sabotage::is(crate::sabotage::Sabotage::JudgeAlwaysCurrent) {
            Verdict::Current { proven: sight.watermark }
        } else {
            verdict
        };
        let as_of = match verdict {
            Verdict::Current { proven } => {
                // Where nothing was touched the next read finds that as fast, and strong reads ask all the time; so the
                // tier is told now and then. What the histories had to be asked about it is told at once.
                let is_news = !untouched || entry.proven() < self.shared.follower.lately();
                if proven > entry.proven() {
                    entry.set_proven(proven);
                    if is_news {
                        self.shared.tier.prove(key, &entry);
                    }
                }
                self.as_of(&entry, &sight)
            }
            #[cfg(candor_sabotage)]
            Verdict::Outdated(_) if crate::sabotage::is(crate::sabotage::Sabotage::OutdatedMoment) => {
                self.as_of(&entry, &sight)
            }
            Verdict::Outdated(outdated) if self.logged() => {
                outdated.proven_before.map_or(entry.filled_at(), |before| before.max(entry.filled_at()))
            }
            Verdict::Outdated(_) | Verdict::Void(_) => entry.filled_at(),
        };
        Some(Look { entry, sight, verdict, as_of, logged: self.logged() })
    }

    /// The moment a current entry reflects.
    #[inline]
    fn as_of(&self, entry: &Entry<V>, sight: &Sight) -> Moment {
        match sight.proven_until {
            Some(proven) if self.logged() => proven.max(entry.filled_at()),
            _ => entry.filled_at(),
        }
    }

    pub(super) fn answer_from_memory(&self, look: Look<V>, degraded: Option<Degraded>) -> Answer<V> {
        let now = self.shared.world.now();
        let (proof, at) = match look.verdict {
            Verdict::Current { .. } | Verdict::Outdated(_) => (self.proof(), Some(look.reflects())),
            // The ledger says nothing; all that is left is when the source was asked, and what the answer shows at most.
            Verdict::Void(Void::BelowHorizon | Void::Forgotten) => (ProofKind::Clock, Some(0)),
            Verdict::Void(Void::OtherEpoch) => (ProofKind::Clock, None),
        };
        let carried = Carried {
            epoch: look.sight.epoch,
            at: at.unwrap_or(0),
            upper: look.entry.upper(),
            bound_nanos: now.nanos_since(look.as_of),
            age_nanos: now.nanos_since(look.entry.filled_at()),
            left_nanos: left_nanos(&look.entry, now),
            has_positions: at.is_some() && self.logged(),
            origin: Origin::L1,
            proof,
            degraded,
            miss: None,
            kept: true,
        };
        self.view.figures().answer(&carried);
        Answer::new(look.entry.into_value(), carried)
    }

    /// The answer of a flight, unless the flight began too early for this read or took too long.
    fn answer_from_flight(
        &self,
        landed: Landed<V>,
        origin: Origin,
        miss: Event,
        need: &Need,
    ) -> Result<Option<Answer<V>>, ReadError> {
        let now = self.shared.world.now();
        let filled_at = landed.entry.filled_at();
        let certain = landed.certain(self.shared.follower.ledger());
        if let Some(token) = need.token {
            // A fill that began after the token was given reflects what the token stands for. Of one that was joined,
            // only what its stamp is certain of counts: below its upper position lie changes that it does not see.
            let afresh = filled_at >= need.begun;
            #[cfg(candor_sabotage)]
            let joins_any = crate::sabotage::is(crate::sabotage::Sabotage::JoinedFlightToken);
            #[cfg(candor_sabotage)]
            let certain = if joins_any { landed.upper } else { certain };
            match landed.upper {
                Some(upper) if certain.is_some_and(|certain| certain.reaches(token)) || afresh => {
                    self.check_token(need.token, upper)?;
                }
                None if afresh => {}
                _ => return Ok(None),
            }
        }
        #[cfg(candor_sabotage)]
        let too_old =
            filled_at < need.floor(now) && !crate::sabotage::is(crate::sabotage::Sabotage::JoinAnyFlight);
        #[cfg(not(candor_sabotage))]
        let too_old = filled_at < need.floor(now);
        if too_old {
            return Ok(None);
        }
        let age_nanos = now.nanos_since(filled_at);
        let nowhere = Position { epoch: Epoch { log: LogId(0), era: 0 }, at: 0 };
        let Position { epoch, at: upper } = landed.upper.unwrap_or(nowhere);
        let carried = Carried {
            epoch,
            at: certain.map_or(0, |certain| certain.at),
            upper,
            bound_nanos: age_nanos,
            age_nanos,
            left_nanos: left_nanos(&landed.entry, now),
            has_positions: landed.upper.is_some(),
            origin,
            proof: if landed.upper.is_some() { self.proof() } else { ProofKind::Clock },
            degraded: None,
            miss: Some(miss),
            kept: landed.kept,
        };
        self.view.figures().answer(&carried);
        Ok(Some(Answer::new(landed.entry.into_value(), carried)))
    }

    fn missed(&self, key: &K, event: Event, look: Option<&Look<V>>) {
        self.view.figures().event(event);
        match look.map(|look| look.verdict) {
            Some(Verdict::Outdated(outdated)) => self.note(key, Happening::FoundOutdated { by: outdated.by }),
            Some(Verdict::Void(void)) => self.note(key, Happening::FoundVoid { why: void.word() }),
            Some(Verdict::Current { .. }) => self.note(key, Happening::FoundExpired),
            None => {}
        }
    }

    fn refused(&self, key: &K, error: ReadError) -> ReadError {
        self.view.figures().event(Event::Failed);
        self.note(key, Happening::Refused { why: error.to_string() });
        error
    }

    /// Whether answers of this view can be proven by the log.
    #[inline]
    pub(crate) fn logged(&self) -> bool {
        self.shared.follower.has_log() && self.view.contract().proof == ProofKind::Log
    }

    #[inline]
    pub(crate) fn proof(&self) -> ProofKind {
        if self.logged() { ProofKind::Log } else { ProofKind::Clock }
    }
}

impl<V> Answer<V> {
    /// The same answer at the level it was read at.
    pub(crate) fn at<L: Consistency>(self) -> Answer<V, L> {
        self.retype()
    }
}

/// How much of an entry's time to live is left; `u64::MAX` for all time.
pub(crate) fn left_nanos<V>(entry: &Entry<V>, now: Moment) -> u64 {
    entry.expires_at().map_or(u64::MAX, |end| end.nanos_since(now))
}

/// How long an entry of this contract may live: up to a tenth less than declared, so that entries filled together do
/// not end together.
pub(crate) fn jittered(ttl: Duration, draw: f64) -> Duration {
    ttl.mul_f64(1.0 - draw * 0.1)
}
