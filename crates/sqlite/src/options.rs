//! How a database is used, with a reason for every default.

use crate::trim::TrimOptions;
use std::path::PathBuf;
use std::time::Duration;

/// How a database is used. Every number has a default that suits a service on one machine.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The database file. It must exist: Candor never creates one.
    pub path: PathBuf,
    /// Threads that answer fills, each with its own connection. Two keep a slow query from delaying all others.
    pub readers: usize,
    /// Fills that may wait for a reader. The engine limits loads before they come here; this is the last wall.
    pub fill_queue: usize,
    /// Fences that may wait; all that wait share one look at the log.
    pub fence_queue: usize,
    /// How long a statement waits for another connection's lock. In the write-ahead log readers hardly ever wait.
    pub busy_timeout: Duration,
    /// The most rows of one answer.
    pub rows_max: usize,
    /// The most bytes of JSON of one fill.
    pub bytes_max: usize,
    /// Records kept for a follower that is slow; beyond, it sees a gap.
    pub feed_records: usize,
    /// Changes in one record; a look that finds more opens a gap, so that one huge transaction cannot fill the memory.
    pub record_changes_max: usize,
    /// How the change log is kept short.
    pub trim: TrimOptions,
}

impl SqliteOptions {
    /// The defaults, for a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            readers: 2,
            fill_queue: 256,
            fence_queue: 4096,
            busy_timeout: Duration::from_millis(250),
            rows_max: 10_000,
            bytes_max: 8 << 20,
            feed_records: 1024,
            record_changes_max: 50_000,
            trim: TrimOptions::default(),
        }
    }
}
