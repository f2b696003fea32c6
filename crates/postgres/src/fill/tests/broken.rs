//! Servers that go away, statements they forget.

use super::world::{View, World, fill, options, texts};
use crate::options::TlsMode;
use crate::pool::Pool;
use candor_core::KeyType::Int4;
use candor_core::port::Fault;
use candor_testbed::{Cluster, Mode};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_server_that_is_gone_is_down_and_one_that_is_back_costs_no_fill() {
    let server = Cluster::start();
    let pool = Pool::new(options(&server, "postgres", |_| {}));
    let view = View::one("SELECT $1 AS k", &[Int4]);
    let (plan, keys) = (view.plan().unwrap(), view.keys(&[&["1"]]));
    let before = fill(&pool, &plan, &keys).await.unwrap().seen.identity;
    server.restart();
    let after = fill(&pool, &plan, &keys).await.unwrap().seen.identity;
    assert_eq!((after.system, after.timeline), (before.system, before.timeline));
    assert_ne!(after.log(), before.log(), "a restart begins another log");
    server.stop(Mode::Immediate);
    for _ in 0..2 {
        let error = fill(&pool, &plan, &keys).await.unwrap_err();
        assert_eq!(error.fault, Fault::Down, "{}", error.message);
        assert!(error.message.contains(&format!("127.0.0.1:{}", server.port())), "{}", error.message);
    }
    assert_eq!(pool.figures().size, 0);
    server.start_again();
    assert!(fill(&pool, &plan, &keys).await.is_ok());
}

#[tokio::test]
async fn a_connection_ended_by_the_server_costs_no_fill() {
    let world = World::new("ended", "");
    let view = View::one("SELECT $1 AS k", &[Int4]);
    for _ in 0..30 {
        world.fill(view.clone(), &[&["1"]]).await.unwrap();
        world.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'ended' AND pid <> pg_backend_pid()");
    }
}

#[tokio::test]
async fn a_statement_the_server_forgot_is_prepared_again() {
    let world = World::new("forgotten", "CREATE TABLE t (id int, v int); INSERT INTO t VALUES (1, 1)");
    let view = View::one("SELECT * FROM t WHERE id = $1", &[Int4]);
    assert_eq!(
        texts(&world.fill(view.clone(), &[&["1"]]).await.unwrap())[0].as_deref(),
        Some(r#"{"id":1,"v":1}"#)
    );
    let held = world.pool.acquire().await.unwrap();
    held.client.batch_execute("DEALLOCATE ALL").await.unwrap();
    drop(held);
    assert!(world.fill(view.clone(), &[&["1"]]).await.is_ok());
    world.psql("ALTER TABLE t ALTER v TYPE text, ADD w bool");
    assert_eq!(
        texts(&world.fill(view, &[&["1"]]).await.unwrap())[0].as_deref(),
        Some(r#"{"id":1,"v":"1","w":null}"#)
    );
    assert_eq!(world.pool.figures().size, 1);
}

#[tokio::test]
async fn hosts_are_tried_in_order_until_one_answers() {
    let server = Cluster::start();
    let dead = candor_testbed::free_port();
    let pool = Pool::new(options(&server, "postgres", |options| {
        options.connect.hosts.insert(0, ("127.0.0.1".into(), dead))
    }));
    let view = View::one("SELECT $1 AS k", &[Int4]);
    assert!(fill(&pool, &view.plan().unwrap(), &view.keys(&[&["1"]])).await.is_ok());
    let socket = server.socket_dir().to_str().unwrap();
    let pool = Pool::new(options(&server, "postgres", |options| {
        options.connect.hosts = vec![(socket.into(), server.port())]
    }));
    assert!(fill(&pool, &view.plan().unwrap(), &view.keys(&[&["1"]])).await.is_ok(), "through the socket");
}

#[tokio::test]
async fn fills_are_encrypted_as_asked_and_end_at_the_server_all_the_same() {
    let server = Cluster::builder().tls().start();
    let pool = Pool::new(options(&server, "postgres", |options| {
        options.connect.tls = TlsMode::Require;
        options.statement_timeout = Duration::from_secs(60);
    }));
    let sql = "SELECT ssl::text AS s FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND $1 = 1";
    let view = View::one(sql, &[Int4]);
    let found = fill(&pool, &view.plan().unwrap(), &view.keys(&[&["1"]])).await.unwrap();
    assert_eq!(texts(&found)[0].as_deref(), Some(r#"{"s":"true"}"#));
    let sleep = View::one("SELECT pg_sleep($1)::text AS a", &[Int4]);
    let (plan, keys) = (sleep.plan().unwrap(), sleep.keys(&[&["60"]]));
    assert!(tokio::time::timeout(Duration::from_secs(1), fill(&pool, &plan, &keys)).await.is_err());
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%candor_answer%' AND pid <> pg_backend_pid()";
    let began = Instant::now();
    while server.psql(running) != "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "the statement goes on at the server");
        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.unwrap_err();
    }
}
