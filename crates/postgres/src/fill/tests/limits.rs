//! What a fill refuses, and whose fault it says that is.

use super::world::{View, World, fill, options};
use crate::fill::Bounds;
use crate::pool::Pool;
use candor_core::KeyType::{Int4, Text};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_second_row_is_refused_where_one_was_declared() {
    let world = World::new("second_row", "");
    let view = View::one("SELECT n FROM generate_series(1, $1) AS s(n)", &[Int4]);
    assert!(world.fill(view.clone(), &[&["1"]]).await.is_ok());
    for keys in [&[["2"].as_slice()] as &[&[&str]], &[&["1"], &["2"]]] {
        let refusal = world.refusal(view.clone(), keys).await;
        assert!(refusal.starts_with("Contract: a fill of view `v`: more than one row for a key, but the view declares rows = \"one\""), "{refusal}");
    }
    assert_eq!(world.pool.figures().size, 1, "a refused answer costs no connection");
}

#[tokio::test]
async fn too_many_rows_or_bytes_are_refused_before_they_are_sent() {
    let world = World::new("too_much", "");
    let rows = View::many("SELECT n FROM generate_series(1, $1) AS s(n)", &[Int4]);
    assert!(world.fill(rows.clone(), &[&["100"]]).await.is_ok());
    assert!(
        world
            .refusal(rows, &[&["101"]])
            .await
            .starts_with("Contract: a fill of view `v`: more than 100 rows")
    );
    let wide = "SELECT repeat('x', $1) AS x";
    let fits = (10_000 - r#"{"x":""}"#.len()).to_string();
    let over = "9999";
    assert!(world.fill(View::one(wide, &[Int4]), &[&[&fits]]).await.is_ok());
    for view in [View::one(wide, &[Int4]), View::many(wide, &[Int4])] {
        let refusal = world.refusal(view.clone(), &[&[over]]).await;
        assert!(refusal.starts_with("Contract: a fill of view `v`: more than 10000 bytes"), "{refusal}");
        let refusal = world.refusal(view, &[&["6000"], &["6000"]]).await;
        assert!(refusal.contains("more than 10000 bytes"), "the bound is for all answers: {refusal}");
    }
    // A hundred rows of a megabyte: what is over the limit is not put together at the server.
    let huge = View::many("SELECT repeat('x', 1000000) AS x FROM generate_series(1, $1)", &[Int4]);
    let huge = View { bounds: Bounds { rows_max: 200, bytes_max: 10_000 }, ..huge };
    assert!(world.refusal(huge, &[&["100"]]).await.contains("more than 10000 bytes"));
}

#[tokio::test]
async fn a_statement_past_its_time_is_slow_and_ends_at_the_server() {
    for (database, pooler) in [("slow_direct", false), ("slow_pooled", true)] {
        let world = World::with(database, "", |options| {
            options.statement_timeout = Duration::from_millis(100);
            options.pooler = pooler;
        });
        let view = View::one("SELECT pg_sleep($1)::text", &[Int4]);
        let refusal = world.refusal(view.clone(), &[&["30"]]).await;
        assert!(refusal.starts_with("Slow: "), "{refusal}");
        assert!(refusal.contains("the limit is 100 ms"), "{refusal}");
        assert!(world.fill(view, &[&["0"]]).await.is_ok());
        assert_eq!(world.pool.figures().size, 1, "the connection goes on");
    }
}

#[tokio::test]
async fn a_view_that_writes_is_refused() {
    for (database, pooler) in [("writes_direct", false), ("writes_pooled", true)] {
        let schema = "CREATE TABLE t (id int); CREATE FUNCTION add(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES ($1) RETURNING id'";
        let world = World::with(database, schema, |options| options.pooler = pooler);
        let refusal = world.refusal(View::one("SELECT add($1)", &[Int4]), &[&["1"]]).await;
        assert!(refusal.starts_with("Contract: "), "{refusal}");
        assert!(refusal.contains("must not write"), "{refusal}");
        assert_eq!(world.psql("SELECT count(*) FROM t"), "0");
    }
}

#[tokio::test]
async fn wrong_sql_is_the_contracts_fault_and_costs_no_connection() {
    let world = World::new("wrong", "");
    for (sql, wanted) in [("SELECT * FROM nothing WHERE id = $1", "42P01"), ("SELECT 1/$1", "22012")] {
        let refusal = world.refusal(View::one(sql, &[Int4]), &[&["0"]]).await;
        assert!(
            refusal.starts_with("Contract: a fill of view `v`: ") && refusal.contains(wanted),
            "{refusal}"
        );
    }
    let refusal = world.refusal(View::one("SELECT $1::uuid", &[Text]), &[&["x"]]).await;
    assert!(refusal.starts_with("Contract: "), "{refusal}");
    assert_eq!(world.pool.figures().size, 1);
    let refusal = world.refusal(View::one("SELECT 1", &[Int4]), &[]).await;
    assert!(refusal.contains("no key"), "{refusal}");
}

#[tokio::test]
async fn a_pool_whose_connections_are_busy_says_so() {
    let world = World::with("exhausted", "", |options| {
        options.connections_max = 1;
        options.acquire_timeout = Duration::from_millis(50);
    });
    // The connection is made without the clock of these milliseconds running.
    world.fill(View::one("SELECT 1 WHERE $1 = 1", &[Int4]), &[&["1"]]).await.unwrap();
    let held = world.pool.acquire().await.unwrap();
    let refusal = world.refusal(View::one("SELECT $1", &[Int4]), &[&["1"]]).await;
    assert!(refusal.starts_with("Slow: pool exhausted: 1 connections busy"), "{refusal}");
    drop(held);
    assert!(world.fill(View::one("SELECT $1", &[Int4]), &[&["1"]]).await.is_ok());
    let figures = world.pool.figures();
    assert_eq!((figures.size, figures.idle, figures.waiting, figures.acquired), (1, 1, 0, 3));
    assert!(figures.acquire_micros > 0);
}

#[tokio::test]
async fn a_fill_that_nobody_waits_for_ends_at_the_server() {
    let world = World::with("dropped", "", |options| options.statement_timeout = Duration::from_secs(60));
    let view = View::one("SELECT pg_sleep($1)::text AS dropped_sleep", &[Int4]);
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'dropped' AND pid <> pg_backend_pid() AND state = 'active'";
    let count = |wanted: &str| world.psql(running) == wanted;
    let filling = world.fill(view, &[&["60"]]);
    let seen = async {
        let began = Instant::now();
        while !count("1") {
            assert!(began.elapsed() < Duration::from_secs(20), "the statement never ran");
            tokio::task::yield_now().await;
            tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.unwrap_err();
        }
    };
    tokio::select! {
        _ = filling => panic!("the fill ended by itself"),
        () = seen => {}
    }
    let began = Instant::now();
    while !count("0") {
        assert!(began.elapsed() < Duration::from_secs(20), "the statement goes on at the server");
        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.unwrap_err();
    }
    assert_eq!(world.pool.figures().idle, 0);
    assert!(world.fill(View::one("SELECT $1", &[Int4]), &[&["1"]]).await.is_ok());
}

#[tokio::test]
async fn a_wrong_password_is_told_with_the_user_and_without_the_password() {
    let server = candor_testbed::Cluster::builder().password("right").start();
    let options = options(&server, "postgres", |options| options.connect.password = Some("s3cr3t".into()));
    let view = View::one("SELECT $1", &[Int4]);
    let error = fill(&Pool::new(options), &view.plan().unwrap(), &view.keys(&[&["1"]])).await.unwrap_err();
    assert_eq!(error.fault, candor_core::port::Fault::Down);
    for wanted in ["127.0.0.1", "as `postgres`", "28P01", "check the user and the password"] {
        assert!(error.message.contains(wanted), "{}", error.message);
    }
    assert!(!error.message.contains("s3cr3t"));
}

#[tokio::test]
async fn a_silent_network_is_slow_for_a_fill_and_down_for_a_connection() {
    let world = World::new("silent", "");
    let proxy = candor_testbed::Proxy::to(world.server().address());
    let mut options = world.pool.options().clone();
    options.connect.hosts = vec![("127.0.0.1".into(), proxy.address().port())];
    options.connect.connect_timeout = Duration::from_millis(500);
    let mut through = Pool::new(options.clone());
    let view = View::one("SELECT $1", &[Int4]);
    let (plan, keys) = (view.plan().unwrap(), view.keys(&[&["1"]]));
    while fill(&through, &plan, &keys).await.is_err() {
        // A busy machine may take longer than the time a connection has here.
        options.connect.connect_timeout *= 2;
        through = Pool::new(options.clone());
    }
    let mut hasty = options.clone();
    hasty.statement_timeout = Duration::from_millis(100);
    let hasty = Pool::new(hasty);
    fill(&hasty, &plan, &keys).await.unwrap();
    proxy.freeze();
    let error = fill(&hasty, &plan, &keys).await.unwrap_err();
    assert_eq!(error.fault, candor_core::port::Fault::Slow, "{}", error.message);
    assert!(error.message.contains("look at the network"), "{}", error.message);
    let error = fill(&hasty, &plan, &keys).await.unwrap_err();
    assert_eq!(error.fault, candor_core::port::Fault::Down, "{}", error.message);
    assert!(error.message.contains("no answer within"), "{}", error.message);
    proxy.thaw();
    assert!(fill(&through, &plan, &keys).await.is_ok());
}
