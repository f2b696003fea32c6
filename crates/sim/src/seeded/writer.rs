//! Who writes: transactions that nobody of the readers knows of, and the server's own flushing.

use super::chance::Chance;
use super::client::{Stage, fence};
use super::executor::{Handle, OUTSIDE};
use super::link::public_key;
use super::plan::{Flaw, Kind};
use super::server::Server;
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

    /// A commit waits for it, logged and not visible.
    async fn wait(self, handle: &Handle, chance: &mut Chance) {
        let nanos = if chance.one_in(self.one_in) { self.nanos } else { 400_000 };
        if chance.one_in(2) {
            handle.sleep(chance.below(nanos)).await;
        } else if chance.one_in(2) {
            handle.yield_now().await;
        }
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
        let is_asynchronous = chance.one_in(3);
        let bytes = chance.within(40, 400);
        server.fill_log(chance.below(100));
        if !server.commit(&mut writing, &removed, told, bytes) {
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
            stage.standby.wait(handle, chance).await;
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

/// How often a table that was taken out is written to at once, or looked at in vain.
const LOADS: usize = 12;
/// Rows written together then, at most.
const LOAD_ROWS: usize = 4;

/// Somebody who owns tables and changes what is published of them.
pub(super) struct Owner {
    pub(super) handle: Handle,
    pub(super) server: Arc<Server>,
    pub(super) standby: Standby,
    pub(super) chance: Chance,
}

impl Owner {
    /// Takes a table out of the publication, if asked to, and puts back whatever is out of it a while later.
    pub(super) async fn run(mut self, silences: bool, nanos: u64) {
        if silences {
            self.change(true).await;
        }
        self.handle.sleep(nanos).await;
        while self.server.is_silent() {
            self.change(false).await;
        }
    }

    /// Writes to the table as soon as it is out, which is why people take one out; by another connection, so whether or not
    /// anybody sees that it is.
    pub(super) async fn load(self, keys: u64) {
        let Self { handle, server, mut chance, .. } = self;
        for _ in 0..LOADS {
            handle.sleep(chance.below(100_000)).await;
            let mut rows: Vec<u32> = (0..LOAD_ROWS).map(|_| chance.below(keys) as u32 / 3 * 3).collect();
            rows.sort_unstable();
            rows.dedup();
            if !server.is_silent() {
                continue;
            }
            let Some(mut writing) = server.begin(&rows) else { continue };
            if server.commit(&mut writing, &[false; LOAD_ROWS], &rows, chance.within(40, 400)) {
                server.flush();
                handle.sleep(chance.below(300_000)).await;
                server.show(&writing, handle.now());
            }
        }
    }

    /// One transaction. Nothing comes of it while somebody else changes the publication, or if the server goes away.
    async fn change(&mut self, silences: bool) {
        let Self { handle, server, standby, chance } = self;
        let Some(mut writing) = server.begin_change(silences) else { return handle.sleep(1_000_000).await };
        handle.sleep(chance.below(200_000)).await;
        if chance.one_in(12) {
            return server.abort(&writing);
        }
        server.fill_log(chance.below(100));
        let bytes = chance.within(40, 400);
        if server.commit(&mut writing, &[], &[], bytes) {
            server.flush();
            standby.wait(handle, chance).await;
            server.show(&writing, handle.now());
        }
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
