//! What goes wrong on purpose, at random from the seed, one thing after another.

use crate::clock::{NEVER, Nanos, now};
use crate::door::Served;
use crate::embedded::{open, queries};
use crate::observer::{Stage, lsn_of};
use crate::random::Random;
use crate::story::Faults;
use crate::writers::end_of;
use candor_testbed::{Cluster, Mode, Proxy};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Everything that can be broken.
pub(crate) struct Theatre {
    pub(crate) stage: Arc<Stage>,
    pub(crate) cluster: Arc<Cluster>,
    /// In front of the server, for each instance; and its slot.
    pub(crate) proxies: Vec<(Proxy, &'static str)>,
    pub(crate) served: Option<Mutex<Served>>,
    pub(crate) faults: Arc<Mutex<Faults>>,
    /// For what setup has to repair.
    pub(crate) runtime: tokio::runtime::Handle,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    KillWalsender,
    KillPool,
    Cut,
    CutAmid,
    Freeze,
    Delay,
    KillServe,
    StopServe,
    KillBackend,
    Crash,
    Restart,
    Slot,
    Alter,
    Publication,
    Idle,
}

/// Each with its weight.
const KINDS: [(Kind, u64); 15] = [
    (Kind::KillWalsender, 4),
    (Kind::KillPool, 4),
    (Kind::Cut, 3),
    (Kind::CutAmid, 3),
    (Kind::Freeze, 3),
    (Kind::Delay, 3),
    (Kind::KillServe, 2),
    (Kind::StopServe, 3),
    (Kind::KillBackend, 2),
    (Kind::Crash, 2),
    (Kind::Restart, 1),
    (Kind::Slot, 2),
    (Kind::Alter, 2),
    (Kind::Publication, 2),
    (Kind::Idle, 2),
];

impl Theatre {
    /// Breaks things until the writers rest; then everything is whole again. What cannot be made whole again ends the run:
    /// nothing that came after it would say anything.
    pub(crate) fn perform(&self, seed: u64, calm: Duration) {
        let performed = catch_unwind(AssertUnwindSafe(|| self.play(seed, calm)));
        if let Err(panic) = performed {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            let fault = self.faults.lock().current().map(|(name, _)| name.to_owned()).unwrap_or_default();
            self.stage.fail(format!("the fault {fault} could not be ended: {said}"));
        }
    }

    fn play(&self, seed: u64, calm: Duration) {
        let mut random = Random::of(seed, 400);
        while self.stage.is_writing() {
            self.rest(calm.mul_f64(0.5 + random.below(1000) as f64 / 1000.0));
            // Every fourth time it falls upon instances that have not come back from the last one.
            if !random.once_in(4) {
                self.until_proven();
            }
            if !self.stage.is_writing() {
                break;
            }
            let total: u64 = KINDS.iter().map(|(_, weight)| weight).sum();
            let mut drawn = random.below(total);
            for (kind, weight) in KINDS {
                if drawn < weight {
                    self.commit(kind, &mut random);
                    break;
                }
                drawn -= weight;
            }
        }
    }

