//! Data folders, from one that is made once per machine.
//!
//! `initdb` takes a second or two, unpacking what it made some hundredths. The result is kept as one archive beside the
//! temporary folders: machines clean those by age, file by file, and of a folder might leave a part.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::folder;
use crate::programs::{as_servant, must_run, postgres_bin, servant};

/// Fills `data`, which does not exist, with the data folder of a server that has never run.
pub(super) fn unpack(data: &Path) {
    static ARCHIVE: LazyLock<PathBuf> = LazyLock::new(archive);
    std::fs::create_dir(data).expect("the data folder cannot be made");
    folder::give(data);
    must_run(as_servant("tar", data).arg("-xpf").arg(&*ARCHIVE).arg("-C").arg(data));
    // The server refuses a folder that others may look into.
    must_run(as_servant("chmod", data).arg("700").arg(data));
}

/// The archive for the PostgreSQL in use; made if it is not there.
fn archive() -> PathBuf {
    let bin = postgres_bin();
    let version = must_run(Command::new(bin.join("postgres")).arg("--version"));
    let version = version.split_whitespace().nth(2).unwrap_or("unknown").to_owned();
    let user = servant().uid;
    let path = folder::base().join(format!("candor-testbed-template-{version}-{user}.tar"));
    // A file of that name by somebody else is not ours to trust.
    if std::fs::metadata(&path).is_ok_and(|data| data.uid() == user) {
        return path;
    }
    let workshop = folder::fresh();
    let (data, made) = (workshop.path().join("data"), workshop.path().join("template.tar"));
    let mut initdb = as_servant(bin.join("initdb"), workshop.path());
    initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    must_run(initdb.arg("-D").arg(&data));
    must_run(as_servant("tar", workshop.path()).arg("-cf").arg(&made).arg("-C").arg(&data).arg("."));
    // Two programs may make one each; the last one stays, and both are good.
    std::fs::rename(&made, &path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
    path
}
