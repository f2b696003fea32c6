//! The world in which Candor is put to the test.
//!
//! * [`History`]: the truth. Every commit of a source, with its position and the moments around it.
//! * [`auditor`]: holds what readers were told against the truth, promise by promise.
//! * [`readers`]: tasks that read the same keys at every level while a writer changes them.
//! * [`seeded`]: the same under one scheduler with virtual time: one seed, one history.
//! * [`Source`]: the sources under test: the one in memory; a real SQLite database is among the tests.
//!
//! A false receipt anywhere is a failure; how many there were, and of which kind, is the figure that must be zero.

pub mod auditor;
mod history;
pub mod readers;
pub mod seeded;
mod source;

pub use history::{Commit, History};
pub use source::{LoadFault, MemoryWorld, Source, linger, linger_until_changed};
