//! The nouns of Candor and the one rule everything rests on.
//!
//! This crate is pure: it does no I/O, reads no clock, draws no random number and cannot fail. Times are values that
//! callers pass in ([`Moment`]); the log is a value that callers apply ([`Record`]). That makes the rule testable against
//! a brute-force model, and lets the same code run under a seeded simulation.
//!
//! Where to look:
//!
//! * [`judge`](rule::judge): may this entry be served as current? The rule, in one small pure function.
//! * [`Ledger`]: what changed, when; the nanosecond fast path in front of the rule.
//! * [`Stamp`]: what a fill saw. A sequence number and a Postgres snapshot are two kinds of stamp under one rule.
//! * [`port`]: what a source and a feed must do, as traits whose contracts are written down. Nothing here implements them.

pub mod contract;
pub mod duration;
pub mod entry;
pub mod key;
pub mod ledger;
pub mod level;
pub mod moment;
pub mod port;
pub mod position;
pub mod receipt;
pub mod record;
pub mod rule;
#[cfg(candor_sabotage)]
pub mod sabotage;
pub mod stamp;
mod sync;
pub mod tag;
pub mod token;
pub mod view;

pub use contract::{Contract, Contradiction, OnFeedDown, OnSourceDown, Refresh};
pub use entry::{Entry, EntryParts};
pub use key::{KeyError, KeyType, KeyValue};
pub use ledger::{Applied, Ledger, LedgerSize, Sight, Verdict, Void};
pub use level::{Demand, Level};
pub use moment::Moment;
pub use position::{Epoch, LogId, Position};
pub use receipt::{Degraded, Origin, ProofKind, Receipt};
pub use record::{Change, Record};
pub use stamp::{Snapshot, Stamp, Xid};
pub use tag::{Facet, Tag};
pub use token::{EncodedToken, SessionToken, TokenError, TokenSecret};
pub use view::{Dependency, Derived, Finding, KeyColumn, Rows, Severity, TableRead, TaggedBy, ViewQuery};
