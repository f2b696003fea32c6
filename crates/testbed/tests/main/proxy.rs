//! The proxy, before a server that is as simple as can be.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use candor_testbed::{Proxy, until};

/// A server that says back what it is told. Its threads end with their clients.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &client, &mut &client));
        }
    });
    address
}

fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client
}

fn says(mut client: &TcpStream, text: &str) -> String {
    client.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// Whether nothing comes for a while, and the connection is open all the same.
fn is_silent(mut client: &TcpStream) -> bool {
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let silent = client.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    silent
}

fn is_closed(mut client: &TcpStream) -> bool {
    client.read(&mut [0]).map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |length| length == 0)
}

#[test]
fn a_cut_closes_what_is_open_and_nothing_that_comes_after() {
    let proxy = Proxy::to(echo());
    let client = connect(&proxy);
    assert_eq!(says(&client, "hello"), "hello");
    assert_eq!((proxy.connections(), proxy.passed()), (1, 5));
    proxy.cut();
    assert!(is_closed(&client));
    assert_eq!(says(&connect(&proxy), "again"), "again");
}

#[test]
fn a_connection_closed_by_its_client_is_closed_to_the_server_too() {
    let proxy = Proxy::to(echo());
    assert_eq!(says(&connect(&proxy), "hello"), "hello");
    until("the connection to be gone", || proxy.connections() == 0);
}

#[test]
fn while_frozen_nothing_passes_and_nobody_learns_of_an_end() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::to(server.local_addr().unwrap());
    let [mut one, two] = [(); 2].map(|()| connect(&proxy));
    let [(at_one, _), (at_two, _)] = [(); 2].map(|()| server.accept().unwrap());
    proxy.freeze();
    one.write_all(b"lost?").unwrap();
    drop(two);
    assert!(is_silent(&at_one));
    assert!(is_silent(&at_two));
    proxy.thaw();
    let mut heard = [0; 5];
    (&at_one).read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"lost?");
    assert!(is_closed(&at_two));
    proxy.freeze();
    one.write_all(b"never").unwrap();
    proxy.cut();
    assert!(is_closed(&at_one));
}

#[test]
fn the_bytes_before_a_cut_arrive_and_none_after() {
    let proxy = Proxy::to(echo());
    let client = connect(&proxy);
    assert_eq!(says(&client, "hello"), "hello");
    proxy.cut_after(7);
    (&client).write_all(b"0123456789").unwrap();
    let mut heard = Vec::new();
    let _ = (&client).read_to_end(&mut heard);
    assert_eq!(heard, b"0123456");
    assert_eq!(says(&connect(&proxy), "whole again"), "whole again");
}

#[test]
fn refused_is_refused_by_the_system_and_open_connections_stay() {
    let proxy = Proxy::to(echo());
    let client = connect(&proxy);
    assert_eq!(says(&client, "hello"), "hello");
    proxy.refuse();
    let error = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(says(&client, "still"), "still");
    proxy.accept();
    assert_eq!(says(&connect(&proxy), "back"), "back");
}

#[test]
fn a_delay_holds_each_piece_back_and_another_server_gets_the_next_connection() {
    let proxy = Proxy::to(echo());
    let client = connect(&proxy);
    proxy.delay(Duration::from_millis(200));
    (&client).write_all(b"slow").unwrap();
    assert!(is_silent(&client));
    let mut heard = [0; 4];
    (&client).read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"slow");
    proxy.delay(Duration::ZERO);
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    proxy.point_to(other.local_addr().unwrap());
    let _client = connect(&proxy);
    assert!(other.accept().is_ok());
}
