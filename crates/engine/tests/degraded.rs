//! What contracts say when the source or the log is down, and that nothing else is answered.

use crate::Bench;
use candor::core::port::{BoxFuture, Feed, Fence, Log, SourceError};
use candor::{
    Any, Bounded, Contract, Degraded, Level, OnFeedDown, OnSourceDown, Origin, ReadError, Session, Strong,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A cache whose entry for key 1 is outdated beyond the default bound, while the source is down.
async fn source_down(on_source_down: OnSourceDown) -> Bench {
    let bench = Bench::with(Contract { on_source_down, ..Contract::default() });
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.settle().await;
    bench.clock.advance(5 * SECOND);
    bench.write(1, 11);
    bench.settle().await;
    bench.source.set_down(true);
    bench.clock.advance(5 * SECOND);
    bench.settle().await;
    bench
}

#[tokio::test]
async fn without_a_source_the_default_is_an_error_that_says_so() {
    let bench = source_down(OnSourceDown::Error).await;
    let error = bench.cache.get(&1, bench.source.reader()).await.unwrap_err();
    assert!(matches!(error, ReadError::Load(_)) && error.to_string().contains("down"), "{error}");
}

#[tokio::test]
async fn a_contract_may_allow_a_stale_answer_with_an_honest_bound() {
    let bench = source_down(OnSourceDown::Stale(60 * SECOND)).await;
    let answer = bench.cache.read(&1, bench.source.reader()).await.unwrap();
    assert_eq!((answer.value(), answer.receipt().degraded), (Some(&10), Some(Degraded::SourceDown)));
    assert!(answer.receipt().bound.unwrap() >= 5 * SECOND, "{:?}", answer.receipt());
    bench.clock.advance(60 * SECOND);
    assert!(bench.cache.read(&1, bench.source.reader()).await.is_err(), "beyond its limit");
}

#[tokio::test]
async fn strong_and_session_never_degrade() {
    let bench = source_down(OnSourceDown::Stale(60 * SECOND)).await;
    assert!(bench.cache.at(Strong).get(&1, bench.source.reader()).await.is_err());
    let seen = bench.cache.at(Any).read(&1, bench.source.reader()).await.unwrap();
    let mut token = seen.session();
    token.observe(bench.source.commit([]));
    assert!(bench.cache.at(Session(token)).get(&1, bench.source.reader()).await.is_err());
}

async fn log_frozen(on_feed_down: OnFeedDown) -> Bench {
    let bench = Bench::with(Contract { on_feed_down, ..Contract::default() });
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.settle().await;
    bench.source.freeze_log(true);
    bench.write(1, 11);
    bench.clock.advance(5 * SECOND);
    bench
}

/// Reads while the log stands still: the clock moves on until the read gives up waiting for it.
async fn read(bench: &Bench, level: Level) -> Result<candor::Answer<u64, candor::Demanded>, ReadError> {
    let read = tokio::spawn({
        let (cache, loader) = (bench.cache.clone(), bench.source.loader());
        async move { cache.read_with(&1, candor::Demanded(level.into()), || loader).await }
    });
    bench.settle().await;
    bench.clock.advance(SECOND);
    read.await.unwrap()
}

#[tokio::test]
async fn without_a_log_the_source_answers() {
    let bench = log_frozen(OnFeedDown::Source).await;
    for level in [Level::Strong, Level::Bounded(SECOND)] {
        let answer = read(&bench, level).await.unwrap();
        assert_eq!((answer.value(), answer.receipt().origin), (Some(&11), Origin::Source));
        assert_eq!(answer.receipt().degraded, None, "the level was met");
        bench.clock.advance(5 * SECOND);
    }
}

#[tokio::test]
async fn without_a_log_a_contract_may_allow_stale_answers_or_none() {
    let bench = log_frozen(OnFeedDown::Stale(60 * SECOND)).await;
    let answer = read(&bench, Level::Bounded(SECOND)).await.unwrap();
    assert_eq!((answer.value(), answer.receipt().degraded), (Some(&10), Some(Degraded::FeedDown)));
    assert!(answer.receipt().bound.unwrap() >= 5 * SECOND);
    let strong = read(&bench, Level::Strong).await.unwrap();
    assert_eq!(
        (strong.value(), strong.receipt().origin),
        (Some(&11), Origin::Source),
        "strong never degrades"
    );

    let bench = log_frozen(OnFeedDown::Error).await;
    let error = read(&bench, Level::Bounded(SECOND)).await.unwrap_err();
    assert!(matches!(error, ReadError::LevelUnmet { .. }), "{error}");
}

#[tokio::test]
async fn a_log_that_comes_back_is_followed_again() {
    let bench = log_frozen(OnFeedDown::Source).await;
    bench.source.freeze_log(false);
    bench.settle().await;
    let first = bench.cache.at(Bounded(SECOND)).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(first.value(), Some(&11));
    let second = bench.cache.at(Strong).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(second.receipt().origin, Origin::L1);
}

#[tokio::test]
async fn a_silent_log_leaves_time_to_ask_the_source() {
    let contract = Contract { timeout: Duration::from_millis(800), ..Contract::default() };
    let bench = Bench::with(contract);
    bench.write(1, 10);
    bench.settle().await;
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.source.freeze_log(true);
    bench.write(1, 11);
    let read = tokio::spawn({
        let (cache, reader) = (bench.cache.clone(), bench.source.reader());
        async move { cache.at(Strong).read(&1, reader).await }
    });
    bench.settle().await;
    bench.clock.advance(Duration::from_millis(401));
    let answer = read.await.unwrap().unwrap();
    assert_eq!(answer.value(), Some(&11), "the timeout of the contract is shorter than that of a fence");
}

/// A log that panics when it is asked where it stands.
struct Brittle {
    log: Arc<dyn Log>,
    breaks: Arc<AtomicBool>,
}

impl Log for Brittle {
    fn fence(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        assert!(!self.breaks.load(Ordering::Relaxed), "as this test wants it");
        self.log.fence()
    }

    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn Feed>, SourceError>> {
        self.log.follow()
    }
}

#[tokio::test]
async fn nobody_waits_for_a_fence_that_nobody_asks_for_any_more() {
    let breaks = Arc::new(AtomicBool::new(false));
    let source = candor::testing::MemorySource::<u32, u64>::new();
    let (world, _clock) = candor::testing::manual_world(1);
    let log = Brittle { log: source.log(), breaks: Arc::clone(&breaks) };
    let cache = candor::Cache::builder().world(world).log(Arc::new(log) as Arc<dyn Log>).build();
    source.commit([(1, Some(10))]);
    cache.at(Strong).get(&1, source.reader()).await.unwrap();
    breaks.store(true, Ordering::Relaxed);
    // The first waits while the asking task panics; the second comes when it is gone. The clock stands still.
    for _ in 0..2 {
        let read = async { cache.at(Strong).read(&1, source.reader()).await };
        let answer =
            tokio::time::timeout(Duration::from_secs(20), read).await.expect("nobody waits").unwrap();
        assert_eq!((answer.value(), answer.receipt().origin), (Some(&10), Origin::Source));
    }
}
