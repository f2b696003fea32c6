//! Fills against a real server.

mod answers;
mod bounced;
mod broken;
mod limits;
mod standby;

mod stamps;
pub(crate) mod world;
