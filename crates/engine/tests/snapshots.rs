//! Several keys whose answers hold together.

use crate::Bench;
use candor::testing::manual_world;
use candor::{Answer, Any, Cache, Contract, Declared, Origin, ReadError, Strong};
use std::sync::Arc;

fn values<L>(answers: &[Answer<u64, L>]) -> Vec<Option<u64>> {
    answers.iter().map(|answer| answer.value().copied()).collect()
}

#[tokio::test]
async fn a_snapshot_from_memory_needs_no_load() {
    let bench = Bench::new();
    bench.source.commit([(1, Some(10)), (2, Some(20))]);
    bench.settle().await;
    let first = bench.cache.snapshot(&[1, 2, 3], Declared, bench.source.many_loader()).await.unwrap();
    assert_eq!(values(&first), [Some(10), Some(20), None]);
    assert!(first.iter().all(|answer| answer.receipt().origin == Origin::Source));
    let second = bench.cache.snapshot(&[3, 2, 1], Strong, bench.source.many_loader()).await.unwrap();
    assert_eq!(values(&second), [None, Some(20), Some(10)]);
    assert!(second.iter().all(|answer| answer.receipt().origin == Origin::L1));
    let positions: Vec<_> = second.iter().map(|answer| answer.receipt().position).collect();
    assert!(positions.iter().all(|position| *position == positions[0] && position.is_some()));
}

#[tokio::test]
async fn a_fractured_pair_is_never_returned() {
    let bench = Bench::new();
    bench.source.commit([(1, Some(10)), (2, Some(10))]);
    // Key 1 from before the transaction, key 2 from after it.
    bench.cache.at(Any).get(&1, bench.source.reader()).await.unwrap();
    bench.source.freeze_log(true);
    bench.source.commit([(1, Some(11)), (2, Some(11))]);
    bench.cache.at(Any).get(&2, bench.source.reader()).await.unwrap();
    assert_eq!(bench.cache.peek(&1).unwrap().value(), Some(&10));
    assert_eq!(bench.cache.peek(&2).unwrap().value(), Some(&11));
    bench.source.freeze_log(false);
    let pair = bench.cache.snapshot(&[1, 2], Any, bench.source.many_loader()).await.unwrap();
    assert_eq!(values(&pair), [Some(11), Some(11)]);
}

#[tokio::test]
async fn pairs_hold_together_under_a_writer() {
    let bench = Bench::new();
    bench.source.commit([(1, Some(0)), (2, Some(0))]);
    let writer = tokio::spawn({
        let source = bench.source.clone();
        async move {
            for value in 1..2000 {
                source.commit([(1, Some(value)), (2, Some(value))]);
                for _ in 0..value % 20 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    bench.settle().await;
    let mut from_memory = 0;
    while !writer.is_finished() {
        let pair = bench.cache.snapshot(&[1, 2], Declared, bench.source.many_loader()).await.unwrap();
        assert_eq!(pair[0].value(), pair[1].value());
        from_memory += usize::from(pair[0].receipt().origin == Origin::L1);
        let _ = bench.cache.at(Any).get(&1, bench.source.reader()).await;
        tokio::task::yield_now().await;
    }
    assert!(from_memory > 0, "some were served from memory");
}

#[tokio::test]
async fn without_a_log_there_is_no_snapshot() {
    let cache: Cache<u32, u64> = Cache::builder().world(manual_world(9).0).build();
    let source = candor::testing::MemorySource::<u32, u64>::new();
    let refused = cache.snapshot(&[1], Any, source.many_loader()).await;
    assert!(matches!(refused, Err(ReadError::SnapshotUnmet { .. })));
}

#[tokio::test]
async fn a_loader_that_miscounts_is_an_error() {
    struct Miscounting;
    impl candor::LoadMany<u32, u64> for Miscounting {
        fn load_many(
            &self,
            _: Vec<u32>,
        ) -> candor::core::port::BoxFuture<'static, Result<candor::ManyLoaded<u64>, candor::LoadError>>
        {
            let source = candor::testing::MemorySource::<u32, u64>::new();
            let (_, stamp) = source.read(&1).unwrap();
            Box::pin(async move { Ok(candor::ManyLoaded { stamp, answers: Vec::new() }) })
        }
    }
    let bench = Bench::with(Contract::default());
    let failed = bench.cache.snapshot(&[1], Any, Arc::new(Miscounting)).await;
    assert!(matches!(failed, Err(ReadError::Load(_))), "{failed:?}");
}
