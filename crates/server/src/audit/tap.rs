//! The tap: where the audit hears what doors serve. One per view.
//!
//! ```text
//!   read ── is anybody listening? (one relaxed load) ── no ──► the read
//!                     │ yes
//!                     ├── a sample is wanted ──► the key may become the next to be watched
//!                     └── this key is watched ─► an ear: the moment before the read, then the answer itself
//! ```
//!
//! While nobody listens, a read costs one relaxed load more. What is gathered is bounded: a sample of [`SAMPLE`] keys, a
//! few watches at a time, [`HEARD_MAX`] answers for each. Nothing here changes an answer.

use super::look::Look;
use crate::entry::{EntryKey, Json};
use candor::{Answer, World};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{Level, Moment, ProofKind, Receipt};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Keys of a sample. They are watched one after another, then a new sample is taken.
const SAMPLE: usize = 8;
/// Reads among which a sample is drawn. Afterwards nobody listens until the sample is used up, however busy the view is.
const OFFERS: u64 = 64;
/// Keys that were watched lately, for a view that nobody reads at the moment.
const RECENT: usize = 16;
/// Answers that one watch looks at. Those beyond are counted as not judged.
const HEARD_MAX: usize = 512;
/// Keys of a snapshot that is watched, at most: a look reads them all in one transaction.
const KEYS_MAX: usize = 32;

/// What was asked for: one key, or several that had to hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(super) keys: Arc<[EntryKey]>,
    pub(super) is_snapshot: bool,
}

/// Where the audit hears what is served of one view.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    is_listening: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// `Some` while a sample is drawn.
    offers: Option<u64>,
    sample: Vec<Asked>,
    recent: VecDeque<Asked>,
    watched: Vec<Arc<Hearing>>,
    /// The last looks at keys that were watched lately.
    looks: VecDeque<(Asked, Arc<Look>)>,
}

/// What is heard during one watch.
#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) asked: Asked,
    /// Told when an answer differs from the first look: a look taken at once says most.
    pub(super) differs: Notify,
    first: Vec<Option<Json>>,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) answers: Vec<Served>,
    /// Answers that were too many to be kept.
    pub(super) beyond: u64,
    is_closed: bool,
}

/// An answer as a door gave it.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) level: Level,
    /// The moment its receipts claim to reflect, at the earliest; `None` where nothing is claimed.
    pub(super) claimed: Option<Moment>,
    /// It was given by then.
    pub(super) given: Moment,
    /// One for each key.
    pub(super) values: Vec<Option<Json>>,
    pub(super) receipts: Vec<Receipt>,
}

/// Listens to one read.
#[must_use]
pub(crate) struct Ear {
    hearing: Arc<Hearing>,
    world: World,
    level: Level,
    began: Moment,
}

impl Tap {
    /// Whoever is interested in a read of these keys, which is about to begin.
    #[inline]
    pub(crate) fn listen(
        &self,
        keys: &[EntryKey],
        is_snapshot: bool,
        level: Level,
        world: &World,
    ) -> Option<Ear> {
        if !self.is_listening.load(Ordering::Relaxed) {
            return None;
        }
        self.listen_closely(keys, is_snapshot, level, world)
    }

    #[cold]
    fn listen_closely(
        &self,
        keys: &[EntryKey],
        is_snapshot: bool,
        level: Level,
        world: &World,
    ) -> Option<Ear> {
        let mut inner = self.inner.lock();
        inner.offer(keys, is_snapshot, world);
        self.settle(&inner);
        let is_it = |hearing: &&Arc<Hearing>| {
            hearing.asked.is_snapshot == is_snapshot && *hearing.asked.keys == *keys
        };
        let hearing = Arc::clone(inner.watched.iter().find(is_it)?);
        drop(inner);
        Some(Ear { hearing, world: world.clone(), level, began: world.now() })
    }

    /// Begins to draw a sample, so that there is something to watch when somebody asks for it.
    pub(super) fn arm(&self) {
        let mut inner = self.inner.lock();
        inner.offers = Some(0);
        self.settle(&inner);
    }

    /// The next to be watched, if there is one. Begins to draw a sample where none is left.
    pub(super) fn next(&self) -> Option<Asked> {
        let mut inner = self.inner.lock();
        let next = inner.sample.pop();
        if inner.sample.is_empty() && inner.offers.is_none() {
            inner.offers = Some(0);
        }
        let next = match next {
            Some(next) => {
                inner.recent.retain(|known| *known != next);
                if inner.recent.len() == RECENT {
                    inner.recent.pop_front();
                }
                Some(next)
            }
            None => inner.recent.pop_front(),
        };
        inner.recent.extend(next.clone());
        self.settle(&inner);
        next.filter(|next| !inner.watched.iter().any(|hearing| hearing.asked == *next))
    }

    /// Begins to hear every answer to this.
    pub(super) fn watch(&self, asked: Asked, first: &Look) -> Arc<Hearing> {
        let hearing = Arc::new(Hearing {
            asked,
            differs: Notify::new(),
            first: first.values.clone(),
            heard: Mutex::default(),
        });
        let mut inner = self.inner.lock();
        inner.watched.push(Arc::clone(&hearing));
        self.settle(&inner);
        hearing
    }

    /// Ends it; what is said from now on is not heard.
    pub(super) fn unwatch(&self, hearing: &Arc<Hearing>) -> Heard {
        let mut inner = self.inner.lock();
        inner.watched.retain(|other| !Arc::ptr_eq(other, hearing));
        self.settle(&inner);
        drop(inner);
        let mut heard = hearing.heard.lock();
        std::mem::replace(&mut *heard, Heard { is_closed: true, ..Heard::default() })
    }

