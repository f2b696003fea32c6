//! The in-process tier: quick_cache as storage, bounded by bytes.
//!
//! Only the storage is used. The crate's loaders are not: a cache crate's loader cannot know of a change that arrives
//! while it loads. Entries lie inline beside their keys, so that a hit touches one slot and allocates nothing.

use crate::{Tier, Usage};
use candor_core::Entry;
use quick_cache::sync::{Cache, EntryAction};
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Measured cost of a slot in the table beyond key and entry, in bytes, including the room the table grows into.
const SLOT_BYTES: u64 = 32;

/// What an entry owns beyond its slot, in bytes.
type Weigh<K, V> = Arc<dyn Fn(&K, Option<&V>) -> u64 + Send + Sync>;

/// Entries in this process's memory.
pub struct Memory<K, V> {
    entries: Cache<K, Entry<V>, SlotWeighter<K, V>, DefaultHashBuilder, CountEvictions>,
    evicted: Arc<AtomicU64>,
}

impl<K: Hash + Eq + Clone, V: Clone> Memory<K, V> {
    /// A tier of at most `bytes_max` bytes. `weigh` says how many bytes a key and its answer own on the heap, beyond
    /// their own size.
    pub fn new(bytes_max: u64, weigh: impl Fn(&K, Option<&V>) -> u64 + Send + Sync + 'static) -> Self {
        let slot = slot_bytes::<K, V>();
        // Decides how many shards there are and how many evicted keys are remembered. The tables do not start at this
        // size, whatever it is: they grow with what they hold.
        let estimated = usize::try_from(bytes_max / (slot * 4)).unwrap_or(usize::MAX).max(16);
        let evicted = Arc::new(AtomicU64::new(0));
        let weighter = SlotWeighter { slot, heap: Arc::new(weigh) };
        let lifecycle = CountEvictions(Arc::clone(&evicted));
        let hasher = DefaultHashBuilder::default();
        let options =
            OptionsBuilder::new().estimated_items_capacity(estimated).weight_capacity(bytes_max).build();
        let entries = match options {
            Ok(options) => Cache::with_options(options, weighter, hasher, lifecycle),
            // The builder only refuses missing sizes; both are given above.
            Err(_) => Cache::with(estimated, bytes_max, weighter, hasher, lifecycle),
        };
        Self { entries, evicted }
    }
}

