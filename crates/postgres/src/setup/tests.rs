//! Setup against real servers.

mod bench;
mod choice;
mod leave;
mod limits;
mod prepare;
mod roles;
mod schema;
mod state;
mod token;
