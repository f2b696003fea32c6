//! For tests of code that uses Candor: a source in memory and a clock that moves only when told to.
//!
//! ```
//! use candor::testing::{MemorySource, manual_world};
//! use candor::{Cache, Strong};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), candor::ReadError> {
//! let (world, clock) = manual_world(7);
//! let source = MemorySource::<u64, String>::new();
//! source.commit([(1, Some("Ada".to_owned()))]);
//!
//! let cache = Cache::builder().world(world).log(source.log()).build();
//! let first = cache.at(Strong).read(&1, source.reader()).await?;
//! assert_eq!(first.value().map(String::as_str), Some("Ada"));
//!
//! clock.advance(Duration::from_secs(10));
//! source.commit([(1, Some("Grace".to_owned()))]);
//! let second = cache.at(Strong).read(&1, source.reader()).await?;
//! assert_eq!(second.value().map(String::as_str), Some("Grace"));
//! # Ok(())
//! # }
//! ```

mod clock;
mod source;

pub use clock::{ManualClock, manual_world};
pub use source::{MemoryLog, MemorySource};
