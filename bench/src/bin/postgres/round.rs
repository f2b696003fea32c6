//! One round of one contender: so many clients, each asking for the next key as soon as it has an answer.

use hdrhistogram::Histogram;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What one client saw.
pub struct Seen {
    /// Nanoseconds from question to answer.
    pub all: Histogram<u64>,
    /// Of these, answers that came from memory.
    pub hits: Histogram<u64>,
    /// Questions that were refused; no part of the others.
    pub failed: u64,
    is_counting: bool,
}

/// When a round is to begin counting and to end; shared by its clients.
#[derive(Clone)]
pub struct Bell {
    counting: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Bell {
    /// Whether the round is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Default for Seen {
    fn default() -> Self {
        let histogram = || Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("sound limits");
        Self { all: histogram(), hits: histogram(), failed: 0, is_counting: false }
    }
}

impl Seen {
    /// Notes an answer to a question that was asked at `since`.
    pub fn answered(&mut self, bell: &Bell, since: Instant, from_memory: bool) {
        self.is_counting = self.is_counting || bell.counting.load(Ordering::Relaxed);
        if !self.is_counting {
            return;
        }
        let nanos = since.elapsed().as_nanos() as u64;
        self.all.saturating_record(nanos);
        if from_memory {
            self.hits.saturating_record(nanos);
        }
    }

    /// Adds what another client saw.
    pub fn add(&mut self, other: &Self) {
        self.all.add(&other.all).expect("alike");
        self.hits.add(&other.hits).expect("alike");
        self.failed += other.failed;
    }
}

/// How long clients ask before anything counts: while others had their turns nobody read here, and rows were written.
const LEAD: Duration = Duration::from_secs(1);

/// Runs `clients` of these for `seconds`, after a lead. `around` is called when counting begins and when it
/// ends, and tells what had been spent.
pub async fn run<F, S>(
    clients: usize,
    seconds: f64,
    client: impl Fn(usize, Bell) -> F,
    around: impl AsyncFn() -> S,
) -> (Seen, f64, S, S)
where
    F: Future<Output = Seen> + Send + 'static,
{
    let bell = Bell { counting: Arc::default(), over: Arc::default() };
    let tasks: Vec<_> = (0..clients).map(|number| tokio::spawn(client(number, bell.clone()))).collect();
    tokio::time::sleep(LEAD).await;
    let before = around().await;
    bell.counting.store(true, Ordering::Relaxed);
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    bell.over.store(true, Ordering::Relaxed);
    let took = began.elapsed().as_secs_f64();
    let after = around().await;
    let mut seen = Seen::default();
    for task in tasks {
        seen.add(&task.await.expect("a client ends in order"));
    }
    (seen, took, before, after)
}
