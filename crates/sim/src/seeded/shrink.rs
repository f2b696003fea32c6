//! Makes a failing history smaller while it still breaks the same promise.

use super::audit::Broken;
use super::history::{Outcome, run};
use super::plan::Plan;

/// The smallest plan found within so many runs, and its outcome.
pub fn shrink(plan: &Plan, broken: Broken, runs_max: usize) -> (Plan, Outcome) {
    let mut best = (plan.clone(), run(plan));
    let mut runs = 0;
    loop {
        let mut smaller = None;
        for candidate in best.0.smaller() {
            if runs == runs_max {
                return best;
            }
            runs += 1;
            let outcome = run(&candidate);
            if outcome.violation.as_ref().is_some_and(|violation| violation.broken == broken) {
                smaller = Some((candidate, outcome));
                break;
            }
        }
        match smaller {
            Some(found) => best = found,
            None => return best,
        }
    }
}
