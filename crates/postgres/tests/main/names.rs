//! What names mean: to whoever fills, at the moment at which the view was held against the schema, and to nobody else.

use super::world::{World, options, options_at, price, view};
use candor::Level;
use candor_core::port::Source;
use candor_core::{KeyValue, ProofKind, Rows, Severity, ViewQuery};
use candor_postgres::{Postgres, PostgresOptions};
use candor_testbed::{Bouncer, Cluster};
use std::sync::Arc;

/// Everybody has `users`, and everybody else's cost more.
const SCHEMA: &str = "
    CREATE SCHEMA green; CREATE SCHEMA blue;
    CREATE TABLE public.users (id int8 PRIMARY KEY, price int);
    CREATE TABLE green.users (id int8 PRIMARY KEY, price int);
    CREATE TABLE blue.users (id int8 PRIMARY KEY, price int);
    INSERT INTO green.users SELECT i, 1 FROM generate_series(1, 100) AS i;
    INSERT INTO public.users SELECT i, 100 FROM generate_series(1, 100) AS i;
    INSERT INTO blue.users SELECT i, 200 FROM generate_series(1, 100) AS i;
    CREATE PUBLICATION candor FOR ALL TABLES WITH (publish_via_partition_root = true);";

/// One role fills, another follows the log, and to each `users` means something else.
const ROLES: &str = "
    CREATE ROLE app LOGIN; ALTER ROLE app SET search_path = green, public;
    CREATE ROLE log LOGIN REPLICATION; ALTER ROLE log SET search_path = public;
    GRANT USAGE ON SCHEMA green, blue TO app, log;
    GRANT SELECT ON ALL TABLES IN SCHEMA public, green, blue TO app, log;";

fn users() -> ViewQuery {
    view("users", "SELECT id, price FROM users WHERE id = $1", Rows::One)
}

/// Filled by `app`, and all else by another role.
fn by_app_and(other: &str, cluster: &Cluster) -> Postgres {
    let by = |role: &str| options_at(&cluster.url("postgres").replace("postgres@", &format!("{role}@")));
    Postgres::open(PostgresOptions { direct: Some(by(other).connect), ..by("app") })
}

async fn two_roles() -> World {
    let cluster = Cluster::start();
    // Named by setup, so that who may read a table is no change of what the log tells.
    cluster.psql(SCHEMA);
    cluster.psql(ROLES);
    cluster.psql("DROP PUBLICATION candor");
    // Of the other table the log tells already, in the same way.
    let views = [users(), view("blue", "SELECT id, price FROM blue.users WHERE id = $1", Rows::One)];
    by_app_and("postgres", &cluster).setup(&views).await.expect("setup");
    let postgres = by_app_and("log", &cluster);
    World::over(cluster, postgres, &views).await
}

/// Ends the connections through which this role fills.
fn end_fills(world: &World, role: &str) {
    world.cluster.psql(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE usename = '{role}' AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ));
}

