//! One history, from its plan to its end: the world is built, runs, and is judged.

use super::audit::Allowed;
use super::chance::{Chance, SeededEntropy, mix};
use super::client::{Reader, Stage, Violation, subject_of};
use super::executor::{Executor, GroupSpawn, Handle, VirtualClock};
use super::faults::{Part, wreak};
use super::figures::Figures;
use super::link::{Link, public_key};
use super::plan::Plan;
use super::server::Server;
use super::task::ModelLog;
use super::writer::{GROUP, Standby, Writer, flush_now_and_then};
use candor::core::LedgerSize;
use candor::{
    Cache, Contract, FollowOptions, Level, Limits, Memory, OnFeedDown, OnSourceDown, Refresh, TokenSecret,
    World,
};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What became of a history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was counted.
    pub figures: Figures,
    /// The first broken promise, if any.
    pub violation: Option<Violation>,
    /// Digest of every step and every answer: the same for the same plan, on every machine.
    pub trace: u64,
    /// Steps of the scheduler.
    pub steps: u64,
    /// What happened to the failing row, for people; empty where nothing failed.
    pub story: String,
}

/// One engine and its way to the source.
struct Instance {
    cache: Cache<u64, u32>,
    link: Arc<Link>,
    memory: Arc<Memory<u64, u32>>,
    allowed: Allowed,
}

/// Runs the history.
pub fn run(plan: &Plan) -> Outcome {
    let mut scheduling = Chance::of_part(plan.seed, "scheduler", 0);
    let tick = scheduling.pick(&[0, 200, 2_000, 20_000]);
    let mut executor = Executor::new(scheduling, plan.instances, tick);
    let handle = executor.handle();
    let server = Server::new(plan);
    let instances: Vec<Instance> =
        (0..plan.instances).map(|number| instance(plan, &handle, &server, number)).collect();
    let stage = Arc::new(Stage {
        handle: handle.clone(),
        server: Arc::clone(&server),
        figures: Default::default(),
        violation: Default::default(),
        sessions: Default::default(),
        fail_after_write: AtomicBool::new(false),
        standby: Standby::of_seed(plan.seed),
        plan: plan.clone(),
        secret: secret(),
    });
    populate(plan, &handle, &stage, &instances);
    let parts: Vec<Arc<dyn Part>> = instances
        .iter()
        .flat_map(|instance| {
            let memory = super::faults::Evicting::new(&instance.memory, instance.link.number, plan);
            [Arc::clone(&instance.link) as Arc<dyn Part>, Arc::new(memory) as Arc<dyn Part>]
        })
        .chain([Arc::clone(&stage) as Arc<dyn Part>])
        .collect();
    handle.spawn(GROUP, wreak(handle.clone(), plan.faults.clone(), parts));
    let until = handle.now() + plan.millis * 1_000_000;
    executor.run(until);
    let violation = stage.violation.lock().clone();
    let story =
        violation.as_ref().map(|violation| story(plan, violation, &server, &instances)).unwrap_or_default();
    let mut figures = stage.figures.lock().clone();
    figures.end(plan.faults.is_empty());
    let trace = mix(executor.trace() ^ figures.digest);
    Outcome { figures, violation, trace, steps: executor.steps(), story }
}

fn populate(plan: &Plan, handle: &Handle, stage: &Arc<Stage>, instances: &[Instance]) {
    for instance in instances {
        let number = instance.link.number;
        for reader in 0..plan.readers {
            let reader = Reader {
                stage: Arc::clone(stage),
                cache: instance.cache.clone(),
                link: Arc::clone(&instance.link),
                chance: Chance::of_part(plan.seed, "reader", (number * 64 + reader) as u64),
                allowed: instance.allowed,
                subject: subject_of(reader + number),
            };
            handle.spawn(number + 1, reader.run());
        }
    }
    for writer in 0..plan.writers {
        let writer = Writer {
            stage: Arc::clone(stage),
            caches: instances.iter().map(|instance| instance.cache.clone()).collect(),
            chance: Chance::of_part(plan.seed, "writer", writer as u64),
        };
        handle.spawn(GROUP, writer.run());
    }
    handle.spawn(GROUP, flush_now_and_then(Arc::clone(stage), Chance::of_part(plan.seed, "flush", 0)));
}

