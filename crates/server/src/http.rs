//! The HTTP door's parts: what is read from a request and what is written into a response.
//!
//! ```text
//! request ─► path (segments) ─► gate (who) ─► demand (level, token) ─► the engine
//!                                                                          │
//! response ◄─ headers (receipt, age, cache-status) ◄─ freshness (cache-control) ◄─ etag ◄┘      or problem
//! ```
//!
//! Everything here is a pure function of a request's parts or an answer's receipt; nothing reads a clock or a socket.
//! Every refusal is a [`Problem`], which says whose fault it is and what to do.

pub mod demand;
pub mod etag;
pub mod freshness;
pub mod gate;
pub mod headers;
pub mod path;
pub mod problem;

pub use demand::{CONSISTENCY_HEADER, ManyDemand, SESSION_HEADER};
pub use etag::ETag;
pub use gate::Gate;
pub use problem::{Kind, Problem, Whose};
