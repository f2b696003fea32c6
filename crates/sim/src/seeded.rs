//! The seeded world: several real engines over one modelled source, under one scheduler with virtual time.
//!
//! ```text
//!  plan ──► history ──► server (truth)  ◄── writers
//!   │          │           │ log │ reads
//!   seed       │        link … link     one way per instance: slow, cut, repeating
//!              │           │     │
//!              │        engine engine   the real ledger, tier, flights, fences
//!              │           │     │
//!              │        readers, sessions ──► audit ──► figures | violation ──► shrink ──► story
//!              └── faults, each at its time
//! ```
//!
//! One root seed gives one history, byte for byte: two runs of a plan have the same digest of every step and answer.
//! What is real and what is modelled: `docs/proof.md`.

pub mod audit;
pub mod chance;
pub mod client;
pub mod corpus;
pub mod executor;
pub mod faults;
mod fence;
pub mod figures;
pub mod history;
pub mod link;
pub mod mutant;
pub mod plan;
pub mod publication;
pub mod search;
pub mod server;
pub mod shrink;
pub mod task;
pub mod truth;
pub mod writer;

/// What a snapshot is certain of, and how far a fence must reach: not a model but the files of the source's own crate, whose
/// other rooms need sockets.
#[allow(dead_code, reason = "some of it is asked by rooms that are not here")]
#[path = "../../postgres/src/visibility.rs"]
mod visibility;

/// The room in which that file looks for its words.
mod fill {
    pub(super) use super::visible::Visible;
}

#[allow(dead_code, reason = "the text of a snapshot is read where there is a server")]
#[path = "../../postgres/src/fill/visible.rs"]
mod visible;

/// What fences remember of their answers.
#[path = "../../postgres/src/log/intact.rs"]
mod intact;
