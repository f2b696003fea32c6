//! Candor's doors: parse, ask the engine, render. There is no cache logic here; what an answer is and what it is worth
//! is the engine's to say.
//!
//! ```text
//! candor.toml ─► config ─► declarations ─► (assembly: sources, engine, doors) ─► the accept loop
//!
//! request ─► http::path ─► http::gate ─► auth::key ─► http::demand ─► engine
//!                             │ auth                                     │
//! response ◄── http::headers, http::freshness, http::etag ◄── receipt ◄──┘        every refusal: http::Problem
//! ```
//!
//! Rooms:
//!
//! * [`config`]: reads `candor.toml` strictly; every mistake with its place and the mend.
//! * [`auth`]: who is asking and what that entitles to; the one place where a key is completed with a subject.
//! * [`mod@http`]: what is read from a request and written into a response, as pure functions.
//!
//! What is added above these, each in its own file:
//!
//! * `http::routes`: the calls of the HTTP door, one function each; they hold no state but the engine's handle.
//! * `http::listener`: our own accept loop on hyper-util, because its limits are promises: a timeout for headers
//!   (against clients that send one byte a minute), a limit for headers and bodies, a cap on connections, and a drain
//!   that lets requests in progress finish. The limits are [`config::RequestLimits`].
//! * `metrics`: counters of the engine and the doors, rendered for Prometheus.
//! * `assembly`: from a [`config::Config`] to running sources, engine and doors; asks [`auth::exposure::check`] once
//!   more with the address that was really bound.
//!
//! Order in a request, which the routes keep: who is asking ([`http::Gate`]), whether they may
//! ([`auth::Caller::may_read`]), and only then whether the view exists, so that a refusal does not tell what exists.

pub mod auth;
pub mod config;
pub mod http;
