//! What a connection is doing and since when; one timer that looks whether that takes too long.
//!
//! ```text
//!            ┌──────── a request's head is whole ────────┐
//!            │                                           ▼
//!    waiting for a head ◄── the answer is handed over ── answering
//!            ▲                      │
//!            │                      ▼
//!            └── the last byte ── giving: the socket takes no more at the moment
//! ```
//!
//! | doing | may take | then |
//! |---|---|---|
//! | waiting for a head, or for the rest of one | the header timeout | closed |
//! | answering | the request timeout | the request is told |
//! | giving an answer | the request timeout, from byte to byte | closed |
//!
//! A request sets no timer: it notes when it began. The connection's only timer is never further away than the shortest
//! limit, so whatever begins after it was set ends after it fires; then it is set anew to the end of what is being done.
//!
//! Everything happens in the connection's own task. The fields are atomics because a task may move between threads, which
//! orders its own reads and writes.

use crate::config::RequestLimits;
use candor::World;
use candor_core::Moment;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

/// What a connection is doing.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Doing {
    Waiting,
    Answering,
    Giving,
}

/// What a connection is doing, and since when.
pub(super) struct Progress {
    world: World,
    header_timeout: Duration,
    request_timeout: Duration,
    doing: AtomicU8,
    since: AtomicU64,
    /// The request that is being answered has used up its time.
    is_overdue: AtomicBool,
    is_untouched: AtomicBool,
}

/// A request that is being answered, until dropped.
pub(crate) struct Turn(Arc<Progress>);

impl Progress {
    pub(super) fn new(world: World, limits: &RequestLimits) -> Arc<Self> {
        let since = AtomicU64::new(world.now().as_nanos());
        Arc::new(Self {
            world,
            header_timeout: limits.header_timeout,
            request_timeout: limits.request_timeout,
            doing: AtomicU8::new(Doing::Waiting as u8),
            since,
            is_overdue: AtomicBool::new(false),
            is_untouched: AtomicBool::new(true),
        })
    }

    /// A request's head is whole.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        self.is_overdue.store(false, Ordering::Relaxed);
        self.note(Doing::Answering);
        Turn(Arc::clone(self))
    }

    /// Bytes arrived.
    pub(super) fn touched(&self) {
        self.is_untouched.store(false, Ordering::Relaxed);
    }

    /// Whether no byte has ever arrived.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_untouched.load(Ordering::Relaxed)
    }

    /// The socket took some of what there is to give, or nothing; the rest waits until it takes more.
    pub(super) fn gave(&self, bytes: usize) {
        match self.doing() {
            // Of a request that is not whole yet: what the client takes meanwhile changes nothing.
            Doing::Answering => {}
            Doing::Giving if bytes == 0 => {}
            Doing::Waiting | Doing::Giving => self.note(Doing::Giving),
        }
    }

    /// The socket has everything that there was to give.
    pub(super) fn gave_all(&self) {
        if self.doing() == Doing::Giving {
            self.note(Doing::Waiting);
        }
    }

    /// Ready once the connection is to be closed. Each time a request's time is up, this wakes the task and says so to
    /// whoever polls the request.
    pub(super) async fn stalled(&self) {
        let shortest = self.header_timeout.min(self.request_timeout);
        loop {
            let now = self.world.now();
            let end = match self.doing() {
                Doing::Waiting => self.since().plus(self.header_timeout),
                Doing::Answering | Doing::Giving => self.since().plus(self.request_timeout),
            };
            if now >= end {
                if self.doing() != Doing::Answering {
                    return;
                }
                self.is_overdue.store(true, Ordering::Relaxed);
                come_again().await;
            }
            let soonest = now.plus(shortest);
            self.world.sleep_until(if now < end { end.min(soonest) } else { soonest }).await;
        }
    }

    fn note(&self, doing: Doing) {
        self.since.store(self.world.now().as_nanos(), Ordering::Relaxed);
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    fn doing(&self) -> Doing {
        match self.doing.load(Ordering::Relaxed) {
            0 => Doing::Waiting,
            1 => Doing::Answering,
            _ => Doing::Giving,
        }
    }

    fn since(&self) -> Moment {
        Moment::from_nanos(self.since.load(Ordering::Relaxed))
    }
}

impl Turn {
    /// What `work` brings, or `None` once the request has used up its time.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(brought) => Poll::Ready(Some(brought)),
            Poll::Pending if self.0.is_overdue.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// How long the request has been answered.
    pub(crate) fn took(&self) -> Duration {
        self.0.world.now().since(self.0.since())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.note(Doing::Waiting);
    }
}

/// Has the task polled once more, from its beginning.
async fn come_again() {
    let mut has_come = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_come, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
