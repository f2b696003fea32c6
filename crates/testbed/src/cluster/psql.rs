//! Talking to a cluster through `psql`, as its superuser, on its socket.

use std::path::Path;
use std::process::Command;

use super::Cluster;
use crate::patience::until;
use crate::programs::{postgres_bin, run, without_wishes};

impl Cluster {
    /// Runs `sql` in the database `postgres`, each statement for itself, and gives what it printed: rows on lines,
    /// columns between `|`, no headings, no newline at the end.
    ///
    /// # Panics
    /// With the server's message when a statement fails.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in("postgres", sql)
    }

    /// As [`Cluster::psql`], in `database`.
    ///
    /// # Panics
    /// With the server's message when a statement fails.
    #[track_caller]
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        let answer = self.try_psql_in(database, sql);
        answer.unwrap_or_else(|error| panic!("{error}\nin: {sql}\n{}", self.log_tail()))
    }

    /// As [`Cluster::psql`], for statements that may fail.
    ///
    /// # Errors
    /// The server's message.
    pub fn try_psql(&self, sql: &str) -> Result<String, String> {
        self.try_psql_in("postgres", sql)
    }

    /// As [`Cluster::psql_in`], for statements that may fail.
    ///
    /// # Errors
    /// The server's message.
    pub fn try_psql_in(&self, database: &str, sql: &str) -> Result<String, String> {
        let answer = run(self.client("psql").args(PLAIN).args(["-d", database, "-f", "-"]), sql)?;
        Ok(answer.trim_end_matches('\n').to_owned())
    }

    /// Runs the file at `path` in `database`.
    ///
    /// # Panics
    /// With the server's message when a statement fails.
    #[track_caller]
    pub fn psql_file(&self, database: &str, path: impl AsRef<Path>) -> String {
        let path = path.as_ref();
        let answer = run(self.client("psql").args(PLAIN).args(["-d", database, "-f"]).arg(path), "");
        let answer = answer.unwrap_or_else(|error| panic!("{error}\nin: {}", path.display()));
        answer.trim_end_matches('\n').to_owned()
    }

    /// Changes a setting for good and reads the configuration again. Returns when every new session has it; one that
    /// needs a restart has to be followed by [`Cluster::restart`].
    ///
    /// # Panics
    /// With the server's message when it refuses the setting.
    #[track_caller]
    pub fn set(&self, name: &str, value: &str) {
        let loaded = "SELECT pg_conf_load_time();";
        let before = self.psql(loaded);
        let value = value.replace('\'', "''");
        self.psql(&format!("ALTER SYSTEM SET {name} = '{value}';\nSELECT pg_reload_conf();"));
        until("the configuration to be read again", || self.psql(loaded) != before);
    }

    /// One of PostgreSQL's client programs, told where the server is.
    pub(super) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(postgres_bin().join(program));
        without_wishes(&mut command);
        command.arg("-h").arg(self.socket_dir()).args(["-p", &self.port().to_string(), "-U", "postgres"]);
        command
    }
}

/// No personal settings, bare values, and an end at the first error.
const PLAIN: &[&str] = &["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"];