impl<K, V> Tier<K, V> for Memory<K, V>
where
    K: Hash + Eq + Clone + Send + Sync,
    V: Clone + Send + Sync,
{
    #[inline]
    fn get(&self, key: &K) -> Option<Entry<V>> {
        self.entries.get(key)
    }

    fn put(&self, key: K, entry: Entry<V>) {
        let known = self.entries.peek(&key);
        if known.as_ref().is_some_and(|known| known.is_later_fill_than(&entry)) {
            return;
        }
        let mut replacing = Replacing(known.is_some());
        self.entries.insert_with_lifecycle(key, entry, &mut replacing);
    }

    fn prove(&self, key: &K, entry: &Entry<V>) {
        // Looked at first: `entry` on a missing key would leave a placeholder for a moment.
        if self.entries.contains_key(key) {
            self.entries.entry(key, None, |_, known: &mut Entry<V>| {
                if known.is_same_fill(entry) {
                    known.set_proven(entry.proven());
                }
                EntryAction::Retain(())
            });
        }
    }

    fn remove(&self, key: &K) -> bool {
        self.entries.remove(key).is_some()
    }

    fn retain(&self, keep: &mut dyn FnMut(&K, &Entry<V>) -> bool) {
        let doomed: Vec<K> =
            self.entries.iter().filter(|(key, entry)| !keep(key, entry)).map(|(key, _)| key).collect();
        for key in doomed {
            self.entries.remove_if(&key, |entry| !keep(&key, entry));
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            entries: self.entries.len(),
            bytes: self.entries.weight(),
            bytes_max: self.entries.capacity(),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}

const fn slot_bytes<K, V>() -> u64 {
    (size_of::<K>() + size_of::<Entry<V>>()) as u64 + SLOT_BYTES
}

struct SlotWeighter<K, V> {
    slot: u64,
    heap: Weigh<K, V>,
}

impl<K, V> Clone for SlotWeighter<K, V> {
    fn clone(&self) -> Self {
        Self { slot: self.slot, heap: Arc::clone(&self.heap) }
    }
}

impl<K, V> Weighter<K, Entry<V>> for SlotWeighter<K, V> {
    fn weight(&self, key: &K, entry: &Entry<V>) -> u64 {
        self.slot + entry.heap_bytes() + (self.heap)(key, entry.value())
    }
}

/// Counts what was dropped for space. The crate also says of an entry whose place another takes that it is evicted.
#[derive(Clone)]
struct CountEvictions(Arc<AtomicU64>);

/// Whether an entry of the same key is about to be replaced.
#[derive(Default)]
struct Replacing(bool);

impl<K, V> Lifecycle<K, Entry<V>> for CountEvictions {
    type RequestState = Replacing;

    fn on_evict(&self, replacing: &mut Replacing, _: K, _: Entry<V>) {
        if !std::mem::take(&mut replacing.0) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, candor_interleavings))]
mod interleavings;

#[cfg(test)]
mod tests {
    use super::*;
    use candor_core::{EntryParts, Epoch, LogId, Moment, Position, Snapshot, Stamp, Tag};
    use std::time::Duration;

    fn entry(value: &str, at: u64) -> Entry<Arc<str>> {
        Entry::new(EntryParts {
            value: Some(value.into()),
            filled_at: Moment::from_nanos(at),
            stamp: Stamp::Sequence(Position { epoch: Epoch { log: LogId(1), era: 0 }, at }),
            tags: vec![Tag(1)],
            generation: 2,
            ttl: Duration::from_secs(1),
        })
    }

    fn memory(bytes_max: u64) -> Memory<u64, Arc<str>> {
        Memory::new(bytes_max, |_, value| value.map_or(0, |text: &Arc<str>| text.len() as u64 + 16))
    }

    #[test]
    fn an_earlier_fill_does_not_replace_a_later_one() {
        let memory = memory(1 << 20);
        memory.put(1, entry("new", 20));
        memory.put(1, entry("old", 10));
        assert_eq!(memory.get(&1).unwrap().value().map(AsRef::as_ref), Some("new"));
    }

    #[test]
    fn proving_further_touches_only_the_same_fill() {
        let memory = memory(1 << 20);
        memory.put(1, entry("a", 10));
        let mut seen = memory.get(&1).unwrap();
        seen.set_proven(50);
        memory.prove(&1, &seen);
        assert_eq!(memory.get(&1).unwrap().proven(), 50);
        memory.put(1, entry("b", 60));
        seen.set_proven(70);
        memory.prove(&1, &seen);
        assert_eq!(memory.get(&1).unwrap().proven(), 60);
        memory.prove(&2, &seen);
        assert!(memory.get(&2).is_none());
    }

    #[test]
    fn a_proof_is_not_remembered_for_another_fill_of_the_same_moment_and_position() {
        let fill = |value: &str, xmax: u64| {
            let upper = Position { epoch: Epoch { log: LogId(1), era: 0 }, at: 10 };
            let snapshot = Snapshot { upper, certain: 5, xmin: 7, xmax, in_progress: Box::default() };
            Entry::new(EntryParts {
                value: Some(Arc::<str>::from(value)),
                filled_at: Moment::from_nanos(1),
                stamp: Stamp::Snapshot(Arc::new(snapshot)),
                tags: vec![Tag(1)],
                generation: 2,
                ttl: Duration::from_secs(1),
            })
        };
        let memory = memory(1 << 20);
        memory.put(1, fill("sees 7", 8));
        let mut seen = memory.get(&1).unwrap();
        seen.set_proven(50);
        memory.put(1, fill("does not see 7", 7));
        memory.prove(&1, &seen);
        assert_eq!(memory.get(&1).unwrap().proven(), 5, "proven by what another fill saw");
    }

    #[test]
    fn bytes_are_bounded_and_evictions_counted() {
        let memory = memory(64 << 10);
        let text = "x".repeat(1000);
        for key in 0..1000 {
            memory.put(key, entry(&text, 1));
        }
        let usage = memory.usage();
        assert!(usage.bytes <= usage.bytes_max, "{usage:?}");
        assert!(usage.entries < 64 && usage.evicted + usage.entries as u64 == 1000, "{usage:?}");
        memory.put(999, entry(&text, 2));
        assert_eq!(memory.usage().evicted, usage.evicted, "a refill drops nothing");
    }

    #[test]
    fn retain_drops_what_is_not_kept() {
        let memory = memory(1 << 20);
        for key in 0..10 {
            memory.put(key, entry("x", key));
        }
        memory.retain(&mut |key, _| key % 2 == 0);
        assert_eq!(memory.usage().entries, 5);
        assert!(memory.remove(&2) && !memory.remove(&3));
    }
}
