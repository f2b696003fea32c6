//! Time to live, its jitter, and the ways to renew entries before they end.

use crate::Bench;
use candor::{Any, Bounded, Contract, Event, LoadContext, Loaded, Origin, Refresh, Strong};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn contract() -> Contract {
    Contract { ttl: 100 * SECOND, absent_ttl: 10 * SECOND, refresh: Refresh::None, ..Contract::default() }
}

#[tokio::test]
async fn entries_end_at_their_ttl_or_up_to_a_tenth_before() {
    let bench = Bench::with(contract());
    bench.write(1, 10);
    let mut ends = Vec::new();
    for _ in 0..20 {
        bench.cache.invalidate(&1);
        bench.cache.get(&1, bench.source.reader()).await.unwrap();
        let life = bench.cache.explain(&1);
        let entry = life.entry.unwrap();
        ends.push(entry.expires_at.unwrap().since(entry.filled_at));
    }
    assert!(ends.iter().all(|end| (90 * SECOND..=100 * SECOND).contains(end)), "{ends:?}");
    ends.dedup();
    assert!(ends.len() > 10, "they differ");
}

#[tokio::test]
async fn an_ended_entry_is_loaded_again_although_nothing_changed() {
    let bench = Bench::with(contract());
    bench.write(1, 10);
    for key in [1, 2] {
        bench.cache.at(Strong).get(&key, bench.source.reader()).await.unwrap();
    }
    bench.clock.advance(11 * SECOND);
    let absent = bench.cache.at(Strong).read(&2, bench.source.reader()).await.unwrap();
    assert_eq!(absent.receipt().origin, Origin::Source, "absent has a shorter life");
    let present = bench.cache.at(Strong).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(present.receipt().origin, Origin::L1);
    bench.clock.advance(90 * SECOND);
    let ended = bench.cache.at(Any).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(ended.receipt().origin, Origin::Source);
}

#[tokio::test]
async fn a_loader_may_set_the_life_of_its_answer() {
    let bench = Bench::with(contract());
    let source = bench.source.clone();
    let loader = move |context: LoadContext<u32, u64>| {
        let (value, stamp) = source.read(context.key()).unwrap();
        async move {
            Ok::<_, String>(
                Loaded::maybe(value)
                    .stamped(stamp)
                    .tagged(crate::MemorySource::<u32, u64>::tag(&1))
                    .lives(SECOND),
            )
        }
    };
    bench.cache.get(&1, loader).await.unwrap();
    bench.clock.advance(SECOND);
    assert!(bench.cache.peek(&1).is_none());
}

#[tokio::test]
async fn early_refresh_renews_a_hot_entry_in_the_background_before_it_ends() {
    let bench = Bench::with(Contract { refresh: Refresh::Early, ..contract() });
    bench.write(1, 10);
    // A fill that costs two seconds makes the last minute interesting.
    let slow = || {
        let (source, clock) = (bench.source.clone(), bench.clock.clone());
        move |context: LoadContext<u32, u64>| {
            clock.advance(2 * SECOND);
            let (value, stamp) = source.read(context.key()).unwrap();
            async move {
                Ok::<_, String>(
                    Loaded::maybe(value).stamped(stamp).tagged(crate::MemorySource::<u32, u64>::tag(&1)),
                )
            }
        }
    };
    bench.cache.at(Bounded(200 * SECOND)).get(&1, slow()).await.unwrap();
    for _ in 0..300 {
        bench.clock.advance(SECOND);
        bench.settle().await;
        let answer = bench.cache.at(Bounded(200 * SECOND)).read(&1, slow()).await.unwrap();
        assert_eq!(answer.receipt().origin, Origin::L1, "no reader ever waited");
        bench.settle().await;
    }
    let refreshes = bench.cache.view().figures().events(Event::Refresh);
    assert!((3..=12).contains(&refreshes), "{refreshes} in five minutes at a ttl of 100 s");
}

#[tokio::test]
async fn revalidation_serves_a_changed_entry_inside_the_bound_and_renews_it() {
    let contract = Contract { refresh: Refresh::WhileRevalidate(SECOND), ..contract() };
    let bench = Bench::with(contract);
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.clock.advance(10 * SECOND);
    bench.settle().await;
    bench.cache.at(Strong).get(&1, bench.source.reader()).await.unwrap();
    bench.write(1, 11);
    bench.settle().await;
    let stale = bench.cache.read(&1, bench.source.reader()).await.unwrap();
    assert_eq!((stale.value(), stale.receipt().origin), (Some(&10), Origin::L1));
    assert!(stale.receipt().bound.unwrap() <= SECOND, "filled ten seconds ago, yet proven until just now");
    bench.settle().await;
    assert_eq!(bench.cache.get(&1, bench.source.reader()).await.unwrap(), Some(11));

    bench.write(1, 12);
    bench.settle().await;
    let strong = bench.cache.at(Strong).get(&1, bench.source.reader()).await.unwrap();
    assert_eq!(strong, Some(12), "never outside what the level allows");
}
