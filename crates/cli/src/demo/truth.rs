//! What the readers' answers are checked against: every write, as the writing process reports it.
//!
//! A report is sent after the commit, with the moment noted after it; both processes read the same clock of the same
//! kernel. So a reader that looks here before it reads knows a version that was certainly visible by then. The report
//! takes a moment to arrive, which makes the check a little lenient and never unjust.

use super::Trouble;
use candor::{Moment, World};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Writes remembered per product; answers older than all of them count as stale since the oldest.
const WRITES_PER_PRODUCT: usize = 4096;

/// Who wrote.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// The application, which tells the caches that want to be told.
    Application,
    /// A script that knows of no cache.
    Script,
}

/// One committed write.
#[derive(Copy, Clone, Debug)]
pub(super) struct Write {
    pub(super) product: u32,
    pub(super) version: u64,
    pub(super) visible: Moment,
    pub(super) author: Author,
}

/// All writes known so far.
pub(super) struct Truth {
    latest: Box<[AtomicU64]>,
    writes: Box<[Mutex<VecDeque<Write>>]>,
    count: AtomicU64,
}

impl Truth {
    pub(super) fn new(products: u32) -> Self {
        let products = products as usize + 1;
        Self {
            latest: (0..products).map(|_| AtomicU64::new(0)).collect(),
            writes: (0..products).map(|_| Mutex::default()).collect(),
            count: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, write: Write) {
        let product = write.product as usize;
        let Some(writes) = self.writes.get(product) else { return };
        let mut writes = writes.lock();
        if writes.len() == WRITES_PER_PRODUCT {
            writes.pop_front();
        }
        writes.push_back(write);
        self.latest[product].store(write.version, Ordering::Release);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A version of the product that was visible before this call.
    pub(super) fn visible(&self, product: u32) -> u64 {
        self.latest[product as usize].load(Ordering::Acquire)
    }

    /// The first write after `version`: the one an answer of that version misses.
    pub(super) fn missed(&self, product: u32, version: u64) -> Option<Write> {
        self.writes[product as usize].lock().iter().find(|write| write.version > version).copied()
    }

    /// Products are numbered from one to this.
    pub(super) fn products(&self) -> u32 {
        self.latest.len() as u32 - 1
    }

    pub(super) fn writes(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ready when the writing process has written something.
    pub(super) async fn wait_for_first(&self, world: &World) -> Result<(), Trouble> {
        let deadline = world.now().plus(Duration::from_secs(10));
        while self.writes() == 0 {
            if world.now() >= deadline {
                return Err("the writing process wrote nothing for ten seconds; is the disk full?".into());
            }
            world.sleep_until(world.now().plus(Duration::from_millis(10))).await;
        }
        Ok(())
    }
}
