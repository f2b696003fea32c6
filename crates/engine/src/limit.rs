//! The limit on concurrent loads: the source never sees more, cold or warm, whatever the demand.
//!
//! Loads beyond the limit wait in a bounded queue. A waiting user goes before a refresh, also one who joined the load of
//! a refresh, and nobody waits for longer than the queue's timeout. A permit is handed from the load that ends to the one that waited longest; a waiter that
//! gave up simply no longer receives it.

use crate::error::Overload;
use crate::seams::World;
use crate::sync::{AtomicBool, Mutex, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How a source is protected.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Loads the source sees at once, at most.
    pub in_flight: usize,
    /// Loads that wait for their turn, at most.
    pub queue: usize,
    /// How long a load waits for its turn, at most.
    pub queue_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 64, queue: 1024, queue_timeout: Duration::from_millis(500) }
    }
}

/// Who waits.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Somebody waits for the answer.
    Reader,
    /// Nobody does; it keeps an entry fresh.
    Refresh,
}

/// The priority of one load. It only rises: a reader that joins a refresh makes it a reader's load where it stands in
/// the queue, because the queue looks at this whenever it decides, and never at what it was when it came.
#[derive(Clone, Debug)]
pub(crate) struct Urgency(Arc<AtomicBool>);

impl Urgency {
    pub(crate) fn rise(&self, to: Priority) {
        if to == Priority::Reader {
            self.0.store(true, Ordering::Release);
        }
    }

    fn is_reader(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl From<Priority> for Urgency {
    fn from(priority: Priority) -> Self {
        Self(Arc::new(AtomicBool::new(priority == Priority::Reader)))
    }
}

pub(crate) struct Limiter {
    limits: Limits,
    world: World,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// In the order they came.
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    urgency: Urgency,
    grant: oneshot::Sender<Permit>,
}

/// The right to load, until dropped.
pub(crate) struct Permit(Option<Arc<Limiter>>);

/// A turn at the source that nobody missed when it was taken, until dropped; see
/// [`Cache::spare_turn`](crate::Cache::spare_turn).
#[must_use = "the turn ends when this is dropped"]
pub struct SpareTurn {
    _permit: Permit,
}

impl Limiter {
    pub(crate) fn new(limits: Limits, world: World) -> Arc<Self> {
        let state = State { free: limits.in_flight.max(1), waiting: VecDeque::new() };
        Arc::new(Self { limits, world, state: Mutex::new(state) })
    }

    /// Loads the source sees at once, at most.
    pub(crate) fn in_flight(&self) -> usize {
        self.limits.in_flight.max(1)
    }

    /// Loads running and waiting.
    pub(crate) fn occupancy(&self) -> (usize, usize) {
        let state = self.state.lock();
        (self.limits.in_flight.max(1) - state.free, state.waiting.len())
    }

    pub(crate) async fn acquire(self: &Arc<Self>, urgency: &Urgency) -> Result<Permit, Overload> {
        let turn = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Permit(Some(Arc::clone(self))));
            }
            state.enqueue(urgency, self.limits.queue)?
        };
        let waited = self.limits.queue_timeout;
        let granted = self.world.within(self.world.now().plus(waited), turn).await;
        granted.and_then(Result::ok).ok_or(Overload::QueueTimeout { waited })
    }

    /// A turn only if nobody needs it: nobody waits, and at least half of the turns are free. Never waits.
    pub(crate) fn spare(self: &Arc<Self>) -> Option<SpareTurn> {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() || state.free == 0 || state.free * 2 < self.limits.in_flight {
            return None;
        }
        state.free -= 1;
        Some(SpareTurn { _permit: Permit(Some(Arc::clone(self))) })
    }

    /// Passes the right on to the next waiter that still wants it, or back to the pool.
    fn release(self: Arc<Self>) {
        let mut permit = Permit(Some(Arc::clone(&self)));
        loop {
            let next = {
                let mut state = self.state.lock();
                let next = state.next();
                if next.is_none() {
                    state.free += 1;
                    permit.0 = None;
                }
                next
            };
            let Some(next) = next else { return };
            match next.grant.send(permit) {
                Ok(()) => return,
                Err(refused) => permit = refused,
            }
        }
    }
}

impl State {
    /// The reader that waited longest; where none waits, the refresh that did.
    fn next(&mut self) -> Option<Waiter> {
        let at = self.waiting.iter().position(|waiter| waiter.urgency.is_reader());
        self.waiting.remove(at.unwrap_or(0))
    }

