//! PostgreSQL as a source and a log.
//!
//! Postgres keeps the log itself: the write-ahead log, read here through logical decoding. Whoever writes (another
//! service, psql, a migration), the change arrives if it committed. It can arrive *before* it is visible to new snapshots,
//! so every fill brings its snapshot along, and only the snapshot decides.
//!
//! ```text
//!  writers ──► tables ──► write-ahead log ──► walsender ──pgoutput──► session ─► decoder ─► log task ─► feeds
//!                │                                                                             ▲
//!                │ one statement                             insert position, keepalive asked  │
//!                ▼                                                                             │
//!  fills ◄── pool: value, snapshot, insert position, tags                        fence ────────┘
//! ```
//!
//! Where to look: `postgres` is the handle; `log` and `visibility` are the truth path, `session` and `pgoutput` carry it;
//! `pool`, `fill` and `standby` are the read path; `derive` and `catalog` say what a view depends on,
//! `names` what its names mean; `setup` and `status` are for
//! the people who run it.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "real servers are waited for in real time"))]

mod canonical;
mod catalog;
mod connect;
mod derive;
mod facets;
mod fault;
mod fill;
mod identity;
mod log;
mod lsn;
mod names;
pub mod options;
mod pgoutput;
mod pool;
pub mod postgres;
mod refuse;
mod session;
mod setup;
mod standby;
pub mod status;
mod token;
mod view;
mod visibility;

pub use lsn::Lsn;
pub use options::{ConnectOptions, PostgresOptions};
pub use pool::PoolFigures;
pub use postgres::{Postgres, SetupPlan};
pub use setup::{SetupOptions, is_remark};
pub use standby::StandbyFigures;
pub use status::SlotFigures;
pub use token::{is_token, read_token};
