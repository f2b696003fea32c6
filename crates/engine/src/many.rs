//! Several keys whose answers hold together.
//!
//! Entries that are all current at the watermark, and none of which reflects anything beyond a position W that the log vouches
//! for, at or below the watermark, are together what a transaction at W would have read. So a snapshot is usually served
//! from memory. What is missing is loaded in one source transaction; then the ledger is brought up to that transaction and
//! everything is judged again at one watermark. If a change got in between, all keys are loaded in one transaction, which
//! holds together by itself.

use crate::answer::{Answer, Carried, Consistency};
use crate::cache::{Cache, Shared};
use crate::error::{LoadError, ReadError};
use crate::fill::Fill;
use crate::flight::{FlightError, Landed};
use crate::follow::{FeedStatus, local_stamp};
use crate::limit::Priority;
use crate::load::Loaded;
use crate::read::left_nanos;
use crate::read::weigh::Need;
use crate::view::{Event, View};
use candor_core::port::{BoxFuture, Fault};
use candor_core::{Demand, Entry, Level, Moment, Origin, Position, Stamp, Verdict};
use candor_tiers::Tier;
use futures_util::FutureExt;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Loads several keys in one transaction of the source.
pub trait LoadMany<K, V>: Send + Sync {
    /// Begins a load. All answers are read in one transaction, to which the stamp belongs; one per key, in order.
    fn load_many(&self, keys: Vec<K>) -> BoxFuture<'static, Result<ManyLoaded<V>, LoadError>>;
}

/// What such a load brings back.
#[derive(Clone, Debug)]
pub struct ManyLoaded<V> {
    /// What the transaction saw.
    pub stamp: Stamp,
    /// One per key, in the order asked. Stamps of their own are ignored.
    pub answers: Vec<Loaded<V>>,
}

/// One key's part of a snapshot.
struct Piece<V> {
    entry: Entry<V>,
    origin: Origin,
    kept: bool,
}

/// What memory lacks for a snapshot. Where no key is missing, only the level is not satisfied yet.
struct Lacking {
    /// The indices of the keys for which it has no piece.
    missing: Vec<usize>,
    /// Whether it has an entry for each of them that reflects more than the position that all pieces must share: a fence
    /// brings that nearer, and perhaps nothing has to be loaded.
    is_ahead: bool,
}

/// A load of several keys that succeeded.
struct Batch<V> {
    landed: Vec<Landed<V>>,
    upper: Position,
    /// Up to where the transaction certainly saw everything.
    certain: Position,
    begun: Moment,
}

/// A load of several keys, before its answers are judged.
pub(crate) struct Brought<V> {
    pub(crate) loaded: ManyLoaded<V>,
    /// Where the local ledger stood before the load began.
    pub(crate) local: Option<Stamp>,
    pub(crate) begun: Moment,
    pub(crate) took: Duration,
}

