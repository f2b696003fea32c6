//! Readers, writers and loads under a scheduler that decides at each lock, each atomic and each wait who goes on.
//!
//! Built by `cargo x concurrency` only. The engine is the one that ships, with memory, flights, limiter and follower; the
//! source, the log and the clock are those of [`crate::testing`]. What is stated holds in every interleaving; what is
//! tried is many of them, drawn at random from seeds that a failure prints.

#![allow(clippy::unwrap_used, reason = "in a test a panic with its place is the message")]

mod fences;
mod loads;

use crate::seams::{Spawn, SplitMix, World};
use crate::testing::{ManualClock, MemoryLog, MemorySource};
use candor_core::port::{BoxFuture, Feed, Fence, Log, SourceError};
use candor_core::{Position, Record};
use shuttle::future::JoinHandle;
use std::sync::{Arc, Mutex, PoisonError};

/// How many schedules of each test are tried, if `CANDOR_SCHEDULES` says nothing.
const SCHEDULES: usize = 20_000;

/// Threads interrupted at these many places, in half of the schedules: most races need no more.
const INTERRUPTIONS: usize = 3;

/// Runs it under many schedules: at random, and with few interruptions in places drawn at random.
fn check(body: fn()) {
    let schedules = std::env::var("CANDOR_SCHEDULES").ok().and_then(|number| number.parse().ok());
    let half = schedules.unwrap_or(SCHEDULES).div_ceil(2);
    shuttle::check_random(body, half);
    shuttle::check_pct(body, half, INTERRUPTIONS);
}

/// What the engine began in the background.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Spawn for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(shuttle::future::spawn(task));
    }
}

impl Tasks {
    /// Waits for all of it. The last handles of whatever it works for must be gone, or closed.
    fn end(&self) {
        loop {
            let Some(task) = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
            assert!(shuttle::future::block_on(task).is_ok(), "a task of the engine failed");
        }
    }
}

/// A world whose clock shows a new moment at each look and otherwise stands still: nothing runs into a deadline. Its
/// clock is to be kept for as long as the world is used.
fn world() -> (World, ManualClock, Tasks) {
    let (clock, tasks) = (ManualClock::default(), Tasks::default());
    (World::new(clock.clone(), SplitMix::seeded(7), tasks.clone()), clock, tasks)
}

/// Runs the futures at once, each in a thread of its own, to their ends.
fn at_once(works: Vec<BoxFuture<'static, ()>>) {
    let threads: Vec<_> = works
        .into_iter()
        .map(|work| shuttle::thread::spawn(move || shuttle::future::block_on(work)))
        .collect();
    for thread in threads {
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Somewhere in the middle of something: anyone may go on.
async fn meanwhile() {
    shuttle::future::yield_now().await;
}

/// A log whose answers and records take time.
struct SlowLog(Arc<MemoryLog<u64, u64>>);

impl SlowLog {
    fn of(source: &MemorySource<u64, u64>) -> Arc<Self> {
        Arc::new(Self(source.log()))
    }
}

impl Log for SlowLog {
    fn fence(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        Box::pin(async {
            meanwhile().await;
            let fence = self.0.fence().await;
            meanwhile().await;
            fence
        })
    }

    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn Feed>, SourceError>> {
        Box::pin(async { Ok(Box::new(SlowFeed(self.0.follow().await?)) as Box<dyn Feed>) })
    }
}

struct SlowFeed(Box<dyn Feed>);

impl Feed for SlowFeed {
    fn next(&mut self) -> BoxFuture<'_, Result<Record, SourceError>> {
        Box::pin(async {
            let record = self.0.next().await;
            meanwhile().await;
            record
        })
    }
}
