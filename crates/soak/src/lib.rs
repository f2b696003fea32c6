//! The long run: real PostgreSQL, real writers, everything that can go wrong, and an oracle that does not use Candor's
//! positions.
//!
//! ```text
//!  pgbench, psql, tasks ──► PostgreSQL ◄── proxies ◄── two instances of the library, one `candor serve`
//!                             │    │                        ▲
//!              observer: what  │    │ own slot: what         │ readers at every level note their own time
//!              is visible now  ▼    ▼ exists, in order       ▼
//!                             Truth  ────────────────►  Judge ──► Report
//! ```
//!
//! Where to look: `truth` for what is known of every version and since when; `judge` for what each promise is held
//! against; `faults` for what is broken on purpose. A false receipt is told with its whole story.
//!
//! Invariants: the oracle is lenient where it does not know and never unjust; its memory is bounded; every wait has an end.

mod clock;
mod door;
mod embedded;
mod faults;
mod histogram;
mod judge;
mod observation;
mod observer;
mod probe;
mod programs;
mod random;
mod readers;
mod report;
mod run;
mod schema;
mod story;
mod truth;
mod writers;

pub use embedded::Lie;
pub use report::Report;
pub use run::{Settings, run};
