//! Who shares a load with whom, and what a load that goes wrong does to the others.

use crate::Bench;
use candor::{Any, Cache, Contract, Limits, LoadContext, Origin, ReadError, Strong};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// A loader that counts its calls and waits to be let go.
struct Gate {
    loads: AtomicUsize,
    go: Semaphore,
    abandoned: Notify,
}

type Loading = std::pin::Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { loads: AtomicUsize::new(0), go: Semaphore::new(0), abandoned: Notify::new() })
    }

    fn loader(self: &Arc<Self>) -> impl Fn(LoadContext<u32, u64>) -> Loading + Send + Sync + 'static {
        let gate = Arc::clone(self);
        move |context| {
            let gate = Arc::clone(&gate);
            Box::pin(async move {
                let number = gate.loads.fetch_add(1, Ordering::SeqCst) as u64;
                tokio::select! {
                    permit = gate.go.acquire() => permit.map_err(|e| e.to_string())?.forget(),
                    () = context.abandoned() => gate.abandoned.notify_one(),
                }
                if context.is_abandoned() { Err("abandoned".to_owned()) } else { Ok(number) }
            })
        }
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

fn clock_only() -> (Cache<u32, u64>, candor::testing::ManualClock) {
    let (world, clock) = candor::testing::manual_world(3);
    (Cache::builder().world(world).build(), clock)
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_herd_costs_one_load() {
    let (cache, _clock) = clock_only();
    let gate = Gate::new();
    let herd: Vec<_> = (0..1000)
        .map(|_| {
            let (cache, loader) = (cache.clone(), gate.loader());
            tokio::spawn(async move { cache.read(&1, loader).await })
        })
        .collect();
    settle().await;
    gate.go.add_permits(1);
    let mut led = 0;
    for read in herd {
        let answer = read.await.unwrap().unwrap();
        assert_eq!(answer.value(), Some(&0));
        led += usize::from(answer.receipt().origin == Origin::Source);
    }
    assert_eq!((gate.loads(), led), (1, 1));
}

#[tokio::test]
async fn a_strong_read_does_not_join_a_load_that_began_before_it_and_a_thousand_share_the_next() {
    let (cache, clock) = clock_only();
    let gate = Gate::new();
    let spawn = |strong: bool| {
        let (cache, loader) = (cache.clone(), gate.loader());
        tokio::spawn(async move {
            if strong { cache.at(Strong).get(&1, loader).await } else { cache.at(Any).get(&1, loader).await }
        })
    };
    let first = spawn(false);
    settle().await;
    clock.advance(Duration::from_millis(1));
    let strong: Vec<_> = (0..1000).map(|_| spawn(true)).collect();
    let hint = spawn(false);
    settle().await;
    gate.go.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap(), Some(0));
    assert_eq!(hint.await.unwrap().unwrap(), Some(0), "whoever asks for a hint may join");
    settle().await;
    gate.go.add_permits(1);
    for read in strong {
        assert_eq!(read.await.unwrap().unwrap(), Some(1));
    }
    assert_eq!(gate.loads(), 2);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_the_load_to_the_others() {
    let (cache, _clock) = clock_only();
    let gate = Gate::new();
    let spawn = || {
        let (cache, loader) = (cache.clone(), gate.loader());
        tokio::spawn(async move { cache.get(&1, loader).await })
    };
    let (leader, other) = (spawn(), spawn());
    settle().await;
    leader.abort();
    settle().await;
    gate.go.add_permits(1);
    assert_eq!(other.await.unwrap().unwrap(), Some(0));
    assert_eq!(gate.loads(), 1);
}

#[tokio::test]
async fn a_load_nobody_waits_for_is_told() {
    let (cache, _clock) = clock_only();
    let gate = Gate::new();
    let loader = gate.loader();
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&1, loader).await }
    });
    settle().await;
    read.abort();
    tokio::time::timeout(Duration::from_secs(5), gate.abandoned.notified())
        .await
        .expect("the loader was told");
}

