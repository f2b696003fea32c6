//! Every ability of the testbed, once, against real servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod bouncer;
mod cluster;
mod proxy;
mod redis;
mod standby;
