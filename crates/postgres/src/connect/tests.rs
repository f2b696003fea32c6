//! Ways to a server that are not there, do not answer, or are not what they seem.

#![expect(clippy::disallowed_methods, reason = "tests play servers, which run beside them")]

use super::*;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Options for some hosts, in the clear.
pub(crate) fn options(hosts: &[(&str, u16)]) -> ConnectOptions {
    ConnectOptions {
        hosts: hosts.iter().map(|(host, port)| ((*host).into(), *port)).collect(),
        user: "postgres".into(),
        password: None,
        database: "postgres".into(),
        tls: TlsMode::Disable,
        root_certificate: None,
        client_certificate: None,
        connect_timeout: Duration::from_secs(20),
        application_name: "candor tests".into(),
    }
}

/// A file of `tests/certificates`.
pub(crate) fn certificate(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "certificates", name].iter().collect()
}

/// Listens, answers a TLS request with these bytes, and gives what was said after it.
async fn answering(answer: &'static [u8]) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        client.read_exact(&mut request).await.unwrap();
        client.write_all(answer).await.unwrap();
        let mut said = vec![0; 1024];
        let count = client.read(&mut said).await.unwrap_or(0);
        said.truncate(count);
        said
    });
    (port, said)
}

async fn try_open(options: &ConnectOptions) -> Result<RawStream, SourceError> {
    open(options, deadline(options)).await
}

#[tokio::test]
async fn hosts_are_tried_in_order_and_a_silent_one_leaves_time_for_the_next() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let good = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (silent_port, good_port) = (silent.local_addr().unwrap().port(), good.local_addr().unwrap().port());
    let encrypts = tokio::spawn(async move {
        let (mut client, _) = good.accept().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.write_all(b"N").await.unwrap();
        client
    });
    // A socket that is not there, a server that takes the connection and says nothing, and one without TLS.
    let mut options = options(&[("/nowhere", 5432), ("127.0.0.1", silent_port), ("127.0.0.1", good_port)]);
    options.tls = TlsMode::Prefer;
    options.connect_timeout = Duration::from_millis(600);
    assert!(matches!(try_open(&options).await, Ok(RawStream::Plain(_))));
    encrypts.abort();
}

#[tokio::test]
async fn when_no_host_answers_each_is_named_with_its_reason() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut options = options(&[("/nowhere", 5432), ("127.0.0.1", port)]);
    options.tls = TlsMode::Require;
    options.connect_timeout = Duration::from_millis(200);
    let told = try_open(&options).await.unwrap_err();
    assert_eq!(told.fault, Fault::Down);
    assert!(told.message.contains("/nowhere:5432: No such file"), "{told}");
    assert!(told.message.contains(&format!("127.0.0.1:{port}: no answer in time")), "{told}");
    options.hosts.remove(0);
    assert_eq!(try_open(&options).await.unwrap_err().fault, Fault::Slow);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_unless_tls_is_only_preferred() {
    for mode in [TlsMode::Prefer, TlsMode::Require, TlsMode::VerifyFull] {
        let (port, said) = answering(b"N").await;
        let mut options = options(&[("127.0.0.1", port)]);
        options.tls = mode;
        match (mode, try_open(&options).await) {
            (TlsMode::Prefer, opened) => drop(opened.unwrap()),
            (_, refused) => {
                let told = refused.unwrap_err();
                assert!(told.message.contains("the server has no TLS"), "{told}");
            }
        }
        assert_eq!(said.await.unwrap(), b"", "something was sent in the clear");
    }
}

#[tokio::test]
async fn words_slipped_in_before_the_handshake_end_it() {
    // What a listener on the way could inject: a whole server message right behind the consent.
    let (port, _said) = answering(b"SR\0\0\0\x08\0\0\0\0").await;
    let mut options = options(&[("127.0.0.1", port)]);
    options.tls = TlsMode::Require;
    let told = try_open(&options).await.unwrap_err();
    assert!(told.message.contains("TLS handshake failed"), "{told}");
}

#[tokio::test]
async fn what_is_not_postgresql_is_told_so() {
    let (port, _said) = answering(b"HTTP/1.1 400 Bad Request\r\n").await;
    let mut options = options(&[("127.0.0.1", port)]);
    options.tls = TlsMode::Prefer;
    let told = try_open(&options).await.unwrap_err();
    assert!(told.message.contains("is not PostgreSQL"), "{told}");
}

#[test]
fn certificates_that_cannot_be_used_are_told_by_file() {
    let mut options = options(&[]);
    options.tls = TlsMode::VerifyCa;
    assert!(tls_config(&options).unwrap_err().message.contains("verify-ca needs sslrootcert"));
    options.root_certificate = Some(certificate("nothing.pem"));
    assert!(tls_config(&options).unwrap_err().message.contains("nothing.pem"));
    options.root_certificate = Some(certificate("README.md"));
    assert!(tls_config(&options).unwrap_err().message.contains("holds no certificate"));
    options.root_certificate = Some(certificate("authority.pem"));
    options.client_certificate = Some((certificate("client.pem"), certificate("server-key.pem")));
    assert!(tls_config(&options).unwrap_err().message.contains("do not go together"));
    options.client_certificate = Some((certificate("client.pem"), certificate("client-key.pem")));
    assert!(tls_config(&options).is_ok());
}

#[test]
fn nothing_is_installed_for_the_whole_process() {
    let mut options = options(&[]);
    options.tls = TlsMode::VerifyFull;
    assert!(tls_config(&options).is_ok());
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}
