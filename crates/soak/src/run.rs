//! One run: everything is started, broken, judged, and ended in order.

use crate::clock::{Nanos, now, pause};
use crate::door::{Client, Served};
use crate::embedded::{Embedded, Lie, queries, set_up};
use crate::faults::Theatre;
use crate::judge::Judge;
use crate::observation::Told;
use crate::observer::{self, Stage};
use crate::random::Random;
use crate::readers::{Board, Door, read};
use crate::report::Report;
use crate::schema::{SCHEMA, SLOT};
use crate::story::Faults;
use crate::{probe, programs, writers};
use candor_testbed::{Cluster, Proxy};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};

/// What a run does.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long writers write and things break, at least.
    pub duration: Duration,
    /// How long at most, while there is not [`Settings::enough`]: a busy machine needs longer for the same.
    pub patience: Duration,
    /// Whether the report has what the run is for.
    pub enough: fn(&Report) -> bool,
    /// From which all that is random follows, apart from what the machine itself decides.
    pub seed: u64,
    /// The binary; without it nobody reads by HTTP.
    pub candor: Option<PathBuf>,
    /// A pause between one fault and the next; none: nothing is broken.
    pub calm: Option<Duration>,
    /// Loaders that lie on purpose.
    pub lie: Lie,
    /// Tasks that read through each door.
    pub readers: u64,
    /// Transactions a second that pgbench tries.
    pub rate: u64,
    /// Says every so often how far it is.
    pub progress: Option<fn(&str)>,
}

/// Answers that may wait for the judge. Readers wait when there are more.
const ANSWERS_WAITING: usize = 1 << 16;
/// How long the last answers may take to be judged.
const ENDING: Duration = Duration::from_secs(120);

/// Slots of the instances.
const SLOTS: [&str; 3] = ["soak_a", "soak_b", "soak_http"];

