//! A read-through cache that shows its receipts.
//!
//! ```
//! use candor::{Cache, LoadContext};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), candor::ReadError> {
//!     let cache: Cache<u64, String> = Cache::builder().build();
//!     let load = |context: LoadContext<u64, String>| async move { Ok::<_, String>(format!("user {}", context.key())) };
//!     println!("{:?}", cache.get(&7, load).await?); // Some("user 7"), loaded
//!     println!("{}", cache.read(&7, load).await?.receipt()); // from=l1, proof=clock, bound=5, age=0
//!     Ok(())
//! }
//! ```
//!
//! That is the whole of the common case: a key, a loader, defaults at the cache. Concurrent readers share one load, a
//! panicking loader poisons nothing, an invalidation during a load wins. What is different from other caches is the
//! receipt: where the answer came from, how old it can be at most, and what proves it.
//!
//! # Proof
//!
//! Without more, the proof is the clock: the answer is as old as its load. Give the cache the source's log
//! ([`CacheBuilder::log`]) and the log proves more: an answer loaded an hour ago is shown to be current as of a
//! millisecond ago, because nothing it depends on changed. Loaders then say what they saw
//! ([`Loaded::stamped`], [`Loaded::tagged`]); the crate `candor-sqlite` brings a log and such loaders for SQLite, and
//! [`testing::MemorySource`] one for your tests.
//!
//! # Levels
//!
//! Each read chooses how stale it is willing to accept, and the level is in the answer's type:
//!
//! ```
//! use candor::{Answer, Any, Bounded, Session, Strong};
//! use candor::testing::MemorySource;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), candor::ReadError> {
//! let source = MemorySource::<u64, i64>::new();
//! let balances = candor::Cache::builder().log(source.log()).build().bind(source.reader());
//!
//! source.commit([(1, Some(100))]);
//! let certain: Answer<i64, Strong> = balances.at(Strong).read(&1).await?;
//! let recent = balances.at(Bounded(Duration::from_millis(500))).read(&1).await?;
//! let own = balances.at(Session(certain.session())).read(&1).await?;
//! let hint: Answer<i64, Any> = balances.at(Any).read(&1).await?;
//! assert_eq!(hint.value(), Some(&100));
//! # let _ = (recent, own);
//! # Ok(())
//! # }
//! ```
//!
//! A level that cannot be met is an error that says why, unless the [`Contract`] allows less; then the receipt says so.
//!
//! # Rationale for defaults
//!
//! * **`bounded:2s`** ([`Contract::default`]): most reads tolerate seconds; none should tolerate hours without a word.
//! * **A time to live of one hour**: the log invalidates; the timer is the second line of defence.
//! * **Errors rather than stale answers** when the source is down: whoever prefers stale answers writes it down.
//! * **Five seconds for a read**: longer than a slow query, shorter than a user's patience.
//! * **64 loads at once, 1,024 waiting for half a second**: more than most databases like, and still a limit.
//! * **A clock that does not lag** ([`World::system`]): the kernel's coarse one is cheaper by 13 ns, and its ticks may be
//!   late, which would make a bound too small.
//!
//! # Where to look
//!
//! [`Cache`] is what most use, [`TypedView`] what services pass around, [`Answer`] what comes back, [`Load`] how it is
//! obtained, [`Follower`] what keeps it honest, [`seams`] and [`testing`] what tests replace.

mod answer;
mod builder;
mod cache;
mod error;
mod fill;
mod flight;
mod follow;
#[cfg(all(test, candor_interleavings))]
mod interleavings;
mod life;
mod limit;
mod load;
mod many;
mod read;
mod reading;
pub mod seams;
pub mod stats;
mod sync;
pub mod testing;
mod typed;
mod view;

pub use answer::{Answer, Any, Bounded, Consistency, Declared, Demanded, Route, Session, Strong};
pub use builder::CacheBuilder;
pub use cache::{At, Cache};
pub use candor_core as core;
#[cfg(candor_sabotage)]
pub use candor_core::sabotage;
pub use candor_core::{
    Contract, Degraded, Demand, Level, Moment, OnFeedDown, OnSourceDown, Origin, Position, ProofKind,
    Receipt, Refresh, SessionToken, Stamp, Tag, TokenSecret,
};
pub use candor_tiers::{Memory, Tier, Usage};
pub use error::{LoadError, Overload, ReadError, SessionError};
pub use follow::{FeedStatus, FollowOptions, Follower, KnownLogs, Noted};
pub use life::{EntryFacts, Happened, Happening, Life};
pub use limit::{Limits, SpareTurn};
pub use load::{Load, LoadContext, Loaded};
pub use many::{LoadMany, ManyLoaded};
pub use read::ManyError;
pub use reading::Reading;
pub use seams::World;
pub use typed::{TypedView, ViewAt};
pub use view::{Event, Figures, View};