#[tokio::test]
async fn a_panicking_loader_fails_its_readers_and_poisons_nothing() {
    let (cache, _clock) = clock_only();
    let panics = |_: LoadContext<u32, u64>| async {
        if true {
            panic!("on purpose");
        }
        Ok::<u64, String>(0)
    };
    for _ in 0..3 {
        let failed = cache.get(&1, panics).await;
        assert!(matches!(failed, Err(ReadError::Load(_))), "{failed:?}");
    }
    assert_eq!(cache.load(), (0, 0), "its permit is back");
    assert_eq!(cache.get(&1, |_| async { Ok::<u64, String>(7) }).await.unwrap(), Some(7));
}

#[tokio::test]
async fn an_error_is_shared_by_all_who_waited_and_not_remembered() {
    let (cache, _clock) = clock_only();
    let calls = Arc::new(AtomicUsize::new(0));
    let herd: Vec<_> = (0..50)
        .map(|_| {
            let (cache, calls) = (cache.clone(), Arc::clone(&calls));
            tokio::spawn(async move {
                let loader = move |_: LoadContext<u32, u64>| {
                    calls.fetch_add(1, Ordering::SeqCst);
                    async {
                        tokio::task::yield_now().await;
                        Err::<u64, _>("no such luck")
                    }
                };
                cache.get(&1, loader).await
            })
        })
        .collect();
    for read in herd {
        assert!(read.await.unwrap().unwrap_err().to_string().contains("no such luck"));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(cache.get(&1, |_| async { Ok::<u64, String>(7) }).await.unwrap(), Some(7));
}

#[tokio::test]
async fn a_slow_load_times_out_for_everyone_and_the_next_one_works() {
    let (cache, clock) = clock_only();
    let gate = Gate::new();
    let (reader, loader) = (cache.clone(), gate.loader());
    let read = tokio::spawn(async move { reader.get(&1, loader).await });
    settle().await;
    clock.advance(Contract::default().timeout);
    assert!(matches!(read.await.unwrap(), Err(ReadError::Timeout(_))));
    settle().await;
    assert_eq!(cache.load(), (0, 0));
    assert_eq!(cache.get(&1, |_| async { Ok::<u64, String>(7) }).await.unwrap(), Some(7));
}

#[tokio::test]
async fn the_source_never_sees_more_loads_than_its_limit() {
    let limits = Limits { in_flight: 4, queue: 1000, queue_timeout: Duration::from_secs(60) };
    let bench = Bench::built(|builder| builder.limits(limits));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let reads: Vec<_> = (0..500)
        .map(|key| {
            let (cache, now, most) = (bench.cache.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let loader = move |_: LoadContext<u32, u64>| {
                    let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                    async move {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        now.fetch_sub(1, Ordering::SeqCst);
                        Ok::<u64, String>(1)
                    }
                };
                cache.get(&(key % 250), loader).await
            })
        })
        .collect();
    for read in reads {
        assert_eq!(read.await.unwrap().unwrap(), Some(1));
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn concurrent_strong_reads_share_fences() {
    let bench = Bench::new();
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.settle().await;
    bench.clock.advance(Duration::from_millis(1));
    let reads: Vec<_> = (0..1000)
        .map(|_| {
            let (cache, reader) = (bench.cache.clone(), bench.source.reader());
            tokio::spawn(async move { cache.at(Strong).read(&1, reader).await })
        })
        .collect();
    for read in reads {
        assert_eq!(read.await.unwrap().unwrap().receipt().origin, Origin::L1);
    }
    assert!(bench.source.fences() < 20, "{} fences for a thousand reads", bench.source.fences());
}

/// On a runtime's worker the task that asks runs right after the first reader that wakes it. If it asked then, every other
/// fence would be for one reader alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn readers_that_one_fence_woke_share_the_next() {
    const READERS: u64 = 64;
    const READS: u64 = 25;
    let bench = Bench::new();
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.settle().await;
    let before = bench.source.fences();
    let together = Arc::new(tokio::sync::Barrier::new(READERS as usize));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (cache, source) = (bench.cache.clone(), bench.source.clone());
            let together = Arc::clone(&together);
            tokio::spawn(async move {
                together.wait().await;
                for _ in 0..READS {
                    cache.at(Strong).get(&1, source.reader()).await.unwrap();
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    let fences = bench.source.fences() - before;
    assert!(fences < READS + READS / 2, "{fences} fences for {READS} rounds of {READERS} readers");
}

#[tokio::test]
async fn closing_lets_loads_finish_and_refuses_new_reads() {
    let (cache, _clock) = clock_only();
    let gate = Gate::new();
    let (reader, loader) = (cache.clone(), gate.loader());
    let read = tokio::spawn(async move { reader.get(&1, loader).await });
    settle().await;
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.close(Duration::from_secs(5)).await }
    });
    settle().await;
    assert!(!closing.is_finished());
    assert!(matches!(cache.get(&2, |_| async { Ok::<u64, String>(7) }).await, Err(ReadError::ShuttingDown)));
    gate.go.add_permits(1);
    assert_eq!(read.await.unwrap().unwrap(), Some(0));
    assert!(closing.await.unwrap(), "everything finished");
}

#[tokio::test]
async fn a_refresh_is_not_abandoned_although_nobody_waits_for_it() {
    let (world, clock) = candor::testing::manual_world(3);
    let contract = Contract {
        ttl: Duration::from_secs(10),
        refresh: candor::Refresh::WhileRevalidate(Duration::from_secs(2)),
        ..Contract::default()
    };
    let cache = Cache::<u32, u64>::builder().world(world).contract(contract).build();
    let gate = Gate::new();
    gate.go.add_permits(2);
    cache.get(&1, gate.loader()).await.unwrap();
    clock.advance(Duration::from_millis(10_100));
    assert_eq!(cache.at(Any).get(&1, gate.loader()).await.unwrap(), Some(0), "served while it is renewed");
    settle().await;
    assert_eq!(cache.peek(&1).unwrap().value(), Some(&1), "the refresh ran to its end");
}

#[tokio::test]
async fn a_refresh_that_a_reader_joins_keeps_its_place_before_later_readers() {
    let (world, clock) = candor::testing::manual_world(3);
    let contract = Contract {
        ttl: Duration::from_secs(10),
        refresh: candor::Refresh::WhileRevalidate(Duration::from_secs(2)),
        ..Contract::default()
    };
    let limits = Limits { in_flight: 1, ..Limits::default() };
    let cache = Cache::<u32, u64>::builder().world(world).contract(contract).limits(limits).build();
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let go = Arc::new(Semaphore::new(1));
    let loader = || {
        let (order, go) = (Arc::clone(&order), Arc::clone(&go));
        move |context: LoadContext<u32, u64>| {
            order.lock().push(*context.key());
            let go = Arc::clone(&go);
            async move {
                go.acquire().await.map_err(|error| error.to_string())?.forget();
                Ok::<u64, String>(7)
            }
        }
    };
    let read = |key: u32| {
        let (cache, loader) = (cache.clone(), loader());
        tokio::spawn(async move { cache.at(Strong).get(&key, loader).await })
    };
    cache.get(&1, loader()).await.unwrap();
    clock.advance(Duration::from_millis(10_100));
    let mut reads = vec![read(9)];
    settle().await;
    assert_eq!(cache.at(Any).get(&1, loader()).await.unwrap(), Some(7), "served, and its refresh is queued");
    settle().await;
    for key in [2, 1, 3] {
        reads.push(read(key));
        settle().await;
    }
    assert_eq!((cache.load(), &order.lock()[..]), ((1, 3), &[1, 9][..]));
    go.add_permits(4);
    for read in reads {
        assert_eq!(read.await.unwrap().unwrap(), Some(7));
    }
    assert_eq!(*order.lock(), [1, 9, 1, 2, 3], "the refresh came before all who wait");
}

/// A log whose fences answer only when told to.
struct HeldFences {
    inner: Arc<dyn candor::core::port::Log>,
    go: Semaphore,
    asked: AtomicUsize,
}

impl candor::core::port::Log for HeldFences {
    fn fence(
        &self,
    ) -> candor::core::port::BoxFuture<'_, Result<candor::core::port::Fence, candor::core::port::SourceError>>
    {
        Box::pin(async move {
            let fence = self.inner.fence().await;
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Ok(permit) = self.go.acquire().await {
                permit.forget();
            }
            fence
        })
    }

    fn follow(
        &self,
    ) -> candor::core::port::BoxFuture<
        '_,
        Result<Box<dyn candor::core::port::Feed>, candor::core::port::SourceError>,
    > {
        self.inner.follow()
    }
}

/// The answer of a fence that was asked before a read began says nothing about what happened in between.
#[tokio::test]
async fn a_strong_read_does_not_join_a_fence_that_was_asked_before_it() {
    let source = candor::testing::MemorySource::<u32, u64>::new();
    let log = Arc::new(HeldFences { inner: source.log(), go: Semaphore::new(0), asked: AtomicUsize::new(0) });
    let (world, _clock) = candor::testing::manual_world(4);
    let cache = Cache::<u32, u64>::builder().world(world).log(log.clone()).build();
    source.commit([(1, Some(10))]);
    // The one that every new log is asked.
    log.go.add_permits(1);
    settle().await;
    cache.get(&1, source.reader()).await.unwrap();
    let read = || {
        let (cache, loader) = (cache.clone(), source.reader());
        tokio::spawn(async move { cache.at(Strong).read(&1, loader).await })
    };
    let early = read();
    settle().await;
    assert_eq!(log.asked.load(Ordering::SeqCst), 2);
    // The log stands still, so that only the fence can tell of this commit.
    source.freeze_log(true);
    source.commit([(1, Some(11))]);
    let late = read();
    settle().await;
    log.go.add_permits(1);
    assert_eq!(early.await.unwrap().unwrap().value(), Some(&10), "it began before the commit");
    settle().await;
    assert!(!late.is_finished(), "the first fence is none of its business");
    source.freeze_log(false);
    log.go.add_permits(1);
    assert_eq!(late.await.unwrap().unwrap().value(), Some(&11));
}

#[tokio::test]
async fn the_tasks_end_with_the_last_handle() {
    let source = candor::testing::MemorySource::<u32, u64>::new();
    let (world, clock) = candor::testing::manual_world(4);
    let cache = Cache::<u32, u64>::builder().world(world).log(source.log()).build();
    settle().await;
    let clone = cache.clone();
    drop(cache);
    clock.advance(Duration::from_secs(1));
    settle().await;
    let before = source.fences();
    assert!(before > 0);
    drop(clone);
    settle().await;
    clock.advance(Duration::from_secs(1));
    settle().await;
    assert_eq!(source.fences(), before);
}

#[tokio::test]
async fn a_session_does_not_take_a_joined_load_that_may_not_have_seen_its_write() {
    use candor::{Loaded, Session, Stamp, core::Snapshot};
    let bench = Bench::new();
    bench.source.commit([(1, Some(1))]);
    let at = bench.cache.fence().await.unwrap().positions()[0];
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let loads = Arc::new(AtomicUsize::new(0));
    // The snapshot is taken before the session's transaction is visible, the position read after: it lies above what the
    // session wrote, which the load did not see.
    let loader = {
        let (began, go, loads) = (Arc::clone(&began), Arc::clone(&go), Arc::clone(&loads));
        move |_: LoadContext<u32, u64>| {
            let (began, go) = (Arc::clone(&began), Arc::clone(&go));
            let number = loads.fetch_add(1, Ordering::SeqCst);
            async move {
                let certain = if number == 0 {
                    began.notify_one();
                    go.notified().await;
                    0
                } else {
                    at.at
                };
                let snapshot = Snapshot { upper: at, certain, xmin: 1, xmax: 1, in_progress: Box::new([]) };
                let stamp = Stamp::Snapshot(Arc::new(snapshot));
                Ok::<_, String>(Loaded::value(number as u64).stamped(stamp).tagged(candor::Tag(1)))
            }
        }
    };
    let early = {
        let (cache, loader) = (bench.cache.clone(), loader.clone());
        tokio::spawn(async move { cache.at(Any).read(&1, loader).await })
    };
    began.notified().await;
    bench.clock.advance(Duration::from_millis(1));
    let own = {
        let (cache, token) = (bench.cache.clone(), candor::SessionToken::at(at));
        tokio::spawn(async move { cache.at(Session(token)).read(&1, loader).await })
    };
    settle().await;
    go.notify_one();
    assert_eq!(
        early.await.unwrap().unwrap().value(),
        Some(&0),
        "whoever asks for nothing gets what there is"
    );
    assert_eq!(own.await.unwrap().unwrap().value(), Some(&1), "the session's own write is missing");
}