/// Runs, and tells what came of it.
pub async fn run(settings: Settings) -> Report {
    let cluster = Cluster::builder()
        .setting("max_prepared_transactions", "30")
        .setting("deadlock_timeout", "50ms")
        .setting("wal_writer_delay", "2s")
        .setting("max_slot_wal_keep_size", "4GB")
        .setting("log_min_messages", "fatal")
        .durable(false)
        .start();
    cluster.psql(SCHEMA);
    cluster.psql(&format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'test_decoding')"));
    let cluster = Arc::new(cluster);
    let stage = Arc::new(Stage::new(cluster.url("postgres")));
    observer::begin(&stage).await;
    let proxies: Vec<_> = SLOTS.into_iter().map(|slot| (Proxy::to(cluster.address()), slot)).collect();
    let through = |at: usize| cluster.url_through(proxies[at].0.address(), "postgres");
    let one = Embedded::new(&through(0), SLOTS[0], settings.lie).await;
    let two = Embedded::new(&through(1), SLOTS[1], settings.lie).await;
    let served = match &settings.candor {
        Some(program) => {
            set_up(&stage.url, SLOTS[2], &queries()).await;
            Some(Mutex::new(Served::start(program, &through(2), SLOTS[2])))
        }
        None => None,
    };
    if let Some(served) = &served {
        let address = ("127.0.0.1", served.lock().port);
        candor_testbed::until("the server listens", || std::net::TcpStream::connect(address).is_ok());
    }
    let port = served.as_ref().map(|served| served.lock().port);
    let faults = Arc::new(Mutex::new(Faults::default()));
    let theatre = Arc::new(Theatre {
        stage: Arc::clone(&stage),
        cluster: Arc::clone(&cluster),
        proxies,
        served,
        faults: Arc::clone(&faults),
        runtime: tokio::runtime::Handle::current(),
    });
    let folder = tempfile::tempdir().expect("a folder can be made");
    let late = Arc::new(Mutex::new(Vec::new()));

    go(observer::observe(Arc::clone(&stage), Duration::from_millis(2)));
    go(observer::follow(Arc::clone(&stage), Duration::from_millis(500)));
    for number in 0..3 {
        go(writers::write(Arc::clone(&stage), number, settings.seed, Duration::from_millis(60)));
    }
    let (rate, seed) = (settings.rate, settings.seed);
    go(programs::bench(Arc::clone(&stage), Arc::clone(&cluster), folder.path().into(), rate, seed));
    go(programs::shell(Arc::clone(&stage), Arc::clone(&cluster), seed, Duration::from_secs(4)));
    go(writers::tidy(Arc::clone(&stage)));
    go(probe::probe(Arc::clone(&stage), one.clone(), Arc::clone(&late)));
    let (tell, told) = channel(ANSWERS_WAITING);
    let board = Arc::new(Board::default());
    for number in 0..settings.readers {
        let mut doors =
            vec![Door::Library("library a", one.clone()), Door::Library("library b", two.clone())];
        doors.extend(port.map(|port| Door::Http(Client::new(port))));
        for (at, door) in doors.into_iter().enumerate() {
            let random = Random::of(seed, 1000 + 10 * number + at as u64);
            go(read(Arc::clone(&stage), Arc::clone(&board), door, tell.clone(), random, 4));
        }
    }
    drop(tell);
    let began = now();
    let breaking = settings.calm.map(|calm| {
        let theatre = Arc::clone(&theatre);
        std::thread::spawn(move || theatre.perform(seed, calm))
    });
    let judge = Judge::new(Report::begun(seed));
    let ending = {
        let stage = Arc::clone(&stage);
        let (duration, patience) = (settings.duration, settings.patience);
        async move {
            let least = began + crate::clock::nanos(duration);
            let most = least.max(began + crate::clock::nanos(patience));
            let is_enough = || stage.is_enough.load(Ordering::Relaxed) && now() > least;
            while !is_enough() && !stage.has_failed() && now() < most {
                pause(Duration::from_millis(50)).await;
            }
            stage.is_writing.store(false, Ordering::Relaxed);
            if let Some(breaking) = breaking {
                let broken = tokio::task::spawn_blocking(|| breaking.join()).await;
                if !matches!(broken, Ok(Ok(()))) {
                    stage.fail(format!("the thread that breaks things is gone: {broken:?}"));
                }
            }
            pause(Duration::from_secs(1)).await;
            stage.is_reading.store(false, Ordering::Relaxed);
        }
    };
    let (mut judge, ()) = tokio::join!(judging(&settings, judge, told, &stage, &theatre), ending);
    stage.is_on.store(false, Ordering::Relaxed);
    let report = &mut judge.report;
    report.seconds = crate::clock::millis(now() - began) / 1000.0;
    late.lock().iter().for_each(|value| report.unservable.add(*value));
    report.faults = faults.lock().done.clone();
    {
        let mut truth = stage.truth.lock();
        truth.prune(crate::clock::NEVER);
        (report.versions, report.lost) = (truth.versions, truth.lost);
        report.contradictions = std::mem::take(&mut truth.contradictions);
        report.contradictions.extend(stage.failure.lock().take());
        report.acknowledged = stage.acknowledged.load(Ordering::Relaxed);
    }
    one.cache.close(Duration::from_secs(2)).await;
    two.cache.close(Duration::from_secs(2)).await;
    judge.report
}

