//! What a log vouches for, and since when: a log that goes on and leaves something out.

use candor::core::port::{BoxFuture, Feed, Fence, Log, SourceError};
use candor::core::{Epoch, LedgerSize, LogId, Position, Record};
use candor::testing::{ManualClock, MemorySource, manual_world};
use candor::{
    Any, Cache, FollowOptions, KnownLogs, ProofKind, ReadError, Session, SessionError, SessionToken, Strong,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// A log that tells what the test has it tell, of a source that goes on by itself.
struct Scripted {
    fence: Mutex<Fence>,
    feed: Mutex<Option<mpsc::Receiver<Record>>>,
}

struct ScriptedFeed(mpsc::Receiver<Record>);

impl Log for Scripted {
    fn fence(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        let fence = *self.fence.lock().unwrap();
        Box::pin(async move { Ok(fence) })
    }

    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn Feed>, SourceError>> {
        let records = self.feed.lock().unwrap().take().expect("it is followed once");
        Box::pin(async move { Ok(Box::new(ScriptedFeed(records)) as Box<dyn Feed>) })
    }
}

impl Feed for ScriptedFeed {
    fn next(&mut self) -> BoxFuture<'_, Result<Record, SourceError>> {
        Box::pin(async move { self.0.recv().await.ok_or_else(|| SourceError::down("the test is over")) })
    }
}

struct Bench {
    source: MemorySource<u32, u64>,
    log: Arc<Scripted>,
    feed: mpsc::Sender<Record>,
    cache: Cache<u32, u64>,
    clock: ManualClock,
    /// Where the log begins; row 1 is 10 there.
    first: Position,
}

impl Bench {
    async fn new() -> Self {
        let source = MemorySource::new();
        let first = source.commit([(1, Some(10)), (2, Some(20))]);
        let (feed, records) = mpsc::channel(16);
        let log = Arc::new(Scripted {
            fence: Mutex::new(Fence { vouched: first.at, ..Fence::whole(first) }),
            feed: Mutex::new(Some(records)),
        });
        let (world, clock) = manual_world(1);
        let cache = Cache::builder().world(world).log(log.clone()).build();
        let bench = Self { source, log, feed, cache, clock, first };
        bench.tell(Record::opening(first.epoch, first.at)).await;
        bench.ask().await;
        bench
    }

    async fn tell(&self, record: Record) {
        self.feed.send(record).await.unwrap();
        self.settle().await;
    }

    /// The record that reaches `at`, and tells of a change of row 1 or of none.
    async fn tell_up_to(&self, at: u64, is_told: bool) {
        let tags = [MemorySource::<u32, u64>::tag(&1)];
        let change =
            candor::core::Change { at, xid: candor::core::Xid(at), tags: tags.into(), note: "".into() };
        let changes = if is_told { vec![change] } else { Vec::new() };
        self.tell(Record { epoch: self.first.epoch, previous: at - 1, at, changes }).await;
    }

