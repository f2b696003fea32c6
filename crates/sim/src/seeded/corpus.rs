//! Histories that failed once, made small. Each failed with a defence taken out, or by a mistake of the audit; what was once a
//! bug of the product is a defence now, with
//! a switch of its own. They must pass with every defence in place.

use super::plan::Plan;

const LINES: &str = include_str!("../../corpus/failed-once.txt");

/// A history that fails without a defence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The name of the defence.
    pub defence: &'static str,
    /// The history, with everything in place.
    pub plan: Plan,
}

/// All of them.
///
/// # Errors
///
/// A line that is no `defence: plan`.
pub fn corpus() -> Result<Vec<Kept>, String> {
    let lines = LINES.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (defence, plan) = line.split_once(": ").ok_or_else(|| format!("no defence: {line}"))?;
            Ok(Kept { defence, plan: plan.parse().map_err(|why| format!("{line}: {why}"))? })
        })
        .collect()
}
