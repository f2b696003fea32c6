//! Fills on a standby: its snapshot lists no transaction in progress, so only the replay position proves anything.

use super::world::{View, fill, options, texts};
use crate::fill::{RawFill, Reading};
use crate::lsn::Lsn;
use crate::pool::Pool;
use candor_core::KeyType::Int4;
use candor_testbed::Cluster;
use std::sync::atomic::{AtomicBool, Ordering};

/// Reads the counter, as the number and what the fill saw.
async fn count(pool: &Pool) -> (u64, RawFill) {
    let view = View::one("SELECT v FROM t WHERE id = $1", &[Int4]);
    let fill = fill(pool, &view.plan().unwrap(), &view.keys(&[&["1"]])).await.unwrap();
    let text = texts(&fill)[0].clone().unwrap();
    (text.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap(), fill)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standbys_fill_shows_everything_up_to_the_position_it_is_certain_of() {
    let primary = Cluster::start();
    primary.psql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)");
    let standby = primary.standby("certain");
    standby.catch_up_with(&primary);
    for pooler in [false, true] {
        let pool = Pool::new(options(&standby, "postgres", |options| options.pooler = pooler));
        let (mut writer, connection) =
            tokio_postgres::connect(&primary.url("postgres"), tokio_postgres::NoTls).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "the client library's own task")]
        drop(tokio::spawn(connection));
        let is_done = AtomicBool::new(false);
        let writing = async {
            let mut written: Vec<(u64, Lsn)> = Vec::new();
            for _ in 0..300 {
                let transaction = writer.transaction().await.unwrap();
                let row = transaction.query_one("UPDATE t SET v = v + 1 RETURNING v", &[]).await.unwrap();
                transaction.commit().await.unwrap();
                let lsn = writer.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await.unwrap();
                written.push((row.get::<_, i32>(0) as u64, lsn.get::<_, &str>(0).parse().unwrap()));
            }
            is_done.store(true, Ordering::Relaxed);
            written
        };
        let reading = async {
            let mut read: Vec<(u64, Lsn, Lsn)> = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                let (shown, fill) = count(&pool).await;
                let seen = fill.seen;
                assert!(seen.in_recovery);
                assert_eq!((seen.snapshot.xmax, seen.snapshot.in_progress.len()), (seen.snapshot.xmin, 0));
                read.push((shown, seen.certain.unwrap(), seen.upper));
            }
            read
        };
        let (written, read) = futures_util::future::join(writing, reading).await;
        assert!(read.len() > 10, "{} fills", read.len());
        for (shown, certain, upper) in read {
            let proven = written.iter().filter(|(_, lsn)| *lsn <= certain).map(|(v, _)| *v).max();
            assert!(proven.is_none_or(|proven| shown >= proven), "{shown} at {certain}: {proven:?}");
            assert!(upper >= certain);
        }
    }
}

#[tokio::test]
async fn a_promotion_is_noticed_by_the_next_fill_of_a_connection_that_lives_through_it() {
    let primary = Cluster::start();
    primary.psql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)");
    let standby = primary.standby("heir");
    standby.catch_up_with(&primary);
    let pool = Pool::new(options(&standby, "postgres", |_| {}));
    let (_, before) = count(&pool).await;
    assert!(before.seen.in_recovery && before.seen.certain.is_some());
    let mut held = pool.acquire().await.unwrap();
    let reading = Reading::begin(&pool, &mut held, None).await.unwrap();
    assert!(reading.end().await.unwrap().certain.is_some());
    drop(held);
    standby.promote();
    let (_, after) = count(&pool).await;
    assert_eq!(pool.figures().acquired, 3);
    assert_eq!(pool.figures().size, 1, "the same connection");
    assert!(!after.seen.in_recovery && after.seen.certain.is_none());
    let (before, after) = (before.seen.identity, after.seen.identity);
    assert_eq!((before.timeline, after.timeline), (1, 2));
    assert_eq!((before.system, before.started_micros), (after.system, after.started_micros));
}

#[tokio::test]
async fn of_several_hosts_the_one_that_can_be_written_to_is_taken() {
    let primary = Cluster::start();
    primary.psql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)");
    let standby = primary.standby("second");
    standby.catch_up_with(&primary);
    let hosts = [&standby, &primary].map(|server| ("127.0.0.1".into(), server.port()));
    let pool = Pool::new(options(&primary, "postgres", |options| options.connect.hosts = hosts.into()));
    assert!(!count(&pool).await.1.seen.in_recovery);
    primary.stop(candor_testbed::Mode::Fast);
    assert!(count(&pool).await.1.seen.in_recovery, "better a standby than none");
}
