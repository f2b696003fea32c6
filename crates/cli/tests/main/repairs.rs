//! A PostgreSQL source that somebody took apart, or that two roles set up: what is told, and that doing it helps.

use crate::postgres::{SHOP, VIEW, configure};
use crate::world::World;
use candor_testbed::{Cluster, until};

/// The shop of a server that was asked for, as a role that owns everything.
fn shop(cluster: &Cluster) -> World {
    cluster.psql(SHOP);
    let world = World::bare();
    configure(&world, &by("postgres", cluster));
    world
}

/// The same after setup.
fn set_up() -> (Cluster, World) {
    let cluster = Cluster::start();
    let world = shop(&cluster);
    world.candor(&["setup"]).expect(0);
    (cluster, world)
}

/// The address for this role.
fn by(role: &str, cluster: &Cluster) -> String {
    format!("postgres://{role}@{}/postgres", cluster.address())
}

fn slots(cluster: &Cluster) -> String {
    cluster.psql("SELECT count(*) FROM pg_replication_slots")
}

#[test]
fn a_publication_that_was_dropped_is_made_again_with_a_slot_that_can_read_it() {
    let (cluster, world) = set_up();
    cluster.psql("DROP PUBLICATION candor");
    cluster.psql("UPDATE users SET name = 'Ella' WHERE id = 1");
    world.candor(&["setup", "--dry-run"]).expect(0).says(&[
        "-- slot \"candor\" is older than the publication",
        "SELECT pg_drop_replication_slot('candor');",
        "CREATE PUBLICATION",
        "SELECT pg_create_logical_replication_slot('candor', 'pgoutput');",
    ]);
    world.candor(&["setup"]).expect(0).says(&["ran 4 statements", "every entry is loaded again"]);
    let (_server, url) = world.serve();
    for name in ["Etta", "Billie"] {
        cluster.psql(&format!("UPDATE users SET name = '{name}' WHERE id = 1"));
        let read = ["get", "user", "1", "--level", "strong", "--json", "--url", &url];
        let told = world.candor(&read).expect(0).json();
        assert_eq!(
            (&told["value"]["name"], &told["receipt"]["proof"]),
            (&name.into(), &"log".into()),
            "{told}"
        );
    }
}

#[test]
fn a_slot_older_than_the_publication_is_named_with_the_statement_that_mends_it() {
    let (cluster, world) = set_up();
    // By hand, so that setup finds nothing amiss.
    cluster.psql("DROP PUBLICATION candor");
    cluster.psql("UPDATE users SET name = 'Ella' WHERE id = 1");
    cluster.psql(
        "CREATE PUBLICATION candor FOR TABLE users WITH (publish_via_partition_root = true); \
         COMMENT ON PUBLICATION candor IS 'made by candor setup'",
    );
    world.candor(&["setup"]).expect(0).says(&["nothing to do"]);
    let read = || world.candor(&["tail", "--count", "1", "--json"]);
    until("the cause is told", || {
        let told = read();
        let text = format!("{}{}", told.out, told.err);
        assert!(told.code != 0, "{told:?}");
        assert!(!text.contains("there is no replication slot"), "{text}");
        text.contains("when there was no publication `candor`")
            && text.contains("SELECT pg_drop_replication_slot('candor'); then `candor setup`")
    });
    until("nobody reads the slot", || cluster.try_psql("SELECT pg_drop_replication_slot('candor')").is_ok());
    world.candor(&["setup"]).expect(0).says(&["ran 1 statement"]);
    let _followed = world.serve();
}

