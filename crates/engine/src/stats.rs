//! Counters that cost a hit about a nanosecond.
//!
//! A shared counter would make every core fight for its cache line. Each thread has a slot of its own, which it alone
//! writes, so that counting is a plain load and store; readers add the slots up. Threads beyond the number of slots
//! share the last one with atomic additions.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

const SLOTS: usize = 64;
const SHARED: usize = SLOTS - 1;

/// A fixed set of `N` counters.
#[derive(Debug)]
pub struct Counters<const N: usize> {
    slots: Box<[Slot<N>]>,
}

/// Aligned so that two threads' slots share no cache line (nor a pair of them, which some processors fetch together).
#[derive(Debug)]
#[repr(align(128))]
struct Slot<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| Slot(std::array::from_fn(|_| AtomicU64::new(0)))).collect() }
    }
}

impl<const N: usize> Counters<N> {
    /// Adds one.
    #[inline]
    pub fn count(&self, which: usize) {
        self.add(which, 1);
    }

    /// Adds `amount`.
    #[inline]
    pub fn add(&self, which: usize, amount: u64) {
        let slot = own_slot();
        let counter = &self.slots[slot].0[which];
        if slot == SHARED {
            counter.fetch_add(amount, Ordering::Relaxed);
        } else {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    /// The sum over all threads.
    pub fn sum(&self, which: usize) -> u64 {
        self.slots.iter().map(|slot| slot.0[which].load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// Which slots are taken, one bit each. The shared one is never taken.
static TAKEN: AtomicU64 = AtomicU64::new(1 << SHARED);
const _: () = assert!(SLOTS == 64, "one bit per slot");

struct Lease(usize);

impl Lease {
    fn take() -> Self {
        let mut taken = TAKEN.load(Ordering::Acquire);
        loop {
            let free = (!taken).trailing_zeros() as usize;
            if free >= SHARED {
                return Self(SHARED);
            }
            match TAKEN.compare_exchange_weak(taken, taken | 1 << free, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Self(free),
                Err(now) => taken = now,
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // From here on this thread may still count (in other destructors), while another thread takes the slot.
        SLOT.with(|slot| slot.set(SHARED));
        if self.0 != SHARED {
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

const UNKNOWN: usize = usize::MAX;

thread_local! {
    /// Without a destructor, so that reading it is one load.
    static SLOT: Cell<usize> = const { Cell::new(UNKNOWN) };
    static LEASE: Cell<Option<Lease>> = const { Cell::new(None) };
}

#[inline]
fn own_slot() -> usize {
    let slot = SLOT.with(Cell::get);
    if slot == UNKNOWN { take_slot() } else { slot }
}

#[cold]
fn take_slot() -> usize {
    let lease = Lease::take();
    let slot = lease.0;
    SLOT.with(|own| own.set(slot));
    // Refused while the thread is being torn down; the dropped lease has then set the slot back to the shared one.
    if LEASE.try_with(|own| own.set(Some(lease))).is_err() {
        SLOT.with(|own| own.set(SHARED));
        return SHARED;
    }
    slot
}

/// A histogram of durations in powers of two of a millisecond: bucket `n` holds what is below `2^n` ms.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: Counters<{ Histogram::BUCKETS }>,
}

impl Histogram {
    /// The last bucket holds everything from 2^30 ms (12 days).
    pub const BUCKETS: usize = 32;

    /// Counts a duration.
    pub fn count(&self, duration: std::time::Duration) {
        self.count_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a duration given in nanoseconds.
    #[inline]
    pub fn count_nanos(&self, nanos: u64) {
        let millis = nanos / 1_000_000;
        let bucket = (64 - millis.leading_zeros()) as usize;
        self.buckets.count(bucket.min(Self::BUCKETS - 1));
    }

    /// How many were counted.
    pub fn count_all(&self) -> u64 {
        (0..Self::BUCKETS).map(|bucket| self.buckets.sum(bucket)).sum()
    }

    /// Pairs of upper limit in milliseconds (`u64::MAX` for the last) and count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        (0..Self::BUCKETS).map(|bucket| {
            let limit = if bucket == Self::BUCKETS - 1 { u64::MAX } else { 1 << bucket };
            (limit, self.buckets.sum(bucket))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn nothing_is_lost_however_many_threads_count_and_die() {
        let counters = Arc::new(Counters::<2>::default());
        for _ in 0..3 {
            let threads: Vec<_> = (0..100)
                .map(|_| {
                    let counters = Arc::clone(&counters);
                    std::thread::spawn(move || (0..1000).for_each(|_| counters.count(1)))
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert_eq!((counters.sum(0), counters.sum(1)), (0, 300_000));
    }

    #[test]
    fn buckets_are_powers_of_two() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 3, 4, 1000, 1 << 40] {
            histogram.count(Duration::from_millis(millis));
        }
        let counted: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(1, 1), (2, 1), (4, 2), (8, 1), (1024, 1), (u64::MAX, 1)]);
    }
}
