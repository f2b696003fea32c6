//! Everything that comes from outside, changed again and again.
//!
//! `cargo x fuzz` lists the fuzzers and runs one of them for long; as ordinary tests each runs for two seconds.

#![allow(clippy::unwrap_used, reason = "in a test a panic with its place is the message")]

mod main {
    mod config;
    mod http;
    mod keys;
    mod tokens;
}