    /// The next pulse asks for the position.
    async fn ask(&self) {
        self.clock.advance(Duration::from_millis(60));
        self.settle().await;
    }

    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

/// Its pieces are current together at a position that lies below what was proven since.
#[tokio::test]
async fn a_snapshot_below_the_watermark_reflects_no_moment_at_which_it_was_outdated() {
    let bench = Bench::new().await;
    let snapshot = || bench.cache.snapshot(&[1, 2], Any, bench.source.many_loader());
    snapshot().await.unwrap();
    let written = bench.source.commit([(1, Some(11))]);
    bench.tell_up_to(written.at, true).await;
    // The log has told of it, and everything visible is proven; but nobody has looked any further whether all is told.
    *bench.log.fence.lock().unwrap() = Fence { vouched: bench.first.at, ..Fence::whole(written) };
    bench.ask().await;
    bench.clock.advance(Duration::from_millis(1));
    let since = Duration::from_millis(61);
    for answer in snapshot().await.unwrap() {
        let is_latest = answer.value() != Some(&10);
        let bound = answer.receipt().bound.unwrap();
        assert!(is_latest || bound >= since, "{:?} for {bound:?}, outdated for {since:?}", answer.value());
    }
}

/// The log fell silent about a row and was then begun anew, with a gap. Who has not heard of the gap does not know what is
/// missing, though it has come as far as the positions that were asked for.
#[tokio::test]
async fn a_fence_of_a_stream_that_was_begun_anew_proves_nothing_before_the_gap_is_heard_of() {
    let bench = Bench::new().await;
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    let written = bench.source.commit([(1, Some(11))]);
    bench.tell_up_to(written.at, false).await;
    let gap = written.at + 1;
    *bench.log.fence.lock().unwrap() = Fence { since: gap, ..Fence::whole(written) };
    bench.ask().await;
    let peeked = bench.cache.peek(&1).unwrap().receipt();
    assert_eq!(peeked.position, Some(bench.first), "it does not reflect what was never told");
    assert!(peeked.bound.unwrap() >= Duration::from_millis(60), "{peeked:?}");
    let (in_session, strong) = (bench.cache.at(Session(SessionToken::at(written))), bench.cache.at(Strong));
    let (session, strong, ()) = tokio::join!(
        in_session.read(&1, bench.source.reader()),
        strong.read(&1, bench.source.reader()),
        bench.tell(Record::opening(bench.first.epoch, gap)),
    );
    assert_eq!(session.unwrap().value(), Some(&11));
    assert_eq!(strong.unwrap().value(), Some(&11));
}

/// Two sources may name one database. When its log is lost, the one that follows slower knows the lost log still.
#[tokio::test]
async fn a_token_of_a_log_that_this_source_has_lost_is_refused_though_another_source_knows_it() {
    let known = KnownLogs::default();
    let lost = Position { epoch: Epoch { log: LogId(1), era: 0 }, at: 100 };
    let next = Position { epoch: Epoch { log: LogId(2), era: 0 }, at: 90 };
    let source = MemorySource::<u32, u64>::new();
    let follow = || {
        let (feed, records) = mpsc::channel(16);
        let (fence, feed_of) = (Mutex::new(Fence::whole(lost)), Mutex::new(Some(records)));
        let log = Arc::new(Scripted { fence, feed: feed_of });
        let (world, _clock) = manual_world(1);
        let cache: Cache<u32, u64> = Cache::builder().world(world).log(log).known_logs(known.clone()).build();
        (cache, feed)
    };
    let ((faster, first), (_slower, second)) = (follow(), follow());
    for feed in [&first, &second] {
        feed.send(Record::opening(lost.epoch, lost.at)).await.unwrap();
    }
    first.send(Record::opening(next.epoch, next.at)).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let in_session = faster.at(Session(SessionToken::at(lost)));
    let refused = in_session.read(&1, source.reader()).await;
    assert!(matches!(refused, Err(ReadError::Session(SessionError::UnknownLog))), "{refused:?}");
}

/// What the ledger no longer knows it can say nothing about; but the answer shows what it shows.
#[tokio::test]
async fn a_hint_that_the_ledger_has_forgotten_still_gives_a_token_for_what_it_shows() {
    let (world, _clock) = manual_world(1);
    let source = MemorySource::<u32, u64>::new();
    let follow = FollowOptions { ledger: LedgerSize { stripes: 1, changes: 1 }, ..FollowOptions::default() };
    let cache = Cache::builder().world(world).log(source.log()).follow(follow).build();
    let written = source.commit([(1, Some(10))]);
    cache.fence().await.unwrap();
    cache.get(&1, source.reader()).await.unwrap();
    for key in 100..2000 {
        source.commit([(key, Some(0))]);
    }
    cache.fence().await.unwrap();
    let hint = cache.at(Any).read(&1, source.reader()).await.unwrap();
    assert_eq!((hint.receipt().proof, hint.receipt().position), (ProofKind::Clock, None), "it was forgotten");
    assert!(hint.session().positions().iter().any(|seen| seen.reaches(written)), "{:?}", hint.receipt());
}