    /// The last look at this, from an earlier watch.
    pub(super) fn recall(&self, asked: &Asked) -> Option<Arc<Look>> {
        let inner = self.inner.lock();
        inner.looks.iter().find(|(of, _)| of == asked).map(|(_, look)| Arc::clone(look))
    }

    /// Keeps a look for a later watch of the same.
    pub(super) fn remember(&self, asked: Asked, look: Arc<Look>) {
        let mut inner = self.inner.lock();
        inner.looks.retain(|(of, _)| *of != asked);
        if inner.looks.len() == RECENT {
            inner.looks.pop_front();
        }
        inner.looks.push_back((asked, look));
    }

    fn settle(&self, inner: &Inner) {
        self.is_listening.store(inner.offers.is_some() || !inner.watched.is_empty(), Ordering::Relaxed);
    }
}

impl Inner {
    /// Draws the sample: each of the reads offered is as likely to be in it as any other, so busy keys are likelier.
    fn offer(&mut self, keys: &[EntryKey], is_snapshot: bool, world: &World) {
        let Some(before) = self.offers else { return };
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return;
        }
        let asked = || Asked { keys: keys.into(), is_snapshot };
        if self.sample.len() < SAMPLE {
            self.sample.push(asked());
        } else if let Some(place) = self.sample.get_mut((world.draw() % (before + 1)) as usize) {
            *place = asked();
        }
        self.offers = Some(before + 1).filter(|offers| *offers < OFFERS);
    }
}

impl Ear {
    /// Notes what was answered.
    pub(crate) fn heard<L>(self, answers: &[Answer<Json, L>]) {
        let given = self.world.now();
        let receipts: Vec<Receipt> = answers.iter().map(Answer::receipt).collect();
        let claimed = receipts.iter().map(|receipt| claim(receipt, self.level, self.began));
        let claimed = claimed.reduce(|one, other| one.min(other)).flatten();
        let values: Vec<Option<Json>> = answers.iter().map(|answer| answer.value().cloned()).collect();
        let differs = values != self.hearing.first;
        let mut heard = self.hearing.heard.lock();
        if heard.is_closed {
            return;
        }
        if heard.answers.len() >= HEARD_MAX {
            heard.beyond += 1;
            return;
        }
        heard.answers.push(Served { level: self.level, claimed, given, values, receipts });
        drop(heard);
        if differs {
            self.hearing.differs.notify_one();
        }
    }
}

impl Hearing {
    /// Whether anything was said yet.
    pub(super) fn is_silent(&self) -> bool {
        let heard = self.heard.lock();
        heard.answers.is_empty() && heard.beyond == 0
    }
}

/// The moment a receipt claims to reflect, at the earliest. The bound counts back from the moment the answer was given,
/// which lies after the read began: nobody is accused of a claim that was not made. A strong answer reflects what was
/// visible before its read began, whatever its bound says.
fn claim(receipt: &Receipt, level: Level, began: Moment) -> Option<Moment> {
    if level == Level::Strong && receipt.degraded.is_none() {
        return Some(began);
    }
    let bound = receipt.bound.filter(|_| receipt.proof != ProofKind::None)?;
    #[cfg(candor_sabotage)]
    let bound = if is(Sabotage::AuditWithoutBound) { Default::default() } else { bound };
    Some(began.minus(bound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_core::{Degraded, KeyValue, Origin};
    use std::time::Duration;

    #[test]
    fn an_answer_claims_the_moment_that_its_bound_counts_back_to() {
        let bound = Duration::from_millis(20);
        let receipt = Receipt {
            origin: Origin::L1,
            proof: ProofKind::Log,
            bound: Some(bound),
            age: bound,
            position: None,
            upper: None,
            degraded: None,
        };
        let began = Moment::from_nanos(1_000_000_000);
        assert_eq!(claim(&receipt, Level::Any, began), Some(began.minus(bound)));
        assert_eq!(claim(&receipt, Level::Strong, began), Some(began), "whatever its bound says");
        let degraded = Receipt { degraded: Some(Degraded::FeedDown), ..receipt };
        assert_eq!(claim(&degraded, Level::Strong, began), Some(began.minus(bound)));
        for nothing in [Receipt { bound: None, ..receipt }, Receipt { proof: ProofKind::None, ..receipt }] {
            assert_eq!(claim(&nothing, Level::Any, began), None);
        }
    }

    fn keys(id: i64) -> [EntryKey; 1] {
        [EntryKey::new(0, &[KeyValue::Int(id)])]
    }

    fn is_listening(tap: &Tap) -> bool {
        tap.is_listening.load(Ordering::Relaxed)
    }

    #[test]
    fn nobody_listens_before_the_audit_wants_a_sample_and_after_it_was_drawn() {
        let (tap, world) = (Tap::default(), World::system());
        let read = |id| tap.listen(&keys(id), false, Level::Any, &world).is_some();
        assert!(!is_listening(&tap) && !read(1));
        assert_eq!(tap.next(), None, "nothing was read while the audit listened");
        assert!(is_listening(&tap));
        for id in 0..OFFERS {
            assert!(is_listening(&tap) && !read(id as i64), "offered, and heard by nobody");
        }
        assert!(!is_listening(&tap), "the sample is drawn");
        let drawn: Vec<Asked> = std::iter::from_fn(|| tap.next()).take(SAMPLE).collect();
        assert_eq!(drawn.len(), SAMPLE);
        assert!(is_listening(&tap), "it is used up, and the next is wanted");
    }

    #[test]
    fn a_view_that_nobody_reads_any_more_is_watched_where_it_was_read_last() {
        let (tap, world) = (Tap::default(), World::system());
        tap.next();
        assert!(tap.listen(&keys(7), false, Level::Any, &world).is_none());
        let first = tap.next();
        assert!(first.is_some() && tap.next() == first && tap.next() == first);
    }
}
