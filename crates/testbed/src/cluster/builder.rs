//! The options of a new server.
//!
//! The defaults are those a database that Candor watches has, apart from what makes tests slow: nothing is forced to
//! disk, and memory is small.

use std::fmt::Write;
use std::sync::Mutex;

use super::{Cluster, identity, template};
use crate::{folder, free_port, tls};

/// What every server starts from; [`Builder::setting`] comes later and wins.
const DEFAULTS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("wal_level", "logical"),
    ("max_wal_senders", "10"),
    ("max_replication_slots", "10"),
    ("max_connections", "60"),
    // A connection that came while the server stops, and says nothing, holds the stop up for so long.
    ("authentication_timeout", "5s"),
    ("shared_buffers", "16MB"),
    ("autovacuum", "on"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "%m [%p] %q%u@%d %a "),
    ("unix_socket_permissions", "0777"),
];

/// Options of a new server, made by [`Cluster::builder`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    settings: Vec<(String, String)>,
    rules: Option<String>,
    password: Option<String>,
    durable: bool,
    tls: bool,
}

impl Builder {
    /// Sets one of PostgreSQL's settings. The default is `wal_level = logical`, room for ten senders and slots, and 16 MB
    /// of shared memory; all else as PostgreSQL has it.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether commits are forced to disk. Off by default: a killed server loses nothing that it handed to the operating
    /// system, and no test switches the machine off.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Who may connect, as lines of `pg_hba.conf`, instead of everybody from this machine. The superuser is let in on
    /// the socket before these lines are looked at.
    #[must_use]
    pub fn hba(mut self, lines: &str) -> Self {
        self.rules = Some(lines.to_owned());
        self
    }

    /// Gives the superuser a password, which everybody connecting by TCP has to prove (SCRAM), unless
    /// [`Builder::hba`] says otherwise.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Offers TLS, with a certificate for `localhost` and 127.0.0.1 by an authority whose own is at [`Cluster::ca`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts the server and waits until it lets clients in.
    ///
    /// # Panics
    /// When it does not start; with its log.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let folder = folder::fresh();
        let cluster =
            Cluster { port: free_port(), password: self.password.clone(), server: Mutex::default(), folder };
        template::unpack(&cluster.data_dir());
        identity::renew(&cluster.data_dir());
        if self.tls {
            tls::certify(&cluster.data_dir());
        }
        cluster.append("postgresql.conf", &self.configuration(&cluster));
        cluster.write("pg_hba.conf", &self.admission());
        cluster.start_again();
        if let Some(password) = &self.password {
            cluster.psql(&format!("ALTER ROLE postgres PASSWORD '{}'", password.replace('\'', "''")));
        }
        cluster
    }

    fn configuration(&self, cluster: &Cluster) -> String {
        let force = if self.durable { "on" } else { "off" };
        let mut text = String::new();
        let own = [("fsync", force), ("ssl", if self.tls { "on" } else { "off" })];
        for (name, value) in DEFAULTS.iter().chain(&own) {
            line(&mut text, name, value);
        }
        text.push_str(&cluster.place());
        for (name, value) in &self.settings {
            line(&mut text, name, value);
        }
        text
    }

    fn admission(&self) -> String {
        let method = if self.password.is_some() { "scram-sha-256" } else { "trust" };
        let everybody = format!(
            "local all all trust\nlocal replication all trust\n\
             host all all 127.0.0.1/32 {method}\nhost replication all 127.0.0.1/32 {method}\n"
        );
        let rules = self.rules.as_ref().unwrap_or(&everybody);
        format!("local all postgres trust\nlocal replication postgres trust\n{rules}\n")
    }
}

impl Cluster {
    /// The settings that say where this server is.
    pub(super) fn place(&self) -> String {
        let mut text = String::new();
        line(&mut text, "port", &self.port.to_string());
        line(&mut text, "unix_socket_directories", &self.socket_dir().display().to_string());
        text
    }

    /// Adds to a file of the data folder.
    pub(super) fn append(&self, name: &str, text: &str) {
        let before = std::fs::read_to_string(self.data_dir().join(name)).unwrap_or_default();
        self.write(name, &format!("{before}\n{text}"));
    }

    /// Replaces a file of the data folder.
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.data_dir().join(name);
        let written = std::fs::write(&path, text);
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        folder::give(&path);
    }
}

/// One line of `postgresql.conf`.
pub(super) fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
}
