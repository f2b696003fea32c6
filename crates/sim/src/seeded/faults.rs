//! Faults, and the parts of a world that suffer them.
//!
//! A further part (a second tier that loses and resurrects entries, a relay with two leaders) implements [`Part`], is
//! added to the list that `wreak` is given, and takes the verbs that mean something to it.

use super::chance::Chance;
use super::client::Stage;
use super::executor::{Handle, OUTSIDE};
use super::link::{Link, public_key};
use super::plan::{Fault, Plan, Verb};
use super::server::Ending;
use super::writer::Owner;
use candor::{Memory, Tier};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How often a connection that was cut is cut again.
const FLAPS: u64 = 3;

/// A part of the world that things happen to.
pub trait Part: Send + Sync {
    /// Takes a fault that may concern it.
    fn suffer(&self, fault: &Fault);
}

/// Lets everything go wrong, each fault at its time.
pub(super) async fn wreak(handle: Handle, faults: Vec<Fault>, parts: Vec<Arc<dyn Part>>) {
    let begun = handle.now();
    for fault in faults {
        let at = begun + fault.at_us * 1000;
        handle.sleep(at.saturating_sub(handle.now())).await;
        parts.iter().for_each(|part| part.suffer(&fault));
    }
}

impl Part for Link {
    fn suffer(&self, fault: &Fault) {
        if fault.instance != self.number {
            return;
        }
        let nanos = fault.amount * 1000;
        match fault.verb {
            Verb::Drop => {
                self.cut_off();
                // A network that fails fails again, just when what was missed comes in at once.
                let Some(link) = self.itself.upgrade() else { return };
                self.handle.spawn(OUTSIDE, async move {
                    for _ in 0..FLAPS {
                        link.handle.sleep(nanos / FLAPS).await;
                        link.cut_off();
                    }
                });
            }
            Verb::Duplicate => self.twice.store(fault.amount, Ordering::Relaxed),
            Verb::Delay => *self.slow.lock() = (self.handle.now() + nanos * 4, nanos / 4),
            Verb::HoldResponse => self.held.store(nanos, Ordering::Relaxed),
            Verb::Pause => self.handle.pause(self.number + 1, nanos),
            Verb::LoseSlot => {
                // Nobody can drop a slot that is read: the connection goes first.
                self.cut_off();
                self.server.lose_slot(self.number);
                // Somebody makes it anew, sooner or later.
                let (handle, server, number) = (self.handle.clone(), Arc::clone(&self.server), self.number);
                self.handle.spawn(OUTSIDE, async move {
                    handle.sleep(nanos).await;
                    server.make_slot(number);
                });
            }
            // A short one, while nobody looks.
            Verb::Silence if fault.amount < 1024 => self.cut_off(),
            Verb::FailAfterWrite
            | Verb::RollBack
            | Verb::Restart
            | Verb::FailOver
            | Verb::Silence
            | Verb::Evict => {}
        }
    }
}

impl Part for Stage {
    fn suffer(&self, fault: &Fault) {
        let now = self.handle.now();
        let ending = match fault.verb {
            Verb::FailAfterWrite => return self.fail_after_write.store(true, Ordering::Relaxed),
            Verb::RollBack => Ending::RollBack { by: fault.amount },
            Verb::Restart if fault.amount.is_multiple_of(64) => Ending::Crash,
            Verb::Restart => Ending::Restart,
            Verb::FailOver => Ending::FailOver { lag: fault.amount / 16 },
            Verb::Silence => return self.change_publication(fault, true),
            _ => return,
        };
        self.server.end_log(ending, now);
        // Whoever would have put it back may have been lost with what he did.
        self.change_publication(fault, false);
    }
}

impl Stage {
    /// Somebody takes a table out of the publication, if asked to, and puts back what is out of it a while later.
    fn change_publication(&self, fault: &Fault, silences: bool) {
        let owner = |part| Owner {
            handle: self.handle.clone(),
            server: Arc::clone(&self.server),
            standby: self.standby,
            chance: Chance::of_part(self.plan.seed, part, fault.at_us),
        };
        self.handle.spawn(OUTSIDE, owner("publication").run(silences, fault.amount * 1000));
        if silences {
            self.handle.spawn(OUTSIDE, owner("load").load(u64::from(self.plan.keys)));
        }
    }
}

/// One instance's memory, as far as it forgets.
pub(super) struct Evicting {
    memory: Arc<Memory<u64, u32>>,
    number: usize,
    keys: u64,
}

impl Evicting {
    pub(super) fn new(memory: &Arc<Memory<u64, u32>>, number: usize, plan: &Plan) -> Self {
        Self { memory: Arc::clone(memory), number, keys: u64::from(plan.keys) }
    }
}

impl Part for Evicting {
    fn suffer(&self, fault: &Fault) {
        if fault.instance == self.number && fault.verb == Verb::Evict {
            self.memory.remove(&public_key((fault.at_us % self.keys) as u32));
        }
    }
}
