//! Candor's doors: parse, ask the engine, render. There is no cache logic here; what an answer is and what it is worth
//! is the engine's to say.
//!
//! ```text
//! candor.toml ─► config ─► assembly ─► service (views, sources, caches) ◄── every door
//!
//! request ─► http::path ─► http::gate ─► auth::key ─► http::demand ─► service ─► engine
//!                             │ auth                                               │
//! response ◄── http::headers, http::freshness, http::etag ◄── http::answer ◄───────┘    every refusal: http::Problem
//! ```
//!
//! Rooms:
//!
//! * [`config`]: reads `candor.toml` strictly; every mistake with its place and the mend.
//! * [`auth`]: who is asking and what that entitles to; the one place where a key is completed with a subject.
//! * [`assembly`]: from a [`Config`] to running sources and caches, or a list of what stands in the way.
//! * [`service`]: what every door asks: views by name, reads, fences, invalidations, the lives of entries.
//! * [`ask`]: what every door says alike of what it is asked: refusals, failures, the session of several answers.
//! * [`mod@http`]: the HTTP door: what is read from a request and written into a response, as pure functions; the
//!   routes; and the accept loop with its limits.
//! * [`session`]: session tokens as the doors read and write them.
//! * `audit`: holds served answers against the source itself, and counts false receipts.
//! * `metrics`: counters of the engine and the doors, rendered for Prometheus.
//!
//! Order in a request, which the routes keep: who is asking ([`http::Gate`]), whether they may
//! ([`auth::Caller::may_read`]), and only then whether the view exists, so that a refusal does not tell what exists.

pub mod ask;
pub mod assembly;
mod audit;
pub mod auth;
pub mod config;
mod database;
pub mod entry;
pub mod http;
mod invalidate;
mod load;
mod metrics;
pub mod service;
pub mod session;
mod upkeep;

pub use ask::{AskError, NotOffered, session_of};
pub use assembly::{Prepared, PreparedSource, PreparedView, Survey, Unreachable};
pub use audit::Campaign;
pub use config::{Complaints, Config, Environment, process_environment};
pub use database::Database;
pub use entry::{EntryKey, Json};
pub use http::Gate;
pub use http::listener::{ListenError, Listener};
pub use invalidate::TagName;
pub use service::{FeedHealth, ServedAnswer, ServedSource, ServedView, Service, Unready};
pub use session::Sessions;

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, or what it promises, cannot be kept. For its author to mend.
    #[error(transparent)]
    Config(#[from] Complaints),
    /// The door cannot open. For whoever runs the machine to mend.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Starts the service and binds its door. Connections are answered once [`Listener::run`] is called.
///
/// # Errors
///
/// See [`StartError`].
pub async fn listen(config: &Config, gate: Gate) -> Result<Listener, StartError> {
    let service = Service::start(config).await?;
    service.begin_audit();
    Ok(Listener::bind(config, service, gate).await?)
}

/// Serves until `shutdown` is ready, then drains. Returns whether everything in progress finished in time.
///
/// # Errors
///
/// See [`StartError`].
pub async fn serve(
    config: &Config,
    gate: Gate,
    shutdown: impl Future<Output = ()>,
) -> Result<bool, StartError> {
    let listener = listen(config, gate).await?;
    tracing::info!(address = %listener.address(), "listening");
    Ok(listener.run(shutdown).await)
}
