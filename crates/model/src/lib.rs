//! The protocol in a model checker.

mod defence;
mod instance;
mod protocol;
mod reads;
mod set;
mod size;
mod source;

pub use defence::Variant;
pub use protocol::{BOUNDED, Protocol, RECEIPTS, SESSION, SNAPSHOT, STRONG, State, Step};
pub use set::Set;
pub use size::{Holder, Level, Size, Wanted, Writer};
