//! The exact part of the ledger: per tag, the latest changes, within a fixed number per shard.

use crate::rule::Remembered;
use crate::tag::Tag;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Changes kept per tag. A tag that changes more often than it is read forgets its oldest changes first. That costs a
/// sequence stamp nothing (it sees all or none of them), a snapshot a needless refill.
const CHANGES_PER_TAG: usize = 4;

/// The histories of the tags that hash to one shard.
#[derive(Debug)]
pub(super) struct Shard {
    histories: HashMap<Tag, History, BuildHasherDefault<TagHasher>>,
    /// Every change in order of arrival. The front is the next to be forgotten.
    arrivals: VecDeque<(Tag, u64)>,
    capacity: usize,
}

/// What is remembered of one tag.
#[derive(Debug)]
pub(super) struct History {
    /// Changes of this tag at or below are no longer in `changes`.
    forgotten: u64,
    /// Oldest first.
    changes: Vec<Remembered>,
}

/// What is remembered of every tag that did not change.
static NOTHING: History = History { forgotten: 0, changes: Vec::new() };

impl History {
    /// Detail of this tag's own changes at or below this position is gone.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The remembered changes, oldest first.
    pub(super) fn changes(&self) -> &[Remembered] {
        &self.changes
    }

    fn push(&mut self, change: Remembered) {
        if self.changes.len() == CHANGES_PER_TAG {
            self.forgotten = self.changes.remove(0).at;
        }
        self.changes.reserve_exact(1);
        self.changes.push(change);
    }
}

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Self { histories: HashMap::default(), arrivals: VecDeque::new(), capacity }
    }

    /// What is remembered of a tag.
    pub(super) fn history(&self, tag: Tag) -> &History {
        self.histories.get(&tag).unwrap_or(&NOTHING)
    }

    /// Remembers a change. Returns the tag that had to be forgotten altogether for it, if any, and the position up to
    /// which its detail is gone.
    pub(super) fn push(&mut self, tag: Tag, change: Remembered) -> Option<(Tag, u64)> {
        self.histories.entry(tag).or_insert(History { forgotten: 0, changes: Vec::new() }).push(change);
        self.arrivals.push_back((tag, change.at));
        if self.arrivals.len() <= self.capacity {
            return None;
        }
        let (oldest, at) = self.arrivals.pop_front()?;
        self.forget(oldest, at)
    }

    /// Number of changes held, in the histories and in the order of arrival, whichever is more.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let remembered = self.histories.values().map(|history| history.changes.len()).sum();
        self.arrivals.len().max(remembered)
    }

    pub(super) fn clear(&mut self) {
        self.histories.clear();
        self.arrivals.clear();
    }

    /// Drops the change of `tag` at `at`. A tag that has later changes keeps its own account of what it forgot; one
    /// that has none leaves it to the caller.
    fn forget(&mut self, tag: Tag, at: u64) -> Option<(Tag, u64)> {
        let history = self.histories.get_mut(&tag)?;
        if history.changes.first().is_some_and(|oldest| oldest.at == at) {
            history.changes.remove(0);
            history.forgotten = at;
        }
        if !history.changes.is_empty() {
            return None;
        }
        self.histories.remove(&tag);
        Some((tag, at))
    }
}

/// Tags are hashes already.
#[derive(Default)]
pub(super) struct TagHasher(u64);

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    /// The low bits chose the shard and are alike within it; the table takes its bucket from the low bits.
    fn write_u64(&mut self, tag: u64) {
        self.0 = tag.rotate_right(16);
    }
}