impl<K, V> Shared<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Waits for one turn at the source and loads all these keys in it; one answer for each. `begins` is told the moment,
    /// before the source is asked. Without a deadline the load has the contract's time from then on.
    pub(crate) async fn bring(
        &self,
        keys: Vec<K>,
        view: &View,
        deadline: Option<Moment>,
        begins: impl FnOnce(Moment),
        loader: &dyn LoadMany<K, V>,
    ) -> Result<Brought<V>, FlightError> {
        let turn = self.limiter.acquire(&Priority::Reader.into()).await;
        let permit = turn.map_err(FlightError::Overloaded)?;
        let (begun, limit, number) = (self.world.now(), view.contract().timeout, keys.len());
        begins(begun);
        let local = self.follower.ledger().sight().map(|sight| local_stamp(&sight));
        let work = AssertUnwindSafe(async { loader.load_many(keys).await }).catch_unwind();
        let loaded = self.world.within(deadline.unwrap_or(begun.plus(limit)), work).await;
        drop(permit);
        let loaded = match loaded {
            Some(Ok(Ok(loaded))) if loaded.answers.len() == number => loaded,
            Some(Ok(Ok(_))) => {
                let why = "the loader gave another number of answers than keys";
                return Err(FlightError::Load(LoadError::new(Fault::Contract, why)));
            }
            Some(Ok(Err(error))) => return Err(FlightError::Load(error)),
            Some(Err(_panic)) => return Err(FlightError::Load(LoadError::panicked())),
            None => return Err(FlightError::Timeout(limit)),
        };
        let took = self.world.now().since(begun);
        view.filled(took);
        Ok(Brought { loaded, local, begun, took })
    }
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Reads several keys so that the answers hold together at one position of the source, and satisfy `level` as well.
    ///
    /// # Errors
    ///
    /// See [`ReadError`]; [`ReadError::SnapshotUnmet`] where the source has no log.
    pub async fn snapshot<L: Consistency>(
        &self,
        keys: &[K],
        level: L,
        loader: Arc<dyn LoadMany<K, V>>,
    ) -> Result<Vec<Answer<V, L>>, ReadError> {
        self.check_open()?;
        let demand = self.demand(&level);
        if self.view.contract().critical && demand.level != Level::Strong {
            return Err(ReadError::Critical { view: self.view.contract().view.clone(), asked: demand.level });
        }
        let outcome = self.snapshot_demanding(keys, demand, &*loader).await;
        if outcome.is_err() {
            self.view.figures().event(Event::Failed);
        }
        Ok(outcome?.into_iter().map(Answer::at).collect())
    }

    async fn snapshot_demanding(
        &self,
        keys: &[K],
        demand: Demand,
        loader: &dyn LoadMany<K, V>,
    ) -> Result<Vec<Answer<V>>, ReadError> {
        if !self.logged() {
            let why = "the view has no log behind it, so nothing shows that answers hold together".to_owned();
            return Err(ReadError::SnapshotUnmet { why });
        }
        let begun = self.shared.world.now();
        let deadline = begun.plus(self.view.contract().timeout);
        let need = self.need(demand.level, demand.token.as_ref(), begun)?;
        let followed = !matches!(self.shared.follower.status(), FeedStatus::Down(_));
        if followed && let Some(pieces) = self.memory_snapshot(keys, &need, deadline, loader).await? {
            return Ok(pieces.into_iter().map(|answer| answer.with_given(demand.token.clone())).collect());
        }
        let batch = self.load_batch(keys, deadline, loader).await?;
        self.check_token(need.token, batch.upper)?;
        // It began after the read did; only a bound can have run out meanwhile.
        if matches!(need.level, Level::Bounded(_)) && batch.begun < need.floor(self.shared.world.now()) {
            let why = "the source takes longer than the level allows".to_owned();
            return Err(ReadError::LevelUnmet { level: need.level, why });
        }
        let (at, as_of) = (batch.certain, batch.begun);
        let piece =
            |landed: Landed<V>| Piece { entry: landed.entry, origin: Origin::Source, kept: landed.kept };
        let answers = batch.landed.into_iter().map(|landed| self.piece_answer(piece(landed), at, as_of));
        Ok(answers.map(|answer| answer.with_given(demand.token.clone())).collect())
    }

    /// The snapshot from memory, loading what is missing. `None` where memory cannot give one.
    async fn memory_snapshot(
        &self,
        keys: &[K],
        need: &Need,
        deadline: Moment,
        loader: &dyn LoadMany<K, V>,
    ) -> Result<Option<Vec<Answer<V>>>, ReadError> {
        let mut found = self.pieces(keys, need, &[]);
        if found.as_ref().is_err_and(|lacking| lacking.is_ahead) {
            if !self.prove_position(need, deadline).await? {
                return Ok(None);
            }
            found = self.pieces(keys, need, &[]);
        }
        let missing = match found {
            Ok(answers) => return Ok(Some(answers)),
            Err(lacking) => lacking.missing,
        };
        if missing.len() == keys.len() && !keys.is_empty() {
            return Ok(None);
        }
        if !missing.is_empty() {
            self.view.figures().event(Event::MissCold);
            let wanted: Vec<K> = missing.iter().map(|index| keys[*index].clone()).collect();
            self.load_batch(&wanted, deadline, loader).await?;
        }
        if !self.prove_position(need, deadline).await? {
            return Ok(None);
        }
        Ok(self.pieces(keys, need, &missing).ok())
    }

    /// Brings the ledger up to the source's position; `false` where the log cannot say.
    async fn prove_position(&self, need: &Need, deadline: Moment) -> Result<bool, ReadError> {
        let Ok(position) = self.shared.follower.prove_logged(deadline).await else { return Ok(false) };
        self.check_token(need.token, position)?;
        Ok(true)
    }

    /// All answers at one position, or what memory lacks. The keys at `loaded` were loaded for this snapshot.
    fn pieces(&self, keys: &[K], need: &Need, loaded: &[usize]) -> Result<Vec<Answer<V>>, Lacking> {
        let ledger = self.shared.follower.ledger();
        let now = self.shared.world.now();
        let Some(sight) = ledger.sight() else {
            return Err(Lacking { missing: (0..keys.len()).collect(), is_ahead: false });
        };
        // They hold together at a position that the log vouches for: one that has fallen silent about a table still tells of
        // the others, and moves the watermark. Each has to be current at the watermark all the same, or the bound, which rests
        // on what was proven up to there, would be none of its.
        let whole = sight.whole();
        let current_at = sight.watermark;
        #[cfg(candor_sabotage)]
        let current_at = if crate::sabotage::is(crate::sabotage::Sabotage::SnapshotMoment) {
            whole.at
        } else {
            current_at
        };
        let mut pieces = Vec::with_capacity(keys.len());
        let (mut missing, mut ahead) = (Vec::new(), 0);
        for (index, key) in keys.iter().enumerate() {
            let alive = self.shared.tier.get(key).filter(|entry| !entry.is_expired(now));
            ahead += usize::from(alive.as_ref().is_some_and(|entry| entry.upper() > whole.at));
            let entry = alive.filter(|entry| {
                is_within(entry.upper(), whole.at)
                    && matches!(ledger.judge_at(&sight, entry, current_at), Verdict::Current { .. })
            });
            match entry {
                Some(entry) => {
                    let origin = if loaded.contains(&index) { Origin::Source } else { Origin::L1 };
                    pieces.push(Piece { entry, origin, kept: true });
                }
                None => missing.push(index),
            }
        }
        let filled = pieces.iter().map(|piece| piece.entry.filled_at()).max();
        let as_of = sight.proven_until.max(filled);
        let fresh = as_of.is_some_and(|as_of| as_of >= need.floor(now));
        let reached = need.token.is_none_or(|token| whole.reaches(token));
        if !missing.is_empty() || !fresh || !reached {
            let is_ahead = ahead > 0 && ahead == missing.len();
            return Err(Lacking { missing, is_ahead });
        }
        let as_of = as_of.unwrap_or(Moment::ZERO);
        Ok(pieces.into_iter().map(|piece| self.piece_answer(piece, whole, as_of)).collect())
    }

    /// All these keys in one transaction of the source.
    async fn load_batch(
        &self,
        keys: &[K],
        deadline: Moment,
        loader: &dyn LoadMany<K, V>,
    ) -> Result<Batch<V>, ReadError> {
        let shared = &self.shared;
        let _alongside = shared.flights.alongside();
        let mut before = 0;
        let begins = |_| before = shared.invalidations.load(Ordering::Acquire);
        let brought = shared.bring(keys.to_vec(), &self.view, Some(deadline), begins, loader).await?;
        let Brought { loaded, local, begun, took } = brought;
        let doomed = || shared.invalidations.load(Ordering::Acquire) != before;
        let upper = loaded.stamp.upper();
        let keep = |(key, answer): (&K, Loaded<V>)| {
            let fill = Fill { key, view: &self.view, local: local.clone(), begun, took };
            shared.keep(&fill, answer.stamped(loaded.stamp.clone()), &doomed)
        };
        let landed: Vec<Landed<V>> = keys.iter().zip(loaded.answers).map(keep).collect();
        let certain = landed
            .first()
            .and_then(|landed| landed.certain(shared.follower.ledger()))
            .unwrap_or(Position { at: 0, ..upper });
        Ok(Batch { landed, upper, certain, begun })
    }

    fn piece_answer(&self, piece: Piece<V>, position: Position, as_of: Moment) -> Answer<V> {
        let now = self.shared.world.now();
        let carried = Carried {
            epoch: position.epoch,
            at: position.at,
            upper: piece.entry.upper(),
            bound_nanos: now.nanos_since(as_of),
            age_nanos: now.nanos_since(piece.entry.filled_at()),
            left_nanos: left_nanos(&piece.entry, now),
            has_positions: true,
            origin: piece.origin,
            proof: self.proof(),
            degraded: None,
            miss: (piece.origin != Origin::L1).then_some(Event::MissCold),
            kept: piece.kept,
        };
        self.view.figures().answer(&carried);
        Answer::new(piece.entry.into_value(), carried)
    }
}

/// Whether an entry reflects nothing beyond the snapshot's position.
fn is_within(upper: u64, watermark: u64) -> bool {
    #[cfg(candor_sabotage)]
    if crate::sabotage::is(crate::sabotage::Sabotage::SnapshotUpper) {
        return true;
    }
    upper <= watermark
}
