//! A read on its way: the future every door of the cache returns.
//!
//! Written by hand, because a hit is done within one poll and takes about as long as moving an answer a few times. An
//! `async fn` per layer moves the answer once per layer; here [`Cache::hit`] is inlined into the one poll, and everything
//! else goes into a box that only a read that is no plain hit pays for. See decision 0017.
//!
//! Nothing happens until the first poll. In particular the entry is looked at then and not when the future is made: a
//! bound holds for the moment at which the answer is given.

use crate::answer::{Answer, Consistency};
use crate::cache::Cache;
use crate::error::ReadError;
use crate::load::Load;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a read that is no plain hit ends in. Boxed, so that it arrives in a register: were it written to memory through a
/// pointer, the compiler would have to keep the answer of every hit in memory too, and copy it from there.
type Outcome<V> = Box<Result<Answer<V>, ReadError>>;

type Slow<'a, V> = Pin<Box<dyn Future<Output = Outcome<V>> + Send + 'a>>;

/// A read on its way; await it. `M` makes the loader, on a miss only.
#[must_use = "a read does nothing unless it is awaited"]
pub struct Reading<'a, K, V, L, M> {
    cache: &'a Cache<K, V>,
    key: &'a K,
    level: L,
    make_loader: Option<M>,
    slow: Option<Slow<'a, V>>,
}

/// Only the box is ever polled in place, and what is in a box does not move.
impl<K, V, L, M> Unpin for Reading<'_, K, V, L, M> {}

impl<'a, K, V, L, M> Reading<'a, K, V, L, M> {
    #[inline]
    pub(crate) fn new(cache: &'a Cache<K, V>, key: &'a K, level: L, make_loader: M) -> Self {
        Self { cache, key, level, make_loader: Some(make_loader), slow: None }
    }
}

impl<'a, K, V, L, M> Future for Reading<'a, K, V, L, M>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    L: Consistency,
    M: FnOnce() -> Arc<dyn Load<K, V>>,
{
    type Output = Result<Answer<V, L>, ReadError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.slow.is_none()
            && let Some(answer) = this.cache.plain_hit(this.key, &this.level)
        {
            if this.cache.is_due_early(answer.left_nanos()) {
                this.refresh();
            }
            return Poll::Ready(Ok(answer));
        }
        match this.poll_slowly(context) {
            Poll::Ready(outcome) => Poll::Ready((*outcome).map(Answer::at)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<'a, K, V, L, M> Reading<'a, K, V, L, M>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    L: Consistency,
    M: FnOnce() -> Arc<dyn Load<K, V>>,
{
    #[cold]
    #[inline(never)]
    fn poll_slowly(&mut self, context: &mut Context<'_>) -> Poll<Outcome<V>> {
        if self.slow.is_none() {
            let make_loader = self.make_loader.take();
            #[expect(clippy::expect_used, reason = "the contract of futures: nobody polls one that is ready")]
            let loader = make_loader.expect("a read that is done is not polled again")();
            let (cache, key, demand) = (self.cache, self.key, self.cache.demand(&self.level));
            self.slow =
                Some(Box::pin(async move { Box::new(cache.read_demanding(key, demand, loader).await) }));
        }
        match &mut self.slow {
            Some(slow) => slow.as_mut().poll(context),
            None => Poll::Pending,
        }
    }

    /// Loads again in the background, because the entry nears its end.
    #[cold]
    #[inline(never)]
    fn refresh(&mut self) {
        if let Some(make_loader) = self.make_loader.take() {
            self.cache.refresh(self.key, &make_loader());
        }
    }
}