/// Ends the stream, which goes on where it was if nothing is in the way, and waits until the server has begun another.
fn end_stream(world: &World) {
    let sender = || world.cluster.psql("SELECT pid FROM pg_stat_replication");
    let mut before = String::new();
    candor_testbed::until("a stream is sent", || {
        before = sender();
        before.parse::<u32>().is_ok()
    });
    world.cluster.psql(&format!("SELECT pg_terminate_backend({before})"));
    candor_testbed::until("another stream is sent", || !["", &before].contains(&sender().as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_mean_what_they_mean_to_the_role_that_fills() {
    let world = two_roles().await;
    world.warm(0, 1).await;
    assert_eq!(world.price(0, 1).await, 1);
    assert_eq!(world.derived[0].reads[0].table.as_ref(), "green.users");
    world.cluster.psql("UPDATE green.users SET price = 2");
    world.only_tells(2, 0, 1).await;
    world.warm(0, 1).await;
    world.cluster.psql("UPDATE public.users SET price = 101");
    assert!(world.is_kept(0, 1).await, "a table of which nothing is read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_only_the_role_that_fills_may_use_is_refused_with_the_mend() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    cluster.psql(ROLES);
    cluster.psql("REVOKE USAGE ON SCHEMA green FROM log");
    let postgres = by_app_and("log", &cluster);
    let found = postgres.prepare(&users()).await.expect("asked");
    let refused = found.findings.iter().find(|found| found.severity == Severity::Refused);
    let refused = refused.expect("`users` would be another table");
    assert!(refused.message.contains("`green`"), "{refused:?}");
    cluster.psql(&refused.mend);
    assert!(!postgres.prepare(&users()).await.expect("asked").is_refused());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_whose_path_changes_reads_what_the_view_was_made_for_until_that_is_made_anew() {
    let world = two_roles().await;
    world.warm(0, 1).await;
    world.warm(0, 2).await;
    world.cluster.psql("ALTER ROLE app SET search_path = blue, public");
    end_fills(&world, "app");
    // Whoever has a new connection has the new path.
    assert_eq!(world.price(0, 3).await, 1);
    world.warm(0, 3).await;
    world.cluster.psql("UPDATE green.users SET price = 2; UPDATE blue.users SET price = 202");
    world.only_tells(2, 0, 3).await;
    world.warm(0, 1).await;
    world.warm(0, 3).await;
    end_stream(&world);
    world.followed_anew().await;
    // Nothing of what is kept may go on: the view means another table.
    assert_eq!(world.price(0, 1).await, 202);
    world.warm(0, 1).await;
    world.cluster.psql("UPDATE blue.users SET price = 203");
    world.only_tells(203, 0, 1).await;
    world.only_tells(203, 0, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_comes_to_stand_before_another_is_read_by_all_or_by_nobody() {
    let cluster = Cluster::start();
    cluster.psql(
        "CREATE SCHEMA front; CREATE TABLE public.users (id int8 PRIMARY KEY, price int);
         INSERT INTO public.users SELECT i, 1 FROM generate_series(1, 100) AS i;
         ALTER DATABASE postgres SET search_path = front, public",
    );
    let world = World::new(cluster, "", &[users()]).await;
    world.warm(0, 1).await;
    world.cluster.psql(
        "CREATE TABLE front.users (id int8 PRIMARY KEY, price int);
         INSERT INTO front.users SELECT i, 50 FROM generate_series(1, 100) AS i",
    );
    // Whoever fills next finds that the name means another table, of which the log does not tell.
    assert!(world.try_read(Level::Strong, 0, 5).await.is_err());
    for key in 1..=5 {
        world.tells_nothing_but(50, 0, key).await;
    }
    world.postgres.setup(&[users()]).await.expect("setup");
    world.followed_anew().await;
    world.warm(0, 1).await;
    world.only_tells(50, 0, 1).await;
    world.cluster.psql("UPDATE front.users SET price = 61; UPDATE public.users SET price = 2");
    world.only_tells(61, 0, 1).await;
    world.only_tells(61, 0, 3).await;
}

/// A program that shares the pooler's sessions.
async fn other(bouncer: &Bouncer) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&bouncer.url("postgres"), tokio_postgres::NoTls)
        .await
        .expect("a client of the pooler");
    tokio::spawn(connection);
    client
}

/// Behind a pooler that has one session for all.
fn behind(cluster: &Cluster, bouncer: &Bouncer) -> Postgres {
    let direct = options(cluster).connect;
    let mut options = PostgresOptions { direct: Some(direct), ..options(cluster) };
    options.connect.hosts = vec![("127.0.0.1".into(), bouncer.address().port())];
    options.acquire_timeout = std::time::Duration::from_secs(10);
    Postgres::open(options)
}

/// What another program may leave in a session, each of which makes `users` another table there.
const LEFT: [&str; 4] = [
    "SET ROLE tenant",
    "SET search_path = blue, public",
    "CREATE TEMP TABLE users AS SELECT i::int8 AS id, 300 AS price FROM generate_series(1, 100) AS i",
    "SET search_path = pg_temp, blue",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_program_leaves_in_a_session_of_the_pooler_changes_no_name() {
    let cluster = Arc::new(Cluster::start());
    cluster.psql(SCHEMA);
    cluster.psql(
        "ALTER DATABASE postgres SET search_path = green, public;
         CREATE ROLE tenant; GRANT SELECT ON public.users TO tenant",
    );
    let bouncer = Bouncer::before(&cluster, 1);
    let mut by_clock = users();
    by_clock.proof = ProofKind::Clock;
    for left in LEFT {
        let client = other(&bouncer).await;
        client.batch_execute(left).await.expect("left behind");
        let postgres = behind(&cluster, &bouncer);
        let views = [users(), by_clock.clone()];
        postgres.setup(&views).await.expect("setup");
        let world = World::over(Arc::clone(&cluster), postgres, &views).await;
        assert_eq!(world.derived[0].reads[0].table.as_ref(), "green.users", "{left}");
        world.warm(0, 1).await;
        cluster.psql("UPDATE green.users SET price = price + 1");
        let truth: i64 = cluster.psql("SELECT price FROM green.users WHERE id = 1").parse().expect("a price");
        for key in 1..=3 {
            world.only_tells(truth, 0, key).await;
        }
        // Views by the clock are filled by their own words, and a program's own loads are its own.
        let keys: Arc<[Box<[KeyValue]>]> = Arc::new([Box::new([KeyValue::Int(1)])]);
        let handle = world.derived[1].handle.expect("prepared");
        let fill = world.postgres.fill(handle, keys).await.expect("a fill");
        let row = fill.answers[0].value.as_deref().expect("a row");
        assert_eq!(price(std::str::from_utf8(row).expect("JSON")), truth, "{left}");
        let own = async |transaction: &tokio_postgres::Transaction<'_>| {
            let row = transaction.query_typed_one("SELECT price FROM users WHERE id = 1", &[]).await;
            Ok(row.expect("a row").get::<_, i32>(0))
        };
        let (own, _) = world.postgres.reading(own).await.expect("a reading");
        assert_eq!(i64::from(own), truth, "{left}");
        // And nothing of it stays with the session.
        let path: String = client.query_typed_one("SHOW search_path", &[]).await.expect("a path").get(0);
        let wanted = left.split(" = ").nth(1).filter(|_| left.starts_with("SET search"));
        assert_eq!(path, wanted.unwrap_or("green, public"), "{left}");
        client.batch_execute("DISCARD ALL").await.expect("tidied up");
        drop(world);
        candor_testbed::until("the slot is free", || {
            cluster.psql("SELECT bool_or(active) FROM pg_replication_slots") == "f"
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_is_added_shows_at_once_where_all_columns_are_asked_for() {
    let cluster = Cluster::start();
    let all = view("all", "SELECT * FROM public.users WHERE id = $1", Rows::One);
    let world = World::new(cluster, SCHEMA, &[all]).await;
    world.warm(0, 1).await;
    world.cluster.psql("ALTER TABLE public.users ADD more int DEFAULT 7");
    // Never read before, so the source answers, and nobody asks the log.
    let told = world.strong(0, 2).await.expect("a row");
    assert!(told.contains("\"more\":7"), "{told}");
    world.cluster.psql("ALTER TABLE public.users RENAME more TO most");
    let told = world.strong(0, 3).await.expect("a row");
    assert!(told.contains("\"most\":7"), "{told}");
    for key in 1..=3 {
        let told = world.strong_again(0, key).await.expect("a row");
        assert!(told.contains("\"most\":7"), "{told}");
    }
}

/// As an extension asks for that brings functions of its own in the place of the server's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_stand_before_the_servers_own_are_called_where_they_were_meant_and_nowhere_else() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    cluster.psql(
        "CREATE FUNCTION green.abs(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1000 + $1';
         ALTER DATABASE postgres SET search_path = green, public, pg_catalog",
    );
    let theirs = view("theirs", "SELECT id, abs(price) AS price FROM users WHERE id = $1", Rows::One);
    let sql = "SELECT id, pg_catalog.abs(price) AS price FROM users WHERE id = $1";
    let servers = view("servers", sql, Rows::One);
    let world = World::new(cluster, "", &[theirs, servers]).await;
    for _ in 0..2 {
        assert_eq!((world.price(0, 1).await, world.price(1, 1).await), (1001, 1));
        let many = world.snapshot(&[(1, 2), (1, 3), (1, 4)]).await;
        assert!(many.iter().flatten().all(|row| price(row) == 1), "{many:?}");
        end_fills(&world, "postgres");
    }
    world.warm(1, 1).await;
    world.cluster.psql("UPDATE green.users SET price = 2");
    world.only_tells(1002, 0, 1).await;
    world.only_tells(2, 1, 1).await;
}

/// The server prints names and strings as these say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_change_how_sql_is_written_or_read_change_no_answer() {
    let cluster = Cluster::start();
    cluster.psql(SCHEMA);
    cluster.psql(
        "ALTER DATABASE postgres SET standard_conforming_strings = off;
         ALTER DATABASE postgres SET quote_all_identifiers = on;
         ALTER DATABASE postgres SET transform_null_equals = on",
    );
    let sql = r#"SELECT $1, $1::text, id, price AS "Price ""1""", 'a\b''pg_temp.candor_key_1()' AS said, price = NULL AS "null"
                 FROM public.users WHERE id = $1 -- pg_temp.candor_key_1()"#;
    let world = World::new(cluster, "", &[view("odd", sql, Rows::One)]).await;
    let told = world.strong(0, 1).await.expect("a row");
    let wanted = r#"{"?column?":1,"text":"1","#;
    assert!(told.starts_with(wanted), "{told}");
    let wanted = r#""id":1,"Price \"1\"":100,"said":"a\\b'pg_temp.candor_key_1()","null":null}"#;
    assert!(told.ends_with(wanted), "{told}");
}
