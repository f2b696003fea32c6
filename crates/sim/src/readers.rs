//! Tasks that read the same few keys at every level while a writer changes them.

use crate::auditor::{Audit, Observation};
use crate::source::Source;
use candor::{
    Answer, Cache, Contract, Demand, Demanded, FeedStatus, Level, Limits, Moment, ReadError, Refresh,
    SessionToken, World,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How much is read and written.
#[derive(Copy, Clone, Debug)]
pub struct Size {
    /// Tasks that read.
    pub tasks: u64,
    /// Reads of all tasks together.
    pub reads: u64,
    /// Keys; few, so that everything races.
    pub keys: u32,
    /// Pause between commits.
    pub pause: Duration,
}

/// Reads until `size.reads` are done, against a writer, and checks every answer.
pub async fn run(source: Arc<dyn Source>, size: Size, seed: u64) -> Audit {
    let world = World::new(
        candor::seams::SystemClock::default(),
        candor::seams::SplitMix::seeded(seed),
        candor::seams::TokioSpawn,
    );
    let contract = Contract {
        ttl: Duration::from_millis(300),
        absent_ttl: Duration::from_millis(100),
        refresh: Refresh::WhileRevalidate(Duration::from_millis(5)),
        timeout: Duration::from_secs(30),
        ..Contract::default()
    };
    let limits = Limits { in_flight: 16, queue: 10_000, queue_timeout: Duration::from_secs(30) };
    let cache = Cache::<u32, u64>::builder()
        .world(world.clone())
        .contract(contract)
        .limits(limits)
        .log(source.log())
        .build();
    cache.follower().following().await;
    let writing = Arc::new(AtomicBool::new(true));
    let writer = std::thread::spawn({
        let (source, world, writing) = (Arc::clone(&source), world.clone(), Arc::clone(&writing));
        move || write(&*source, &world, size, &writing)
    });
    let snapshots = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..size.tasks)
        .map(|_| {
            let reader = Reader {
                cache: cache.clone(),
                source: Arc::clone(&source),
                world: world.clone(),
                snapshots: Arc::clone(&snapshots),
                token: SessionToken::default(),
                seen: Vec::new(),
            };
            let reads = size.reads / size.tasks;
            #[expect(clippy::disallowed_methods, reason = "the readers are the outside world")]
            tokio::spawn(reader.read(reads, size.keys))
        })
        .collect();
    let mut observations = Vec::new();
    for reader in readers {
        observations.extend(reader.await.expect("a reader does not panic"));
    }
    writing.store(false, Ordering::Release);
    writer.join().expect("the writer does not panic");
    assert_eq!(cache.follower().status(), FeedStatus::Following);
    cache.close(Duration::from_secs(5)).await;
    Audit::of(source.history(), &observations)
}

/// Pairs of keys change together; now and then a key is removed.
fn write(source: &dyn Source, world: &World, size: Size, writing: &AtomicBool) {
    let mut value = 0;
    while writing.load(Ordering::Acquire) {
        value += 1;
        let key = (world.draw() % u64::from(size.keys)) as u32;
        let partner = key ^ 1;
        let given = |value| (!world.draw().is_multiple_of(10)).then_some(value);
        // Values are unique: each commit gives each key its own.
        source.commit(&[(key, given(2 * value)), (partner, given(2 * value + 1))], world);
        if !size.pause.is_zero() {
            std::thread::sleep(size.pause);
        }
    }
}

struct Reader {
    cache: Cache<u32, u64>,
    source: Arc<dyn Source>,
    world: World,
    snapshots: Arc<AtomicU64>,
    token: SessionToken,
    seen: Vec<Observation>,
}

impl Reader {
    async fn read(mut self, reads: u64, keys: u32) -> Vec<Observation> {
        let loader = self.source.loader(&self.world);
        while (self.seen.len() as u64) < reads {
            // The square makes low keys hotter.
            let draw = self.world.draw_unit();
            let key = (draw * draw * f64::from(keys)) as u32;
            let level = match self.world.draw() % 100 {
                0..=29 => Level::Any,
                30..=54 => Level::Bounded(Duration::from_millis(3)),
                55..=69 => Level::Bounded(Duration::from_millis(50)),
                70..=84 => Level::Strong,
                85..=96 => Level::Session,
                _ => {
                    self.read_snapshot(key).await;
                    continue;
                }
            };
            // A session goes on for a while, then the reader forgets it; sometimes it has just written elsewhere.
            match self.world.draw() % 200 {
                0 => self.token = SessionToken::default(),
                1..=5 => {
                    self.token = self.cache.fence().await.unwrap_or_else(|e| panic!("a fence failed: {e}"))
                }
                _ => {}
            }
            let token = (level == Level::Session).then(|| self.token.clone());
            let mut refusals = 0;
            let (begun, answer) = loop {
                let begun = self.world.now();
                let demand = Demand { level, token: token.clone() };
                match self.cache.read_with(&key, Demanded(demand), || Arc::clone(&loader)).await {
                    Ok(answer) => break (begun, answer),
                    // On a machine busy with other things a bound of milliseconds is refused now and then, as it should be.
                    Err(ReadError::LevelUnmet { level: Level::Bounded(_), .. }) if refusals < 1000 => {
                        refusals += 1;
                    }
                    Err(error) => panic!("a read at {level} failed: {error}"),
                }
            };
            if level == Level::Session {
                self.token = answer.session();
            }
            let number = token.and_then(|token| token.positions().first().map(|position| position.at));
            self.observe(key, level, begun, number, None, &answer);
        }
        self.seen
    }

    async fn read_snapshot(&mut self, key: u32) {
        let begun = self.world.now();
        let pair = [key, key ^ 1];
        let level = Level::Any;
        let answers = self.cache.snapshot(&pair, Demanded(level.into()), self.source.many_loader()).await;
        let answers = answers.unwrap_or_else(|error| panic!("a snapshot failed: {error}"));
        let snapshot = self.snapshots.fetch_add(1, Ordering::Relaxed);
        for (key, answer) in pair.into_iter().zip(&answers) {
            self.observe(key, level, begun, None, Some(snapshot), answer);
        }
    }

    fn observe(
        &mut self,
        key: u32,
        level: Level,
        begun: Moment,
        token: Option<u64>,
        snapshot: Option<u64>,
        answer: &Answer<u64, Demanded>,
    ) {
        let receipt = answer.receipt();
        self.seen.push(Observation {
            key,
            value: answer.value().copied(),
            level,
            begun,
            token,
            bound: receipt.bound,
            position: receipt.position.map(|position| position.at),
            proof: receipt.proof,
            snapshot,
        });
    }
}
