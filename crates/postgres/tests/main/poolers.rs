//! What is asked behind a pooler must not rest on the session: the next statement may meet another one, which knows
//! another statement by the same name.

use super::world::{World, options, view};
use candor_core::{Rows, ViewQuery};
use candor_postgres::Postgres;
use candor_testbed::Cluster;

/// How the questions of fences, of the beginning of a stream and of `check` start.
const OURS: [&str; 7] = [
    "SELECT (pg_current_wal_insert_lsn()",
    "SELECT l.coverage, t.numbers",
    "SELECT (s.confirmed_flush_lsn",
    "WITH RECURSIVE told(oid)",
    "SELECT gid, owner",
    "SELECT current_setting('server_version_num')",
    "SELECT p.oid, coalesce(obj_description",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_beginnings_and_checks_name_no_statement_behind_a_pooler() {
    let cluster = Cluster::builder().setting("log_statement", "all").start();
    cluster.psql("CREATE TABLE item (id int8 PRIMARY KEY, price int); INSERT INTO item VALUES (1, 1)");
    let item: [ViewQuery; 1] = [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)];
    let mut options = options(&cluster);
    options.pooler = true;
    let postgres = Postgres::open(options);
    postgres.setup(&item).await.expect("setup");
    let world = World::over(cluster, postgres, &item).await;
    world.warm(0, 1).await;
    world.cluster.psql("ALTER TABLE item ADD more int");
    world.only_tells(1, 0, 1).await;
    world.followed().await;
    world.warm(0, 1).await;
    world.postgres.status(&item).await.expect("asked");
    let log = std::fs::read_to_string(world.cluster.socket_dir().join("log")).expect("the server's log");
    // A statement may begin on the line after the word, which the server indents.
    let log = log.replace(": \n\t", ": ");
    for ours in OURS {
        let asked: Vec<&str> = log.match_indices(ours).map(|(at, _)| before(&log, at)).collect();
        assert!(!asked.is_empty(), "nobody asked `{ours}`");
        let named = asked.iter().find(|before| !before.ends_with("execute <unnamed>: "));
        assert!(named.is_none(), "`{ours}` was asked by name: {named:?}");
    }
}

/// What stands before this place of its line.
fn before(log: &str, at: usize) -> &str {
    let begin = log[..at].rfind('\n').map_or(0, |line| line + 1);
    &log[begin..at]
}
