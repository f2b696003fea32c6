//! Fills through a pooler that hands out sessions by the transaction, and knows no prepared statements.

use super::world::{View, fill, options, texts};
use crate::fill::Reading;
use crate::pool::{Pool, Route};
use candor_core::KeyType::Int4;
use candor_core::port::Fault;
use candor_testbed::{Bouncer, Cluster};
use futures_util::future::join_all;
use std::time::Duration;

const SETTINGS: &str = "SELECT $1 AS k, current_setting('statement_timeout') AS s, \
     current_setting('transaction_read_only') AS r, current_setting('TimeZone') AS z, \
     current_setting('transaction_isolation') AS i";

fn pool(cluster: &Cluster, bouncer: &Bouncer) -> Pool {
    Pool::new(options(cluster, "postgres", |options| {
        options.connect.hosts = vec![("127.0.0.1".into(), bouncer.address().port())];
        options.statement_timeout = Duration::from_millis(900);
    }))
}

#[tokio::test]
async fn a_pooler_is_found_out_and_fills_bring_their_settings_along() {
    let cluster = Cluster::start();
    // Under the latter, a standby's fill would take its snapshot when it is asked how far it is, and claim more than it saw.
    cluster.psql(
        "ALTER DATABASE postgres SET timezone = 'Asia/Tokyo'; \
         ALTER DATABASE postgres SET default_transaction_isolation = 'repeatable read'",
    );
    let bouncer = Bouncer::before(&cluster, 2);
    let pool = pool(&cluster, &bouncer);
    let view = View::one(SETTINGS, &[Int4]);
    let plan = view.plan().unwrap();
    let one = async |number: usize| {
        let found = fill(&pool, &plan, &view.keys(&[&[&number.to_string()]])).await.unwrap();
        let wanted = format!(r#"{{"k":{number},"s":"900ms","r":"on","z":"UTC","i":"read committed"}}"#);
        assert_eq!(texts(&found)[0].as_ref(), Some(&wanted));
    };
    join_all((0..50).map(one)).await;
    assert_eq!(pool.acquire().await.unwrap().route, Route::Pooler);
    // Nothing of it stays with sessions that others use next.
    let others = tokio_postgres::connect(&bouncer.url("postgres"), tokio_postgres::NoTls).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "the client library's own task")]
    drop(tokio::spawn(others.1));
    let sql = "SELECT concat_ws(' ', current_setting('default_transaction_read_only'), \
         current_setting('statement_timeout'), current_setting('timezone'))";
    for _ in 0..4 {
        let row = others.0.query_typed_one(sql, &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "off 0 Asia/Tokyo");
    }
}

#[tokio::test]
async fn a_fill_through_a_pooler_fails_and_ends_as_any_other() {
    let cluster = Cluster::start();
    let bouncer = Bouncer::before(&cluster, 1);
    let pool = pool(&cluster, &bouncer);
    let sleep = View::one("SELECT pg_sleep($1)::text AS a", &[Int4]);
    let (plan, keys) = (sleep.plan().unwrap(), sleep.keys(&[&["30"]]));
    assert_eq!(fill(&pool, &plan, &keys).await.unwrap_err().fault, Fault::Slow);
    // One that is dropped half way leaves its session to the next.
    let short = Duration::from_millis(100);
    assert!(tokio::time::timeout(short, fill(&pool, &plan, &keys)).await.is_err());
    fill(&pool, &plan, &sleep.keys(&[&["0"]])).await.unwrap();
    let mut held = pool.acquire().await.unwrap();
    let reading = Reading::begin(&pool, &mut held, None).await.unwrap();
    let row = reading.transaction().query_typed_one("SELECT 5", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 5);
    reading.end().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_outlives_the_server_tells_the_new_servers_log() {
    let cluster = Cluster::start();
    let bouncer = Bouncer::before(&cluster, 1);
    let pool = pool(&cluster, &bouncer);
    let view = View::one("SELECT $1 AS k", &[Int4]);
    let (plan, keys) = (view.plan().unwrap(), view.keys(&[&["1"]]));
    let before = fill(&pool, &plan, &keys).await.unwrap().seen.identity;
    cluster.restart();
    let after = fill(&pool, &plan, &keys).await.unwrap().seen.identity;
    assert_ne!(before.log(), after.log());
    assert_eq!(pool.identity(), Some(after));
}