/// Takes what readers tell, and judges it when the truth is complete.
async fn judging(
    settings: &Settings,
    mut judge: Judge,
    mut told: Receiver<Told>,
    stage: &Stage,
    theatre: &Theatre,
) -> Judge {
    let (mut ended, mut looked, mut said) = (None, now(), now());
    let mut life = Liveness { answers: 0, at: now() };
    loop {
        let mut batch = Vec::new();
        let taken = tokio::time::timeout(Duration::from_millis(20), told.recv_many(&mut batch, 4096)).await;
        batch.into_iter().for_each(|told| judge.take(told));
        if taken == Ok(0) && told.is_closed() {
            ended.get_or_insert_with(now);
            pause(Duration::from_millis(20)).await;
        }
        {
            let mut truth = stage.truth.lock();
            judge.judge(&truth, &theatre.faults.lock(), 20_000);
            if now() - looked > 1_000_000_000 {
                looked = now();
                let states = truth.size() + judge.waiting();
                judge.report.memory_max = judge.report.memory_max.max(states);
                truth.prune(looked);
                drop(truth);
                stage.is_enough.store((settings.enough)(&judge.report), Ordering::Relaxed);
                mind(theatre, &mut judge);
                life.look(&judge, stage, theatre);
            }
        }
        if let Some(progress) = settings.progress.filter(|_| now() - said > 30_000_000_000) {
            said = now();
            progress(&progressed(&judge, theatre));
        }
        let is_over =
            ended.is_some_and(|ended| judge.waiting() == 0 || now() - ended > crate::clock::nanos(ENDING));
        if is_over {
            judge.report.unjudged = judge.waiting();
            return judge;
        }
    }
}

fn progressed(judge: &Judge, theatre: &Theatre) -> String {
    let faults = theatre.faults.lock();
    let (done, report) = (faults.done.values().sum::<u64>(), &judge.report);
    let current = faults.current().map_or_else(
        |_| "none now".to_owned(),
        |(name, since)| format!("{name} for {:.1} s", crate::clock::millis(now() - since) / 1000.0),
    );
    format!(
        "{} answers judged, {} of them from memory, {} waiting, {} refused, {} false receipts, {done} faults ({current})",
        report.answers(),
        report.answered_from("l1"),
        judge.waiting(),
        report.refused_in_all(),
        report.violations()
    )
}

/// That something is judged at all. A run that stands still proves nothing, and says nothing by itself.
struct Liveness {
    answers: u64,
    at: Nanos,
}

/// How long nothing may be judged while nothing is broken.
const STANDSTILL: Nanos = 60_000_000_000;

impl Liveness {
    fn look(&mut self, judge: &Judge, stage: &Stage, theatre: &Theatre) {
        let answers = judge.report.answers();
        // What is broken may stop everything; the time counts from its end.
        let whole_since = theatre.faults.lock().current().map_or_else(|ended| ended, |_| now());
        if answers > self.answers {
            *self = Self { answers, at: now() };
        } else if stage.is_reading() && now() > self.at.max(whole_since) + STANDSTILL && !stage.has_failed() {
            let truth = stage.truth.lock();
            let ago = |at: Nanos| crate::clock::millis(now().saturating_sub(at)) / 1000.0;
            let (log, seen) = (ago(truth.logged_until), ago(truth.observed_until));
            drop(truth);
            stage.fail(format!(
                "nothing was judged for a minute while nothing was broken: {} answers wait; the oracle's log is {log:.1} s \
                 old, its observer {seen:.1} s\n{}",
                judge.waiting(),
                theatre.cluster.try_psql(SITUATION).unwrap_or_else(|error| error)
            ));
        }
    }
}

/// What the server is doing, for whoever asks why nothing moves.
const SITUATION: &str = "
    SELECT 'session', pid, application_name, state, wait_event_type, wait_event, age(backend_xmin), now() - xact_start,
        left(query, 80) FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender');
    SELECT 'prepared', gid, now() - prepared FROM pg_prepared_xacts;
    SELECT 'slot', slot_name, active_pid, restart_lsn, confirmed_flush_lsn, wal_status,
        pg_current_wal_insert_lsn() - restart_lsn FROM pg_replication_slots;
    SELECT 'table', relname, pg_relation_size(relid), n_live_tup, n_dead_tup FROM pg_stat_user_tables;
    SELECT 'marker', * FROM marker";

/// Starts the server again if it ended by itself, which it never should.
fn mind(theatre: &Theatre, judge: &mut Judge) {
    // While a fault holds it, it is the fault's to mind.
    let Some(mut served) = theatre.served.as_ref().and_then(Mutex::try_lock) else { return };
    if let Some(last_words) = served.ended() {
        judge.report.deaths.push(last_words);
        served.start_again();
    }
}

fn go(work: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "the oracle stands outside of the engine's world")]
    tokio::spawn(work);
}
