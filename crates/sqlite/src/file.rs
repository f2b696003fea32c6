//! The database file: who it is, and how connections to it are opened.
//!
//! A path is not an identity. A file restored by renaming another one into its place has the same path and another
//! history, so every poll and every fill compares the [`FileId`] of the path with that of the file it holds open.
//!
//! *No connection ever creates the file:* an empty database where the source of truth was is not an answer.

use crate::fault;
use candor_core::port::SourceError;
use rusqlite::{Connection, OpenFlags};
use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Which file lies at a path: device, inode and time of creation. An inode alone may be given out again.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    created_nanos: u128,
}

impl FileId {
    /// The file that lies at `path` now.
    pub(crate) fn at(path: &Path) -> Result<Self, SourceError> {
        let metadata = std::fs::metadata(path)
            .map_err(|error| SourceError::down(format!("the database {}: {error}", path.display())))?;
        let created_nanos = metadata
            .created()
            .ok()
            .and_then(|created| created.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_nanos());
        let (device, inode) = device_and_inode(&metadata);
        Ok(Self { device, inode, created_nanos })
    }

    /// For the hash that names a log.
    pub(crate) fn bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.device.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.inode.to_le_bytes());
        bytes[16..].copy_from_slice(&self.created_nanos.to_le_bytes());
        bytes
    }
}

#[cfg(unix)]
fn device_and_inode(metadata: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn device_and_inode(_: &std::fs::Metadata) -> (u64, u64) {
    (0, 0)
}

/// What a connection may do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// `PRAGMA query_only`. Still opened for writing where the file allows it: a reader that may not write can neither
    /// roll back the journal of a crashed writer nor set up the shared memory of the write-ahead log.
    Query,
    /// May write.
    Write,
}

/// Opens the file at `path` and says which one it was. A file that is replaced meanwhile is opened again.
pub(crate) fn open(
    path: &Path,
    access: Access,
    busy_timeout: Duration,
) -> Result<(Connection, FileId), SourceError> {
    /// A path that is replaced more often than this while we open it will not hold still.
    const ATTEMPTS: usize = 3;
    for _ in 0..ATTEMPTS {
        let before = FileId::at(path)?;
        let doing = format!("opening the database {}", path.display());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(plain(path), flags).map_err(|error| fault::of(&doing, &error))?;
        let prepare = || -> rusqlite::Result<()> {
            connection.busy_timeout(busy_timeout)?;
            if access == Access::Query {
                connection.pragma_update(None, "query_only", true)?;
            }
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            Ok(())
        };
        prepare().map_err(|error| fault::of(&doing, &error))?;
        if FileId::at(path)? == before {
            return Ok((connection, before));
        }
    }
    Err(SourceError::down(format!("the database {} is being replaced again and again", path.display())))
}

/// SQLite may be built to read `file:…` as a URI, whose parameters could create the file or open another.
fn plain(path: &Path) -> Cow<'_, Path> {
    if path.as_os_str().as_encoded_bytes().starts_with(b"file:") {
        Cow::Owned(Path::new(".").join(path))
    } else {
        Cow::Borrowed(path)
    }
}

/// Prepared statements kept per connection. A view takes one, and one for each table whose values it meets.
const STATEMENTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_never_a_uri() {
        assert_eq!(plain(Path::new("file:shop.db?mode=memory")), Path::new("./file:shop.db?mode=memory"));
        assert_eq!(plain(Path::new("/data/file:shop.db")), Path::new("/data/file:shop.db"));
        let error = open(Path::new("file:none.db?mode=memory"), Access::Query, Duration::ZERO).unwrap_err();
        assert_eq!(error.fault, candor_core::port::Fault::Down);
    }
}
