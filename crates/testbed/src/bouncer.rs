//! PgBouncer in transaction mode: the pooler many databases stand behind, which breaks whatever needs a session.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::patience::{PATIENCE, within};
use crate::processes::Family;
use crate::programs::as_server;
use crate::{Cluster, folder, free_port, nursery};

/// A pooler in front of a [`Cluster`]. Dropping it ends it.
#[derive(Debug)]
pub struct Bouncer {
    port: u16,
    server: Mutex<Option<Child>>,
    folder: TempDir,
}

impl Bouncer {
    /// A pooler with at most `connections` to each of the cluster's databases. Whatever name a client gives, it is the
    /// superuser, without a password. All else is as PgBouncer has it.
    ///
    /// # Panics
    /// When it does not start; with its log.
    #[track_caller]
    pub fn before(cluster: &Cluster, connections: u32) -> Self {
        let bouncer = Self { port: free_port(), server: Mutex::default(), folder: folder::fresh() };
        let configuration = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\n",
            host = cluster.socket_dir().display(),
            port = cluster.port(),
            own = bouncer.port,
        );
        let path = bouncer.file("pgbouncer.ini");
        std::fs::write(&path, configuration).expect("the pooler's configuration cannot be written");
        folder::give(&path);
        bouncer.start_again();
        bouncer
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `postgres://postgres@127.0.0.1:<port>/<database>`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address())
    }

    /// Ends it at once, with all its connections.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn stop(&self) {
        let mut child = self.server().take().expect("the pooler does not run");
        end(&mut child);
    }

    /// Starts it after [`Bouncer::stop`], on the same port.
    ///
    /// # Panics
    /// When it runs already or does not start; with its log.
    #[track_caller]
    pub fn start_again(&self) {
        let mut server = self.server();
        assert!(server.is_none(), "the pooler runs already");
        let log =
            File::options().create(true).append(true).open(self.file("log")).expect("no log can be opened");
        // Debian puts it where only root's path leads.
        let program =
            Some("/usr/sbin/pgbouncer").filter(|path| Path::new(path).is_file()).unwrap_or("pgbouncer");
        let mut command = as_server(program, self.folder.path(), "TERM");
        command.arg("--quiet").arg("pgbouncer.ini").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child =
            nursery::spawn(command).unwrap_or_else(|error| panic!("cannot start the pooler: {error}"));
        let child = server.insert(child);
        let ready = within(PATIENCE, || match child.try_wait() {
            Ok(None) => TcpStream::connect(self.address()).is_ok().then_some(true),
            _ => Some(false),
        });
        let log = || std::fs::read_to_string(self.file("log")).unwrap_or_default();
        assert_eq!(ready, Some(true), "the pooler did not start; its log:\n{}", log());
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        if let Some(mut child) = self.server().take() {
            end(&mut child);
        }
    }
}

/// It has nothing to tidy up, so there is nothing to wait for.
fn end(child: &mut Child) {
    Family::of(child).tell(Signal::KILL);
    let _ = child.wait();
}
