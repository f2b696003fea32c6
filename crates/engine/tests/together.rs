//! Several keys, each at its level: one load for what memory lacks, and no key's misfortune is another's.

use crate::Bench;
use candor::core::port::{BoxFuture, Fault};
use candor::testing::MemorySource;
use candor::{
    Any, Bounded, Contract, Limits, LoadError, LoadMany, ManyLoaded, Origin, ReadError, Session,
    SessionToken, Strong,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Counts loads and, where there is a gate, waits to be let go. Refuses whatever holds the bad key.
struct Counting {
    source: MemorySource<u32, u64>,
    loads: Mutex<Vec<Vec<u32>>>,
    gate: Option<Arc<Semaphore>>,
    bad: Option<u32>,
}

impl Counting {
    fn of(bench: &Bench) -> Arc<Self> {
        Arc::new(Self { source: bench.source.clone(), loads: Mutex::default(), gate: None, bad: None })
    }

    fn gated(bench: &Bench, bad: Option<u32>) -> (Arc<Self>, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let (source, loads) = (bench.source.clone(), Mutex::default());
        (Arc::new(Self { source, loads, gate: Some(Arc::clone(&gate)), bad }), gate)
    }

    fn loads(&self) -> Vec<Vec<u32>> {
        std::mem::take(&mut *self.loads.lock())
    }
}

impl LoadMany<u32, u64> for Counting {
    fn load_many(&self, keys: Vec<u32>) -> BoxFuture<'static, Result<ManyLoaded<u64>, LoadError>> {
        self.loads.lock().push(keys.clone());
        let (gate, source) = (self.gate.clone(), self.source.many_loader());
        let is_bad = self.bad.is_some_and(|bad| keys.contains(&bad));
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            if is_bad {
                return Err(LoadError::new(Fault::Contract, "two rows"));
            }
            source.load_many(keys).await
        })
    }
}

fn filled(rows: std::ops::RangeInclusive<u32>) -> Bench {
    let bench = Bench::new();
    bench.source.commit(rows.map(|key| (key, Some(u64::from(key) * 10))));
    bench
}

#[tokio::test]
async fn what_memory_lacks_is_loaded_at_once_and_each_answer_has_a_receipt_of_its_own() {
    let bench = filled(1..=4);
    bench.settle().await;
    bench.cache.at(Any).get(&2, bench.source.reader()).await.unwrap();
    bench.clock.advance(Duration::from_millis(500));
    let loader = Counting::of(&bench);
    let answers = bench.cache.read_many(&[1, 2, 3, 9, 4, 1], Any, loader.clone()).await.unwrap();
    let values: Vec<_> = answers.iter().map(|answer| answer.value().copied()).collect();
    assert_eq!(values, [Some(10), Some(20), Some(30), None, Some(40), Some(10)]);
    assert_eq!(loader.loads(), [vec![1, 3, 9, 4]]);
    let origins: Vec<_> = answers.iter().map(|answer| answer.receipt().origin).collect();
    use Origin::{Flight, L1, Source};
    assert_eq!(origins, [Source, L1, Source, Source, Source, Flight]);
    assert!(answers[1].receipt().age >= Duration::from_millis(500), "{:?}", answers[1].receipt());
    assert!(answers[0].receipt().age < Duration::from_millis(500), "{:?}", answers[0].receipt());
    let again = bench.cache.read_many(&[1, 2, 3, 9, 4], Any, loader.clone()).await.unwrap();
    assert!(again.iter().all(|answer| answer.receipt().origin == L1) && loader.loads().is_empty());
}

#[tokio::test]
async fn every_level_loads_at_once_and_strong_only_what_changed() {
    let bench = filled(1..=50);
    bench.settle().await;
    let keys: Vec<u32> = (1..=50).collect();
    let loader = Counting::of(&bench);
    bench.cache.read_many(&keys, Strong, loader.clone()).await.unwrap();
    assert_eq!(loader.loads(), std::slice::from_ref(&keys));
    let before = bench.source.fences();
    let position = bench.source.commit([(7, Some(70)), (8, None)]);
    let answers = bench.cache.read_many(&keys, Strong, loader.clone()).await.unwrap();
    assert_eq!((answers[6].value(), answers[7].value()), (Some(&70), None));
    assert_eq!((answers[5].receipt().origin, loader.loads()), (Origin::L1, vec![vec![7, 8]]));
    assert_eq!(bench.source.fences() - before, 1, "one fence for all");
    bench.source.commit([(9, Some(90)), (10, Some(91))]);
    let token = SessionToken::at(bench.source.commit([(11, Some(92))]));
    let answers = bench.cache.read_many(&keys, Session(token), loader.clone()).await.unwrap();
    assert_eq!((answers[8].value(), loader.loads()), (Some(&90), vec![vec![9, 10, 11]]));
    assert!(answers[0].session().positions()[0].reaches(position));
}