fn instance(plan: &Plan, handle: &Handle, server: &Arc<Server>, number: usize) -> Instance {
    let mut chance = Chance::of_part(plan.seed, "instance", number as u64);
    let millis = Duration::from_millis;
    let clock = VirtualClock { handle: handle.clone(), offset: chance.below(1 << 40) };
    let spawn = GroupSpawn { handle: handle.clone(), group: number + 1 };
    let entropy = SeededEntropy::new(Chance::of_part(plan.seed, "entropy", number as u64));
    let refresh = chance.pick(&[Refresh::Early, Refresh::WhileRevalidate(millis(5)), Refresh::None]);
    let stale = chance.pick(&[None, Some(millis(40))]);
    let contract = Contract {
        ttl: chance.pick(&[millis(15), millis(100), Duration::from_secs(10)]),
        absent_ttl: chance.pick(&[millis(15), Duration::from_secs(10)]),
        level: Level::Bounded(millis(60)),
        refresh,
        on_source_down: stale.map_or(OnSourceDown::Error, OnSourceDown::Stale),
        on_feed_down: match stale {
            Some(limit) => OnFeedDown::Stale(limit),
            None => chance.pick(&[OnFeedDown::Source, OnFeedDown::Error]),
        },
        timeout: chance.pick(&[millis(50), millis(500), millis(5000)]),
        ..Contract::default()
    };
    let grace = if let Refresh::WhileRevalidate(grace) = refresh { grace } else { Duration::ZERO };
    let allowed = Allowed { stale, age: contract.ttl.max(contract.absent_ttl) + grace };
    let link = Link::new(plan, handle.clone(), Arc::clone(server), number);
    let memory = Arc::new(Memory::new(1 << 20, |_, _| 0));
    let ledger = if plan.forgetful {
        LedgerSize { stripes: 64, changes: 64 }
    } else {
        LedgerSize { stripes: 1024, changes: 1 << 14 }
    };
    let follow = FollowOptions {
        pulse: chance.pick(&[millis(2), millis(20), millis(50)]),
        fence_timeout: chance.pick(&[millis(20), millis(1000)]),
        ledger,
    };
    let limits = Limits { in_flight: chance.within(1, 8) as usize, queue: 64, queue_timeout: millis(100) };
    let cache = Cache::builder()
        .world(World::new(clock, entropy, spawn))
        .contract(contract)
        .tier(Arc::clone(&memory))
        .limits(limits)
        .follow(follow)
        .log(ModelLog::start(Arc::clone(&link)))
        .build();
    Instance { cache, link, memory, allowed }
}

fn secret() -> TokenSecret {
    TokenSecret::new(b"a secret of the simulation").unwrap_or_else(|| unreachable!("it is long enough"))
}

/// The failing row's versions around the failure, and what the instance knew of its key.
fn story(plan: &Plan, violation: &Violation, server: &Server, instances: &[Instance]) -> String {
    let truth = server.truth.lock();
    let mut story = String::new();
    let _ =
        writeln!(story, "{:?} at row {} of instance {}", violation.broken, violation.row, violation.instance);
    let _ = writeln!(story, "  {}", violation.what);
    let _ = writeln!(story, "the row's latest versions (log/position, visible from .. until):");
    let versions = truth.of_row(violation.row);
    for number in versions.iter().rev().take(6).rev() {
        let Some(version) = truth.version(*number) else { continue };
        let word = if version.absent { "absent" } else { "there " };
        let _ = writeln!(
            story,
            "  {number:6} {word} {}/{} .. {}/{}   {} .. {} ns   events {} .. {}{}",
            version.place.log,
            version.place.at,
            version.until.place.log,
            version.until.place.at,
            version.from_time,
            version.until.time,
            version.from_seq,
            version.until.seq,
            if version.lost { "   lost" } else { "" }
        );
    }
    drop(truth);
    if violation.row < plan.keys {
        let life = instances[violation.instance].cache.explain(&public_key(violation.row));
        let _ = writeln!(story, "its key in that instance (on its own clock):");
        let _ = writeln!(story, "  entry {:?}", life.entry);
        let _ = writeln!(story, "  watermark {:?}, proven until {:?}", life.watermark, life.proven_until);
        for happened in life.happenings.iter().rev().take(8).rev() {
            let _ = writeln!(story, "  {} {:?}", happened.at.as_nanos(), happened.what);
        }
    }
    story
}
