//! The truth: every commit of a source.

use candor::Moment;
use parking_lot::Mutex;
use std::collections::HashMap;

/// What one commit did to one key.
#[derive(Copy, Clone, Debug)]
pub struct Commit {
    /// Its position in the log.
    pub at: u64,
    /// The value it gave the key; `None` if it removed it.
    pub value: Option<u64>,
    /// Noted after the commit returned: from here on it was visible to everyone.
    pub visible: Moment,
}

/// Every commit of a source, by key.
#[derive(Debug, Default)]
pub struct History {
    keys: Mutex<HashMap<u32, Vec<Commit>>>,
}

impl History {
    /// Adds a commit; positions ascend. Removing what is not there changes nothing and is no commit.
    pub fn record(&self, key: u32, commit: Commit) {
        let mut keys = self.keys.lock();
        let commits = keys.entry(key).or_default();
        if commits.last().and_then(|last| last.value) != commit.value {
            commits.push(commit);
        }
    }

    /// How many commits changed the key.
    pub fn changes_of(&self, key: u32) -> usize {
        self.keys.lock().get(&key).map_or(0, Vec::len)
    }

    /// The commits of a key, ascending. A key begins absent at position zero.
    pub fn of(&self, key: u32) -> Vec<Commit> {
        let beginning = Commit { at: 0, value: None, visible: Moment::ZERO };
        let keys = self.keys.lock();
        std::iter::once(beginning).chain(keys.get(&key).into_iter().flatten().copied()).collect()
    }
}
