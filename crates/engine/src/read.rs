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
//! [`weigh`] is that question as a pure function. Plain hits never get here: [`Cache::hit`] answers them without a lock,
//! a task or an allocation, and leaves everything else to the loop.

use crate::answer::{Answer, Consistency, Route};
use crate::cache::Cache;
use crate::error::{LoadError, ReadError, SessionError};
use crate::flight::{Flight, FlightError, Landed, Ticket, Way};
use crate::follow::FeedStatus;
use crate::life::Happening;
use crate::limit::Priority;
use crate::load::Load;
use crate::view::Event;
use candor_core::port::Fault;
use candor_core::{
    Contract, Degraded, Demand, Entry, Level, Moment, OnFeedDown, OnSourceDown, Origin, Position, ProofKind,
    Receipt, Refresh, SessionToken, Sight, Verdict, Void,
};
use candor_tiers::Tier;
use futures_util::FutureExt;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// Each attempt ends in an answer, an error, or a step that brings the next one nearer. Only a source that is slower
/// than the bound asked for, or that changes a key faster than it can be read, uses them up.
const ATTEMPTS: usize = 6;

/// What memory holds for a key, and what the ledger says of it.
pub(crate) struct Look<V> {
    pub(crate) entry: Entry<V>,
    pub(crate) sight: Sight,
    pub(crate) verdict: Verdict,
    /// The entry reflects everything visible at this moment.
    pub(crate) as_of: Moment,
    /// Whether the verdict comes from the source's own log.
    pub(crate) logged: bool,
}

/// A read's demands.
pub(crate) struct Need {
    pub(crate) level: Level,
    pub(crate) begun: Moment,
    /// In this source's log.
    pub(crate) token: Option<Position>,
    /// A session for which there is nothing to compare positions with (the view has no log, or the ledger no epoch at
    /// the moment). What the source says after the read began reflects whatever the token stands for.
    pub(crate) afresh: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Serve,
    ServeAndRefresh,
    /// Prove the ledger complete up to now.
    Fence(Event),
    Fill(Event),
}

impl Need {
    /// The moment the answer must reflect.
    pub(crate) fn floor(&self, now: Moment) -> Moment {
        // Strictly after: a fence asked in the very nanosecond in which the read began may have been answered before
        // it, on a clock too coarse to tell.
        let just_after = self.begun.plus(Duration::from_nanos(1));
        match self.level {
            _ if self.afresh => just_after,
            Level::Strong => just_after,
            Level::Bounded(limit) => now.minus(limit),
            Level::Session | Level::Any => Moment::ZERO,
        }
    }

    /// Whether an answer that is less may be given if the contract says so. Whoever asks for strong, or shows a token,
    /// has a reason.
    fn may_degrade(&self, contract: &Contract) -> bool {
        !contract.critical
            && !self.afresh
            && self.token.is_none()
            && !matches!(self.level, Level::Strong | Level::Session)
    }
}

impl<V> Look<V> {
    /// Whether the entry reflects everything up to `token` on its own tags.
    fn reaches(&self, token: Position) -> bool {
        if !self.logged || self.verdict == Verdict::Void(Void::OtherEpoch) {
            return false;
        }
        let current = matches!(self.verdict, Verdict::Current { .. }) && self.sight.position().reaches(token);
        current || Position { epoch: self.sight.epoch, at: self.entry.proven() }.reaches(token)
    }
}

