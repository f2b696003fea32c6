//! What a fill says it saw.

use super::world::{View, World, texts};
use crate::fill::Reading;
use crate::lsn::Lsn;
use candor_core::KeyType::Int4;

#[tokio::test]
async fn the_snapshot_is_that_of_the_statement_that_read_the_value() {
    let world =
        World::new("snapshots", "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)");
    let view = View::one("SELECT v FROM t WHERE id = $1", &[Int4]);
    let (mut other, connection) =
        tokio_postgres::connect(&world.server().url("snapshots"), tokio_postgres::NoTls).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "the client library's own task")]
    drop(tokio::spawn(connection));
    let transaction = other.transaction().await.unwrap();
    transaction.execute("UPDATE t SET v = 1 WHERE id = 1", &[]).await.unwrap();
    let xid = transaction.query_one("SELECT pg_current_xact_id()::text", &[]).await.unwrap();
    let xid: u64 = xid.get::<_, String>(0).parse().unwrap();
    // Something finished above it, so that it lies within the snapshot and not beyond.
    world.psql("CREATE TABLE later ()");
    let before: Lsn = world.psql("SELECT pg_current_wal_insert_lsn()").parse().unwrap();
    for keys in [&[["1"].as_slice()] as &[&[&str]], &[&["1"], &["1"]]] {
        let fill = world.fill(view.clone(), keys).await.unwrap();
        assert_eq!(texts(&fill)[0].as_deref(), Some(r#"{"v":0}"#));
        let seen = &fill.seen;
        assert!(seen.snapshot.in_progress.contains(&xid), "{xid} in {seen:?}");
        assert!(seen.snapshot.xmin <= xid && xid < seen.snapshot.xmax, "{xid} in {seen:?}");
        assert!(seen.upper >= before && !seen.in_recovery && seen.certain.is_none(), "{seen:?}");
    }
    transaction.commit().await.unwrap();
    let fill = world.fill(view, &[&["1"]]).await.unwrap();
    assert_eq!(texts(&fill)[0].as_deref(), Some(r#"{"v":1}"#));
    assert!(fill.seen.snapshot.xmin > xid || !fill.seen.snapshot.in_progress.contains(&xid));
}

#[tokio::test]
async fn a_fill_names_the_log_its_position_counts_in() {
    let world = World::new("identities", "CREATE ROLE plain LOGIN");
    let view = View::one("SELECT $1", &[Int4]);
    let seen = world.fill(view.clone(), &[&["1"]]).await.unwrap().seen;
    let told = world.psql(&format!(
        "SELECT system_identifier, timeline_id, {} FROM pg_control_system(), pg_control_checkpoint()",
        crate::identity::started_sql()
    ));
    let identity = &seen.identity;
    assert_eq!(told, format!("{}|{}|{}", identity.system, identity.timeline, identity.started_micros));
    assert_eq!(identity.database, "identities");
    assert_eq!(world.pool.identity().as_ref(), Some(identity));
    // Any role may ask.
    let mut options = world.pool.options().clone();
    options.connect.user = "plain".into();
    let plain = World { database: "identities", pool: crate::pool::Pool::new(options) };
    assert_eq!(plain.fill(view, &[&["1"]]).await.unwrap().seen.identity, *identity);
}

#[tokio::test]
async fn a_fill_takes_no_transaction_id() {
    for (database, pooler) in [("no_xid_direct", false), ("no_xid_pooled", true)] {
        let world = World::with(database, "", |options| options.pooler = pooler);
        let view = View::one("SELECT pg_current_xact_id_if_assigned()::text AS xid, $1 AS k", &[Int4]);
        let fill = world.fill(view, &[&["1"]]).await.unwrap();
        assert_eq!(texts(&fill)[0].as_deref(), Some(r#"{"xid":null,"k":1}"#));
    }
}

#[tokio::test]
async fn the_queries_of_a_reading_see_one_moment() {
    for (database, pooler) in [("readings_direct", false), ("readings_pooled", true)] {
        let world = World::with(database, "CREATE TABLE t (v int); INSERT INTO t VALUES (0)", |options| {
            options.pooler = pooler;
        });
        let mut held = world.pool.acquire().await.unwrap();
        let reading = Reading::begin(&world.pool, &mut held, None).await.unwrap();
        let xid: u64 = world.psql("UPDATE t SET v = 1 RETURNING pg_current_xact_id()").parse().unwrap();
        for _ in 0..2 {
            let row = reading.transaction().query_typed_one("SELECT v FROM t", &[]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), 0);
        }
        let sleeps = reading.transaction().query_typed("SHOW statement_timeout", &[]).await.unwrap();
        assert_eq!(sleeps[0].get::<_, &str>(0), "10s");
        assert_eq!(reading.seen().identity.database, database);
        let seen = reading.end().await.unwrap();
        assert!(seen.snapshot.xmax <= xid || seen.snapshot.in_progress.contains(&xid), "{xid} in {seen:?}");
        drop(held);
        assert_eq!(world.pool.figures().idle, 1);
        // One that is not ended gives up its connection.
        let mut held = world.pool.acquire().await.unwrap();
        drop(Reading::begin(&world.pool, &mut held, None).await.unwrap());
        drop(held);
        assert_eq!(world.pool.figures().idle, 0);
    }
}
