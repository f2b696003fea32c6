//! The cached answer of (view, key), with what is needed to judge it.
//!
//! Entries lie inline in the memory tier, a million of them in a mid-sized instance, so their weight matters: 40 bytes
//! beyond the value. The common entry (sequence stamp, one tag) owns nothing on the heap; the others share one
//! reference-counted allocation, so that copying an entry out of the tier never allocates.

use crate::moment::Moment;
use crate::position::Position;
use crate::stamp::Stamp;
use crate::tag::Tag;
use std::sync::Arc;
use std::time::Duration;

/// The cached answer of a view for one key; `value` is `None` for "absent".
#[derive(Clone, Debug)]
pub struct Entry<V> {
    value: Option<V>,
    filled_at: Moment,
    /// Upper position of the stamp, within the generation's epoch.
    upper: u64,
    /// Every change at or below was judged and is visible in the stamp.
    proven: u64,
    basis: Basis,
}

/// What the entry rests on. The small fields stand in both variants to fill the space beside the discriminant.
#[derive(Clone, Debug)]
enum Basis {
    Plain { generation: u16, lifetime: Lifetime, tag: Tag },
    Rich { generation: u16, lifetime: Lifetime, rich: Arc<Rich> },
}

#[derive(Debug)]
struct Rich {
    stamp: Stamp,
    tags: Box<[Tag]>,
}

/// Everything an entry is made from.
#[derive(Clone, Debug)]
pub struct EntryParts<V> {
    /// The answer, or `None` for "absent".
    pub value: Option<V>,
    /// Noted before the fill began: the value reflects all that was visible then.
    pub filled_at: Moment,
    /// What the fill saw.
    pub stamp: Stamp,
    /// What the value depends on.
    pub tags: Vec<Tag>,
    /// The generation of the ledger whose epoch the stamp belongs to.
    pub generation: u64,
    /// How long the entry may live, from `filled_at`. The second line of defence.
    pub ttl: Duration,
}

/// A duration in units of ten milliseconds, up to 497 days; the highest value means for ever.
#[derive(Copy, Clone, Debug)]
struct Lifetime(u32);

impl Lifetime {
    const UNIT: Duration = Duration::from_millis(10);

    /// Rounds down, so that nothing lives longer than allowed.
    fn of(ttl: Duration) -> Self {
        Self(u32::try_from(ttl.as_nanos() / Self::UNIT.as_nanos()).unwrap_or(u32::MAX))
    }
}

impl<V> Entry<V> {
    /// An entry as it comes from a fill: proven as far as its stamp is certain.
    pub fn new(parts: EntryParts<V>) -> Self {
        let generation = truncate(parts.generation);
        let lifetime = Lifetime::of(parts.ttl);
        let (upper, proven) = (parts.stamp.upper().at, parts.stamp.certain());
        let stamp = parts.stamp.simplified();
        let basis = match (&stamp, parts.tags.as_slice()) {
            (Stamp::Sequence(_), [tag]) => Basis::Plain { generation, lifetime, tag: *tag },
            _ => {
                let rich = Rich { stamp, tags: parts.tags.into_boxed_slice() };
                Basis::Rich { generation, lifetime, rich: Arc::new(rich) }
            }
        };
        Self { value: parts.value, filled_at: parts.filled_at, upper, proven, basis }
    }

    /// The answer, or `None` for "absent".
    pub fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// Takes the answer out.
    pub fn into_value(self) -> Option<V> {
        self.value
    }

    /// The value reflects all that was visible at the source at this moment.
    pub fn filled_at(&self) -> Moment {
        self.filled_at
    }

    /// The number no transaction reflected in the value lies above, within the entry's epoch.
    pub fn upper(&self) -> u64 {
        self.upper
    }

    /// Every change at or below was judged and is visible in the stamp.
    pub fn proven(&self) -> u64 {
        self.proven
    }

    /// Records a successful judgement.
    pub fn set_proven(&mut self, proven: u64) {
        self.proven = self.proven.max(proven);
    }

    /// When the time to live ends; `None` for never.
    #[inline]
    pub fn expires_at(&self) -> Option<Moment> {
        let lifetime = match self.basis {
            Basis::Plain { lifetime, .. } | Basis::Rich { lifetime, .. } => lifetime,
        };
        // In whole nanoseconds: this is on the path of every hit, and a `Duration` divides.
        let nanos = u64::from(lifetime.0) * Lifetime::UNIT.as_nanos() as u64;
        (lifetime.0 != u32::MAX).then(|| Moment::from_nanos(self.filled_at.as_nanos().saturating_add(nanos)))
    }

    /// Whether the time to live has ended.
    #[inline]
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires_at().is_some_and(|end| now >= end)
    }

    /// What the value depends on.
    pub fn tags(&self) -> &[Tag] {
        match &self.basis {
            Basis::Plain { tag, .. } => std::slice::from_ref(tag),
            Basis::Rich { rich, .. } => &rich.tags,
        }
    }

    /// Whether this entry is of the same generation as `other` and its fill saw more.
    pub fn is_later_fill_than(&self, other: &Self) -> bool {
        self.generation() == other.generation()
            && (self.upper, self.filled_at) > (other.upper, other.filled_at)
    }

    /// What the entry owns on the heap beyond its value, in bytes.
    pub fn heap_bytes(&self) -> u64 {
        match &self.basis {
            Basis::Plain { .. } => 0,
            Basis::Rich { rich, .. } => (size_of::<Rich>() + 16 + size_of_val(&*rich.tags)) as u64,
        }
    }

    /// Whether the entry was filled in this generation of its ledger.
    pub(crate) fn is_of(&self, generation: u64) -> bool {
        self.generation() == truncate(generation)
    }

    fn generation(&self) -> u16 {
        match self.basis {
            Basis::Plain { generation, .. } | Basis::Rich { generation, .. } => generation,
        }
    }

    /// The stamp, given the epoch of the entry's generation.
    pub(crate) fn stamp(&self, epoch: crate::Epoch) -> Stamp {
        match &self.basis {
            Basis::Plain { .. } => Stamp::Sequence(Position { epoch, at: self.upper }),
            Basis::Rich { rich, .. } => rich.stamp.clone(),
        }
    }
}

/// Sixteen bits of a generation. Whoever keeps entries drops them when a generation ends, so that none survives the
/// 65,536 that would make two alike.
fn truncate(generation: u64) -> u16 {
    generation as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, LogId};

    #[test]
    fn an_entry_weighs_forty_bytes_beyond_its_value() {
        assert_eq!(size_of::<Entry<Arc<str>>>() - size_of::<Arc<str>>(), 40);
    }

    #[test]
    fn a_lifetime_never_rounds_up() {
        let position = Position { epoch: Epoch { log: LogId(1), era: 0 }, at: 1 };
        let entry = |ttl| {
            Entry::new(EntryParts {
                value: Some(()),
                filled_at: Moment::ZERO,
                stamp: Stamp::Sequence(position),
                tags: vec![Tag(1)],
                generation: 0,
                ttl,
            })
        };
        assert!(entry(Duration::from_millis(9)).is_expired(Moment::ZERO));
        let end = Moment::ZERO.plus(Duration::from_millis(20));
        assert_eq!(entry(Duration::from_millis(29)).expires_at(), Some(end));
        assert_eq!(entry(Duration::MAX).expires_at(), None);
    }
}
