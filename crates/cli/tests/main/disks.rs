//! A full disk. SQLite needs room even to read: what it sorts goes to temporary files. Without room the source is down,
//! which is said plainly; what memory holds is served as before, nothing is harmed, and with the room comes the answer.
//!
//! Two mechanisms, because neither is there everywhere and each fails in its own way. A file system of a few megabytes,
//! mounted where nobody else sees it (a mount namespace of our own, gone with the process), is really full: SQLITE_FULL.
//! A limit on the size of files needs no rights at all and makes the same writes fail as an input or output error.

use crate::world::{Running, VIEWS, World, ran};
use std::path::Path;
use std::process::Command;

/// Its answers are small, and the sort behind them takes some four megabytes: more than SQLite keeps in memory.
const SORTED: &str = "
[view.sorted]
owner = \"catalogue\"
source = \"shop\"
key = [\"from:int8\"]
sql = \"SELECT id FROM heap WHERE id >= $1 ORDER BY body\"
rows = \"many\"
";
const HEAP: &str = "CREATE TABLE heap (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
    WITH n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
    INSERT INTO heap SELECT i, hex(randomblob(700)) FROM n;";

/// Set in the copy of this process that runs on a small disk of its own.
const ON_A_SMALL_DISK: &str = "CANDOR_TEST_ON_A_SMALL_DISK";

/// What takes the room, and gives it back.
trait Disk {
    fn take_room(&self, server: &Running);
    fn give_room(&self, server: &Running);
    /// A transaction that needs room. Returns whether it was committed.
    fn commits(&self, world: &World) -> bool;
}

#[test]
fn a_limit_on_files_while_reading_is_said_and_passes() {
    reads_without_room(&FileLimit);
}

#[test]
fn a_disk_that_is_full_while_reading_is_said_and_passes() {
    const OWN_NAME: &str = "disks::a_disk_that_is_full_while_reading_is_said_and_passes";
    if std::env::var_os(ON_A_SMALL_DISK).is_some() {
        return reads_without_room(&SmallDisk);
    }
    let mount = tempfile::tempdir().unwrap();
    let on_a_small_disk = |rights: &[&str], script: &str| {
        let mut command = Command::new("unshare");
        command.args(rights).args(["sh", "-c"]);
        command.arg(format!("mount -t tmpfs -o size=32m candor-test \"$1\" && {script}"));
        command.arg("sh").arg(mount.path()).arg(std::env::current_exe().unwrap()).arg(OWN_NAME);
        command.env("TMPDIR", mount.path()).env(ON_A_SMALL_DISK, "1");
        command.output()
    };
    for rights in [&["--mount"] as &[&str], &["--mount", "--map-root-user"]] {
        if on_a_small_disk(rights, "true").is_ok_and(|tried| tried.status.success()) {
            let done = on_a_small_disk(rights, "exec \"$2\" --exact \"$3\" --nocapture").unwrap();
            let said =
                format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert!(done.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
    }
    eprintln!("nobody may mount anything here; a limit on files takes the place of a full disk");
    reads_without_room(&FileLimit);
}

fn reads_without_room(disk: &dyn Disk) {
    let world = World::bare();
    world.write(HEAP);
    world.configure("[server]\nhttp = \"127.0.0.1:0\"\n", &format!("{VIEWS}{SORTED}"));
    world.candor(&["setup"]).expect(0);
    // A limit ends a process that does not ignore its signal; a full disk sends none.
    let mut serve = Command::new("sh");
    serve.args(["-c", "trap '' XFSZ; exec \"$0\" serve --json"]).arg(env!("CARGO_BIN_EXE_candor"));
    serve.current_dir(world.path()).env("SQLITE_TMPDIR", world.path()).env_remove("CANDOR_CONFIG");
    let (server, url) = world.serve_with(serve);
    let get = |view: &str, key: &str, level: &str| {
        ran(world.command(&["get", view, key, "--level", level, "--json", "--url", &url]))
    };
    let before = get("sorted", "1", "strong").expect(0).json();

    disk.take_room(&server);
    for _ in 0..2 {
        let failed = get("sorted", "2", "strong").expect(4).json();
        assert_eq!(
            (&failed["error"]["kind"], &failed["error"]["whose"]),
            (&"unavailable".into(), &"source".into())
        );
        assert!(
            failed["error"]["what"].as_str().unwrap().contains("the source `shop` cannot be reached"),
            "{failed}"
        );
    }
    let held = get("sorted", "1", "strong").expect(0).json();
    assert_eq!(
        (&held["value"], &held["receipt"]["from"]),
        (&before["value"], &"l1".into()),
        "what is held is proven"
    );
    assert_eq!(
        get("track", "1", "strong").expect(0).json()["value"]["name"],
        "Sinnerman",
        "it needs no room"
    );
    let is_committed = disk.commits(&world);

    disk.give_room(&server);
    let after = get("sorted", "2", "strong").expect(0).json();
    assert_eq!(after["value"].as_array().unwrap().len(), 2999);
    let title = get("track", "1", "strong").expect(0).json()["value"]["title"].clone();
    assert_eq!(title, if is_committed { "Committed" } else { "Pastel Blues" });
    world.write("UPDATE track SET name = 'Afterwards' WHERE id = 1");
    assert_eq!(get("track", "1", "strong").expect(0).json()["value"]["name"], "Afterwards");
    let sound: String = world.open().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

/// A file system of our own.
struct SmallDisk;

impl SmallDisk {
    const BALLAST: &str = "ballast";
}

impl Disk for SmallDisk {
    fn take_room(&self, _: &Running) {
        let path = Path::new(&std::env::var_os("TMPDIR").unwrap()).join(Self::BALLAST);
        let mut file = std::fs::File::create(path).unwrap();
        let full = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn give_room(&self, _: &Running) {
        std::fs::remove_file(Path::new(&std::env::var_os("TMPDIR").unwrap()).join(Self::BALLAST)).unwrap();
    }

    fn commits(&self, world: &World) -> bool {
        let big = "BEGIN; UPDATE album SET title = 'Committed' WHERE id = 1;
            UPDATE heap SET body = body || 'more'; COMMIT";
        let error = world.open().execute_batch(big).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull), "{error}");
        false
    }
}

/// No file of the server may grow beyond half a megabyte; the database is larger already.
struct FileLimit;

impl FileLimit {
    fn set(server: &Running, limit: &str) {
        let (pid, limit) = (server.id().to_string(), format!("--fsize={limit}:"));
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    }
}

impl Disk for FileLimit {
    fn take_room(&self, server: &Running) {
        Self::set(server, "524288");
    }

    fn give_room(&self, server: &Running) {
        Self::set(server, "unlimited");
    }

    fn commits(&self, world: &World) -> bool {
        world.write("UPDATE album SET title = 'Committed' WHERE id = 1");
        true
    }
}
