//! Which log a connection's positions count in.

use candor_core::LogId;
use xxhash_rust::xxh3::Xxh3;

/// What tells one log from every other whose positions must not be compared with it. A crash may lose commits that were
/// seen and give their numbers to others, so the time of the server's start belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// `system_identifier` of the cluster.
    pub(crate) system: u64,
    /// The timeline written to.
    pub(crate) timeline: u32,
    /// `pg_postmaster_start_time()`, in microseconds since 1970.
    pub(crate) started_micros: i64,
    /// The database.
    pub(crate) database: String,
}

impl Identity {
    /// The log's identity for everybody else.
    pub(crate) fn log(&self) -> LogId {
        let mut hash = Xxh3::new();
        hash.update(b"postgres");
        hash.update(&self.system.to_le_bytes());
        hash.update(&self.timeline.to_le_bytes());
        hash.update(&self.started_micros.to_le_bytes());
        hash.update(self.database.as_bytes());
        LogId(hash.digest())
    }
}
