//! Where entries are kept.
//!
//! A tier stores and evicts, and calls nobody. It evicts for space, never for truth, and it is never trusted: whoever
//! reads an entry judges it with a ledger. So no promise rests on a tier executing a removal, keeping an order or
//! surviving anything; a tier that loses, repeats or resurrects entries costs fills, not truth.

mod memory;

pub use memory::Memory;

use candor_core::Entry;

/// A place for entries.
///
/// # Contract
///
/// * `get` returns an entry that was `put` under that key, whole, or nothing. It may be one that was replaced or
///   removed before: tiers are allowed to be wrong about time.
/// * Memory is bounded by the tier itself.
/// * No method blocks longer than it takes to copy an entry.
pub trait Tier<K, V>: Send + Sync {
    /// The entry, counted as a use by the eviction policy.
    fn get(&self, key: &K) -> Option<Entry<V>>;

    /// Keeps the entry, unless a better one (of the same generation, filled later) is there.
    fn put(&self, key: K, entry: Entry<V>);

    /// Notes that this entry, if it is still the one that is kept, is now proven further.
    fn prove(&self, key: &K, entry: &Entry<V>);

    /// Drops the entry. Returns whether there was one.
    fn remove(&self, key: &K) -> bool;

    /// Keeps only the entries for which `keep` holds. Visits everything; not for hot paths.
    fn retain(&self, keep: &mut dyn FnMut(&K, &Entry<V>) -> bool);

    /// What the tier holds at the moment.
    fn usage(&self) -> Usage;
}

/// What a tier holds.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of entries.
    pub entries: usize,
    /// Bytes, by the tier's own account.
    pub bytes: u64,
    /// The most bytes it will hold.
    pub bytes_max: u64,
    /// Entries dropped for space since the start.
    pub evicted: u64,
}
