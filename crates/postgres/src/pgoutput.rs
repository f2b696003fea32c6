//! What the log says: messages of the output plugin `pgoutput`, protocol version 1.
//!
//! Version 1 tells of whole transactions, in the order of their commits, and only of those that committed.
//!
//! ```text
//!  Begin  Relation? (Insert | Update | Delete | Truncate | Message)*  Commit
//!         └ once per table and connection, and again after its shape changed
//! ```
//!
//! Invariants: no bytes make this panic or take memory out of proportion to their number; what is not understood to its
//! last byte is an error, since a change that was half understood would be a change lost. An error ends the session.

mod decoder;
mod event;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod oracle;
mod reader;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub(crate) use decoder::Decoder;
pub(crate) use event::{Cell, Event, Identity as ReplicaIdentity, Old, Relation, Tuple};
#[cfg(test)]
pub(crate) use oracle::agree;
pub(crate) use reader::{Malformed, Reader};
