//! What each level promises, and where its answers come from.

use crate::Bench;
use candor::{
    Any, Bounded, Contract, Event, Level, Origin, ProofKind, ReadError, Session, SessionError, Strong,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_second_read_comes_from_memory_with_a_log_proof() {
    let bench = Bench::new();
    bench.write(1, 10);
    let first = bench.cache.read(&1, bench.source.reader()).await.unwrap();
    assert_eq!((first.value(), first.receipt().origin), (Some(&10), Origin::Source));
    let second = bench.cache.read(&1, bench.source.reader()).await.unwrap();
    assert_eq!((second.value(), second.receipt().origin), (Some(&10), Origin::L1));
    assert_eq!(second.receipt().proof, ProofKind::Log);
    assert!(second.receipt().position.is_some(), "a new log is asked at once up to where it vouches");
    let _ = bench.cache.fence().await.unwrap();
    let third = bench.cache.read(&1, bench.source.reader()).await.unwrap().receipt();
    assert!(third.position.unwrap().reaches(third.upper.unwrap()));
}

#[tokio::test]
async fn strong_sees_every_commit_and_is_served_from_memory_when_nothing_changed() {
    let bench = Bench::new();
    for value in 0..50 {
        bench.write(1, value);
        for expected in [Origin::Source, Origin::L1] {
            let answer = bench.cache.at(Strong).read(&1, bench.source.reader()).await.unwrap();
            assert_eq!(answer.value(), Some(&value));
            assert_eq!(answer.receipt().origin, expected);
            assert!(answer.receipt().bound.unwrap() < Duration::from_millis(1));
        }
    }
    assert_eq!(
        bench.cache.view().figures().events(Event::FenceStrong),
        50 + 49,
        "outdated entries are not fenced twice"
    );
}

#[tokio::test]
async fn a_bound_grows_with_time_and_a_fence_resets_it() {
    let bench = Bench::new();
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.source.freeze_log(true);
    bench.clock.advance(Duration::from_millis(30));
    let answer = bench.cache.at(Bounded(SECOND)).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(answer.receipt().bound.unwrap().as_millis(), 30);
    bench.source.freeze_log(false);
    bench.clock.advance(2 * SECOND);
    let answer = bench.cache.at(Bounded(SECOND)).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(answer.receipt().origin, Origin::L1);
    assert!(answer.receipt().bound.unwrap() <= SECOND);
}

#[tokio::test]
async fn bounded_never_serves_a_change_older_than_its_bound() {
    let bench = Bench::new();
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    // The log stands still, so only the clock can tell that the entry is no longer good enough.
    bench.source.freeze_log(true);
    bench.write(1, 11);
    bench.clock.advance(Duration::from_millis(900));
    let within = bench.cache.at(Bounded(SECOND)).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(within.value(), Some(&10), "allowed: the change is younger than the bound");
    bench.clock.advance(Duration::from_millis(200));
    let read = tokio::spawn({
        let (cache, reader) = (bench.cache.clone(), bench.source.reader());
        async move { cache.at(Bounded(SECOND)).read(&1, reader).await }
    });
    bench.settle().await;
    assert!(!read.is_finished(), "it waits for the log rather than guess");
    bench.clock.advance(2 * SECOND);
    let beyond = read.await.unwrap().unwrap();
    assert_eq!((beyond.value(), beyond.receipt().origin), (Some(&11), Origin::Source));
}

#[tokio::test]
async fn any_serves_what_is_there_and_says_what_it_is_worth() {
    let bench = Bench::new();
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.clock.advance(SECOND);
    bench.settle().await;
    bench.clock.advance(SECOND);
    bench.write(1, 11);
    bench.settle().await;
    let hint = bench.cache.at(Any).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(hint.value(), Some(&10));
    let bound = hint.receipt().bound.unwrap();
    assert!(bound >= SECOND && bound <= 2 * SECOND, "known to be current up to the last fence: {bound:?}");
    bench.settle().await;
    let refreshed = bench.cache.at(Any).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(refreshed.value(), Some(&11), "and is renewed in the background");
}

#[tokio::test]
async fn a_session_reads_its_own_writes_and_never_goes_back() {
    let bench = Bench::new();
    bench.write(1, 10);
    bench.write(2, 20);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.source.freeze_log(true);
    bench.write(1, 11);
    // The fence itself needs the log to arrive; the source's own position is enough for the token.
    bench.source.freeze_log(false);
    let token = bench.cache.fence().await.unwrap();
    let own = bench.cache.at(Session(token.clone())).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(own.value(), Some(&11));
    let next = bench.cache.at(Session(own.session())).read(&2, bench.source.reader()).await.unwrap();
    assert_eq!(next.value(), Some(&20));
    assert_eq!(next.session(), own.session(), "the later of what was given and what was seen");
}

#[tokio::test]
async fn a_session_ahead_of_the_log_waits_for_it_or_asks_the_source() {
    let bench = Bench::new();
    bench.write(1, 10);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.source.freeze_log(true);
    let written = bench.source.commit([(1, Some(11))]);
    let token = candor::SessionToken::at(written);
    let read = tokio::spawn({
        let (cache, reader) = (bench.cache.clone(), bench.source.reader());
        async move { cache.at(Session(token)).read(&1, reader).await }
    });
    bench.settle().await;
    bench.clock.advance(2 * SECOND);
    let answer = read.await.unwrap().unwrap();
    assert_eq!(answer.value(), Some(&11));
}

#[tokio::test]
async fn tokens_of_other_logs_and_of_the_future_are_refused() {
    let bench = Bench::new();
    let other = Bench::new();
    bench.write(1, 10);
    other.write(1, 10);
    let foreign = other.cache.fence().await.unwrap();
    let refused = bench.cache.at(Session(foreign)).read(&1, bench.source.reader()).await;
    assert!(matches!(refused, Err(ReadError::Session(SessionError::UnknownLog))), "{refused:?}");

    let mut future = bench.source.commit([]);
    future.at += 1000;
    let future = candor::SessionToken::at(future);
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    for key in [1, 2] {
        let refused = bench.cache.at(Session(future.clone())).read(&key, bench.source.reader()).await;
        assert!(matches!(refused, Err(ReadError::Session(SessionError::Ahead { .. }))), "{refused:?}");
    }
    let missing =
        bench.cache.read_with(&1, candor::Demanded(Level::Session.into()), || bench.source.loader()).await;
    assert!(matches!(missing, Err(ReadError::Session(SessionError::Missing))));
}

#[tokio::test]
async fn a_restored_source_voids_entries_and_tokens() {
    let bench = Bench::new();
    for value in 0..10 {
        bench.write(1, value);
    }
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    let token = bench.cache.fence().await.unwrap();
    bench.source.restore(5, [(1, 4)]);
    // Without the new epoch the numbers would look as if nothing had happened.
    for _ in 0..5 {
        bench.source.commit([(2, Some(0))]);
    }
    let answer = bench.cache.at(Strong).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!((answer.value(), answer.receipt().origin), (Some(&4), Origin::Source));
    let refused = bench.cache.at(Session(token)).read(&1, bench.source.reader()).await;
    assert!(matches!(refused, Err(ReadError::Session(SessionError::UnknownLog))), "{refused:?}");
}

#[tokio::test]
async fn a_critical_view_is_only_read_at_strong() {
    let bench = Bench::with(Contract { critical: true, level: Level::Strong, ..Contract::default() });
    bench.write(1, 10);
    assert_eq!(bench.cache.get(&1, bench.source.reader()).await.unwrap(), Some(10));
    let refused = bench.cache.at(Any).get(&1, bench.source.reader()).await;
    assert!(matches!(refused, Err(ReadError::Critical { asked: Level::Any, .. })));
}

#[tokio::test]
async fn absent_is_an_answer_and_ends_with_the_insert() {
    let bench = Bench::new();
    let absent = bench.cache.at(Strong).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(absent.value(), None);
    let again = bench.cache.at(Strong).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!((again.value(), again.receipt().origin), (None, Origin::L1));
    bench.write(1, 10);
    let appeared = bench.cache.at(Strong).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!(appeared.value(), Some(&10));
}

#[tokio::test]
async fn a_session_on_a_view_without_log_proof_asks_the_source_each_time() {
    let bench = Bench::new();
    let clock_only = bench.cache.with_contract(Contract { proof: ProofKind::Clock, ..Contract::default() });
    bench.write(1, 10);
    bench.settle().await;
    clock_only.get(&1, bench.source.reader()).await.unwrap();
    bench.write(1, 11);
    let token = bench.cache.fence().await.unwrap();
    bench.settle().await;
    // The watermark is past the token, but no change of the log ever concerns this entry.
    let own = clock_only.at(Session(token)).read(&1, bench.source.reader()).await.unwrap();
    assert_eq!((own.value(), own.receipt().proof), (Some(&11), ProofKind::Clock));
}

#[tokio::test]
async fn an_entry_of_a_former_log_satisfies_no_token_of_the_new_one() {
    let bench = Bench::new();
    for value in 0..10 {
        bench.write(1, value);
    }
    bench.settle().await;
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    bench.source.restore(2, [(1, 1)]);
    let written = bench.source.commit([(1, Some(77))]);
    bench.settle().await;
    let token = candor::SessionToken::at(written);
    let demand = candor::Demand { level: Level::Any, token: Some(token) };
    let answer = bench.cache.read_with(&1, candor::Demanded(demand), || bench.source.loader()).await.unwrap();
    assert_eq!(answer.value(), Some(&77));
}

#[tokio::test]
async fn a_critical_view_gives_no_hints() {
    let bench = Bench::with(Contract { critical: true, level: Level::Strong, ..Contract::default() });
    bench.write(1, 10);
    bench.settle().await;
    bench.cache.get(&1, bench.source.reader()).await.unwrap();
    assert!(bench.cache.peek(&1).is_none());
}

/// The log a token speaks of is lost after the read was let in, at each moment at which it may still have to wait. The
/// new history has reached higher numbers, so only the log's name tells that the token's write is not in it.
#[tokio::test]
async fn a_log_lost_while_a_token_is_honoured_is_an_error_and_never_an_answer() {
    let demand = |level, position| {
        let token = Some(candor::SessionToken::at(position));
        candor::Demanded(candor::Demand { level, token })
    };
    let lose = |source: &crate::MemorySource<u32, u64>| {
        source.restore(1, [(1, 1)]);
        for _ in 0..20 {
            source.commit([(2, Some(0))]);
        }
    };
    for level in [Level::Session, Level::Any, Level::Strong] {
        // In its own load.
        let bench = Bench::new();
        (0..10).for_each(|value| bench.write(1, value));
        let token = bench.source.commit([(1, Some(77))]);
        bench.settle().await;
        let source = bench.source.clone();
        let losing = move |context: candor::LoadContext<u32, u64>| {
            lose(&source);
            let loaded = source.read(context.key()).map(|(value, stamp)| {
                let tag = crate::MemorySource::<u32, u64>::tag(context.key());
                candor::Loaded::maybe(value).stamped(stamp).tagged(tag)
            });
            std::future::ready(loaded)
        };
        let answer = bench.cache.read_with(&1, demand(level, token), || std::sync::Arc::new(losing)).await;
        assert!(matches!(answer, Err(ReadError::Session(_))), "{level}, in its load: {answer:?}");

        // While it waits for the log to tell what the fence already knows.
        let bench = Bench::new();
        (0..10).for_each(|value| bench.write(1, value));
        bench.cache.get(&1, bench.source.reader()).await.unwrap();
        bench.settle().await;
        bench.source.freeze_log(true);
        let token = bench.source.commit([(1, Some(77))]);
        let read = tokio::spawn({
            let (cache, source, demand) = (bench.cache.clone(), bench.source.clone(), demand(level, token));
            async move { cache.read_with(&1, demand, || source.loader()).await }
        });
        bench.settle().await;
        assert!(!read.is_finished(), "{level} waits for the log");
        lose(&bench.source);
        bench.source.freeze_log(false);
        for _ in 0..100 {
            bench.settle().await;
            bench.clock.advance(Duration::from_millis(10));
        }
        assert!(read.is_finished(), "{level} ends within its time");
        let answer = read.await.unwrap();
        assert!(matches!(answer, Err(ReadError::Session(_))), "{level}, at its fence: {answer:?}");
    }
}
