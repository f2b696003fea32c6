//! What goes wrong while the instances run.

use crate::ground::{Database, Ground, KEYS, Trouble};
use crate::truth::Truth;
use candor::seams::{Entropy, SplitMix};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Healthy,
    AnotherWriter,
    LostConnections,
    RedisKilled,
    PausedInstance,
    AbsentStandby,
}

pub(crate) const FAULTS: &[Fault] = &[
    Fault::Healthy,
    Fault::AnotherWriter,
    Fault::LostConnections,
    Fault::RedisKilled,
    Fault::PausedInstance,
    Fault::AbsentStandby,
];

/// Between two writes of the other program.
const OTHER_EVERY: Duration = Duration::from_millis(10);
/// Between two cuts of the connections that carry invalidations.
const CUT_EVERY: Duration = Duration::from_millis(700);
/// How long a paused instance stands still, and runs in between.
const PAUSE: (Duration, Duration) = (Duration::from_millis(600), Duration::from_millis(500));
/// How often those who wait for the standby that is not there are released.
const RELEASE_EVERY: Duration = Duration::from_millis(30);

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::AnotherWriter => "another program writes too",
            Self::LostConnections => "invalidation connections cut every 0.7 s",
            Self::RedisKilled => "Redis killed, back from its snapshot",
            Self::PausedInstance => "one instance stands still for 0.6 s at a time",
            Self::AbsentStandby => "synchronous standby absent for 30 ms per commit",
        }
    }

    pub(crate) fn pauses(self, instance: usize) -> Option<(Duration, Duration)> {
        (self == Self::PausedInstance && instance == 1).then_some(PAUSE)
    }

    /// Does it, for as long as the instances run.
    pub(crate) fn inflict(self, ground: &Ground, truth: &Arc<Truth>, length: Duration) -> Result<(), Trouble> {
        let end = Instant::now() + length;
        match self {
            Self::Healthy | Self::PausedInstance => thread::sleep(length),
            Self::AnotherWriter => write_beside(ground, truth, end)?,
            Self::LostConnections => {
                while Instant::now() + CUT_EVERY < end {
                    thread::sleep(CUT_EVERY);
                    cut(ground)?;
                }
                thread::sleep(end.saturating_duration_since(Instant::now()));
            }
            Self::RedisKilled => {
                thread::sleep(length.mul_f64(0.6));
                ground.redis.crash();
                thread::sleep(Duration::from_millis(100));
                ground.redis.start_again();
                thread::sleep(end.saturating_duration_since(Instant::now()));
            }
            Self::AbsentStandby => {
                ground.cluster.set("synchronous_standby_names", "nobody");
                while Instant::now() < end {
                    thread::sleep(RELEASE_EVERY);
                    release(ground);
                }
                ground.cluster.set("synchronous_standby_names", "");
                release(ground);
            }
        }
        Ok(())
    }

    /// Nobody may wait for ever for what is gone.
    pub(crate) fn lift(self, ground: &Ground) {
        if self == Self::AbsentStandby {
            release(ground);
        }
    }
}

/// A program that knows nothing of caches: a migration, a support desk, another service.
fn write_beside(ground: &Ground, truth: &Arc<Truth>, end: Instant) -> Result<(), Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let database = Database::connect(&ground.cluster.url("postgres")).await?;
        let random = SplitMix::seeded(99);
        while Instant::now() < end {
            let key = (random.draw() % u64::from(KEYS / 10)) as u32;
            let (_guard, version) = truth.write(key).await;
            database.write(key, version).await?;
            truth.acknowledged(key, version, Instant::now());
            tokio::time::sleep(OTHER_EVERY).await;
        }
        Ok(())
    })
}

/// Ends every connection that carries news of changes: pub/sub, tracking, and the database's log.
fn cut(ground: &Ground) -> Result<(), Trouble> {
    let mut redis = redis::Client::open(ground.redis.url())?.get_connection()?;
    let _: Result<i64, _> = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query(&mut redis);
    let clients: String = redis::cmd("CLIENT").arg("LIST").query(&mut redis)?;
    for client in clients.lines() {
        let field = |name: &str| client.split(' ').find_map(|field| field.strip_prefix(name));
        if field("flags=").is_some_and(|flags| flags.contains('t'))
            && let Some(id) = field("id=")
        {
            let _: Result<i64, _> = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).query(&mut redis);
        }
    }
    ground.cluster.psql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE backend_type = 'walsender' OR query LIKE '%pg_logical_slot_peek_changes%' AND pid <> pg_backend_pid()",
    );
    Ok(())
}

/// Commits that wait for the standby become visible, with a warning to whoever waited.
fn release(ground: &Ground) {
    ground.cluster.psql("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
}
