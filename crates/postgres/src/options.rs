//! How a database is reached and used, with a reason for every default.
//!
//! A connection string is read as libpq reads it, so that what works for `psql` works here. What libpq knows and we do
//! not follow is refused by name rather than passed over: a setting without effect is a promise not kept.

mod complete;
mod passfile;
#[cfg(test)]
mod tests;
mod text;

use std::path::PathBuf;
use std::time::Duration;

/// How a database is reached and used.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Where it is and who asks: a connection string as libpq reads it, completed from `PG*` variables.
    pub connect: ConnectOptions,
    /// Whether a pooler that hands out server connections by the transaction (pgbouncer) is known to stand in between.
    /// Without it a pooler is found out by its refusing, or losing, the settings of a session. With it, nothing of a
    /// session is ever relied on: every fill brings its settings along, and no statement is prepared by name.
    pub pooler: bool,
    /// The server's own address, where `connect` leads through a pooler, which cannot pass the log on. It serves for the
    /// log and everything rare; fills alone go through the pooler. `None` where one address serves for all.
    pub direct: Option<ConnectOptions>,
    /// A standby of the same server, for fills that may be answered by a copy. It answers only what it can prove with the
    /// primary's help; else the primary is asked. `None` where all fills go to the primary.
    pub standby: Option<ConnectOptions>,
    /// Connections for fills; as many again to the standby.
    pub connections_max: usize,
    /// How long a fill waits for a connection.
    pub acquire_timeout: Duration,
    /// How long one statement of a fill may run at the server.
    pub statement_timeout: Duration,
    /// The most rows of one answer.
    pub rows_max: usize,
    /// The most bytes of JSON of one fill.
    pub bytes_max: usize,
    /// The replication slot.
    pub slot: Box<str>,
    /// The publication.
    pub publication: Box<str>,
    /// Records kept for a follower that is slow; beyond, it sees a gap.
    pub feed_records: usize,
    /// Tags one transaction may carry; beyond, it stands for whole tables.
    pub transaction_tags_max: usize,
}

/// Where a server is and who asks.
#[derive(Clone)]
pub struct ConnectOptions {
    /// Host names, addresses, or directories of Unix sockets, each with its port, in the order to try.
    pub hosts: Vec<(Box<str>, u16)>,
    /// The role.
    pub user: Box<str>,
    /// Its password; never shown.
    pub password: Option<Box<str>>,
    /// The database.
    pub database: Box<str>,
    /// Whether and how the connection is encrypted.
    pub tls: TlsMode,
    /// Certificates to trust instead of the public ones (`sslrootcert`).
    pub root_certificate: Option<PathBuf>,
    /// The client's certificate (`sslcert`) and its key (`sslkey`).
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// Shown in `pg_stat_activity`.
    pub application_name: Box<str>,
}

impl ConnectOptions {
    /// Reads a connection string, `postgres://user@host/database` or `host=… dbname=…`, and completes it as libpq does:
    /// from the `PG*` variables, then the password file, then the defaults. An empty string is one, too.
    ///
    /// The password is the one that the password file has for the first host it knows.
    ///
    /// # Errors
    ///
    /// A sentence that says which part is wrong and what would be accepted. It never contains the password.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        complete::complete(text::read(text)?, env)
    }

    /// Where it goes and as whom, for messages.
    pub fn describe(&self) -> String {
        let places: Vec<String> = self.hosts.iter().map(|(host, port)| place(host, *port)).collect();
        format!("database `{}` at {} as `{}`", self.database, places.join(" or "), self.user)
    }
}

/// One host, for messages.
pub(crate) fn place(host: &str, port: u16) -> String {
    match host {
        _ if is_socket_directory(host) => format!("{host}/.s.PGSQL.{port}"),
        _ if host.contains(':') => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

/// Whether a host is a directory of Unix sockets.
pub(crate) fn is_socket_directory(host: &str) -> bool {
    host.starts_with('/')
}

/// libpq's `sslmode`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// If the server has it; the certificate is not looked at.
    Prefer,
    /// Always; the certificate is not looked at, unless `root_certificate` is given: then as [`Self::VerifyCa`], as libpq
    /// does it.
    Require,
    /// Always; the certificate is signed by somebody we trust.
    VerifyCa,
    /// The same, and it names the host.
    VerifyFull,
}

impl PostgresOptions {
    /// The defaults, for a server.
    pub fn new(connect: ConnectOptions) -> Self {
        Self {
            connect,
            pooler: false,
            direct: None,
            standby: None,
            connections_max: 8,
            acquire_timeout: Duration::from_millis(250),
            statement_timeout: Duration::from_secs(2),
            rows_max: 10_000,
            bytes_max: 8 << 20,
            slot: "candor".into(),
            publication: "candor".into(),
            feed_records: 1024,
            transaction_tags_max: 20_000,
        }
    }
}

impl PostgresOptions {
    /// The same for connections that must not go through a pooler.
    pub(crate) fn direct(&self) -> Self {
        match &self.direct {
            Some(direct) => Self { connect: direct.clone(), pooler: false, direct: None, ..self.clone() },
            None => self.clone(),
        }
    }

    /// The same for the standby, if there is one.
    pub(crate) fn at_standby(&self) -> Option<Self> {
        let connect = self.standby.clone()?;
        Some(Self { connect, pooler: false, direct: None, standby: None, ..self.clone() })
    }
}

/// Without the password.
impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
