//! Servers played by the test: what they say comes byte by byte, never ends, or makes no sense.

use super::*;
use crate::connect::RawStream;
use crate::pgoutput::Event;
use crate::pgoutput::samples::{encode, transaction};
use bytes::BufMut;
use candor_core::port::Fault;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

/// A stream, and the server's end of it.
fn stream() -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut wire = Wire::new(RawStream::Unix(ours));
    wire.message_bytes_max = 4096;
    (Stream::new(wire), theirs)
}

/// One message of the server.
fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![tag];
    message.put_u32(u32::try_from(body.len() + 4).unwrap());
    message.put_slice(body);
    message
}

fn logged(event: &Event) -> Vec<u8> {
    let mut body = vec![b'w'];
    body.put_slice(&[0; 24]);
    body.put_slice(&encode(event));
    framed(b'd', &body)
}

fn keepalive(wal_end: u64, reply_requested: bool) -> Vec<u8> {
    let mut body = vec![b'k'];
    body.put_u64(wal_end);
    body.put_i64(0);
    body.put_u8(u8::from(reply_requested));
    framed(b'd', &body)
}

/// Polls once and drops the future.
async fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn asking_for_the_next_message_and_giving_up_at_every_byte_loses_nothing() {
    let (mut stream, mut server) = stream();
    let mut told = Vec::new();
    for byte in transaction().iter().flat_map(logged) {
        server.write_all(&[byte]).await.unwrap();
        // The kernel has the byte; a few turns of the loop bring it here. Each attempt is dropped unfinished.
        for _ in 0..3 {
            stream.confirm(Lsn(1), Lsn(1), false).await.unwrap();
            if let Some(next) = once(stream.next()).await {
                told.push(next.unwrap());
            }
            tokio::task::yield_now().await;
        }
    }
    let last = transaction().len() - told.len();
    for _ in 0..last {
        told.push(soon(&mut stream).await);
    }
    let events: Vec<_> = told
        .into_iter()
        .map(|incoming| match incoming {
            Incoming::Event { event, .. } => event,
            Incoming::Keepalive { .. } => panic!("{incoming:?}"),
        })
        .collect();
    assert_eq!(events, transaction());
}

