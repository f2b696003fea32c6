//! How a database is reached and used, with a reason for every default.

use std::path::PathBuf;
use std::time::Duration;

/// How a database is reached and used.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Where it is and who asks: a connection string as libpq reads it, completed from `PG*` variables.
    pub connect: ConnectOptions,
    /// Connections for fills.
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
