//! The oracle's own clock: nanoseconds since it was first asked. Every reader, writer and observer lives in this process,
//! so one monotonic clock orders all they noted; no other clock is ever looked at.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A point on the oracle's clock.
pub(crate) type Nanos = u64;

/// Later than everything.
pub(crate) const NEVER: Nanos = Nanos::MAX;

/// Now.
#[expect(clippy::disallowed_methods, reason = "the oracle stands outside of the engine's world")]
pub(crate) fn now() -> Nanos {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // One second ahead, so that no moment of the beginning is confused with "before everything".
    nanos(START.elapsed()) + 1_000_000_000
}

/// A duration as the clock counts.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

/// Milliseconds, for people.
pub(crate) fn millis(nanos: Nanos) -> f64 {
    nanos as f64 / 1e6
}

/// Waits.
pub(crate) async fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the oracle stands outside of the engine's world")]
    tokio::time::sleep(duration).await;
}
