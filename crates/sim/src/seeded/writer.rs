//! Who writes: transactions that nobody of the readers knows of, and the server's own flushing.

use super::chance::Chance;
use super::client::{Stage, fence};
use super::executor::OUTSIDE;
use super::link::{public_key, row_tag};
use super::plan::{Flaw, Kind};
use candor::Cache;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How long commits wait for a synchronous standby: logged, and not visible.
#[derive(Copy, Clone, Debug)]
pub struct Standby {
    /// One commit in so many waits long.
    pub one_in: u64,
    /// And so long at most, in nanoseconds.
    pub nanos: u64,
}

impl Standby {
    /// The standby of a history: usually near; in some histories it hangs.
    pub fn of_seed(seed: u64) -> Self {
        let mut chance = Chance::of_part(seed, "standby", 0);
        Self { one_in: chance.pick(&[2, 4, 10]), nanos: chance.pick(&[5_000_000, 20_000_000, 120_000_000]) }
    }
}

/// One task that writes, through no cache at all; sometimes it then asks one for a token.
pub struct Writer {
    /// What all share.
    pub stage: Arc<Stage>,
    /// The instances it may ask for tokens.
    pub caches: Vec<Cache<u64, u32>>,
    /// What it draws from.
    pub chance: Chance,
}

impl Writer {
    /// Writes until the history ends.
    pub async fn run(mut self) {
        let pace = self.chance.pick(&[50_000, 300_000, 2_000_000]);
        loop {
            let pause = self.chance.below(pace * 2);
            self.stage.handle.sleep(pause).await;
            if self.write().await && self.chance.one_in(4) {
                let seen = self.stage.server.truth.lock().seq();
                let cache = self.chance.below(self.caches.len() as u64) as usize;
                if let Some(session) = fence(&self.caches[cache], seen).await {
                    self.stage.hand_on(session);
                }
            }
        }
    }

    /// One transaction. Whether its writer was told that it succeeded.
    async fn write(&mut self) -> bool {
        let (stage, chance) = (Arc::clone(&self.stage), &mut self.chance);
        let (server, handle) = (&stage.server, &stage.handle);
        let how_many = chance.within(1, 3);
        let mut rows: Vec<u32> =
            (0..how_many).map(|_| chance.below(u64::from(stage.plan.rows())) as u32).collect();
        rows.sort_unstable();
        rows.dedup();
        // A row that moves to another key: gone there, new here.
        let moves = rows.len() == 2 && chance.one_in(3);
        let removed: Vec<bool> =
            (0..rows.len()).map(|index| if moves { index == 0 } else { chance.one_in(8) }).collect();
        let Some(mut writing) = server.begin(&rows) else { return false };
        let is_sequence = stage.plan.kind == Kind::Sequence;
        // Most are quick; some hold their rows for long.
        let long = if chance.one_in(16) { 30_000_000 } else { 200_000 };
        handle.sleep(chance.below(long)).await;
        if chance.one_in(12) {
            server.abort(&writing);
            return false;
        }
        let told = if moves && stage.plan.flaw == Flaw::KeyChangeNewOnly { &rows[1..] } else { &rows[..] };
        let mut tags: Vec<_> = told.iter().map(|row| row_tag(*row)).collect();
        tags.push(candor::Tag::table("item", candor::core::Facet::WHOLE));
        let is_asynchronous = chance.one_in(3);
        let bytes = chance.within(40, 400);
        server.fill_log(chance.below(100));
        if !server.commit(&mut writing, &removed, tags, bytes) {
            return false;
        }
        if is_sequence {
            server.flush();
        } else if !is_asynchronous {
            // Flushed, so readers of the log may hear of it, and not visible yet.
            if chance.one_in(2) {
                handle.sleep(chance.below(300_000)).await;
            }
            server.flush();
            let Standby { one_in, nanos } = stage.standby;
            let standby = if chance.one_in(one_in) { nanos } else { 400_000 };
            if chance.one_in(2) {
                handle.sleep(chance.below(standby)).await;
            } else if chance.one_in(2) {
                handle.yield_now().await;
            }
        }
        let shown = server.show(&writing, handle.now());
        let failed = stage.fail_after_write.swap(false, Ordering::Relaxed);
        stage.figures.lock().commits += u64::from(shown);
        // The hint of an application that knows what it wrote.
        if chance.one_in(8) && rows[0] < stage.plan.keys {
            let cache = chance.below(self.caches.len() as u64) as usize;
            self.caches[cache].invalidate(&public_key(rows[0]));
        }
        shown && !failed
    }
}

/// The server's own work: what was written asynchronously is flushed in time.
pub async fn flush_now_and_then(stage: Arc<Stage>, mut chance: Chance) {
    let pace = chance.pick(&[200_000, 2_000_000, 20_000_000]);
    loop {
        stage.handle.sleep(chance.below(pace * 2)).await;
        stage.server.flush();
    }
}

/// The group of everything that is no instance.
pub const GROUP: usize = OUTSIDE;
