//! The protocol of fills, changes and answers under a model checker: every interleaving of a small world.
//!
//! ```text
//!   writers ─► source ─── log ──► (relay) ──► ledger of each instance ─┐
//!                 │                                                    ├─► look ─► answer ══ held against what was visible
//!                 └─ fills (primary, standby) ──► memory ◄─► second tier ┘
//! ```
//!
//! The rule, the stamps, the positions and the ledgers are those of `candor-core`; the model decides only what happens
//! when. Each defence can be taken out ([`Variant`]), and the search must then find the answer that is false. What is
//! in the model and what is not: `docs/model.md`.
//!
//! Invariants: a step of the model is atomic where the real thing is (one statement, one record, one look) and nowhere
//! else; time is the number of changes of what is visible, so that no two histories differ by a clock alone.

mod defence;
mod instance;
mod protocol;
mod reads;
mod search;
mod set;
mod size;
mod source;
mod tell;

pub use defence::Variant;
pub use protocol::{BOUNDED, Protocol, RECEIPTS, SESSION, SNAPSHOT, STRONG, State, Step};
pub use search::{Counterexample, Searched, exhaust, refute};
pub use set::Set;
pub use size::{Holder, Level, Size, Wanted, Writer};