#[tokio::test]
async fn a_server_that_does_not_read_stops_neither_us_nor_fills_our_memory() {
    let (mut stream, mut server) = stream();
    // Far more than a socket buffer holds.
    for position in 1..=100_000 {
        stream.confirm(Lsn(position), Lsn(position), position % 2 == 0).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(stream.wire.is_writing(), "the socket took it all: nothing was tested");
    // Meanwhile its words arrive.
    server.write_all(&keepalive(7, true)).await.unwrap();
    let word = soon(&mut stream).await;
    assert_eq!(word, Incoming::Keepalive { wal_end: Lsn(7), reply_requested: true });
    // When it reads again, whole statuses arrive in order, and the last of them is the latest.
    let reading = tokio::spawn(async move {
        let (mut statuses, mut message) = (Vec::new(), [0; 39]);
        while statuses.last() != Some(&100_000) {
            server.read_exact(&mut message).await.unwrap();
            assert_eq!((message[0], message[5]), (b'd', b'r'));
            statuses.push(u64::from_be_bytes(message[6..14].try_into().unwrap()));
        }
        // It stays on the line until what it read is looked at.
        (statuses, server)
    });
    let (statuses, _server) = tokio::select! {
        read = reading => read.unwrap(),
        next = stream.next() => panic!("{next:?}"),
    };
    assert!(statuses.is_sorted() && statuses.len() < 100_000, "{} statuses", statuses.len());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_reads_again_is_told_of_as_slow() {
    let (mut stream, _server) = stream();
    while !stream.wire.is_writing() {
        stream.confirm(Lsn(1), Lsn(1), true).await.unwrap();
        tokio::task::yield_now().await;
    }
    let error = stream.next().await.unwrap_err();
    assert_eq!(error.error.fault, Fault::Slow);
    assert!(error.to_string().contains("no word from us for 30 s"), "{error}");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_it_is_read() {
    let (mut stream, mut server) = stream();
    server.write_all(&[b'd', 0x40, 0, 0, 0]).await.unwrap();
    let error = stream.next().await.unwrap_err().to_string();
    assert!(error.contains("absurd row size") && error.contains("1073741824"), "{error}");
}

#[tokio::test]
async fn what_makes_no_sense_ends_the_stream_for_good() {
    let begin = logged(&transaction()[0]);
    for (nonsense, why) in [
        (framed(b'd', b"x"), "unknown kind"),
        (framed(b'd', b""), "ends in the middle"),
        (framed(b'd', b"k\0"), "ends in the middle"),
        ([begin.clone(), begin].concat(), "still open"),
        (framed(b'c', b""), "shutting down"),
        (framed(b'Z', b"I"), "unexpected"),
        (framed(b'?', b""), "not PostgreSQL's protocol"),
        (vec![b'd', 0, 0, 0, 1], "not PostgreSQL's protocol"),
        (framed(b'E', b"SFATAL\0C57P01\0Mgoing away\0\0"), "going away (57P01)"),
    ] {
        let (mut stream, mut server) = stream();
        server.write_all(&nonsense).await.unwrap();
        server.write_all(&keepalive(9, false)).await.unwrap();
        let error = loop {
            match stream.next().await {
                Ok(Incoming::Event { .. }) => {}
                Ok(word) => panic!("{why}: {word:?}"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_eq!(stream.next().await, Err(error));
    }
}

#[tokio::test]
async fn the_last_words_of_a_server_that_hung_up_are_heard_though_it_no_longer_listens() {
    let (mut stream, mut server) = stream();
    server.write_all(&keepalive(9, false)).await.unwrap();
    server.write_all(&framed(b'E', b"SFATAL\0C57P01\0Mgoing away\0\0")).await.unwrap();
    drop(server);
    // This cannot be written any more, and we learn of it before the runtime has told us that there is something to read.
    stream.confirm(Lsn(1), Lsn(1), true).await.unwrap();
    assert!(!stream.wire.is_writing());
    assert_eq!(soon(&mut stream).await, Incoming::Keepalive { wal_end: Lsn(9), reply_requested: false });
    assert_eq!(stream.next().await.unwrap_err().code.as_deref(), Some("57P01"));
}

#[tokio::test]
async fn notices_amid_the_stream_are_passed_over() {
    let (mut stream, mut server) = stream();
    server.write_all(&framed(b'N', b"SNOTICE\0Mhello\0\0")).await.unwrap();
    server.write_all(&framed(b'S', b"TimeZone\0UTC\0")).await.unwrap();
    server.write_all(&keepalive(9, false)).await.unwrap();
    assert_eq!(soon(&mut stream).await, Incoming::Keepalive { wal_end: Lsn(9), reply_requested: false });
    drop(server);
    assert!(stream.next().await.unwrap_err().to_string().contains("it hung up"));
}

/// A server that says these messages one after another, each after a word of ours.
async fn greeting(words: Vec<Vec<u8>>) -> ConnectOptions {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut options = options(&[("127.0.0.1", listener.local_addr().unwrap().port())]);
    options.password = Some("secret".into());
    options.connect_timeout = Duration::from_secs(2);
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut said = [0; 1024];
        for word in words {
            let _ = client.read(&mut said).await;
            let _ = client.write_all(&word).await;
        }
        // It stays on the line.
        std::future::pending::<()>().await;
    });
    options
}

#[tokio::test]
async fn a_server_that_begins_a_proof_has_to_end_it() {
    let offer = framed(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let let_in = framed(b'R', b"\0\0\0\0");
    let told = Session::connect(&greeting(vec![offer.clone(), let_in]).await).await.unwrap_err();
    assert!(told.to_string().contains("without proving"), "{told}");
    // More rounds than anybody needs are a way to keep us busy.
    let rounds = framed(b'R', b"\0\0\0\x0br=x,s=AAAA,i=4294967295");
    let told = Session::connect(&greeting(vec![offer, rounds]).await).await.unwrap_err();
    assert!(told.to_string().contains("proof of the password failed"), "{told}");
    let unknown = framed(b'R', b"\0\0\0\x0aSCRAM-MD4\0\0");
    let told = Session::connect(&greeting(vec![unknown]).await).await.unwrap_err();
    assert!(told.to_string().contains("no way to prove"), "{told}");
}

#[tokio::test]
async fn a_server_that_lets_us_in_before_its_own_proof_is_refused() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut options = options(&[("127.0.0.1", listener.local_addr().unwrap().port())]);
    options.password = Some("secret".into());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut said = [0; 1024];
        assert!(client.read(&mut said).await.unwrap() > 0);
        client.write_all(&framed(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).await.unwrap();
        let count = client.read(&mut said).await.unwrap();
        // What we say is `n,,n=,r=` and a number nobody can foresee; it is to be said back, longer.
        let words = String::from_utf8_lossy(&said[..count]).into_owned();
        let nonce = words.split("r=").nth(1).unwrap();
        let challenge = format!("\0\0\0\x0br={nonce}more,s=AAAA,i=4096");
        client.write_all(&framed(b'R', challenge.as_bytes())).await.unwrap();
        assert!(client.read(&mut said).await.unwrap() > 0);
        // It does not know the password, so it skips the proof that it does.
        client.write_all(&framed(b'R', b"\0\0\0\0")).await.unwrap();
        client.write_all(&framed(b'S', b"server_version\x0015.0\0")).await.unwrap();
        client.write_all(&framed(b'Z', b"I")).await.unwrap();
        std::future::pending::<()>().await;
    });
    let told = Session::connect(&options).await.unwrap_err();
    assert!(told.to_string().contains("without proving"), "{told}");
}

#[tokio::test]
async fn a_greeting_that_never_ends_ends_at_the_deadline() {
    let told = Session::connect(&greeting(vec![]).await).await.unwrap_err();
    assert_eq!(told.error.fault, Fault::Slow, "{told}");
    let let_in = framed(b'R', b"\0\0\0\0");
    let told = Session::connect(&greeting(vec![let_in]).await).await.unwrap_err();
    assert_eq!(told.error.fault, Fault::Slow, "{told}");
    let endless = framed(b'R', &[0; 70_000]);
    let told = Session::connect(&greeting(vec![endless]).await).await.unwrap_err();
    assert!(told.to_string().contains("announces a message of"), "{told}");
}
