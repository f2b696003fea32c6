//! Private servers for tests: real ones, on free ports, in temporary folders, gone when dropped.
//!
//! ```no_run
//! use candor_testbed::{Cluster, Proxy};
//!
//! let cluster = Cluster::start();
//! cluster.psql("CREATE TABLE t (id int PRIMARY KEY)");
//! let proxy = Proxy::to(cluster.address());
//! proxy.freeze();
//! ```
//!
//! Everything here blocks, and panics when the machine does not do as it is told: a test has no better use for such an
//! error than to end with it. From asynchronous tests, call it as it is (each call takes milliseconds) or through
//! `spawn_blocking`.
//!
//! Invariants:
//! - No test sees another's server: every cluster has its own folder, port, processes and system identifier.
//! - Nothing is left behind. Dropping stops the server and removes the folder, in a panicking test too. If the test
//!   program is killed, or kept a server in a `static`, the kernel tells its servers to stop, and the next program
//!   removes their folders.
//! - No wait is without a deadline.
//! - Linux alone: processes are found in `/proc`.

mod bouncer;
mod cluster;
mod folder;
mod nursery;
mod patience;
mod ports;
mod processes;
mod programs;
mod proxy;
mod redis;
mod tls;

pub use bouncer::Bouncer;
pub use cluster::{Builder, Cluster, Mode};
pub use patience::until;
pub use ports::free_port;
pub use proxy::Proxy;
pub use redis::Redis;
