//! The whole server on a port of its own, over a real database that somebody else writes to.

#![allow(clippy::unwrap_used, reason = "in a test a panic with its place is the message")]

mod audit;
mod auth;
mod explaining;
mod limits;
mod many;
mod metrics;
mod outages;
mod postgres;
mod reading;
mod refusals;
mod sessions;
mod startup;
mod world;
