//! Changes that arrive while something is loaded, and invalidations by applications.

use crate::Bench;
use candor::testing::manual_world;
use candor::{Any, Cache, Event, LoadContext, Loaded, Origin, Strong, Tag};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The decisive test: the loader reads the old value, the change arrives, the loader finishes.
#[tokio::test]
async fn a_fill_that_a_change_overtook_is_given_to_its_reader_and_not_kept() {
    let bench = Bench::new();
    bench.write(1, 10);
    let go = Arc::new(Semaphore::new(0));
    let read = tokio::spawn({
        let (cache, source, go) = (bench.cache.clone(), bench.source.clone(), Arc::clone(&go));
        async move {
            let loader = move |context: LoadContext<u32, u64>| {
                let (value, stamp) = source.read(context.key()).unwrap();
                let go = Arc::clone(&go);
                async move {
                    let _ = go.acquire().await;
                    Ok::<_, String>(
                        Loaded::maybe(value).stamped(stamp).tagged(super::MemorySource::<u32, u64>::tag(&1)),
                    )
                }
            };
            cache.at(Any).get(&1, loader).await
        }
    });
    bench.settle().await;
    bench.write(1, 11);
    bench.settle().await;
    go.add_permits(1);
    assert_eq!(read.await.unwrap().unwrap(), Some(10));
    assert_eq!(bench.cache.view().figures().events(Event::NotKeptOutdated), 1);
    assert!(bench.cache.peek(&1).is_none());
    assert_eq!(bench.cache.get(&1, bench.source.reader()).await.unwrap(), Some(11));
}

#[tokio::test]
async fn a_loader_without_a_stamp_is_not_kept_where_there_is_a_log() {
    let bench = Bench::new();
    let answer = bench.cache.read(&1, |_| async { Ok::<u64, String>(5) }).await.unwrap();
    assert_eq!(answer.receipt().proof, candor::ProofKind::Clock);
    assert!(bench.cache.peek(&1).is_none());
    assert_eq!(bench.cache.view().figures().events(Event::NotKeptUnstamped), 1);
}

#[tokio::test]
async fn a_loader_without_tags_is_not_kept_where_there_is_a_log() {
    let bench = Bench::new();
    bench.write(1, 10);
    bench.settle().await;
    let source = bench.source.clone();
    let loader = move |context: LoadContext<u32, u64>| {
        let (value, stamp) = source.read(context.key()).unwrap();
        async move { Ok::<_, String>(Loaded::maybe(value).stamped(stamp)) }
    };
    bench.cache.get(&1, loader).await.unwrap();
    assert!(bench.cache.peek(&1).is_none(), "no change could ever concern it");
    assert_eq!(bench.cache.view().figures().events(Event::NotKeptUntagged), 1);
}

fn clock_only() -> Cache<u32, u64> {
    Cache::builder().world(manual_world(5).0).build()
}

#[tokio::test]
async fn an_invalidation_during_a_load_wins_also_without_a_log() {
    let cache = clock_only();
    let go = Arc::new(Semaphore::new(0));
    let load = |go: &Arc<Semaphore>| {
        let go = Arc::clone(go);
        move |_: LoadContext<u32, u64>| {
            let go = Arc::clone(&go);
            async move {
                let _ = go.acquire().await;
                Ok::<u64, String>(1)
            }
        }
    };
    let read = tokio::spawn({
        let (cache, loader) = (cache.clone(), load(&go));
        async move { cache.get(&1, loader).await }
    });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    cache.invalidate(&1);
    go.add_permits(1);
    assert_eq!(read.await.unwrap().unwrap(), Some(1));
    assert!(cache.peek(&1).is_none(), "the old value was not kept");
}

#[tokio::test]
async fn invalidating_a_key_or_a_tag_ends_the_entry() {
    let cache = clock_only();
    let tag = Tag::application("prices");
    let loader = move |context: LoadContext<u32, u64>| async move {
        Ok::<_, String>(Loaded::value(u64::from(*context.key())).tagged(tag))
    };
    for key in [1, 2] {
        cache.get(&key, loader).await.unwrap();
        assert!(cache.peek(&key).is_some());
    }
    cache.invalidate(&1);
    assert!(cache.peek(&1).is_none() && cache.peek(&2).is_some());
    cache.invalidate_tags(&[tag]);
    assert!(cache.peek(&2).is_none());
}

#[tokio::test]
async fn an_invalidation_is_only_a_hint_where_there_is_a_log() {
    let bench = Bench::new();
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.cache.invalidate(&1);
    let answer = bench.cache.at(Strong).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!((answer.value(), answer.receipt().origin), (Some(&10), Origin::Source));
    bench.cache.invalidate_tags(&[super::MemorySource::<u32, u64>::tag(&1)]);
    assert!(bench.cache.peek(&1).is_none());
}

/// Thousands of tags at once cost each entry a few comparisons, in whatever order they are named. Comparing every entry
/// with every tag took this test ten times as long.
#[tokio::test]
async fn many_tags_at_once_end_the_entries_they_name_and_no_others() {
    let bench = Bench::new();
    for key in 0..2_000 {
        bench.write(key, 10);
        bench.cache.get(&key, bench.source.reader()).await.unwrap();
    }
    bench.settle().await;
    let entries = bench.cache.usage().entries;
    let mut tags: Vec<Tag> =
        (0..100_000).map(|key| super::MemorySource::<u32, u64>::tag(&(500 + key))).rev().collect();
    tags.push(tags[0]);
    bench.cache.invalidate_tags(&tags);
    assert_eq!((entries, bench.cache.usage().entries), (2_000, 500));
    assert!(bench.cache.peek(&499).is_some() && bench.cache.peek(&500).is_none());
}
