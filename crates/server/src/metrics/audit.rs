//! The audit's figures. `audit_answers` with outcome `false` must be zero.

use super::{Written, counter};
use crate::audit::{Figures, LEVELS, Outcome};
use crate::service::Service;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::sync::atomic::{AtomicU64, Ordering};

/// A figure of a view: its name, what it says, and where it is.
type Row = (&'static str, &'static str, fn(&Figures) -> &AtomicU64);

const ROWS: [Row; 5] = [
    ("audit_watches", "Watches in which answers were heard", |figures| &figures.watches),
    ("audit_idle_watches", "Watches in which nobody asked for the key", |figures| &figures.idle),
    (
        "audit_given_up_watches",
        "Watches given up because the source had no room to spare, or failed",
        |figures| &figures.given_up,
    ),
    ("audit_looks", "Questions of the audit to the source", |figures| &figures.looks),
    ("audit_silent_changes", "Changes of which the log told nothing; must be zero", |figures| {
        &figures.silent
    }),
];

pub(super) fn encode(service: &Service, encoder: &mut DescriptorEncoder<'_>) -> Written {
    let views = || service.views().iter().map(|view| (view.name(), service.audit().figures(view)));
    let mut answers = encoder.encode_descriptor(
        "audit_answers",
        "Answers held against the source by how it came out; those with outcome false must be zero",
        None,
        MetricType::Counter,
    )?;
    for (view, figures) in views() {
        for (at, level) in LEVELS.iter().enumerate() {
            for (word, outcome) in Outcome::ALL {
                let labels = [("view", view), ("level", level), ("outcome", word)];
                counter(&mut answers, &labels, figures.answers(at, outcome))?;
            }
        }
    }
    for (name, help, of) in ROWS {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (view, figures) in views() {
            counter(&mut family, &[("view", view)], of(figures).load(Ordering::Relaxed))?;
        }
    }
    for (name, help, is_claim) in [
        ("audit_claimed_bound", "The bounds that true answers claimed, added up", true),
        ("audit_observed_age", "How old the same answers were seen to be at most, added up", false),
    ] {
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
        for (view, figures) in views() {
            let (claimed, observed) = figures.tightness();
            let sum = if is_claim { claimed } else { observed };
            let labels = [("view", view)];
            super::count(&mut family.encode_family(&labels)?, sum.as_secs_f64())?;
        }
    }
    Ok(())
}
