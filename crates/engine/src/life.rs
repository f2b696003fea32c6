//! The life of a key, for whoever asks at three in the morning why it holds what it holds.
//!
//! What happens to keys outside of plain hits is noted in bounded rings. Nothing here is part of a proof.

use crate::follow::{FeedStatus, Noted};
use candor_core::{Moment, Position, Verdict};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;

const RINGS: usize = 16;
const NOTES_PER_RING: usize = 1024;

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The source was asked and answered.
    Filled {
        /// What the fill saw, if the loader said so.
        position: Option<Position>,
        /// How long it took.
        took: Duration,
        /// Whether the source has no value.
        absent: bool,
        /// Why it was given to its readers only, or `None` if it was kept.
        not_kept: Option<&'static str>,
    },
    /// The source was asked and failed.
    FillFailed {
        /// What it said.
        why: String,
    },
    /// A read found the entry outdated.
    FoundOutdated {
        /// The first change the entry does not reflect.
        by: u64,
    },
    /// A read found an entry the ledger cannot judge.
    FoundVoid {
        /// Why.
        why: &'static str,
    },
    /// A read found the time to live ended.
    FoundExpired,
    /// A read was refused.
    Refused {
        /// Why.
        why: String,
    },
    /// An answer was given that was less than asked for.
    Degraded {
        /// Why.
        why: &'static str,
    },
    /// An application invalidated the key.
    Invalidated,
}

/// A happening and its moment.
#[derive(Clone, Debug)]
pub struct Happened {
    /// When.
    pub at: Moment,
    /// What.
    pub what: Happening,
}

/// Everything known of one key.
#[derive(Clone, Debug)]
pub struct Life {
    /// When this was put together.
    pub now: Moment,
    /// The entry in memory, if there is one.
    pub entry: Option<EntryFacts>,
    /// Whether the log is followed.
    pub feed: FeedStatus,
    /// Where this instance's ledger stands.
    pub watermark: Option<Position>,
    /// The oldest position from which it is complete.
    pub horizon: Option<u64>,
    /// The latest moment up to which it is proven complete.
    pub proven_until: Option<Moment>,
    /// What happened to the key, oldest first, as far as it is remembered.
    pub happenings: Vec<Happened>,
    /// Changes on the entry's tags that arrived lately, oldest first.
    pub changes: Vec<Noted>,
}

/// The entry as it stands.
#[derive(Clone, Debug)]
pub struct EntryFacts {
    /// When its fill began.
    pub filled_at: Moment,
    /// Where its stamp ends.
    pub upper: u64,
    /// Up to where it was judged.
    pub proven: u64,
    /// When its time to live ends.
    pub expires_at: Option<Moment>,
    /// Whether it says "absent".
    pub absent: bool,
    /// How many tags it has.
    pub tags: usize,
    /// What the ledger says of it now; `None` where the ledger has seen no record yet.
    pub verdict: Option<Verdict>,
}

/// Happenings of all keys, by hash of the key.
pub(crate) struct Notes {
    rings: [Mutex<VecDeque<(u64, Happened)>>; RINGS],
}

impl Notes {
    pub(crate) fn new() -> Self {
        Self { rings: std::array::from_fn(|_| Mutex::default()) }
    }

    pub(crate) fn note(&self, key: u64, at: Moment, what: Happening) {
        let mut ring = self.rings[key as usize % RINGS].lock();
        if ring.len() == NOTES_PER_RING {
            ring.pop_front();
        }
        ring.push_back((key, Happened { at, what }));
    }

    pub(crate) fn of(&self, key: u64) -> Vec<Happened> {
        let ring = self.rings[key as usize % RINGS].lock();
        ring.iter().filter(|(of, _)| *of == key).map(|(_, happened)| happened.clone()).collect()
    }
}
