//! Loads that readers share: whoever joins one gets an answer that was read after the reader came; whatever goes wrong
//! with a load, none is left behind; and an invalidation wins over a load that began before it.

use super::*;
use crate::sync::{AtomicU64, Ordering};
use crate::{Any, Bounded, Cache, Limits, LoadContext, Loaded, ReadError, Strong, Tag};
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

const KEY: u64 = 1;
const TAG: Tag = Tag(5);
/// Served from memory, if it is current there.
const CURRENT: Bounded = Bounded(Duration::from_secs(3600));

/// A source without a log: each look at it shows a higher number.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl Counter {
    fn look(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn loader(
        &self,
    ) -> impl Fn(LoadContext<u64, u64>) -> BoxFuture<'static, Result<Loaded<u64>, String>>
    + Send
    + Sync
    + Clone
    + 'static {
        let counter = self.clone();
        move |_| {
            let counter = counter.clone();
            Box::pin(async move {
                let value = counter.look();
                meanwhile().await;
                Ok(Loaded::value(value).tagged(TAG))
            })
        }
    }
}

fn cache() -> (Cache<u64, u64>, Tasks) {
    let limits = Limits { in_flight: 1, ..Limits::default() };
    let (world, _clock, tasks) = world();
    (Cache::builder().world(world).limits(limits).build(), tasks)
}

fn joined_loads() {
    let (counter, (cache, tasks)) = (Counter::default(), cache());
    let reader = || -> BoxFuture<'static, ()> {
        let (counter, cache) = (counter.clone(), cache.clone());
        Box::pin(async move {
            for _ in 0..2 {
                let before = counter.look();
                let answer = cache.at(Strong).read(&KEY, counter.loader()).await;
                let answer = answer.unwrap_or_else(|error| panic!("nothing fails here: {error}"));
                assert!(answer.value() > Some(&before), "looked at before the read began: {answer:?}");
            }
        })
    };
    at_once(vec![reader(), reader(), reader()]);
    assert_nothing_is_left(&cache, &counter);
    tasks.end();
}

#[test]
fn whoever_joins_a_load_gets_what_was_read_after_it_came() {
    check(joined_loads);
}

/// Polls it so often and then drops it; `None` for as often as it takes.
async fn give_up_after<T>(polls: Option<u32>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut left = polls;
    poll_fn(move |context| match work.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            let Some(patience) = left.as_mut() else { return Poll::Pending };
            if *patience == 0 {
                return Poll::Ready(None);
            }
            *patience -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

fn loads_that_go_wrong() {
    let (counter, (cache, tasks)) = (Counter::default(), cache());
    let reader = |polls: Option<u32>| -> BoxFuture<'static, ()> {
        let (counter, cache) = (counter.clone(), cache.clone());
        Box::pin(async move {
            let numbers = counter.clone();
            let loader = move |context: LoadContext<u64, u64>| {
                let counter = numbers.clone();
                async move {
                    let value = counter.look();
                    meanwhile().await;
                    if context.is_abandoned() {
                        return Err("nobody waits".to_owned());
                    }
                    // As a panic leaves the loader, without the noise of one.
                    if value % 2 == 0 {
                        std::panic::resume_unwind(Box::new("a loader that panics"));
                    }
                    Ok(value)
                }
            };
            match give_up_after(polls, cache.at(Strong).read(&KEY, loader)).await {
                None | Some(Ok(_) | Err(ReadError::Load(_))) => {}
                Some(Err(other)) => panic!("a load of its own or another's failed as {other}"),
            }
        })
    };
    at_once(vec![reader(Some(0)), reader(Some(2)), reader(None)]);
    assert_nothing_is_left(&cache, &counter);
    tasks.end();
}

/// Every load has landed, and the next read loads.
fn assert_nothing_is_left(cache: &Cache<u64, u64>, counter: &Counter) {
    shuttle::future::block_on(async {
        cache.shared.flights.landed().await;
        assert!(cache.shared.flights.is_idle(&KEY), "a flight without a load stays");
        let before = counter.look();
        let answer = cache.at(Strong).read(&KEY, counter.loader()).await;
        let answer = answer.unwrap_or_else(|error| panic!("nothing fails here: {error}"));
        assert!(answer.value() > Some(&before), "{answer:?}");
        assert!(cache.close(Duration::from_secs(1)).await, "a load is still counted");
        assert_eq!(cache.load(), (0, 0), "a turn at the source was not given back");
    });
}

#[test]
fn a_reader_that_goes_away_and_a_loader_that_panics_leave_no_load_behind() {
    check(loads_that_go_wrong);
}

fn invalidations(by_tag: bool) {
    let (counter, (cache, tasks)) = (Counter::default(), cache());
    let read = move |counter: Counter, cache: Cache<u64, u64>| async move {
        // What a key is dropped from, nobody finds there; what a tag outdates, `any` may still be served.
        let answer = if by_tag {
            cache.at(CURRENT).read(&KEY, counter.loader()).await.map(crate::Answer::into_value)
        } else {
            cache.at(Any).read(&KEY, counter.loader()).await.map(crate::Answer::into_value)
        };
        answer.unwrap_or_else(|error| panic!("nothing fails here: {error}")).unwrap_or(0)
    };
    let reader = || -> BoxFuture<'static, ()> {
        let (counter, cache) = (counter.clone(), cache.clone());
        Box::pin(async move {
            read(counter, cache).await;
        })
    };
    let invalidator: BoxFuture<'static, ()> = {
        let (counter, cache) = (counter.clone(), cache.clone());
        Box::pin(async move {
            // What is read from now on is new enough.
            let changed = counter.look();
            if by_tag {
                cache.invalidate_tags(&[TAG]);
            } else {
                cache.invalidate(&KEY);
            }
            // A load that began before may still be joined; what is kept may not be older.
            cache.shared.flights.landed().await;
            let value = read(counter, cache).await;
            assert!(value > changed, "invalidated at {changed}, and {value} is the answer");
        })
    };
    at_once(vec![reader(), invalidator, reader()]);
    assert_nothing_is_left(&cache, &counter);
    tasks.end();
}

#[test]
fn what_is_kept_after_an_invalidation_was_read_after_it() {
    check(|| invalidations(false));
    check(|| invalidations(true));
}
