//! Temporary folders that servers can use, and the removal of those whose program was killed.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Once};

use tempfile::TempDir;

use crate::processes::Family;
use crate::programs::servant;

/// What the name of each folder starts with; the number of the process that made it follows. Processes in another
/// container, which may share the folder for temporary files with us, have numbers that mean nothing here, so the
/// name says in which space of numbers it was made.
static PREFIX: LazyLock<String> = LazyLock::new(|| {
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let space: String = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("candor-testbed-{space}-")
});

/// A new folder of the servant's.
pub(crate) fn fresh() -> TempDir {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| sweep(&base()));
    let prefix = format!("{}{}-", *PREFIX, std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(base());
    let folder = folder.expect("no temporary folder can be made");
    give(folder.path());
    folder
}

/// Where the folders are. Sockets live in them, and the name of a socket has about 100 characters.
pub(crate) fn base() -> PathBuf {
    let wished = std::env::temp_dir();
    // Root's own folder for temporary files may be closed to the user that runs the servers.
    if servant().other || wished.as_os_str().len() > 40 { PathBuf::from("/tmp") } else { wished }
}

/// Makes the servant the owner of `path`.
pub(crate) fn give(path: &Path) {
    let servant = servant();
    if servant.other {
        let given = chown(path, Some(servant.uid), Some(servant.gid));
        given.unwrap_or_else(|error| panic!("cannot give {} away: {error}", path.display()));
    }
}

/// Removes folders of programs that are no more: those that were killed, and those that kept a server in a `static`, which
/// is never dropped.
fn sweep(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(&*PREFIX)?.split('-').next())
        else {
            continue;
        };
        if owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists() {
            // The kernel has told its server to stop; one that was paused did not hear.
            if let Some(server) = Family::in_folder(&entry.path()).filter(|server| server.is_frozen()) {
                server.destroy();
            }
            // Another program may be sweeping too, or the server be stopping; what stays goes with the next sweep.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
