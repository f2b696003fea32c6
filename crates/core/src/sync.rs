//! What the ledger's threads meet at: atomics, a fence, a lock.
//!
//! The real ones, except in the tests of `cargo x concurrency`. There they are those of Loom, which tries every
//! interleaving and every value a load may return, so that the code under test is the code that ships (see
//! docs/decisions/0023).

#[cfg(not(all(test, candor_interleavings)))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(all(test, candor_interleavings)))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(all(test, candor_interleavings))]
pub(crate) mod checked;
#[cfg(all(test, candor_interleavings))]
pub(crate) use checked::{AtomicU32, AtomicU64, Mutex, Ordering, fence};
