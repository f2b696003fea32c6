//! The programs we call: where they are, as whom they run, and running them with a deadline.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;

use crate::patience::{PATIENCE, within};

/// The folder with PostgreSQL's own programs: `CANDOR_POSTGRES_BIN`, else the newest that a package installed, else
/// wherever `initdb` is on the path.
///
/// # Panics
/// When PostgreSQL is not installed.
pub(crate) fn postgres_bin() -> &'static Path {
    static FOUND: LazyLock<PathBuf> = LazyLock::new(|| {
        if let Some(chosen) = std::env::var_os("CANDOR_POSTGRES_BIN") {
            return chosen.into();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        packaged().into_iter().chain(std::env::split_paths(&path)).find(|bin| bin.join("initdb").is_file()).expect(
            "PostgreSQL's server is not installed: `cargo x test` installs it, or set CANDOR_POSTGRES_BIN to the \
             folder that holds initdb",
        )
    });
    &FOUND
}

/// The folders in which Debian's packages put what is not on the path, newest first.
fn packaged() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort_unstable_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// As whom servers run. PostgreSQL refuses to run as root.
pub(crate) struct Servant {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether that is somebody else than who runs the tests.
    pub(crate) other: bool,
}

/// Us, or for root the user that PostgreSQL's package made, or `nobody`.
pub(crate) fn servant() -> &'static Servant {
    static CHOSEN: LazyLock<Servant> = LazyLock::new(|| {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if !uid.is_root() {
            return Servant { uid: uid.as_raw(), gid: gid.as_raw(), other: false };
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let entry = |name: &str| {
            let mut fields = users
                .lines()
                .map(|line| line.split(':'))
                .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
            Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        let (uid, gid) = entry("postgres").or_else(|| entry("nobody")).unwrap_or((65_534, 65_534));
        Servant { uid, gid, other: true }
    });
    &CHOSEN
}

/// A command that runs as the servant, in `folder`, deaf to this environment's wishes about PostgreSQL.
pub(crate) fn as_servant(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    prefixed(program, folder, &[])
}

/// A command for a server: as [`as_servant`], and sent `last` when its parent dies.
pub(crate) fn as_server(program: impl AsRef<OsStr>, folder: &Path, last: &str) -> Command {
    prefixed(program, folder, &["--pdeathsig", last])
}

fn prefixed(program: impl AsRef<OsStr>, folder: &Path, more: &[&str]) -> Command {
    let servant = servant();
    let mut command = Command::new("setpriv");
    if servant.other {
        let (uid, gid) = (servant.uid.to_string(), servant.gid.to_string());
        command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]);
    }
    command.args(more).arg("--").arg(program).current_dir(folder);
    without_wishes(&mut command);
    command
}

/// Removes what would make `psql` or a server behave otherwise than on the next machine.
pub(crate) fn without_wishes(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").env("TZ", "UTC");
}

/// Runs `command` to its end with `input`, and gives what it printed.
///
/// # Errors
/// What it printed on its error stream, when it fails or takes longer than a minute.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
    let feed = child.stdin.take().map(|mut stdin| {
        let input = input.to_owned();
        // A program that ends without reading all it was given says why by itself.
        thread::spawn(move || drop(stdin.write_all(input.as_bytes())))
    });
    let printed = child.stdout.take().map(|stream| thread::spawn(|| read(stream)));
    let complained = child.stderr.take().map(|stream| thread::spawn(|| read(stream)));
    let Some(ended) = within(PATIENCE, || child.try_wait().transpose()) else {
        // The streams may be held open by a grandchild, so what was said so far is not waited for.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{name} did not end within {PATIENCE:?}: {command:?}"));
    };
    let status = ended.map_err(|error| format!("{name} was lost: {error}"))?;
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let _ = feed.map(thread::JoinHandle::join);
    let (printed, complained) = (text(printed), text(complained));
    if status.success() { Ok(printed) } else { Err(format!("{name}: {status}: {}", complained.trim())) }
}

fn read(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// As [`run`], for what every test needs.
///
/// # Panics
/// When the program fails.
#[track_caller]
pub(crate) fn must_run(command: &mut Command) -> String {
    run(command, "").unwrap_or_else(|error| panic!("{error}"))
}
