//! The HTTP door's parts: what is read from a request and what is written into a response.
//!
//! ```text
//! request ─► path (segments) ─► gate (who) ─► demand (level, token) ─► the engine
//!                                                                          │
//! response ◄─ headers (receipt, age, cache-status) ◄─ freshness (cache-control) ◄─ etag ◄┘      or problem
//! ```
//!
//! All but five files are pure functions of a request's parts or an answer's receipt and read neither clock nor socket:
//! `routes` asks the service, `body` reads what a request carries, and the sockets are in [`listener`], `connection` and
//! `progress`.
//! Every refusal is a [`Problem`], which says whose fault it is and what to do.

mod answer;
mod audit;
mod body;
mod connection;
pub mod demand;
pub mod etag;
pub mod explain;
mod failure;
pub mod freshness;
pub mod gate;
pub mod headers;
pub mod listener;
pub mod path;
pub mod problem;
mod progress;
mod routes;

pub use answer::receipt_json;
pub use demand::{CONSISTENCY_HEADER, ManyDemand, SESSION_HEADER};
pub use etag::ETag;
pub use gate::Gate;
pub use problem::{Kind, Problem, Whose};
