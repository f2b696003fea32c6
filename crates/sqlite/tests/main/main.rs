//! Candor on real SQLite files, written to by other connections, the `sqlite3` shell and Python.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod changes;
mod concurrent;
mod fills;
mod histories;
mod setups;
mod soundness;
mod trimming;
mod views;
mod world;
