//! Who is let in, by whom, and what is never sent.

use super::*;
use crate::connect::tests::certificate;
use crate::options::TlsMode;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

async fn refused(options: &ConnectOptions) -> String {
    Session::connect(options).await.unwrap_err().to_string()
}

/// Switches TLS on with a certificate of `tests/certificates`.
fn with_tls(cluster: &Cluster, server: &str) {
    let owner = std::fs::metadata(cluster.data_dir()).unwrap();
    for (from, to) in
        [(server, "server.crt"), ("server-key.pem", "server.key"), ("authority.pem", "root.crt")]
    {
        let to = cluster.data_dir().join(to);
        std::fs::copy(certificate(from), &to).unwrap();
        std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).unwrap();
        chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    cluster.psql("ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    cluster.set("ssl", "on");
}

#[tokio::test]
async fn a_password_is_proven_by_scram_and_a_wrong_one_is_refused_with_its_code() {
    let cluster = Cluster::builder().password("correct horse").start();
    let mut options = by_tcp(&cluster);
    assert!(refused(&options).await.contains("none is configured"));
    options.password = Some("battery staple".into());
    let error = Session::connect(&options).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("28P01"), "{error}");
    options.password = Some("correct horse".into());
    let mut session = Session::connect(&options).await.unwrap();
    assert_eq!(session.identify().await.unwrap().database, "postgres");
    assert!(!format!("{options:?} {session:?}").contains("correct horse"));
}

#[tokio::test]
async fn a_password_never_travels_in_the_clear_or_as_md5_without_tls() {
    let hba = |method| format!("host all all 127.0.0.1/32 {method}\nlocal all other {method}\n");
    for (method, encryption, how) in [("password", "scram-sha-256", "in the clear"), ("md5", "md5", "as MD5")]
    {
        let cluster = Cluster::builder().hba(&hba(method)).setting("password_encryption", encryption).start();
        cluster.psql("CREATE ROLE other LOGIN REPLICATION PASSWORD 'secret'");
        let mut options = by_tcp(&cluster);
        options.user = "other".into();
        options.password = Some("secret".into());
        let told = refused(&options).await;
        assert!(told.contains(how) && told.contains("without TLS"), "{told}");
        with_tls(&cluster, "server.pem");
        options.tls = TlsMode::Require;
        Session::connect(&options).await.unwrap();
        // A Unix socket does not leave the machine.
        options.hosts = vec![(cluster.socket_dir().to_str().unwrap().into(), cluster.port())];
        Session::connect(&options).await.unwrap();
    }
}