#[test]
fn nothing_is_removed_while_somebody_reads_the_slot_and_that_is_an_error() {
    let (cluster, world) = set_up();
    let (server, url) = world.serve();
    world
        .candor(&["setup", "--remove"])
        .expect(3)
        .warns(&["slot \"candor\" is being read by process", "stop Candor first; nothing is removed"]);
    let told = world.candor(&["setup", "--remove", "--json"]).expect(3).json();
    assert!(told["error"]["what"].as_str().unwrap().contains("is being read by process"), "{told}");
    let shown = world.candor(&["setup", "--remove", "--dry-run"]).expect(0);
    let shown = shown.says(&["no statement to run", "-- slot \"candor\" is being read by process"]);
    assert!(!shown.out.contains("removed;"), "{shown:?}");
    assert_eq!(slots(&cluster), "1");
    // Whoever follows the log notices, and lets the slot go.
    cluster.psql("DROP PUBLICATION candor");
    cluster.psql("UPDATE users SET name = 'Ella' WHERE id = 1");
    until("setup makes both anew", || world.candor(&["setup"]).code == 0);
    cluster.psql("UPDATE users SET name = 'Etta' WHERE id = 1");
    let read = ["get", "user", "1", "--level", "strong", "--json", "--url", &url];
    until("the log is followed again", || {
        let told = world.candor(&read);
        told.code == 0 && told.json()["receipt"]["proof"] == "log" && told.out.contains("Etta")
    });
    drop(server);
    until("nobody reads the slot", || {
        cluster.psql("SELECT count(*) FROM pg_replication_slots WHERE active") == "0"
    });
    let told = world.candor(&["setup", "--remove", "--json"]).expect(0).json();
    let source = &told["sources"][0];
    assert_eq!(source["statements"].as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(source["remarks"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(slots(&cluster), "0");
}

/// The owner of the table may not read the log, and who reads the log owns nothing.
const ROLES: &str = "CREATE ROLE owner LOGIN; CREATE ROLE candor LOGIN REPLICATION;
    ALTER TABLE users OWNER TO owner; GRANT CREATE ON DATABASE postgres TO owner; GRANT SELECT ON users TO candor;";

#[test]
fn two_roles_set_up_and_remove_and_each_is_told_what_is_for_the_other() {
    let cluster = Cluster::start();
    cluster.psql(SHOP);
    cluster.psql(ROLES);
    let world = World::bare();
    world
        .file("candor.toml", &format!("[source.shop]\nkind = \"postgres\"\nurl = \"${{SHOP_URL}}\"\n{VIEW}"));
    let run = |role: &str, args: &[&str]| {
        let mut command = world.command(args);
        command.env("SHOP_URL", by(role, &cluster));
        crate::world::ran(command)
    };
    let of_owner = "a publication is for its owner";
    let of_reader = "a slot is for a role with REPLICATION";
    run("candor", &["check"]).expect(1).says(&["may not make the publication", "as the owner of the tables"]);
    let told = run("candor", &["setup"]).expect(3).warns(&[of_owner, "nothing was changed", "--dry-run"]);
    assert!(!told.err.contains(of_reader), "{told:?}");
    run("owner", &["setup"]).expect(3).warns(&[
        of_reader,
        "done before it, and kept: CREATE PUBLICATION",
        "left, shown in full by --dry-run: SELECT pg_create_logical_replication_slot('candor', 'pgoutput')",
        "run `candor setup` again",
    ]);
    run("candor", &["setup"]).expect(0).says(&["ran 1 statement"]);
    run("candor", &["check"]).expect(0).says(&["setup intact"]);

    run("owner", &["setup", "--remove"]).expect(3).warns(&[of_reader, "nothing was changed"]);
    run("candor", &["setup", "--remove"]).expect(3).warns(&[
        of_owner,
        "done before it, and kept: SELECT pg_drop_replication_slot('candor')",
        "left, shown in full by --dry-run: DROP PUBLICATION \"candor\"",
        "run `candor setup --remove` again",
    ]);
    run("owner", &["setup", "--remove"])
        .expect(0)
        .says(&["ran 1 statement", "publication and slot are gone"]);
    run("owner", &["setup", "--event-trigger"]).expect(3).warns(&["event triggers are for a superuser"]);
}

#[test]
fn a_role_that_may_not_read_the_log_is_told_the_statement_that_lets_it() {
    let (cluster, world) = set_up();
    cluster.psql("CREATE ROLE reader LOGIN; GRANT SELECT ON users TO reader");
    configure(&world, &by("reader", &cluster));
    let told = world.candor(&["tail", "--count", "1"]);
    assert!(told.code != 0, "{told:?}");
    told.warns(&["role \"reader\" may not read the log", "ALTER ROLE \"reader\" REPLICATION"]);
    cluster.psql("REVOKE SELECT ON users FROM reader");
    world.candor(&["check"]).expect(1).says(&["GRANT SELECT ON public.users TO reader"]);
}

#[test]
fn a_server_whose_log_tells_no_rows_is_named_before_anything_is_done() {
    let cluster = Cluster::builder().setting("wal_level", "replica").start();
    let world = shop(&cluster);
    let shown = world.candor(&["setup", "--dry-run"]).expect(0);
    assert!(shown.out.lines().nth(1).unwrap().starts_with("-- wal_level is `replica`"), "{shown:?}");
    world
        .candor(&["setup"])
        .expect(3)
        .warns(&["wal_level is `replica`", "ALTER SYSTEM SET wal_level = logical"]);
    assert_eq!(cluster.psql("SELECT count(*) FROM pg_publication"), "0");
    let told = world.candor(&["serve"]).expect(3).warns(&["wal_level = logical, and restart the server"]);
    assert!(!told.err.contains("no publication"), "{told:?}");
}

#[test]
fn a_password_or_tls_that_is_missing_is_told_with_the_next_step() {
    let cluster = Cluster::builder().password("right-and-secret").start();
    let world = shop(&cluster);
    let check = || {
        let mut command = world.command(&["check"]);
        command.env("HOME", world.path());
        for name in ["PGPASSWORD", "PGPASSFILE", "PGSSLMODE", "PGSERVICE"] {
            command.env_remove(name);
        }
        command
    };
    crate::world::ran(check()).expect(4).warns(&["PGPASSWORD", "~/.pgpass", "mode 600"]);
    let passfile = world.file(".pgpass", "*:*:*:postgres:right-and-secret\n");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&passfile, mode).unwrap();
    };
    mode(0o644);
    let told =
        crate::world::ran(check()).expect(4).warns(&["can be read by others and is not used", "chmod 0600"]);
    assert_eq!(told.err.matches("can be read by others").count(), 1, "{told:?}");
    mode(0o600);
    crate::world::ran(check()).expect(1).says(&["setup missing"]);
    let mut tls = check();
    tls.env("PGSSLMODE", "require");
    crate::world::ran(tls).expect(4).warns(&["sslmode=prefer"]);
    let mut service = check();
    service.env("PGSERVICE", "shop");
    let told = crate::world::ran(service);
    assert!(told.code != 0, "{told:?}");
    told.warns(&["PGSERVICE is set"]);
}
