//! Starting, stopping, crashing, and who is let in.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use candor_testbed::{Cluster, Mode, until};

/// Runs one statement through a connection string, as a client that knows nothing of the testbed.
pub(crate) fn client(address: &str) -> Result<String, String> {
    // Whoever runs the tests may have certificates and passwords at home.
    let mut psql = Command::new("psql");
    let output =
        psql.args(["-XAtq", "-c", "SELECT 'in'", address]).env("HOME", "/nonexistent").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn a_server_answers_and_comes_back_after_each_way_of_stopping() {
    let cluster = Cluster::start();
    assert_eq!(cluster.psql("SHOW wal_level; SELECT 1, NULL, 'a'"), "logical\n1||a");
    assert_eq!(client(&cluster.url("postgres")), Ok("in".to_owned()));
    cluster.restart();
    for mode in [Mode::Smart, Mode::Fast, Mode::Immediate] {
        cluster.stop(mode);
        assert!(cluster.try_psql("SELECT 1").is_err());
        assert!(TcpStream::connect(cluster.address()).is_err());
        cluster.start_again();
        assert_eq!(cluster.psql("SELECT 1"), "1");
    }
}

#[test]
fn statements_stand_for_themselves_and_the_first_error_ends_the_script() {
    let cluster = Cluster::start();
    let error = cluster.try_psql("CREATE TABLE t (); SELECT 1/0; CREATE TABLE u ()").unwrap_err();
    assert!(error.contains("division by zero"), "{error}");
    assert_eq!(cluster.psql("SELECT to_regclass('t'), to_regclass('u')"), "t|");
    cluster.psql("CREATE DATABASE other");
    assert_eq!(cluster.psql_in("other", "SELECT current_database()"), "other");
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), "\\set answer 42\nSELECT :answer;\n").unwrap();
    assert_eq!(cluster.psql_file("other", script.path()), "42");
}

#[test]
fn two_servers_are_not_the_same_system() {
    let identifier = |cluster: &Cluster| cluster.psql("SELECT system_identifier FROM pg_control_system()");
    assert_ne!(identifier(&Cluster::start()), identifier(&Cluster::start()));
}

#[test]
fn settings_are_as_asked_and_a_changed_one_holds_at_once() {
    let cluster = Cluster::builder().setting("wal_level", "replica").setting("work_mem", "1MB").start();
    assert_eq!(cluster.psql("SHOW wal_level; SHOW work_mem"), "replica\n1MB");
    cluster.set("work_mem", "2MB");
    assert_eq!(cluster.psql("SHOW work_mem"), "2MB");
    cluster.set("wal_level", "logical");
    cluster.restart();
    assert_eq!(cluster.psql("SHOW wal_level"), "logical");
}

#[test]
fn a_crash_loses_what_was_committed_but_not_written() {
    let cluster = Cluster::builder().setting("wal_writer_delay", "10s").start();
    cluster.psql("CREATE TABLE t (v int); INSERT INTO t VALUES (1)");
    let lost = "SET synchronous_commit = off; UPDATE t SET v = 2; SELECT v FROM t";
    assert_eq!(cluster.psql(lost), "2");
    cluster.crash();
    cluster.start_again();
    assert_eq!(cluster.psql("SELECT v FROM t"), "1");
    assert_eq!(cluster.psql(lost), "2");
    cluster.restart();
    assert_eq!(cluster.psql("SELECT v FROM t"), "2");
}

#[test]
fn a_paused_server_answers_nothing_until_it_is_resumed() {
    let cluster = Cluster::start();
    cluster.psql("CREATE TABLE t ()");
    cluster.pause();
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| cluster.psql("SELECT count(*) FROM t"));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!asked.is_finished());
        cluster.resume();
        asked.join().unwrap()
    });
    assert_eq!(answer, "0");
    cluster.pause();
    cluster.stop(Mode::Fast);
}

