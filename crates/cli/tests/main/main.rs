//! The real binary on temporary databases: what it prints, what it changes, and how it exits.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected panics")]

mod audits;
mod checks;
mod codes;
mod demos;
#[cfg(target_os = "linux")]
mod disks;
mod explains;
mod helps;
mod maps;
#[cfg(target_os = "linux")]
mod postgres;
mod reads;
#[cfg(target_os = "linux")]
mod repairs;
mod serves;
mod setups;
mod tails;
mod world;
