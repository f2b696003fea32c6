//! Where an open door may stand: without tokens only on loopback.
//!
//! Loopback keeps out other machines, but not the browser on this one: a page from anywhere may send requests to
//! 127.0.0.1, and with a name of its own that resolves there it may read the answers (DNS rebinding). So an open door
//! also looks at whom the request was addressed to ([`is_local_host`]). A proxy on this machine that makes requests in its
//! own name is indistinguishable from a program here: behind a proxy, configure tokens. Proxies that say what they are
//! ([`FORWARDED_BY`]) are refused.

use std::net::{IpAddr, SocketAddr};

/// Headers by which a proxy says that it asks for somebody else. None is sent by a client on its own behalf.
pub const FORWARDED_BY: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

/// An open door on an address that other machines reach.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}; {}", self.message(), self.mend())]
pub struct Exposed {
    /// The address.
    pub address: SocketAddr,
}

impl Exposed {
    /// What is wrong.
    pub fn message(&self) -> String {
        format!("{} can be reached from other machines, and no tokens are configured", self.address)
    }

    /// What to change.
    pub fn mend(&self) -> &'static str {
        "add auth = { tokens_file = \"tokens.toml\" } to [server], or listen on 127.0.0.1"
    }
}

/// Whether a door may listen there. Ask once more with the address that was actually bound.
///
/// # Errors
///
/// [`Exposed`] if there are no tokens and the address is not loopback.
pub fn check(address: SocketAddr, has_tokens: bool) -> Result<(), Exposed> {
    if has_tokens || is_loopback(address.ip()) { Ok(()) } else { Err(Exposed { address }) }
}

/// Loopback in either family. An IPv4-mapped address (`::ffff:127.0.0.1`) is the IPv4 address it maps; unspecified
/// addresses (`0.0.0.0`, `::`) are every address of the machine and so never loopback.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether a `Host` header names this machine: `localhost`, or a loopback address, with or without a port.
pub fn is_local_host(host: &str) -> bool {
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            (address, rest.strip_prefix(':').unwrap_or(if rest.is_empty() { "" } else { "no port" }))
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    is_port(port) && (name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tokens_only_loopback_is_allowed() {
        for (address, allowed) in [
            ("127.0.0.1:7070", true),
            ("127.8.9.10:1", true),
            ("[::1]:7070", true),
            ("[::ffff:127.0.0.1]:7070", true),
            ("0.0.0.0:7070", false),
            ("[::]:7070", false),
            ("[::ffff:0.0.0.0]:7070", false),
            ("[::ffff:10.0.0.1]:7070", false),
            ("192.168.1.5:7070", false),
            ("[fe80::1]:7070", false),
            ("128.0.0.1:7070", false),
            // The deprecated "IPv4-compatible" form is an ordinary IPv6 address.
            ("[::127.0.0.1]:7070", false),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(check(address, false).is_ok(), allowed, "{address}");
            assert!(check(address, true).is_ok(), "{address} with tokens");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in [
            "localhost",
            "LocalHost:7070",
            "127.0.0.1",
            "127.0.0.1:7070",
            "[::1]",
            "[::1]:7070",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_local_host(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.nip.io",
            "evil:7070",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "10.0.0.1",
            "0.0.0.0",
            "localhost:99999",
            "user@localhost",
            "127.0.0.1:80:80",
            "::1",
        ] {
            assert!(!is_local_host(host), "{host}");
        }
    }
}
