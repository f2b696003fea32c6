//! The Redis server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use candor_testbed::{Redis, until};

fn ask(redis: &Redis, command: &str) -> String {
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply.trim_end_matches("+OK\r\n").to_owned()
}

#[test]
fn what_was_saved_comes_back_after_a_crash_and_nothing_else() {
    let redis = Redis::start(&["--save", ""]);
    ask(&redis, "SET kept 1");
    ask(&redis, "SAVE");
    ask(&redis, "DEL kept");
    ask(&redis, "SET lost 1");
    redis.crash();
    assert!(TcpStream::connect(redis.address()).is_err());
    redis.start_again();
    until("Redis has loaded what it saved", || !ask(&redis, "PING").contains("LOADING"));
    assert_eq!(ask(&redis, "GET kept"), "$1\r\n1\r\n", "deleted, and back");
    assert_eq!(ask(&redis, "GET lost"), "$-1\r\n");
}
