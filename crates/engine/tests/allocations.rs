//! A hit allocates nothing.

use candor::testing::MemorySource;
use candor::{Bounded, Cache};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[tokio::test]
async fn a_hit_with_its_receipt_allocates_nothing() {
    let source = MemorySource::<u32, u64>::new();
    source.commit([(1, Some(10))]);
    let cache = Cache::builder().log(source.log()).build();
    cache.follower().following().await;
    cache.get(&1, source.reader()).await.unwrap();
    let minute = Bounded(Duration::from_secs(60));
    let hit = |counted: bool| {
        let allocations = allocation_counter::measure(|| {
            let at = cache.at(minute);
            let read = pin!(at.read(&1, |_| async { Err::<u64, _>("this must be a hit") }));
            let Poll::Ready(Ok(answer)) = read.poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("not a hit")
            };
            assert_eq!((answer.value(), answer.receipt().bound.is_some()), (Some(&10), true));
            assert!(cache.peek(&1).is_some());
        });
        assert!(!counted || allocations.count_total == 0, "{allocations:?}");
    };
    // The first one takes this thread's slot among the counters.
    hit(false);
    (0..100).for_each(|_| hit(true));
}
