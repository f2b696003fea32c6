//! Servers that are about to run out of 32-bit transaction ids.
//!
//! To use up four thousand million ids takes days. A server that was stopped can be told to go on from any number; only
//! the file that remembers which transactions committed has to be there for it.

use super::Cluster;
use crate::folder;
use crate::programs::{as_servant, must_run, postgres_bin};

/// Ids whose state stands in one file of `pg_xact`: four to a byte, 8 KiB to a page, 32 pages.
const IDS_PER_FILE: u32 = 4 * 8192 * 32;

impl Cluster {
    /// Makes the next transaction of this stopped server the `xid`th of its epoch. A server that holds rows of its own
    /// must have frozen them before (`VACUUM FREEZE`), for their ids mean something else afterwards.
    ///
    /// # Panics
    /// When the server runs, or PostgreSQL's program refuses.
    #[track_caller]
    pub fn number_transactions_from(&self, epoch: u32, xid: u32) {
        assert!(self.server().is_none(), "the server must be stopped");
        let file = self.data_dir().join(format!("pg_xact/{:04X}", xid / IDS_PER_FILE));
        if !file.exists() {
            std::fs::write(&file, vec![0; IDS_PER_FILE as usize / 4]).expect("the file cannot be written");
            folder::give(&file);
        }
        // The oldest id still in use: the first of its page, so that nothing seems to be two thousand million ids old.
        let oldest = xid - xid % (4 * 8192);
        let mut command = as_servant(postgres_bin().join("pg_resetwal"), self.socket_dir());
        command.args(["-e", &epoch.to_string(), "-x", &xid.to_string(), "-u", &oldest.to_string()]);
        must_run(command.arg("-D").arg(self.data_dir()));
    }
}
