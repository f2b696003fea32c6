//! A PostgreSQL server with a data folder of its own.
//!
//! Invariants: the superuser is `postgres`; on the socket it is always let in, whatever a test does to the rules for
//! others, so that [`Cluster::psql`] works in every test.

mod builder;
mod identity;
mod psql;
mod standby;
mod template;
mod wrap;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

pub use builder::Builder;

use crate::nursery;
use crate::patience::{PATIENCE, within};
use crate::processes::Family;
use crate::programs::{as_servant, as_server, postgres_bin, run};

/// How a server is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the last client has left.
    Smart,
    /// After ending all sessions and writing a checkpoint.
    Fast,
    /// At once and in disorder; the next start recovers from the log. What was never written to the log is lost, as in
    /// [`Cluster::crash`].
    Immediate,
}

/// A PostgreSQL server of this test's own. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub struct Cluster {
    port: u16,
    password: Option<String>,
    server: Mutex<Option<Child>>,
    folder: TempDir,
}

impl Cluster {
    /// Options for a new server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A new server with the defaults of [`Builder`].
    ///
    /// # Panics
    /// When it does not start; with its log.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, as [`crate::Proxy`] wants it.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The folder of the unix socket, `.s.PGSQL.<port>`.
    pub fn socket_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder. On a machine where the tests run as root it belongs to somebody else.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The certificate of the authority that vouches for a server made with [`Builder::tls`].
    pub fn ca(&self) -> PathBuf {
        self.data_dir().join("ca.crt")
    }

    /// `postgres://postgres@127.0.0.1:<port>/<database>`, with the password if there is one.
    pub fn url(&self, database: &str) -> String {
        self.url_through(self.address(), database)
    }

    /// As [`Cluster::url`], by way of a proxy at `address`.
    pub fn url_through(&self, address: SocketAddr, database: &str) -> String {
        let password =
            self.password.as_ref().map(|password| format!(":{}", escaped(password))).unwrap_or_default();
        format!("postgres://postgres{password}@{address}/{database}")
    }

    /// Stops it fast and starts it again.
    ///
    /// # Panics
    /// When it does not run, does not stop, or does not start.
    #[track_caller]
    pub fn restart(&self) {
        self.stop(Mode::Fast);
        self.start_again();
    }

    /// Stops it and waits until it is gone.
    ///
    /// # Panics
    /// When it does not run, or takes longer than a minute.
    #[track_caller]
    pub fn stop(&self, mode: Mode) {
        let mut child = self.server().take().expect("the server does not run");
        let family = Family::of(&child);
        family.thaw();
        family.tell(match mode {
            Mode::Smart => Signal::TERM,
            Mode::Fast => Signal::INT,
            Mode::Immediate => Signal::QUIT,
        });
        let ended = within(PATIENCE, || child.try_wait().transpose());
        if ended.is_none() {
            *self.server() = Some(child);
            panic!("the server did not stop ({mode:?}) within {PATIENCE:?}\n{}", self.log_tail());
        }
    }

    /// Starts it after [`Cluster::stop`] or [`Cluster::crash`], on the same port, and waits until it lets clients in.
    ///
    /// # Panics
    /// When it runs already or does not start; with its log.
    #[track_caller]
    pub fn start_again(&self) {
        let mut server = self.server();
        assert!(server.is_none(), "the server runs already");
        let child = server.insert(self.launch());
        let ready = within(PATIENCE, || match child.try_wait() {
            Ok(None) => self.lets_in(child.id()).then_some(true),
            _ => Some(false),
        });
        if ready != Some(true) {
            drop(server);
            panic!("the server did not start\n{}", self.log_tail());
        }
    }

    /// Kills all its processes at one moment, as a failure of power does to everything that was in memory alone.
    /// What the operating system was given to write is not lost. Returns when its shared memory is released.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn crash(&self) {
        let mut child = self.server().take().expect("the server does not run");
        Family::of(&child).destroy();
        let _ = child.wait();
    }

    /// Stops all its processes where they are: connections stay open, and nothing answers.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn pause(&self) {
        self.family().freeze();
    }

    /// Lets it run on after [`Cluster::pause`].
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn resume(&self) {
        self.family().thaw();
    }

    /// The end of its log, for the message of a test that fails.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(40)..];
        format!("the end of the server's log:\n{}", tail.join("\n"))
    }

    fn launch(&self) -> Child {
        let log =
            File::options().create(true).append(true).open(self.log()).expect("the log cannot be opened");
        let errors = log.try_clone().expect("the log cannot be opened twice");
        let mut command = as_server(postgres_bin().join("postgres"), self.folder.path(), "QUIT");
        command.arg("-D").arg(self.data_dir()).stdin(std::process::Stdio::null()).stdout(log).stderr(errors);
        nursery::spawn(command).unwrap_or_else(|error| panic!("cannot start the server: {error}"))
    }

    /// Whether `process` has written that it is ready. The file that a crash left behind names another process.
    fn lets_in(&self, process: u32) -> bool {
        let text = std::fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        let ours = lines.next().is_some_and(|number| number.trim() == process.to_string());
        ours && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }

    /// The piece of shared memory by which two servers in one folder notice each other.
    fn shared_memory(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.data_dir().join("postmaster.pid")).ok()?;
        Some(text.lines().nth(6)?.split_whitespace().nth(1)?.to_owned())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        // A test that panicked inside leaves nothing half done that the next call would not see.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn family(&self) -> Family {
        Family::of(self.server().as_ref().expect("the server does not run"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let shared = self.shared_memory();
        if let Some(mut child) = self.server().take() {
            let family = Family::of(&child);
            family.thaw();
            family.tell(Signal::QUIT);
            if within(Duration::from_secs(10), || child.try_wait().transpose()).is_none() {
                family.tell(Signal::KILL);
                let _ = child.wait();
            }
        }
        // A server that was killed leaves a small piece of shared memory, which only its next start would remove. One that
        // stopped in order has removed it, and then there is nothing to be removed here.
        if let Some(shared) = shared {
            let _ = run(as_servant("ipcrm", Path::new("/")).arg("-m").arg(shared), "");
        }
    }
}

/// A password as it may stand in an address.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
