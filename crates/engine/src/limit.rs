//! The limit on concurrent loads: the source never sees more, cold or warm, whatever the demand.
//!
//! Loads beyond the limit wait in a bounded queue. A waiting user goes before a refresh, and nobody waits for longer
//! than the queue's timeout. A permit is handed from the load that ends to the one that waited longest; a waiter that
//! gave up simply no longer receives it.

use crate::error::Overload;
use crate::seams::World;
use parking_lot::Mutex;
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

pub(crate) struct Limiter {
    limits: Limits,
    world: World,
    state: Mutex<State>,
}

struct State {
    free: usize,
    readers: VecDeque<oneshot::Sender<Permit>>,
    refreshes: VecDeque<oneshot::Sender<Permit>>,
}

/// The right to load, until dropped.
pub(crate) struct Permit(Option<Arc<Limiter>>);

impl Limiter {
    pub(crate) fn new(limits: Limits, world: World) -> Arc<Self> {
        let state =
            State { free: limits.in_flight.max(1), readers: VecDeque::new(), refreshes: VecDeque::new() };
        Arc::new(Self { limits, world, state: Mutex::new(state) })
    }

    /// Loads running and waiting.
    pub(crate) fn occupancy(&self) -> (usize, usize) {
        let state = self.state.lock();
        (self.limits.in_flight.max(1) - state.free, state.readers.len() + state.refreshes.len())
    }

    pub(crate) async fn acquire(self: &Arc<Self>, priority: Priority) -> Result<Permit, Overload> {
        let turn = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Permit(Some(Arc::clone(self))));
            }
            state.enqueue(priority, self.limits.queue)?
        };
        let waited = self.limits.queue_timeout;
        let granted = self.world.within(self.world.now().plus(waited), turn).await;
        granted.and_then(Result::ok).ok_or(Overload::QueueTimeout { waited })
    }

    /// Passes the right on to the next waiter that still wants it, or back to the pool.
    fn release(self: Arc<Self>) {
        let mut permit = Permit(Some(Arc::clone(&self)));
        loop {
            let next = {
                let mut state = self.state.lock();
                let next = state.readers.pop_front().or_else(|| state.refreshes.pop_front());
                if next.is_none() {
                    state.free += 1;
                    permit.0 = None;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(permit) {
                Ok(()) => return,
                Err(refused) => permit = refused,
            }
        }
    }
}

impl State {
    fn enqueue(&mut self, priority: Priority, limit: usize) -> Result<oneshot::Receiver<Permit>, Overload> {
        if self.readers.len() + self.refreshes.len() >= limit {
            self.readers.retain(|waiter| !waiter.is_closed());
            self.refreshes.retain(|waiter| !waiter.is_closed());
        }
        // A reader may take the place of a refresh, which nobody misses.
        if self.readers.len() + self.refreshes.len() >= limit && priority == Priority::Reader {
            self.refreshes.pop_back();
        }
        let waiting = self.readers.len() + self.refreshes.len();
        if waiting >= limit {
            return Err(Overload::QueueFull { waiting });
        }
        let (grant, turn) = oneshot::channel();
        match priority {
            Priority::Reader => self.readers.push_back(grant),
            Priority::Refresh => self.refreshes.push_back(grant),
        }
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
                let _permit = limiter.acquire(Priority::Reader).await.unwrap();
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
        let limiter = limiter(1, 1);
        let permit = limiter.acquire(Priority::Reader).await.unwrap();
        let (slow, full) = tokio::join!(limiter.acquire(Priority::Reader), limiter.acquire(Priority::Reader));
        assert!(matches!(slow, Err(Overload::QueueTimeout { .. })));
        assert_eq!(full.err(), Some(Overload::QueueFull { waiting: 1 }));
        drop(permit);
        assert!(limiter.acquire(Priority::Reader).await.is_ok(), "those who gave up hold nothing");
    }

    #[tokio::test]
    async fn a_reader_goes_before_a_refresh() {
        let limiter = Limiter::new(
            Limits { in_flight: 1, queue: 8, queue_timeout: Duration::from_secs(5) },
            World::system(),
        );
        let permit = limiter.acquire(Priority::Reader).await.unwrap();
        let order = Mutex::new(Vec::new());
        let wait = |priority, name| {
            let (limiter, order) = (&limiter, &order);
            async move {
                let _permit = limiter.acquire(priority).await.unwrap();
                order.lock().push(name);
            }
        };
        tokio::join!(wait(Priority::Refresh, "refresh"), wait(Priority::Reader, "reader"), async {
            drop(permit)
        });
        assert_eq!(*order.lock(), ["reader", "refresh"]);
    }
}
