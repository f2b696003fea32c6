//! Many histories, on as many cores as one likes.

use super::figures::Figures;
use super::history::run;
use super::plan::Plan;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What many histories amount to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Counted over all of them.
    pub figures: Figures,
    /// Histories run.
    pub histories: u64,
    /// Faults they suffered.
    pub faults: u64,
    /// Steps of all schedulers.
    pub steps: u64,
    /// The first that broke a promise, by seed.
    pub failed: Option<Plan>,
    /// How long it took.
    pub took: Duration,
}

/// Runs the histories of the seeds from `root` on, until one fails, `limit` has passed or `seeds_max` were run.
pub fn search(
    root: u64,
    limit: Duration,
    seeds_max: u64,
    jobs: usize,
    change: &(dyn Fn(&mut Plan) + Sync),
) -> Found {
    let began = now();
    let next = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let one_core = || {
        let mut found = Found::default();
        while !over.load(Ordering::Relaxed) && began.elapsed() < limit {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds_max {
                break;
            }
            let mut plan = Plan::of_seed(root.wrapping_add(number));
            change(&mut plan);
            let outcome = run(&plan);
            found.figures.add(&outcome.figures);
            found.histories += 1;
            found.faults += plan.faults.len() as u64;
            found.steps += outcome.steps;
            if outcome.violation.is_some() {
                found.failed = Some(plan);
                over.store(true, Ordering::Relaxed);
            }
        }
        found
    };
    let mut all = Found::default();
    std::thread::scope(|scope| {
        let cores: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(one_core)).collect();
        for core in cores {
            let Ok(found) = core.join() else { continue };
            all.figures.add(&found.figures);
            all.histories += found.histories;
            all.faults += found.faults;
            all.steps += found.steps;
            let earlier = |plan: &Plan| all.failed.as_ref().is_none_or(|known| plan.seed < known.seed);
            if let Some(plan) = found.failed.filter(earlier) {
                all.failed = Some(plan);
            }
        }
    });
    all.took = began.elapsed();
    all
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures how fast the simulation is; nothing simulated reads it"
)]
fn now() -> Instant {
    Instant::now()
}
