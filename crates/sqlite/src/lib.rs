//! SQLite as a source and a log.
//!
//! SQLite keeps no log that others could read, so `candor setup` adds one: triggers that write what changed into a
//! table, in the writer's own transaction. Whoever writes (another service, the `sqlite3` shell, a migration), the
//! change is in the log exactly if it is in the data.
//!
//! ```text
//!  writers ──► tables ──triggers──► candor_changes
//!                │                        │
//!                │  one read transaction  │  one poll per batch of fences
//!                ▼                        ▼
//!  fills ◄── reader threads         log thread ──► feeds, fences
//!            value, tags, position       position, changes
//! ```
//!
//! A position is the number of the newest row of the log; SQLite commits one transaction after another, so a fill that
//! read number 17 in its transaction has seen everything up to 17 and nothing beyond. The era is SQLite's
//! `schema_version`: every schema change voids proofs, and the log is only followed on while every trigger still stands
//! as setup made it. A history that was rewritten (a backup restored in place, another file under the same path) is told
//! by random marks, a stored identity and the file's own, and begins a new log.
//!
//! **What a writer can do that nobody sees:** switch triggers off (`SQLITE_DBCONFIG_ENABLE_TRIGGER`), edit the log's own
//! tables, or write to the file past SQLite. Temporary and attached databases have no part in the log.
//!
//! Where to look: [`sqlite`] is the handle; `log` and `history` are the truth path, `reader` and `fill` the read path;
//! `prepare`, `joins` and `reach` derive what a view depends on; `setup` and `triggers` are what stands in the database.

mod depend;
mod facets;
mod fault;
mod feed;
mod file;
mod fill;
mod history;
mod image;
mod inspect;
mod joins;
mod json;
mod log;
mod look;
pub mod options;
mod params;
mod prepare;
mod queue;
mod reach;
mod reader;
mod refuse;
mod schema;
mod setup;
pub mod sqlite;
pub mod status;
mod text;
mod triggers;
pub mod trim;
mod view;
pub mod watch;

pub use options::SqliteOptions;
pub use sqlite::{SetupPlan, Sqlite};
pub use status::{SetupState, Status};
pub use trim::{TrimOptions, Trimmed};
pub use watch::{Plan, Watch};
