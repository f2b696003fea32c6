//! The tests of this crate, against real servers.
