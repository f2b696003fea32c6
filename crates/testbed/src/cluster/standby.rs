//! Standbys: copies that follow a cluster's log, and may take its place.

use std::sync::Mutex;

use super::Cluster;
use super::builder::line;
use crate::patience::until;
use crate::programs::{as_servant, must_run, postgres_bin};
use crate::{folder, free_port};

impl Cluster {
    /// A hot standby that streams from this server through a replication slot called `name`, and calls itself that, so
    /// that `synchronous_standby_names` can mean it. It listens on a port of its own and outlives this server.
    ///
    /// # Panics
    /// When `name` cannot name a slot, or the copy fails.
    #[track_caller]
    pub fn standby(&self, name: &str) -> Self {
        let standby = Self {
            port: free_port(),
            password: self.password.clone(),
            server: Mutex::default(),
            folder: folder::fresh(),
        };
        let mut copy = as_servant(postgres_bin().join("pg_basebackup"), standby.folder.path());
        copy.arg("-h").arg(self.socket_dir()).args(["-p", &self.port().to_string(), "-U", "postgres"]);
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--wal-method=stream"]);
        copy.args(["--create-slot", "--slot", name]).arg("-D").arg(standby.data_dir());
        must_run(&mut copy);
        let mut settings = standby.place();
        line(&mut settings, "cluster_name", name);
        standby.append("postgresql.conf", &settings);
        standby.start_again();
        standby
    }

    /// Makes this standby a primary, on a new timeline. Returns when it takes writes.
    ///
    /// # Panics
    /// When it is no standby, or the promotion takes longer than a minute.
    #[track_caller]
    pub fn promote(&self) {
        assert_eq!(self.psql("SELECT pg_promote(true, 60)"), "t", "not promoted\n{}", self.log_tail());
    }

    /// Returns when this standby shows all that `primary` had in its log at the call.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    #[track_caller]
    pub fn catch_up_with(&self, primary: &Self) {
        // What was written last need not be flushed, and only a commit sees to that at once.
        primary.psql("SELECT pg_logical_emit_message(true, 'testbed', '')");
        let target = primary.psql("SELECT pg_current_wal_flush_lsn()");
        let shows = format!("SELECT pg_last_wal_replay_lsn() >= '{target}'");
        until("the standby to catch up", || self.psql(&shows) == "t");
    }
}
