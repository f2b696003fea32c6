//! A point on one instance's own monotonic clock.
//!
//! Moments of two instances are never compared, so a `Moment` has no meaning outside the process that noted it and
//! deliberately cannot be serialised.

use std::num::NonZeroU64;
use std::time::Duration;

/// Nanoseconds since the instance's clock began. Zero is a valid moment and lies before every other.
///
/// Kept as nanoseconds plus one, so that `Option<Moment>` is eight bytes and fits an atomic.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(NonZeroU64);

impl Moment {
    /// The beginning of the clock.
    pub const ZERO: Self = Self(NonZeroU64::MIN);

    /// A moment `nanos` nanoseconds after the clock began; at most 584 years.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds since the clock began.
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.as_nanos().saturating_sub(earlier.as_nanos()))
    }

    /// The same in nanoseconds.
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.as_nanos().saturating_sub(earlier.as_nanos())
    }

    /// The moment `wait` later, or the end of time if that overflows.
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The moment `back` earlier, or the beginning of the clock.
    pub fn minus(self, back: Duration) -> Self {
        Self::from_nanos(self.as_nanos().saturating_sub(u64::try_from(back.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// For an atomic that holds an optional moment; zero is `None`.
    pub(crate) fn to_raw(self) -> u64 {
        self.0.get()
    }

    /// The reverse of [`Self::to_raw`].
    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).map(Self)
    }
}
