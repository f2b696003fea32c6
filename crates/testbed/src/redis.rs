//! A Redis server: the cache most teams have beside their database.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::patience::{PATIENCE, within};
use crate::processes::Family;
use crate::programs::as_server;
use crate::{folder, free_port, nursery};

/// A private server. Dropping it ends it.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    options: Vec<String>,
    server: Mutex<Option<Child>>,
    folder: TempDir,
}

impl Redis {
    /// A server with these options beside address and folder, as on its command line: `&["--save", "1 1"]`.
    ///
    /// # Panics
    /// When it does not start; with its log.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let redis = Self { port: free_port(), options, server: Mutex::default(), folder: folder::fresh() };
        redis.start_again();
        redis
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `redis://127.0.0.1:<port>/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    /// Kills it, as a machine that loses power does: what it had not saved is lost.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn crash(&self) {
        let mut child = self.server().take().expect("Redis does not run");
        end(&mut child);
    }

    /// Starts it after [`Redis::crash`], on the same port, with what it had saved.
    ///
    /// # Panics
    /// When it runs already or does not start; with its log.
    #[track_caller]
    pub fn start_again(&self) {
        let mut server = self.server();
        assert!(server.is_none(), "Redis runs already");
        let log_path = self.folder.path().join("log");
        let log = File::options().create(true).append(true).open(&log_path).expect("no log can be opened");
        let mut command = as_server("redis-server", self.folder.path(), "TERM");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--dir", "."])
            .args(&self.options);
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        let child = nursery::spawn(command)
            .unwrap_or_else(|error| panic!("cannot start Redis (`cargo x test` installs it): {error}"));
        let child = server.insert(child);
        let ready = within(PATIENCE, || match child.try_wait() {
            Ok(None) => TcpStream::connect(self.address()).is_ok().then_some(true),
            _ => Some(false),
        });
        let log = || std::fs::read_to_string(&log_path).unwrap_or_default();
        assert_eq!(ready, Some(true), "Redis did not start; its log:\n{}", log());
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.server().take() {
            end(&mut child);
        }
    }
}

/// What it holds is a copy; nothing is lost that matters.
fn end(child: &mut Child) {
    Family::of(child).tell(Signal::KILL);
    let _ = child.wait();
}