/// The next step of a read, given what memory holds. Pure, so that every case can be tested by itself.
///
/// `log_usable` is false where there is no log, or it is known to be down: then no fence can help.
fn weigh<V>(look: Option<&Look<V>>, need: &Need, contract: &Contract, log_usable: bool, now: Moment) -> Step {
    let Some(look) = look else { return Step::Fill(Event::MissCold) };
    let reached = need.token.is_none_or(|token| look.reaches(token));
    let fresh = look.as_of >= need.floor(now);
    let grace = match contract.refresh {
        Refresh::WhileRevalidate(grace) => Some(grace),
        Refresh::Early | Refresh::None => None,
    };
    match look.verdict {
        Verdict::Void(_) => match need.level {
            Level::Any if reached && !look.entry.is_expired(now) => Step::ServeAndRefresh,
            _ => Step::Fill(Event::MissVoid),
        },
        Verdict::Outdated(_) => {
            let tolerated =
                need.level == Level::Any || grace.is_some_and(|grace| now.since(look.as_of) <= grace);
            if tolerated && fresh && reached && !look.entry.is_expired(now) {
                Step::ServeAndRefresh
            } else {
                Step::Fill(Event::MissOutdated)
            }
        }
        Verdict::Current { .. } => {
            if let Some(end) = look.entry.expires_at()
                && now >= end
            {
                let tolerated = grace.is_some_and(|grace| now.since(end) <= grace);
                return if tolerated && fresh && reached {
                    Step::ServeAndRefresh
                } else {
                    Step::Fill(Event::MissExpired)
                };
            }
            match (reached, fresh, log_usable) {
                (true, true, _) => Step::Serve,
                (false, _, true) => Step::Fence(Event::FenceSession),
                (true, false, true) if need.level == Level::Strong => Step::Fence(Event::FenceStrong),
                (true, false, true) => Step::Fence(Event::FenceBound),
                (_, _, false) => Step::Fill(Event::MissBound),
            }
        }
    }
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The fast path: an entry for which nothing changed and whose proof is young enough. `None` sends the read to the
    /// loop; it does not mean that there is nothing.
    ///
    /// The flag says that the entry is due to be refreshed early.
    #[inline]
    pub(crate) fn hit(&self, key: &K, level: Level) -> Option<(Answer<V>, bool)> {
        // In whole nanoseconds throughout: a `Duration` divides each time it is made or added.
        let now = self.shared.world.clock().coarse();
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
        let bound = now.nanos_since(self.as_of(&entry, &sight)).saturating_add(self.shared.coarse_lag);
        match level {
            Level::Bounded(limit) if u128::from(bound) > limit.as_nanos() => return None,
            Level::Strong | Level::Session => return None,
            // What the contract says about a log that is down limits even hints; the loop knows how.
            Level::Any if logged && self.shared.follower.is_down() => return None,
            Level::Bounded(_) | Level::Any => {}
        }
        let due = self.is_due_early(left);
        let age = now.nanos_since(entry.filled_at());
        let at = |at| logged.then_some(Position { epoch: sight.epoch, at });
        let receipt = Receipt {
            origin: Origin::L1,
            proof: if logged { ProofKind::Log } else { ProofKind::Clock },
            bound: Some(Duration::from_nanos(bound)),
            age: Duration::from_nanos(age),
            position: at(sight.watermark.max(entry.proven())),
            upper: at(entry.upper()),
            degraded: None,
        };
        self.view.figures().hit(bound, age);
        Some((
            Answer::new(entry.into_value(), receipt, Route { miss: None, kept: true, left_nanos: left }),
            due,
        ))
    }

    /// Reads one key.
    #[inline]
    pub(crate) async fn read_demanding(
        &self,
        key: &K,
        demand: Demand,
        loader: impl FnOnce() -> Arc<dyn Load<K, V>>,
    ) -> Result<Answer<V>, ReadError> {
        if self.view.contract().critical && demand.level != Level::Strong {
            let refusal =
                ReadError::Critical { view: self.view.contract().view.clone(), asked: demand.level };
            return Err(self.refused(key, refusal));
        }
        if demand.token.is_none()
            && let Some((answer, due)) = self.hit(key, demand.level)
        {
            if due {
                self.refresh(key, &loader());
            }
            return Ok(answer);
        }
        // Boxed, so that the future of a hit is small: it is moved and dropped far more often than this one is made.
        let outcome = Box::pin(self.read_slowly(key, demand, loader())).await;
        outcome.map_err(|error| self.refused(key, error))
    }

    async fn read_slowly(
        &self,
        key: &K,
        demand: Demand,
        loader: Arc<dyn Load<K, V>>,
    ) -> Result<Answer<V>, ReadError> {
        let contract = self.view.contract();
        let begun = self.shared.world.now();
        let deadline = begun.plus(contract.timeout);
        let given = demand.token;
        let need = self.need(demand.level, given.as_ref(), begun)?;
        let mut trouble = match self.shared.follower.status() {
            FeedStatus::Down(why) if self.logged() => Some(why),
            _ => None,
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
                    match self.shared.follower.prove(deadline).await {
                        Ok(position) => self.check_token(need.token, position)?,
                        Err(why) => trouble = Some(why),
                    }
                }
                (Step::Fill(event), look) => {
                    self.missed(key, event, look.as_ref());
                    let not_before = need.floor(now);
                    match self.fly(key, not_before, deadline, &loader).await {
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
        let verdict = ledger.judge(&sight, &entry);
        #[cfg(candor_sabotage)]
        let verdict = if crate::sabotage::is(crate::sabotage::Sabotage::JudgeAlwaysCurrent) {
            Verdict::Current { proven: sight.watermark }
        } else {
            verdict
        };
        let as_of = match verdict {
            Verdict::Current { proven } => {
                if proven > entry.proven() {
                    entry.set_proven(proven);
                    self.shared.tier.prove(key, &entry);
                }
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

    /// Loads the key, or joins a load that reflects everything visible at `not_before`.
    async fn fly(
        &self,
        key: &K,
        not_before: Moment,
        deadline: Moment,
        loader: &Arc<dyn Load<K, V>>,
    ) -> Result<(Landed<V>, Origin), FlightError> {
        let ticket = self.ticket(key, loader, Priority::Reader);
        let boarding = self.shared.flights.board(not_before, ticket);
        if boarding.way == Way::Begins {
            self.launch(Arc::clone(&boarding.flight));
        }
        let origin = if boarding.way == Way::Joined { Origin::Flight } else { Origin::Source };
        match self.shared.world.within(deadline, boarding.flight.outcome()).await {
            Some(outcome) => outcome.map(|landed| (landed, origin)),
            None => Err(FlightError::Timeout(self.view.contract().timeout)),
        }
    }

    /// Loads the key in the background, unless somebody already does.
    fn refresh(&self, key: &K, loader: &Arc<dyn Load<K, V>>) {
        if !self.shared.flights.is_idle(key) {
            return;
        }
        let ticket = self.ticket(key, loader, Priority::Refresh);
        let boarding = self.shared.flights.board(Moment::ZERO, ticket);
        if boarding.way == Way::Begins {
            self.view.figures().event(Event::Refresh);
            self.launch(Arc::clone(&boarding.flight));
        }
    }

    fn ticket(&self, key: &K, loader: &Arc<dyn Load<K, V>>, priority: Priority) -> Ticket<K, V> {
        Ticket { key: key.clone(), view: Arc::clone(&self.view), loader: Arc::clone(loader), priority }
    }

    /// Starts a flight; and, when it has landed, the one that waited for it.
    fn launch(&self, flight: Arc<Flight<K, V>>) {
        let shared = Arc::clone(&self.shared);
        self.shared.world.spawn(async move {
            let mut flight = flight;
            loop {
                // Whatever panics in here (a loader, a user's weigher), the flight lands.
                let filling = AssertUnwindSafe(shared.fill(&flight)).catch_unwind();
                let outcome = filling.await.unwrap_or_else(|_| Err(FlightError::Load(LoadError::panicked())));
                match shared.flights.land(&flight, outcome) {
                    Some(next) => flight = next,
                    None => return,
                }
            }
        });
    }

    /// Early refresh (XFetch): the entry behaves as if it ended sooner, by the cost of a fill times an exponentially
    /// distributed factor. So one reader in many renews it shortly before its end, and the dearer the fill the earlier.
    ///
    /// `left` and all else in nanoseconds; `u64::MAX` for an entry that never ends.
    #[inline]
    fn is_due_early(&self, left: u64) -> bool {
        // Beyond forty times the cost the chance is below e^-40; no need to draw.
        left < self.view.fill_cost_nanos().saturating_mul(40)
            && self.view.contract().refresh == Refresh::Early
            && (left as f64)
                < self.view.fill_cost_nanos() as f64 * -(1.0 - self.shared.world.draw_unit()).ln()
    }

    fn answer_from_memory(&self, look: Look<V>, degraded: Option<Degraded>) -> Answer<V> {
        let now = self.shared.world.now();
        let (proof, at) = match look.verdict {
            Verdict::Current { .. } => (self.proof(), Some(look.sight.watermark.max(look.entry.proven()))),
            Verdict::Outdated(_) => (self.proof(), Some(look.entry.proven())),
            // The ledger says nothing; all that is left is when the source was asked.
            Verdict::Void(_) => (ProofKind::Clock, None),
        };
        let epoch = look.sight.epoch;
        let receipt = Receipt {
            origin: Origin::L1,
            proof,
            bound: Some(now.since(look.as_of)),
            age: now.since(look.entry.filled_at()),
            position: at.filter(|_| self.logged()).map(|at| Position { epoch, at }),
            upper: at.filter(|_| self.logged()).map(|_| Position { epoch, at: look.entry.upper() }),
            degraded,
        };
        self.view.figures().answer(&receipt);
        let left_nanos = left_nanos(&look.entry, now);
        Answer::new(look.entry.into_value(), receipt, Route { miss: None, kept: true, left_nanos })
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
        if let Some(token) = need.token {
            match landed.upper {
                Some(upper) if upper.reaches(token) => {}
                Some(upper) if filled_at >= need.begun => {
                    return Err(SessionError::Ahead { wanted: token, reached: upper }.into());
                }
                // A fill that began after the token was given reflects what the token stands for.
                None if filled_at >= need.begun => {}
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
        let age = now.since(filled_at);
        let proof = if landed.upper.is_some() { self.proof() } else { ProofKind::Clock };
        let receipt = Receipt {
            origin,
            proof,
            bound: Some(age),
            age,
            position: landed.upper,
            upper: landed.upper,
            degraded: None,
        };
        self.view.figures().answer(&receipt);
        let left_nanos = left_nanos(&landed.entry, now);
        let route = Route { miss: Some(miss), kept: landed.kept, left_nanos };
        Ok(Some(Answer::new(landed.entry.into_value(), receipt, route)))
    }

    /// What the contract says about a log that cannot be followed, where `step` is what would be done otherwise.
    /// `None` means: do that.
    ///
    /// An entry whose proof is young enough for the level is served whatever the log does now. Hints have no such
    /// measure, so for them the contract's word counts.
    fn without_log(
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
    fn without_source(&self, key: &K, need: &Need, error: FlightError) -> Result<Answer<V>, ReadError> {
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

    /// What a read at this level with this token asks of this source.
    pub(crate) fn need(
        &self,
        level: Level,
        token: Option<&SessionToken>,
        begun: Moment,
    ) -> Result<Need, ReadError> {
        let Some(token) = token else {
            if level == Level::Session {
                return Err(SessionError::Missing.into());
            }
            return Ok(Need { level, begun, token: None, afresh: false });
        };
        let follower = &self.shared.follower;
        let log = || follower.ledger().sight().map(|sight| sight.epoch.log);
        let mut own = log();
        loop {
            if token.positions().iter().any(|position| !follower.known().contains(position.epoch.log)) {
                return Err(SessionError::UnknownLog.into());
            }
            // The source's log may have been replaced between the two questions; then the token would seem to speak of
            // another source and to ask nothing of this one.
            let still = log();
            if still == own {
                break;
            }
            own = still;
        }
        match own.filter(|_| self.logged()) {
            Some(own) => Ok(Need { level, begun, token: token.position(own), afresh: false }),
            None => Ok(Need { level, begun, token: None, afresh: true }),
        }
    }

    pub(crate) fn check_token(&self, token: Option<Position>, reached: Position) -> Result<(), ReadError> {
        match token {
            Some(wanted) if !reached.reaches(wanted) => Err(SessionError::Ahead { wanted, reached }.into()),
            _ => Ok(()),
        }
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

impl<V: Clone> Clone for Look<V> {
    fn clone(&self) -> Self {
        let entry = self.entry.clone();
        Self { entry, sight: self.sight, verdict: self.verdict, as_of: self.as_of, logged: self.logged }
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

#[cfg(test)]
mod tests;