    fn enqueue(&mut self, urgency: &Urgency, limit: usize) -> Result<oneshot::Receiver<Permit>, Overload> {
        if self.waiting.len() >= limit {
            self.waiting.retain(|waiter| !waiter.grant.is_closed());
        }
        // A reader may take the place of a refresh, which nobody misses.
        if self.waiting.len() >= limit && urgency.is_reader() {
            let refresh = self.waiting.iter().rposition(|waiter| !waiter.urgency.is_reader());
            refresh.and_then(|at| self.waiting.remove(at));
        }
        let waiting = self.waiting.len();
        if waiting >= limit {
            return Err(Overload::QueueFull { waiting });
        }
        let (grant, turn) = oneshot::channel();
        self.waiting.push_back(Waiter { urgency: urgency.clone(), grant });
        Ok(turn)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limiter) = self.0.take() {
            limiter.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(in_flight: usize, queue: usize) -> Arc<Limiter> {
        Limiter::new(Limits { in_flight, queue, queue_timeout: Duration::from_millis(20) }, World::system())
    }

    #[tokio::test]
    async fn never_more_than_the_limit_and_everyone_gets_a_turn() {
        let limiter = Limiter::new(
            Limits { in_flight: 3, queue: 100, queue_timeout: Duration::from_secs(5) },
            World::system(),
        );
        let running = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let loads = (0..50).map(|_| {
            let (limiter, running) = (Arc::clone(&limiter), Arc::clone(&running));
            async move {
                let _permit = limiter.acquire(&Priority::Reader.into()).await.unwrap();
                let now = running.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                assert!(now <= 3, "{now} at once");
                tokio::task::yield_now().await;
                running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        futures_util::future::join_all(loads).await;
        assert_eq!(limiter.occupancy(), (0, 0));
    }

    #[tokio::test]
    async fn a_full_queue_and_a_slow_one_say_so() {
        let (limiter, reader) = (limiter(1, 1), Urgency::from(Priority::Reader));
        let permit = limiter.acquire(&reader).await.unwrap();
        let (slow, full) = tokio::join!(limiter.acquire(&reader), limiter.acquire(&reader));
        assert!(matches!(slow, Err(Overload::QueueTimeout { .. })));
        assert_eq!(full.err(), Some(Overload::QueueFull { waiting: 1 }));
        drop(permit);
        assert!(limiter.acquire(&reader).await.is_ok(), "those who gave up hold nothing");
    }

    #[tokio::test]
    async fn a_spare_turn_is_only_given_while_half_of_the_turns_are_free_and_nobody_waits() {
        let (limiter, reader) = (limiter(4, 1), Urgency::from(Priority::Reader));
        let first = limiter.spare().expect("all are free");
        let second = limiter.spare().expect("three of four are free");
        let third = limiter.spare().expect("half are free");
        assert!(limiter.spare().is_none(), "fewer than half are free");
        assert_eq!(limiter.occupancy(), (3, 0));
        drop((first, second, third));
        let all = futures_util::future::join_all((0..4).map(|_| limiter.acquire(&reader))).await;
        assert!(limiter.spare().is_none());
        drop(all);
        assert_eq!(limiter.occupancy(), (0, 0), "a spare turn is given back like any other");
    }

    #[tokio::test]
    async fn a_reader_goes_before_a_refresh() {
        let limiter = Limiter::new(
            Limits { in_flight: 1, queue: 8, queue_timeout: Duration::from_secs(5) },
            World::system(),
        );
        let permit = limiter.acquire(&Priority::Reader.into()).await.unwrap();
        let order = Mutex::new(Vec::new());
        let wait = |priority: Urgency, name| {
            let (limiter, order) = (&limiter, &order);
            async move {
                let _permit = limiter.acquire(&priority).await.unwrap();
                order.lock().push(name);
            }
        };
        tokio::join!(
            wait(Priority::Refresh.into(), "refresh"),
            wait(Priority::Reader.into(), "reader"),
            async { drop(permit) }
        );
        assert_eq!(*order.lock(), ["reader", "refresh"]);
    }

    #[tokio::test]
    async fn a_refresh_that_a_reader_joins_goes_before_later_readers_and_gives_way_to_none() {
        let limiter = Limiter::new(
            Limits { in_flight: 1, queue: 4, queue_timeout: Duration::from_secs(5) },
            World::system(),
        );
        let permit = limiter.acquire(&Priority::Reader.into()).await.unwrap();
        let order = Mutex::new(Vec::new());
        let wait = |urgency: Urgency, name| {
            let (limiter, order) = (&limiter, &order);
            async move {
                let permit = limiter.acquire(&urgency).await;
                order.lock().push((name, permit.is_ok()));
            }
        };
        let joined = Urgency::from(Priority::Refresh);
        tokio::join!(
            wait(Priority::Reader.into(), "before"),
            wait(joined.clone(), "joined"),
            async { joined.rise(Priority::Reader) },
            wait(Priority::Refresh.into(), "refresh"),
            wait(Priority::Reader.into(), "after"),
            wait(Priority::Reader.into(), "last"),
            async { drop(permit) },
        );
        let turns = [("refresh", false), ("before", true), ("joined", true), ("after", true), ("last", true)];
        assert_eq!(*order.lock(), turns);
        assert_eq!(limiter.occupancy(), (0, 0));
    }
}
