//! Temporary folders that servers can use, and the removal of those whose program was killed.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use tempfile::TempDir;

use crate::programs::servant;

/// What the name of each folder starts with; the number of the process that made it follows.
const PREFIX: &str = "candor-testbed-";

/// A dead program's folder is removed only from this age on. In another container, which may share the folder for
/// temporary files with us, the process we do not see may well live.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// A new folder of the servant's.
pub(crate) fn fresh() -> TempDir {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| sweep(&base()));
    let prefix = format!("{PREFIX}{}-", std::process::id());
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

/// Removes folders of programs that are no more.
fn sweep(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|owner| owner.parse::<u32>().ok()) else { continue };
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|made| made.elapsed().ok());
        let dead = !Path::new(&format!("/proc/{owner}")).exists();
        if dead && age.is_some_and(|age| age > ABANDONED_AFTER) {
            // Another program may be sweeping too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
