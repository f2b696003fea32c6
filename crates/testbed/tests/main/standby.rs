//! Standbys.

use candor_testbed::Cluster;

#[test]
fn a_standby_follows_and_takes_over() {
    let primary = Cluster::start();
    primary.psql("CREATE TABLE t (v int)");
    let standby = primary.standby("second");
    primary.psql("INSERT INTO t VALUES (1)");
    standby.catch_up_with(&primary);
    assert_eq!(standby.psql("SELECT v, pg_is_in_recovery() FROM t"), "1|t");
    assert_eq!(primary.psql("SELECT application_name FROM pg_stat_replication"), "second");
    standby.restart();
    primary.crash();
    standby.promote();
    standby.psql("INSERT INTO t VALUES (2)");
    let timeline = "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)";
    assert_eq!(standby.psql(&format!("{timeline}; SELECT v FROM t")), "00000002\n1\n2");
}
