//! Flights: fills in progress that several readers share.
//!
//! A reader joins a flight only if its level allows: the flight must not have begun before the moment the reader needs
//! the answer to reflect. A flight that waits for its turn at the source has not begun, so anyone may join it. Per key
//! there is at most one flight in progress and one that waits for it to end; a thousand strong reads of a hot key cost
//! two loads, not a thousand.
//!
//! A flight runs as a task of its own. A reader that goes away takes nothing with it, a loader that panics fails its
//! readers and nobody else, and errors are shared like answers, so that a failing source is not asked once per reader.

use crate::error::{LoadError, Overload, ReadError};
use crate::limit::{Priority, Urgency};
use crate::load::{Interest, Interested, Load};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::view::View;
use candor_core::{Entry, Ledger, Moment, Position};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use tokio::sync::watch;

const SHARDS: usize = 32;

/// A fill in progress.
pub(crate) struct Flight<K, V> {
    pub(crate) key: K,
    pub(crate) view: Arc<View>,
    pub(crate) loader: Arc<dyn Load<K, V>>,
    /// As what it began.
    pub(crate) priority: Priority,
    /// As what it waits for its turn: as a reader's from the moment a reader joins.
    pub(crate) urgency: Urgency,
    pub(crate) interest: Arc<Interest>,
    /// Nanoseconds plus one; zero until the load begins.
    begun: AtomicU64,
    /// An application invalidated the key in the meantime; the answer must not be kept.
    doomed: AtomicBool,
    outcome: watch::Sender<Option<Outcome<V>>>,
}

/// How a flight ended.
pub(crate) type Outcome<V> = Result<Landed<V>, FlightError>;

/// What a flight brought back.
#[derive(Clone, Debug)]
pub(crate) struct Landed<V> {
    pub(crate) entry: Entry<V>,
    /// What the fill saw, if the loader said so.
    pub(crate) upper: Option<Position>,
    /// Whether the answer was kept.
    pub(crate) kept: bool,
}

impl<V> Landed<V> {
    /// The position up to which the fill certainly saw everything, if the loader said what it saw. Its stamp was made certain by
    /// what the log had told, so it is believed as far as the log vouches, and not at all if a gap has ended that stream.
    pub(crate) fn certain(&self, ledger: &Ledger) -> Option<Position> {
        let (upper, certain) = (self.upper?, self.entry.proven());
        let sight = ledger.sight().filter(|sight| sight.epoch == upper.epoch && certain >= sight.horizon);
        Some(Position { epoch: upper.epoch, at: sight.map_or(0, |sight| sight.vouched_for(certain)) })
    }
}

/// Why a flight brought nothing back.
#[derive(Clone, Debug)]
pub(crate) enum FlightError {
    Load(LoadError),
    Overloaded(Overload),
    Timeout(std::time::Duration),
}

impl From<FlightError> for ReadError {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Load(error) => Self::Load(error),
            FlightError::Overloaded(overload) => Self::Overloaded(overload),
            FlightError::Timeout(limit) => Self::Timeout(limit),
        }
    }
}

/// A place on a flight. The load knows that somebody waits for it until this is dropped.
pub(crate) struct Boarding<K, V> {
    pub(crate) flight: Arc<Flight<K, V>>,
    pub(crate) way: Way,
    _interested: Interested,
}

/// How a reader came to its flight.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is somebody else's.
    Joined,
    /// It is this reader's and begins now.
    Begins,
    /// It is this reader's and begins when the one before it ends.
    Waits,
}

/// What a flight is made from.
pub(crate) struct Ticket<K, V> {
    pub(crate) key: K,
    pub(crate) view: Arc<View>,
    pub(crate) loader: Arc<dyn Load<K, V>>,
    pub(crate) priority: Priority,
}

/// All flights of a cache.
pub(crate) struct Flights<K, V> {
    shards: Box<[Shard<K, V>]>,
    hasher: std::hash::BuildHasherDefault<std::hash::DefaultHasher>,
    /// How many are in progress or waiting.
    aloft: watch::Sender<usize>,
}

type Shard<K, V> = Mutex<HashMap<K, Slot<K, V>>>;

struct Slot<K, V> {
    running: Arc<Flight<K, V>>,
    next: Option<Arc<Flight<K, V>>>,
}

impl<K, V> Flight<K, V> {
    fn new(ticket: Ticket<K, V>) -> Arc<Self> {
        Arc::new(Self {
            key: ticket.key,
            view: ticket.view,
            loader: ticket.loader,
            priority: ticket.priority,
            urgency: ticket.priority.into(),
            interest: Arc::default(),
            begun: AtomicU64::new(0),
            doomed: AtomicBool::new(false),
            outcome: watch::Sender::new(None),
        })
    }

