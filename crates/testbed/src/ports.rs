//! Ports nobody uses.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Below the range from which Linux takes the near ends of outgoing connections (32768 up). A server that restarts finds
/// its port again only if no client anywhere on the machine was given it meanwhile.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// A TCP port on 127.0.0.1 on which nobody listens, never given twice by this process.
///
/// # Panics
/// When all ports are taken.
pub fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    // Each process starts elsewhere, so that two that look at the same time do not find the same one.
    let random = RandomState::new().hash_one(0);
    let start = u16::try_from(random % RANGE.len() as u64).unwrap_or_default();
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let port = RANGE
        .map(|port| RANGE.start + (port - RANGE.start + start) % (RANGE.end - RANGE.start))
        .find(|port| !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let port = port.unwrap_or_else(|| panic!("every port from {} to {} is taken", RANGE.start, RANGE.end));
    given.insert(port);
    port
}