#[test]
fn a_password_is_asked_for_by_tcp_and_the_rules_can_be_replaced() {
    let cluster = Cluster::builder().password("it's: 100%").start();
    assert_eq!(client(&cluster.url("postgres")), Ok("in".to_owned()));
    let refused = client(&cluster.url("postgres").replace("100", "101")).unwrap_err();
    assert!(refused.contains("password authentication failed"), "{refused}");
    let cluster = Cluster::builder().hba("host all all 127.0.0.1/32 reject").start();
    assert!(client(&cluster.url("postgres")).unwrap_err().contains("pg_hba.conf rejects connection"));
    assert_eq!(cluster.psql("SELECT 1"), "1");
}

#[test]
fn with_tls_the_certificate_is_vouched_for_by_its_own_authority_alone() {
    let [ours, other] = [(); 2].map(|()| Cluster::builder().tls().start());
    let through = |host: &str, authority: &Cluster| {
        let address = ours.url("postgres").replace("127.0.0.1", host);
        client(&format!("{address}?sslmode=verify-full&sslrootcert={}", authority.ca().display()))
    };
    assert_eq!(through("localhost", &ours), Ok("in".to_owned()));
    assert_eq!(through("127.0.0.1", &ours), Ok("in".to_owned()));
    assert!(through("localhost", &other).unwrap_err().contains("certificate verify failed"));
}

#[test]
fn nothing_is_left_of_a_server_whose_test_panicked() {
    let left = std::panic::catch_unwind(|| {
        let cluster = Cluster::start();
        cluster.pause();
        std::panic::panic_any((cluster.address(), cluster.data_dir()));
    });
    let (address, data) =
        *left.unwrap_err().downcast::<(std::net::SocketAddr, std::path::PathBuf)>().unwrap();
    assert!(TcpStream::connect(address).is_err());
    assert!(!data.parent().unwrap().exists());
}

/// What makes this program, started by its own test, be one that is killed: it holds what to do with the server before.
const VICTIM: &str = "CANDOR_TESTBED_VICTIM";

/// Not a test of its own: what the next one starts as another program.
#[test]
fn victim() {
    let Ok(wish) = std::env::var(VICTIM) else { return };
    let cluster = Cluster::start();
    if wish == "pause" {
        cluster.pause();
    }
    eprintln!("{VICTIM} {} {}", cluster.port(), cluster.socket_dir().display());
    // Killed long before; and if not, it ends all the same.
    std::thread::sleep(Duration::from_secs(60));
}

/// Starts another program with a server, kills it, and gives the server's port and folder.
fn kill_a_program_with_a_server(wish: &str) -> (u16, PathBuf) {
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "--nocapture", "cluster::victim"]).env(VICTIM, wish);
    let mut victim = victim.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(victim.stderr.take().unwrap()).lines().map_while(Result::ok);
    let place = lines.find_map(|line| Some(line.strip_prefix(VICTIM)?.trim().to_owned())).unwrap();
    let (port, folder) = place.split_once(' ').unwrap();
    let port = port.parse().unwrap();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    victim.kill().unwrap();
    victim.wait().unwrap();
    (port, folder.into())
}

#[test]
fn the_server_of_a_program_that_was_killed_stops_by_itself_and_its_folder_goes_with_the_next_program() {
    let (running, one) = kill_a_program_with_a_server("run");
    until("its server to stop", || TcpStream::connect((Ipv4Addr::LOCALHOST, running)).is_err());
    let (paused, other) = kill_a_program_with_a_server("pause");
    // The second program has swept behind the first; the third sweeps behind both.
    let (_, last) = kill_a_program_with_a_server("run");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, paused)).is_err());
    assert!(!one.exists() && !other.exists());
    until("the last server to be gone", || !last.join("data/postmaster.pid").exists());
    let _ = std::fs::remove_dir_all(last);
}

#[test]
fn a_server_outlives_the_thread_that_started_it() {
    let cluster = std::thread::spawn(Cluster::start).join().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(cluster.psql("SELECT 1"), "1");
}
