//! The whole story of a false receipt: the answer, the versions around it, and the faults before it.

use crate::clock::{NEVER, Nanos, millis, now};
use crate::judge::Broken;
use crate::observation::{Content, Observation};
use crate::schema::VIEWS;
use crate::truth::Truth;
use std::collections::VecDeque;
use std::fmt::Write;

/// The faults of late, with their beginnings and ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    recent: VecDeque<(String, Nanos, Nanos)>,
    pub(crate) done: std::collections::BTreeMap<String, u64>,
}

impl Faults {
    pub(crate) fn began(&mut self, name: &str) {
        *self.done.entry(name.split(':').next().unwrap_or(name).to_owned()).or_default() += 1;
        self.recent.push_back((name.to_owned(), now(), NEVER));
        if self.recent.len() > 64 {
            self.recent.pop_front();
        }
    }

    pub(crate) fn ended(&mut self) {
        if let Some(last) = self.recent.back_mut() {
            last.2 = now();
        }
    }

    /// What is broken now, and when it was broken; or when the last fault ended.
    pub(crate) fn current(&self) -> Result<(&str, Nanos), Nanos> {
        match self.recent.back() {
            Some((name, from, NEVER)) => Ok((name, *from)),
            Some((_, _, to)) => Err(*to),
            None => Err(0),
        }
    }

    /// Whether a fault was going on, or not yet five seconds over.
    pub(crate) fn is_near(&self, at: Nanos) -> bool {
        self.recent.iter().any(|(_, from, to)| *from <= at && at < to.saturating_add(5_000_000_000))
    }
}

/// Tells it; all times are milliseconds after the read began.
pub(crate) fn story(
    broken: Broken,
    seen: &Observation,
    superseded: Nanos,
    truth: &Truth,
    faults: &Faults,
    seed: u64,
) -> String {
    let after = |at: Nanos| {
        if at == NEVER { "never".to_owned() } else { format!("{:+.3}", millis(at) - millis(seen.begun)) }
    };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "FALSE RECEIPT ({broken:?}), seed {seed}: {} of `{}` key {} at {}, answered {} ms after it began",
        seen.door,
        VIEWS[seen.view].0,
        seen.key,
        seen.asked.word(),
        after(seen.ended)
    );
    let _ = writeln!(text, "  receipt: {}", seen.receipt.text);
    let _ = writeln!(text, "  answer:  {:?}", seen.content);
    if let Some(given) = &seen.given {
        let _ = writeln!(text, "  token:   fenced at {}, made at {}", after(given.floor), after(given.made));
    }
    let _ = writeln!(text, "  something newer was certainly visible at {}", after(superseded));
    if let Content::List { shelf, .. } = seen.content {
        for (commit, sum, visible) in truth.list_story(shelf) {
            let _ = writeln!(
                text,
                "  list {shelf}: commit {commit} makes it {sum}, certainly visible at {}",
                after(visible)
            );
        }
    }
    let ids = match &seen.content {
        Content::Absent(id) | Content::NotJoined(id) => vec![*id],
        other => other.versions().iter().map(|version| version.id).collect(),
    };
    for id in ids {
        for state in truth.story(id, superseded.min(seen.begun).saturating_sub(2_000_000_000)) {
            let place = state.place.map_or("not in the log".to_owned(), |place| {
                if place.present {
                    format!("shelf {} owner {}", place.shelf, place.owner)
                } else {
                    "absent".to_owned()
                }
            });
            let _ = writeln!(
                text,
                "  life {id}: era {} version {} nonce {} ({place}), certainly visible at {}",
                state.era,
                state.version,
                state.nonce,
                after(state.seen)
            );
        }
    }
    for (name, from, to) in faults.recent.iter().rev().take(6) {
        let _ = writeln!(text, "  fault: {name} from {} to {}", after(*from), after(*to));
    }
    text
}