#[tokio::test]
async fn verify_full_takes_the_authority_and_the_name_and_verify_ca_the_authority() {
    let cluster = Cluster::start();
    with_tls(&cluster, "server.pem");
    let connect = |host: &str, tls, root: Option<&str>| {
        let mut options = options(&[(host, cluster.port())]);
        options.tls = tls;
        options.root_certificate = root.map(certificate);
        async move { Session::connect(&options).await.map(drop).map_err(|error| error.to_string()) }
    };
    use TlsMode::{Prefer, Require, VerifyCa, VerifyFull};
    assert_eq!(connect("localhost", VerifyFull, Some("authority.pem")).await, Ok(()));
    let told = connect("127.0.0.1", VerifyFull, Some("authority.pem")).await.unwrap_err();
    assert!(told.contains("not valid for name"), "{told}");
    assert_eq!(connect("127.0.0.1", VerifyCa, Some("authority.pem")).await, Ok(()));
    for mode in [VerifyFull, VerifyCa, Require] {
        let told = connect("localhost", mode, Some("stranger.pem")).await.unwrap_err();
        assert!(told.contains("UnknownIssuer"), "{mode:?}: {told}");
    }
    let told = connect("localhost", VerifyFull, None).await.unwrap_err();
    assert!(told.contains("sslrootcert"), "the public authorities did not sign it: {told}");
    assert_eq!(connect("127.0.0.1", Require, None).await, Ok(()));
    assert_eq!(connect("127.0.0.1", Prefer, Some("stranger.pem")).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_that_certifies_itself_as_an_authority_is_explained() {
    let cluster = Cluster::start();
    with_tls(&cluster, "self-signed.pem");
    for mode in [TlsMode::VerifyFull, TlsMode::VerifyCa] {
        let mut options = options(&[("localhost", cluster.port())]);
        options.tls = mode;
        options.root_certificate = Some(certificate("self-signed.pem"));
        let told = refused(&options).await;
        assert!(told.contains("basicConstraints=CA:FALSE"), "{told}");
    }
}

#[tokio::test]
async fn a_certificate_of_ours_lets_us_in() {
    let cluster = Cluster::builder().hba("hostssl all all 127.0.0.1/32 cert\n").start();
    with_tls(&cluster, "server.pem");
    let mut options = options(&[("localhost", cluster.port())]);
    options.tls = TlsMode::VerifyFull;
    options.root_certificate = Some(certificate("authority.pem"));
    let error = Session::connect(&options).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("28000"), "{error}");
    options.client_certificate = Some((certificate("client.pem"), certificate("client-key.pem")));
    Session::connect(&options).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_tls_is_required() {
    let cluster = Cluster::start();
    let mut options = by_tcp(&cluster);
    options.tls = TlsMode::Require;
    assert!(refused(&options).await.contains("the server has no TLS"));
    options.tls = TlsMode::Prefer;
    Session::connect(&options).await.unwrap();
}

#[tokio::test]
async fn questions_are_answered_as_text_and_a_refused_one_leaves_the_session_alive() {
    let cluster = Cluster::start();
    let mut session = Session::connect(&by_tcp(&cluster)).await.unwrap();
    let rows =
        session.query("SELECT 1, NULL, 'ü', date '2026-11-21', interval '1 day', 0.1::float8").await.unwrap();
    let texts: Vec<_> = rows[0].iter().map(Option::as_deref).collect();
    assert_eq!(texts, [Some("1"), None, Some("ü"), Some("2026-11-21"), Some("1 day"), Some("0.1")]);
    let error = session.query("SELECT * FROM nowhere").await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("42P01"), "{error}");
    assert!(session.query("").await.unwrap().is_empty());
    let system = session.identify().await.unwrap();
    assert_eq!(cluster.psql("SELECT system_identifier FROM pg_control_system()"), system.system.to_string());
    assert_eq!((system.timeline, session.version()), (1, 15));
    let process = cluster.psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'candor tests'");
    assert_eq!(process, session.process().to_string());
}

#[tokio::test]
async fn an_answer_half_read_is_never_taken_for_the_next_one() {
    let cluster = Cluster::start();
    let mut session = Session::connect(&by_tcp(&cluster)).await.unwrap();
    let dropped = timeout(Duration::from_millis(50), session.query("SELECT 1, pg_sleep(1)")).await;
    assert!(dropped.is_err());
    let told = session.query("SELECT 2").await.unwrap_err();
    assert!(told.to_string().contains("has not read the answer to an earlier question"), "{told}");
}

#[tokio::test]
async fn slots_that_are_missing_in_use_or_lost_are_told_by_code_and_with_advice() {
    let cluster =
        Cluster::builder().setting("max_slot_wal_keep_size", "1MB").setting("min_wal_size", "32MB").start();
    let start = |slot: &'static str| {
        let options = by_tcp(&cluster);
        async move { Session::connect(&options).await.unwrap().start(slot, "p", Lsn(0)).await }
    };
    let missing = start("s").await.unwrap_err();
    assert_eq!(missing.code.as_deref(), Some("42704"), "{missing}");
    assert!(missing.to_string().contains("candor setup"), "{missing}");
    prepare(&cluster);
    let stream = start("s").await.unwrap();
    let in_use = start("s").await.unwrap_err();
    assert_eq!(in_use.code.as_deref(), Some("55006"), "{in_use}");
    drop(stream);
    until_free(&cluster);
    cluster.psql(
        "SELECT pg_switch_wal(); CREATE TABLE t (); SELECT pg_switch_wal(); CREATE TABLE u (); CHECKPOINT",
    );
    assert_eq!(cluster.psql("SELECT wal_status FROM pg_replication_slots"), "lost");
    let lost = start("s").await.unwrap_err();
    assert_eq!(lost.code.as_deref(), Some("55000"), "{lost}");
    assert!(lost.to_string().contains("max_slot_wal_keep_size"), "{lost}");
    assert_eq!(start("s' \"").await.unwrap_err().error.fault, candor_core::port::Fault::Contract);
}
