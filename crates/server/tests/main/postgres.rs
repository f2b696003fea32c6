//! Over real PostgreSQL servers: what users meet there.

mod batches;
mod outages;
mod reading;
mod sessions;
mod world;
