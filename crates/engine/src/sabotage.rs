//! Defences taken out on purpose, to see that the tests notice.
//!
//! Compiled only with `--cfg candor_sabotage` (see `cargo x sabotage`); no ordinary build contains any of it.

use std::sync::atomic::{AtomicU8, Ordering};

/// A defence that can be taken out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sabotage {
    /// None.
    Nothing = 0,
    /// Every entry passes as current.
    JudgeAlwaysCurrent = 1,
    /// A read joins whatever is being loaded, however long ago it began.
    JoinAnyFlight = 2,
}

static ACTIVE: AtomicU8 = AtomicU8::new(0);

/// Takes one defence out, for the whole process.
pub fn set(sabotage: Sabotage) {
    ACTIVE.store(sabotage as u8, Ordering::SeqCst);
}

pub(crate) fn is(sabotage: Sabotage) -> bool {
    ACTIVE.load(Ordering::Relaxed) == sabotage as u8
}
