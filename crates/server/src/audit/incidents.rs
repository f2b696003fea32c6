//! What must not be: false receipts, and changes of which the log has told nothing. Each is kept with the whole life of
//! the entry, as it was known at that moment.
//!
//! Bounded: one for each view and key, which counts how often it came again, and the first [`KEPT`] of them. The first
//! ones are kept, because what comes later is mostly the consequence.

use super::millis;
use super::tap::Asked;
use candor::Moment;
use serde_json::Value;

/// Incidents that are kept.
const KEPT: usize = 32;

/// Of what kind an incident is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An answer that the source did not say at any moment its receipt allows.
    FalseReceipt,
    /// The source's answer changed, and the log told of no change on what it depends on. Whatever is in memory of it
    /// becomes false.
    SilentChange,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::FalseReceipt => "false-receipt",
            Self::SilentChange => "silent-change",
        }
    }
}

#[derive(Debug)]
struct Incident {
    kind: Kind,
    view: u32,
    asked: Asked,
    at: Moment,
    again: u64,
    told: Value,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    kept: Vec<Incident>,
    /// Those that found no place.
    beyond: u64,
}

impl Incidents {
    /// Notes an incident; `tell` puts it together if it is new. Returns whether it was.
    pub(super) fn note(
        &mut self,
        kind: Kind,
        view: u32,
        asked: &Asked,
        at: Moment,
        tell: impl FnOnce() -> Value,
    ) -> bool {
        let known = self
            .kept
            .iter_mut()
            .find(|known| (known.kind, known.view) == (kind, view) && known.asked == *asked);
        if let Some(known) = known {
            known.again += 1;
            return false;
        }
        if self.kept.len() == KEPT {
            self.beyond += 1;
            return false;
        }
        let told = tell();
        self.kept.push(Incident { kind, view, asked: asked.clone(), at, again: 0, told });
        true
    }

    /// Those of the views that may be told of, oldest first.
    pub(super) fn tell(&self, may_tell: impl Fn(u32) -> bool, now: Moment) -> Vec<Value> {
        let told = self.kept.iter().filter(|incident| may_tell(incident.view)).map(|incident| {
            let mut told = incident.told.clone();
            told["kind"] = incident.kind.word().into();
            told["ago_ms"] = millis(now.since(incident.at)).into();
            told["again"] = incident.again.into();
            told
        });
        told.collect()
    }

    pub(super) fn beyond(&self) -> u64 {
        self.beyond
    }
}