    /// Waits until every door has answered from memory again since the last fault, for a while.
    fn until_proven(&self) {
        let since = self.faults.lock().current().err().unwrap_or(0);
        let doors = 2 + usize::from(self.served.is_some());
        let until = now() + crate::clock::nanos(RECOVERY);
        let are_back = || self.stage.proven.lock().values().filter(|at| **at > since).count() == doors;
        while !are_back() && now() < until && self.stage.is_writing() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn commit(&self, kind: Kind, random: &mut Random) {
        let (proxy, slot) = &self.proxies[random.below(self.proxies.len() as u64) as usize];
        if self.served.is_none() && matches!(kind, Kind::KillServe | Kind::StopServe) {
            return;
        }
        self.faults.lock().began(&format!("{kind:?}: {slot}"));
        match kind {
            Kind::KillWalsender => self.sql(&terminate(&format!(
                "pid IN (SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{slot}')"
            ))),
            Kind::KillPool => {
                self.sql(&terminate("application_name LIKE '%candor%' AND backend_type = 'client backend'"))
            }
            Kind::Cut => proxy.cut(),
            Kind::CutAmid => proxy.cut_after(random.below(20_000) as usize),
            Kind::Freeze => {
                proxy.freeze();
                self.rest(Duration::from_millis(100 + random.below(4000)));
                proxy.thaw();
            }
            Kind::Delay => {
                proxy.delay(Duration::from_millis(1 + random.below(60)));
                self.rest(Duration::from_millis(500 + random.below(3000)));
                proxy.delay(Duration::ZERO);
            }
            Kind::KillServe => {
                if let Some(served) = &self.served {
                    let mut served = served.lock();
                    served.kill();
                    self.rest(Duration::from_millis(random.below(1500)));
                    served.start_again();
                }
            }
            Kind::StopServe => {
                if let Some(served) = &self.served {
                    let served = served.lock();
                    served.signal("STOP");
                    self.rest(Duration::from_millis(50 + random.below(4000)));
                    served.signal("CONT");
                }
            }
            Kind::KillBackend => self.crash(|| {
                let victim = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
                              AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1";
                until("there is a session to kill", || {
                    self.cluster.try_psql(victim).is_ok_and(|pid| {
                        std::process::Command::new("kill")
                            .args(["-9", &pid])
                            .status()
                            .is_ok_and(|done| done.success())
                    })
                });
                // The server ends every session, recovers, and empties the marker.
                until("the server has recovered", || {
                    self.cluster.try_psql("SELECT count(*) FROM marker").is_ok_and(|count| count == "0")
                });
            }),
            Kind::Crash => {
                self.loosen(Duration::from_millis(200 + random.below(600)));
                self.crash(|| {
                    if random.once_in(2) {
                        self.cluster.crash();
                    } else {
                        self.cluster.stop(Mode::Immediate);
                    }
                    self.rest(Duration::from_millis(random.below(2000)));
                    self.cluster.start_again();
                });
            }
            Kind::Restart => {
                self.cluster.restart();
            }
            Kind::Slot => self.lose(slot),
            Kind::Alter => {
                let table = ["item", "account", "owner"][random.below(3) as usize];
                self.sql(&format!(
                    "SET lock_timeout = '500ms'; ALTER TABLE {table} ADD COLUMN odd int DEFAULT 7"
                ));
                self.rest(Duration::from_millis(random.below(500)));
                self.sql(&format!("SET lock_timeout = '2s'; ALTER TABLE {table} DROP COLUMN IF EXISTS odd"));
            }
            Kind::Publication => {
                let table = ["item", "account", "owner"][random.below(3) as usize];
                self.sql(&format!("ALTER PUBLICATION candor DROP TABLE {table}"));
                self.rest(Duration::from_millis(random.below(1000)));
                self.sql(&format!("ALTER PUBLICATION candor ADD TABLE {table}"));
            }
            Kind::Idle => {
                // Nobody writes: what was asynchronous and is not yet on disk must be waited for all the same.
                self.rest(Duration::from_millis(200));
            }
        }
        self.repair(slot, kind);
        self.faults.lock().ended();
    }

    /// For a while nobody waits for the disk. What is visible meanwhile is on it only if something else forces it there: a
    /// strong read does.
    fn loosen(&self, duration: Duration) {
        self.sql("ALTER SYSTEM SET synchronous_commit = off");
        self.sql("SELECT pg_reload_conf()");
        self.stage.is_loose.store(true, Ordering::Relaxed);
        self.rest(duration);
    }

    /// A crash: what was visible and not yet on disk may be gone. Declares the new era.
    fn crash(&self, happen: impl FnOnce()) {
        let crashed = now();
        happen();
        if self.stage.is_loose.swap(false, Ordering::Relaxed) {
            self.sql("ALTER SYSTEM RESET synchronous_commit");
            self.sql("SELECT pg_reload_conf()");
        }
        self.resolve();
        // Nothing of the old era lies above it.
        let lsn = self.cluster.psql("SELECT pg_current_wal_insert_lsn()");
        let era = {
            let mut truth = self.stage.truth.lock();
            // Until the observer has been there, nothing of the new era is certain.
            truth.recovered(crashed, NEVER, lsn_of(&lsn))
        };
        self.cluster.psql(&format!("DELETE FROM marker; INSERT INTO marker VALUES ({era})"));
        let from = now();
        until("the observer is back", || self.stage.truth.lock().observed_until > from);
        self.stage.truth.lock().settle(now());
    }

    /// Ends transactions that were prepared and left.
    fn resolve(&self) {
        let gids = "SELECT gid FROM pg_prepared_xacts";
        for gid in self.cluster.try_psql(gids).unwrap_or_default().lines() {
            let _ = self.cluster.try_psql(&end_of(gid));
        }
    }

    /// Drops a slot behind the back of whoever reads it, and makes it anew.
    fn lose(&self, slot: &str) {
        let _ = self.cluster.try_psql(&format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot}';
             SELECT pg_sleep(0.02); SELECT pg_drop_replication_slot('{slot}')"
        ));
        self.rest(Duration::from_millis(100));
    }

    /// What setup would do, where something is missing.
    fn repair(&self, slot: &str, kind: Kind) {
        if !matches!(kind, Kind::Slot | Kind::Publication) {
            return;
        }
        let url = self.cluster.url("postgres");
        let repaired = self.runtime.block_on(async {
            for _ in 0..50 {
                if open(&url, slot).setup(&queries()).await.is_ok() {
                    return true;
                }
                crate::clock::pause(Duration::from_millis(200)).await;
            }
            false
        });
        if !repaired {
            self.stage.truth.lock().contradictions.push(format!("the slot {slot} could not be made anew"));
        }
    }

    fn sql(&self, sql: &str) {
        // The lock may not be had in time, the victim be gone.
        let _ = self.cluster.try_psql(sql);
    }

    /// Waits, unless the run ends.
    fn rest(&self, duration: Duration) {
        let until: Nanos = now() + crate::clock::nanos(duration);
        while now() < until && self.stage.is_writing() {
            std::thread::sleep(Duration::from_millis(5).min(duration));
        }
    }
}

/// The longest that a fault waits for the instances to have recovered from the last one.
const RECOVERY: Duration = Duration::from_secs(30);

/// The longest that a server may take for its recovery on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `holds`, and panics when it takes too long.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = now() + crate::clock::nanos(PATIENCE);
    while !holds() {
        assert!(now() < end, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn terminate(which: &str) -> String {
    format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {which}"
    )
}
