//! A read-through cache that shows its receipts.

mod answer;
mod cache;
mod error;
mod flight;
mod follow;
mod life;
mod limit;
mod load;
mod many;
mod read;
#[cfg(candor_sabotage)]
pub mod sabotage;
pub mod seams;
pub mod stats;
pub mod testing;
mod view;

pub use answer::{Answer, Any, Bounded, Consistency, Declared, Demanded, Route, Session, Strong};
pub use cache::{At, Cache, CacheBuilder};
pub use candor_core as core;
pub use candor_core::{
    Contract, Degraded, Demand, Level, Moment, OnFeedDown, OnSourceDown, Origin, Position, ProofKind,
    Receipt, Refresh, SessionToken, Stamp, Tag, TokenSecret,
};
pub use candor_tiers::{Memory, Tier, Usage};
pub use error::{LoadError, Overload, ReadError, SessionError};
pub use follow::{FeedStatus, FollowOptions, Follower, KnownLogs, Noted};
pub use life::{EntryFacts, Happened, Happening, Life};
pub use limit::Limits;
pub use load::{Load, LoadContext, Loaded};
pub use many::{LoadMany, ManyLoaded};
pub use seams::World;
pub use view::{Event, Figures, View};
