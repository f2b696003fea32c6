//! What the engine's threads meet at: atomics and locks.
//!
//! The real ones, except in the tests of `cargo x concurrency`. There they are those of Shuttle, which decides at each of
//! them who goes on, so that the code under test is the code that ships (see docs/decisions/0023).

#[cfg(not(all(test, candor_interleavings)))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(all(test, candor_interleavings)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

#[cfg(all(test, candor_interleavings))]
mod checked;
#[cfg(all(test, candor_interleavings))]
pub(crate) use checked::Mutex;
#[cfg(all(test, candor_interleavings))]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