#[tokio::test]
async fn a_thousand_keys_are_one_load_of_a_source_that_bears_one() {
    let limits = Limits { in_flight: 1, queue: 0, queue_timeout: Duration::from_millis(1) };
    let bench = Bench::built(|builder| builder.limits(limits));
    bench.settle().await;
    let (loader, gate) = Counting::gated(&bench, None);
    let keys: Vec<u32> = (0..1000).collect();
    let (cache, asked) = (bench.cache.clone(), loader.clone());
    let read = tokio::spawn(async move { cache.read_many(&keys, Any, asked).await });
    bench.settle().await;
    assert_eq!(bench.cache.load(), (1, 0));
    let refused = bench.cache.at(Any).get(&5000, bench.source.reader()).await.unwrap_err();
    assert!(matches!(refused, ReadError::Overloaded(_)), "{refused}");
    gate.add_permits(1);
    assert_eq!(read.await.unwrap().unwrap().len(), 1000);
    assert_eq!(loader.loads().len(), 1);
}

#[tokio::test]
async fn keys_in_flight_are_joined_only_if_the_level_allows() {
    for (is_strong, origin) in [(false, Origin::Flight), (true, Origin::Source)] {
        let bench = filled(1..=3);
        bench.settle().await;
        let (loader, gate) = Counting::gated(&bench, None);
        let begin = |keys: Vec<u32>, is_strong| {
            let (cache, asked) = (bench.cache.clone(), loader.clone());
            tokio::spawn(async move {
                let answers = if is_strong {
                    cache
                        .read_many(&keys, Strong, asked)
                        .await
                        .map(|a| a.into_iter().map(|a| a.receipt()).collect())
                } else {
                    cache
                        .read_many(&keys, Any, asked)
                        .await
                        .map(|a| a.into_iter().map(|a| a.receipt()).collect())
                };
                let receipts: Vec<candor::Receipt> = answers.unwrap();
                receipts
            })
        };
        let first = begin(vec![1, 2], false);
        bench.settle().await;
        bench.clock.advance(Duration::from_millis(5));
        let second = begin(vec![2, 3], is_strong);
        bench.settle().await;
        gate.add_permits(10);
        assert!(first.await.unwrap().iter().all(|receipt| receipt.origin == Origin::Source));
        let second = second.await.unwrap();
        assert_eq!((second[0].origin, second[1].origin), (origin, Origin::Source), "strong: {is_strong}");
        let loads = loader.loads();
        assert_eq!(
            loads.iter().filter(|keys| keys.contains(&2)).count(),
            1 + usize::from(is_strong),
            "{loads:?}"
        );
    }
}

#[tokio::test]
async fn a_key_the_source_refuses_spoils_no_other() {
    let bench = filled(1..=20);
    bench.settle().await;
    let (loader, gate) = Counting::gated(&bench, Some(13));
    let (cache, asked) = (bench.cache.clone(), loader.clone());
    let keys: Vec<u32> = (1..=20).collect();
    let batch = tokio::spawn(async move { cache.read_many(&keys, Any, asked).await });
    bench.settle().await;
    let (cache, source) = (bench.cache.clone(), bench.source.clone());
    let joined = tokio::spawn(async move { cache.at(Any).read(&12, source.reader()).await });
    bench.settle().await;
    gate.add_permits(1000);
    let failed = batch.await.unwrap().unwrap_err();
    assert_eq!(failed.at, 12, "{failed}");
    let joined = joined.await.unwrap().unwrap();
    assert_eq!((joined.value(), joined.receipt().origin), (Some(&120), Origin::Flight));
    let loads = loader.loads().len();
    assert!(loads <= 11, "halved until it stands alone, not key by key: {loads}");
    assert!(bench.cache.peek(&14).is_some(), "the others are kept");
}

