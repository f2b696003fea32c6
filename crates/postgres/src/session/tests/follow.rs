//! Streams that are asked where they are, and streams that are cut.

use super::*;
use crate::pgoutput::Event;
use candor_core::port::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn inserted(cluster: &Cluster) -> Lsn {
    cluster.psql("SELECT pg_current_wal_insert_lsn()").parse().unwrap()
}

/// Asks where the server is until it is at `goal`; gives how long that took.
async fn reach(stream: &mut Stream, goal: Lsn) -> Duration {
    let started = tokio::time::Instant::now();
    stream.confirm(Lsn(0), Lsn(0), true).await.unwrap();
    loop {
        if let Incoming::Keepalive { wal_end, .. } = soon(stream).await {
            if wal_end >= goal {
                return started.elapsed();
            }
            stream.confirm(Lsn(0), Lsn(0), true).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_keepalive_that_was_asked_for_says_where_the_server_is_at_once() {
    let cluster = Cluster::start();
    prepare(&cluster);
    cluster.psql("CREATE TABLE t (id int PRIMARY KEY)");
    let mut stream = follow(&cluster).await;
    // The log's writer gives the last page to the operating system a little later.
    reach(&mut stream, Lsn(0)).await;
    let mut times = Vec::new();
    for row in 0..50 {
        cluster.psql(&format!("INSERT INTO t VALUES ({row})"));
        let goal = inserted(&cluster);
        times.push(reach(&mut stream, goal).await);
    }
    times.sort();
    println!("asked and told: median {:?}, slowest {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(100), "{times:?}");
}

#[tokio::test]
async fn a_publication_that_does_not_exist_ends_the_stream_with_its_code() {
    let cluster = Cluster::start();
    prepare(&cluster);
    let session = Session::connect(&by_tcp(&cluster)).await.unwrap();
    let mut stream = session.start("s", "it's \"gone\"", Lsn(0)).await.unwrap();
    cluster.psql("CREATE TABLE t (); INSERT INTO t DEFAULT VALUES");
    let error = loop {
        match timeout(Duration::from_secs(30), stream.next()).await.unwrap() {
            Ok(Incoming::Keepalive { .. }) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code.as_deref(), Some("42704"), "{error}");
    assert!(error.to_string().contains("\"it's \"gone\"\""), "the name arrived changed: {error}");
    assert_eq!(stream.next().await.unwrap_err(), error, "a dead stream stays dead");
    assert_eq!(stream.confirm(Lsn(0), Lsn(0), false).await.unwrap_err(), error);
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_one_that_ends_us_gives_its_code() {
    let cluster = Arc::new(Cluster::start());
    prepare(&cluster);
    let mut stream = follow(&cluster).await;
    cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    let error = end_of(&mut stream).await;
    assert_eq!(error.code.as_deref(), Some("57P01"), "{error}\n{}", cluster.log_tail());
    until_free(&cluster);
    let mut stream = follow(&cluster).await;
    let stopping = {
        let cluster = cluster.clone();
        tokio::task::spawn_blocking(move || cluster.stop(candor_testbed::Mode::Fast))
    };
    let error = end_of(&mut stream).await;
    assert!(error.error.fault == Fault::Down, "{error}");
    println!("a stop reads: {error}");
    stopping.await.unwrap();
}

/// Answers keepalives until the stream ends.
async fn end_of(stream: &mut Stream) -> SessionError {
    loop {
        match timeout(Duration::from_secs(30), stream.next()).await.expect("the stream did not end") {
            Ok(Incoming::Keepalive { wal_end, .. }) => drop(stream.confirm(wal_end, wal_end, false).await),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// Passes bytes on, from the server at most as many as `budget` allows, and then hangs up.
async fn relay(server: u16, budget: Arc<AtomicI64>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let upstream = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let (mut from_server, mut to_server) = upstream.into_split();
            let asking = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let mut bytes = [0; 512];
            while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                let allowed = budget.fetch_sub(count as i64, Ordering::Relaxed).clamp(0, count as i64);
                if to_client.write_all(&bytes[..allowed as usize]).await.is_err() || allowed < count as i64 {
                    break;
                }
            }
            drop((to_client, from_server));
            asking.abort();
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_anywhere_ends_the_stream_and_what_was_told_is_a_beginning_of_the_truth() {
    let cluster = Cluster::start();
    prepare(&cluster);
    cluster.psql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one'), (2, 'two')");
    let mut truth = Vec::new();
    let mut stream = follow(&cluster).await;
    while !matches!(truth.last(), Some(Event::Commit { .. })) || truth.len() < 5 {
        if let Incoming::Event { event, .. } = soon(&mut stream).await {
            truth.push(event);
        }
    }
    drop(stream);
    let budget = Arc::new(AtomicI64::new(0));
    let options = options(&[("127.0.0.1", relay(cluster.port(), budget.clone()).await)]);
    let mut longest = 0;
    for bytes in (0..2000).step_by(37) {
        until_free(&cluster);
        budget.store(bytes, Ordering::Relaxed);
        let Ok(session) = Session::connect(&options).await else { continue };
        let Ok(mut stream) = session.start("s", "p", Lsn(0)).await else { continue };
        let mut told = Vec::new();
        let ended = loop {
            match timeout(Duration::from_secs(30), stream.next()).await.expect("neither word nor end") {
                Ok(Incoming::Event { event, .. }) => told.push(event),
                Ok(Incoming::Keepalive { .. }) if told.len() == truth.len() => break None,
                Ok(Incoming::Keepalive { .. }) => {}
                Err(error) => break Some(error),
            }
        };
        assert_eq!(told, truth[..told.len()], "cut after {bytes} bytes");
        assert!(ended.is_none_or(|error| error.to_string().contains("is lost")));
        longest = longest.max(told.len());
    }
    assert!(longest > 2, "no cut came late enough: {longest}");
}
