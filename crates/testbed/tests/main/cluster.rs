//! Starting, stopping, crashing.

use candor_testbed::{Cluster, Mode};

#[test]
fn a_new_server_answers_on_its_port_and_logs_logically() {
    let cluster = Cluster::start();
    assert_eq!(cluster.psql("SHOW wal_level; SELECT 1, NULL, 'a'"), "logical\n1||a");
    assert!(std::net::TcpStream::connect(cluster.address()).is_ok());
    cluster.restart();
    cluster.stop(Mode::Immediate);
    assert!(cluster.try_psql("SELECT 1").is_err());
    cluster.start_again();
    assert_eq!(cluster.psql("SELECT 1"), "1");
}

#[test]
fn two_servers_are_not_the_same_system() {
    let identifier = |cluster: &Cluster| cluster.psql("SELECT system_identifier FROM pg_control_system()");
    assert_ne!(identifier(&Cluster::start()), identifier(&Cluster::start()));
}
