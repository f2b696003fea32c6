//! Fences and what rests on them: nobody joins a question that was asked before it came, and a strong read sees
//! everything that was visible when it began.

use super::*;
use crate::{Cache, FollowOptions, Follower, KnownLogs, LoadContext, Loaded, Session, Strong};
use candor_core::Moment;

const KEY: u64 = 1;

fn commit(source: &MemorySource<u64, u64>) -> u64 {
    let value = source.read(&KEY).map_or(0, |(value, _)| value.unwrap_or(0)) + 1;
    source.commit([(KEY, Some(value))]).at
}

/// What the source would say now.
fn now(source: &MemorySource<u64, u64>) -> u64 {
    source.read(&KEY).map_or(0, |(value, _)| value.unwrap_or(0))
}

fn writer(source: &MemorySource<u64, u64>, times: usize) -> BoxFuture<'static, ()> {
    let source = source.clone();
    Box::pin(async move {
        for _ in 0..times {
            commit(&source);
            meanwhile().await;
        }
    })
}

/// A proof that was asked for covers what was there when it was asked for, and no moment is proven too late.
fn proofs_cover_their_askers() {
    let source = MemorySource::<u64, u64>::new();
    let (world, clock, tasks) = world();
    // Moments at which a position was visible already.
    let visible_at = Arc::new(Mutex::new(Vec::new()));
    let writer: BoxFuture<'static, ()> = {
        let (source, world, visible_at) = (source.clone(), world.clone(), Arc::clone(&visible_at));
        Box::pin(async move {
            for _ in 0..3 {
                let at = commit(&source);
                visible_at.lock().unwrap().push((world.now(), at));
                meanwhile().await;
            }
        })
    };
    let follower =
        Follower::follow(world.clone(), SlowLog::of(&source), FollowOptions::default(), KnownLogs::default());
    let asker = || -> BoxFuture<'static, ()> {
        let (source, follower, world, _clock, visible_at) =
            (source.clone(), follower.clone(), world.clone(), clock.clone(), Arc::clone(&visible_at));
        Box::pin(async move {
            for logged in [false, true] {
                meanwhile().await;
                let (visible, asked) = (now(&source), world.now());
                let deadline = Moment::from_nanos(u64::MAX / 2);
                let proven = if logged {
                    follower.prove_logged(deadline).await
                } else {
                    follower.prove(deadline).await
                };
                let position = proven.unwrap_or_else(|why| panic!("nothing fails here: {why}"));
                assert!(position.at >= visible, "a fence at {position}, and {visible} was visible before");
                // One commit is one position here.
                let sight = follower.ledger().sight().unwrap_or_else(|| panic!("proven by an empty ledger"));
                assert!(sight.watermark >= visible, "{visible} was visible before: {sight:?}");
                assert!(sight.proven_until >= Some(asked), "asked at {asked:?}: {sight:?}");
                for (moment, at) in visible_at.lock().unwrap().iter() {
                    let claimed = sight.proven_until >= Some(*moment);
                    assert!(!claimed || sight.watermark >= *at, "{at} was visible at {moment:?}: {sight:?}");
                }
            }
        })
    };
    at_once(vec![writer, asker(), asker()]);
    follower.close();
    tasks.end();
}

#[test]
fn a_proof_covers_what_was_visible_when_it_was_asked_for() {
    check(proofs_cover_their_askers);
}

/// Reads from the source, and takes its time before and after.
async fn load(
    source: MemorySource<u64, u64>,
    context: LoadContext<u64, u64>,
) -> Result<Loaded<u64>, SourceError> {
    meanwhile().await;
    let (value, stamp) = source.read(context.key())?;
    meanwhile().await;
    Ok(Loaded::maybe(value).stamped(stamp).tagged(MemorySource::<u64, u64>::tag(context.key())))
}

fn strong_reads() {
    let source = MemorySource::<u64, u64>::new();
    commit(&source);
    let (world, _clock, tasks) = world();
    let cache = Cache::<u64, u64>::builder().world(world).log(SlowLog::of(&source)).build();
    let reader = || -> BoxFuture<'static, ()> {
        let (source, cache) = (source.clone(), cache.clone());
        Box::pin(async move {
            let loader = {
                let source = source.clone();
                move |context| load(source.clone(), context)
            };
            // Before, a token of this log is one of a log that is not followed here.
            cache.shared.follower.following().await;
            for _ in 0..2 {
                let visible = now(&source);
                let strong = cache.at(Strong).read(&KEY, loader.clone()).await;
                let strong = strong.unwrap_or_else(|error| panic!("nothing fails here: {error}"));
                let value = strong.value().copied().unwrap_or(0);
                assert!(value >= visible, "{visible} was visible, {value} is the answer");
                let next = cache.at(Session(strong.session())).read(&KEY, loader.clone()).await;
                let next = next.unwrap_or_else(|error| panic!("nothing fails here: {error}"));
                assert!(next.value().copied().unwrap_or(0) >= value, "a session went back from {value}");
            }
        })
    };
    at_once(vec![writer(&source, 2), reader(), reader()]);
    drop(cache);
    tasks.end();
}

#[test]
fn a_strong_read_sees_what_was_visible_when_it_began_and_a_session_never_goes_back() {
    check(strong_reads);
}