#[tokio::test]
async fn an_invalidation_meanwhile_concerns_its_own_key_only() {
    let bench = filled(1..=3);
    bench.settle().await;
    let (loader, gate) = Counting::gated(&bench, None);
    let (cache, asked) = (bench.cache.clone(), loader.clone());
    let batch = tokio::spawn(async move { cache.read_many(&[1, 2, 3], Any, asked).await });
    bench.settle().await;
    bench.cache.invalidate(&2);
    gate.add_permits(1);
    let answers = batch.await.unwrap().unwrap();
    assert_eq!(answers[1].value(), Some(&20));
    let kept: Vec<bool> = (1..=3).map(|key| bench.cache.peek(&key).is_some()).collect();
    assert_eq!(kept, [true, false, true]);
}

#[tokio::test]
async fn a_source_that_is_down_fails_all_at_once_and_a_contract_may_allow_old_answers() {
    let contract = Contract {
        on_source_down: candor::OnSourceDown::Stale(Duration::from_secs(60)),
        ttl: Duration::from_millis(10),
        ..Contract::default()
    };
    let bench = Bench::with(contract);
    bench.source.commit([(1, Some(10)), (2, Some(20))]);
    bench.settle().await;
    let loader = Counting::of(&bench);
    bench.cache.read_many(&[1, 2], Any, loader.clone()).await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    bench.source.set_down(true);
    loader.loads();
    let old = bench.cache.read_many(&[1, 2], Any, loader.clone()).await.unwrap();
    assert!(old.iter().all(|answer| answer.receipt().degraded.is_some()));
    assert_eq!(loader.loads(), [vec![1, 2]], "down is down for all; nothing is halved");
    let failed = bench.cache.read_many(&[1, 2], Strong, loader.clone()).await.unwrap_err();
    assert!(matches!((failed.at, &failed.error), (0, ReadError::Load(_))), "{failed}");
}

#[tokio::test]
async fn an_answer_that_waited_for_another_key_is_as_old_as_it_is_when_given() {
    let bench = filled(1..=2);
    bench.settle().await;
    bench.cache.at(Any).get(&1, bench.source.reader()).await.unwrap();
    let (loader, gate) = Counting::gated(&bench, None);
    let waits = |level| {
        let (cache, asked) = (bench.cache.clone(), loader.clone());
        tokio::spawn(async move { cache.read_many(&[1, 2], candor::Demanded(level), asked).await })
    };
    let read = waits(candor::Level::Any.into());
    bench.settle().await;
    bench.source.commit([(1, Some(11))]);
    bench.clock.advance(Duration::from_secs(1));
    gate.add_permits(1);
    let answers = read.await.unwrap().unwrap();
    let receipt = answers[0].receipt();
    assert_eq!((answers[0].value(), receipt.origin), (Some(&10), Origin::L1));
    assert!(receipt.bound >= Some(Duration::from_secs(1)), "superseded a second ago: {receipt:?}");
    assert!(receipt.age >= Duration::from_secs(1), "{receipt:?}");
}

#[tokio::test]
async fn an_answer_that_waited_for_longer_than_its_bound_is_read_again() {
    let bench = filled(1..=2);
    bench.settle().await;
    bench.cache.at(Any).get(&1, bench.source.reader()).await.unwrap();
    let (loader, gate) = Counting::gated(&bench, None);
    let (cache, asked) = (bench.cache.clone(), loader.clone());
    let bounded = Bounded(Duration::from_millis(100));
    let read = tokio::spawn(async move { cache.read_many(&[1, 2], bounded, asked).await });
    bench.settle().await;
    bench.source.commit([(1, Some(11))]);
    bench.clock.advance(Duration::from_secs(1));
    // The load began too long ago itself, so every key is asked for once more.
    gate.add_permits(8);
    let answers = read.await.unwrap().unwrap();
    assert_eq!(answers[0].value(), Some(&11), "{:?}", answers[0].receipt());
    assert!(answers.iter().all(|answer| answer.receipt().bound <= Some(Duration::from_millis(100))));
}