    /// Notes that the load begins; `now` was read before.
    pub(crate) fn begin(&self, now: Moment) {
        self.begun.store(now.as_nanos().saturating_add(1), Ordering::Release);
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::Acquire)
    }

    /// Whether an answer of this flight reflects everything visible at `not_before`.
    fn suits(&self, not_before: Moment) -> bool {
        match self.begun.load(Ordering::Acquire).checked_sub(1) {
            None => true,
            Some(begun) => Moment::from_nanos(begun) >= not_before,
        }
    }
}

impl<K, V: Clone> Flight<K, V> {
    pub(crate) async fn outcome(&self) -> Outcome<V> {
        let mut outcome = self.outcome.subscribe();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(FlightError::Load(LoadError::panicked()))),
            Err(_) => Err(FlightError::Load(LoadError::panicked())),
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Flights<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: std::hash::BuildHasherDefault::default(),
            aloft: watch::Sender::new(0),
        }
    }

    /// The flight whose answer reflects everything visible at `not_before`.
    pub(crate) fn board(&self, not_before: Moment, ticket: Ticket<K, V>) -> Boarding<K, V> {
        let mut shard = self.shard(&ticket.key).lock();
        let Some(slot) = shard.get_mut(&ticket.key) else {
            let flight = Flight::new(ticket);
            let slot = Slot { running: Arc::clone(&flight), next: None };
            shard.insert(flight.key.clone(), slot);
            self.aloft.send_modify(|count| *count += 1);
            return Boarding::new(flight, Way::Begins);
        };
        if joinable(&slot.running, not_before) {
            slot.running.urgency.rise(ticket.priority);
            return Boarding::new(Arc::clone(&slot.running), Way::Joined);
        }
        if let Some(next) = &slot.next {
            next.urgency.rise(ticket.priority);
            return Boarding::new(Arc::clone(next), Way::Joined);
        }
        let flight = Flight::new(ticket);
        slot.next = Some(Arc::clone(&flight));
        self.aloft.send_modify(|count| *count += 1);
        Boarding::new(flight, Way::Waits)
    }

    /// Counts a load that is no flight among those that are in progress.
    pub(crate) fn alongside(&self) -> Alongside<'_> {
        self.aloft.send_modify(|count| *count += 1);
        Alongside(&self.aloft)
    }

    /// Whether nothing is being loaded for the key.
    pub(crate) fn is_idle(&self, key: &K) -> bool {
        !self.shard(key).lock().contains_key(key)
    }

    /// Ends a flight. Returns the one that waited for it and begins now.
    pub(crate) fn land(&self, flight: &Arc<Flight<K, V>>, outcome: Outcome<V>) -> Option<Arc<Flight<K, V>>> {
        let next = {
            let mut shard = self.shard(&flight.key).lock();
            match shard.remove(&flight.key) {
                Some(slot) if Arc::ptr_eq(&slot.running, flight) => {
                    if let Some(next) = &slot.next {
                        let slot = Slot { running: Arc::clone(next), next: None };
                        shard.insert(flight.key.clone(), slot);
                    }
                    slot.next
                }
                Some(other) => {
                    shard.insert(flight.key.clone(), other);
                    None
                }
                None => None,
            }
        };
        flight.outcome.send_replace(Some(outcome));
        self.aloft.send_modify(|count| *count -= 1);
        next
    }

    /// Forbids keeping what is being loaded for the key now.
    pub(crate) fn doom(&self, key: &K) {
        if let Some(slot) = self.shard(key).lock().get(key) {
            doom(slot);
        }
    }

    /// Forbids keeping anything that is being loaded now.
    pub(crate) fn doom_all(&self) {
        for shard in &self.shards {
            shard.lock().values().for_each(doom);
        }
    }

    /// Ready when nothing is being loaded.
    pub(crate) async fn landed(&self) {
        let _ = self.aloft.subscribe().wait_for(|count| *count == 0).await;
    }

    /// How many are in progress or waiting.
    pub(crate) fn aloft(&self) -> usize {
        *self.aloft.borrow()
    }

    fn shard(&self, key: &K) -> &Mutex<HashMap<K, Slot<K, V>>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

impl<K, V> Boarding<K, V> {
    /// Made while the table is locked, so that a flight that begins at once already knows its reader.
    fn new(flight: Arc<Flight<K, V>>, way: Way) -> Self {
        let interested = flight.interest.take();
        Self { flight, way, _interested: interested }
    }
}

/// A load in progress that is no flight, until dropped.
pub(crate) struct Alongside<'a>(&'a watch::Sender<usize>);

impl Drop for Alongside<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A flight that has not begun will read what is there after the invalidation, so it may be kept.
fn doom<K, V>(slot: &Slot<K, V>) {
    if slot.running.begun.load(Ordering::Acquire) != 0 {
        slot.running.doomed.store(true, Ordering::Release);
    }
}

/// The rule of joining.
fn joinable<K, V>(flight: &Flight<K, V>, not_before: Moment) -> bool {
    #[cfg(candor_sabotage)]
    if crate::sabotage::is(crate::sabotage::Sabotage::JoinAnyFlight) {
        return true;
    }
    flight.suits(not_before)
}
