//! An instance: what its ledger was told, what it keeps, and what is under way.
//!
//! The ledger is the real one. It cannot be copied or compared, so a state holds what the ledger was told, and whoever
//! asks something of it makes a ledger and tells it the same again ([`Books`]). Records that follow one another are
//! held as one, which is the same to a ledger; [`Instance::tell`] checks that on every step.

use crate::defence::Variant;
use crate::protocol::Protocol;
use crate::set::Set;
use crate::source::{Basis, FIRST, Seen, Source, epoch, tag};
use candor_core::{Applied, Entry, EntryParts, Ledger, LedgerSize, Moment, Position, Sight, Stamp, Verdict};
use std::cell::OnceCell;
use std::time::Duration;

/// A record: everything above `previous`, up to `at`. Its contents follow from the log.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) epoch: u8,
    /// What the ledger is told the record follows.
    pub(crate) previous: u8,
    /// What it really follows.
    pub(crate) from: u8,
    pub(crate) at: u8,
}

/// What a ledger was told.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Link(Link),
    /// That it was proven complete up to this moment.
    Proven(u8),
}

/// An entry of memory, or of the second tier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kept {
    pub(crate) value: Set,
    pub(crate) seen: Seen,
    pub(crate) filled_at: u8,
    pub(crate) proven: u8,
    pub(crate) generation: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) key: u8,
    pub(crate) begun: u8,
    /// Whether it began after the instance knew which transactions were running when its knowledge begins.
    pub(crate) is_settled: bool,
    /// Of the lease variant: nothing changed since it began.
    pub(crate) is_leased: bool,
    pub(crate) fill: Option<Fill>,
}

/// What the source answered; it is still on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fill {
    pub(crate) value: Set,
    pub(crate) seen: Seen,
    pub(crate) by_standby: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fence {
    pub(crate) asked_at: u8,
    /// Epoch and position, once the source has said it.
    pub(crate) answer: Option<(u8, u8)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instance {
    pub(crate) told: Vec<Told>,
    /// The transactions that were running when somebody asked after the beginning or the last gap. `None`: nobody has.
    pub(crate) unsettled: Option<Set>,
    pub(crate) memory: Vec<Option<Kept>>,
    pub(crate) flights: Vec<Flight>,
    pub(crate) fences: Vec<Fence>,
    pub(crate) fills_left: u8,
    pub(crate) fences_left: u8,
}

/// An instance's ledger, and all one needs to ask it something.
pub(crate) struct Books<'a> {
    protocol: &'a Protocol,
    source: &'a Source,
    pub(crate) instance: &'a Instance,
    ledger: OnceCell<Ledger>,
}

/// What memory holds for a key, and what it is worth.
pub(crate) struct Look<'a> {
    pub(crate) kept: &'a Kept,
    pub(crate) verdict: Verdict,
    /// The moment it is said to reflect.
    pub(crate) as_of: u8,
    pub(crate) sight: Sight,
}

impl Instance {
    pub(crate) fn new(protocol: &Protocol) -> Self {
        let size = &protocol.size;
        Self {
            told: vec![Told::Link(Link { epoch: 0, previous: FIRST, from: FIRST, at: FIRST })],
            unsettled: Some(Set::NONE),
            memory: vec![None; usize::from(size.keys)],
            flights: Vec::new(),
            fences: Vec::new(),
            fills_left: size.fills_max,
            fences_left: size.fences_max,
        }
    }

    /// The epoch of the latest record, and the position that was reached.
    pub(crate) fn reached(&self) -> (u8, u8) {
        let links = self.told.iter().rev().filter_map(|told| match told {
            Told::Link(link) => Some((link.epoch, link.at)),
            Told::Proven(_) => None,
        });
        links.into_iter().next().unwrap_or((0, FIRST))
    }

    /// The epochs the ledger has begun, in order.
    pub(crate) fn epochs(&self) -> Vec<u8> {
        let mut epochs: Vec<u8> = self
            .told
            .iter()
            .filter_map(|told| match told {
                Told::Link(link) => Some(link.epoch),
                Told::Proven(_) => None,
            })
            .collect();
        epochs.dedup();
        epochs
    }

    /// Takes a record in. Returns what the ledger said.
    pub(crate) fn tell(&mut self, protocol: &Protocol, source: &Source, link: Link) -> Applied {
        let applied = {
            let books = Books::open(protocol, source, self);
            let applied = books.ledger().apply(&source.record(&protocol.size, protocol.variant, &link));
            if applied == Applied::Duplicate {
                return applied;
            }
            let sight = books.sight();
            drop(books);
            self.note(link, applied);
            let again = || Books::open(protocol, source, self).sight();
            debug_assert_eq!(again(), sight, "told the same in fewer words: {:?}", self.told);
            applied
        };
        if matches!(applied, Applied::Gap { .. } | Applied::NewEpoch)
            && protocol.variant != Variant::GapNotSettled
        {
            self.unsettled = None;
            self.flights.iter_mut().for_each(|flight| flight.is_settled = false);
        }
        if protocol.variant == Variant::Lease {
            let changed: Set = match applied {
                Applied::Advanced => source.histories[usize::from(link.epoch)]
                    .between(link.from, link.at)
                    .map(|(_, commit)| protocol.size.writers[usize::from(commit.transaction)].keys)
                    .fold(Set::NONE, Set::or),
                _ => Set::of(0..protocol.size.keys),
            };
            for key in changed.iter() {
                self.memory[usize::from(key)] = None;
            }
            self.flights
                .iter_mut()
                .filter(|flight| changed.has(flight.key))
                .for_each(|flight| flight.is_leased = false);
        }
        self.absorb(protocol, source);
        applied
    }

    fn note(&mut self, link: Link, applied: Applied) {
        if applied == Applied::NewEpoch {
            // Of former epochs nothing is left but their number.
            let former: Vec<u8> = self.epochs();
            let opening = |epoch| Told::Link(Link { epoch, previous: FIRST, from: FIRST, at: FIRST });
            self.told = former.into_iter().map(opening).collect();
            self.told.push(Told::Link(link));
        } else if let Some(Told::Link(last)) = self.told.last_mut()
            && last.epoch == link.epoch
            && last.from == last.previous
            && link.from == link.previous
            && link.previous <= last.at
        {
            last.at = link.at;
        } else {
            self.told.push(Told::Link(link));
        }
    }

    /// Proves what the watermark has reached.
    pub(crate) fn absorb(&mut self, protocol: &Protocol, source: &Source) {
        if self.fences.iter().all(|fence| fence.answer.is_none()) {
            return;
        }
        for fence in std::mem::take(&mut self.fences) {
            let Some((number, at)) = fence.answer else {
                self.fences.push(fence);
                continue;
            };
            let books = Books::open(protocol, source, self);
            let before = books.sight().and_then(|sight| sight.proven_until);
            let is_late = protocol.variant == Variant::MomentNotedLate;
            let noted = if is_late { source.now() } else { fence.asked_at };
            let moment = Moment::from_nanos(u64::from(noted));
            if !books.ledger().prove(moment, protocol.position(number, at)) {
                self.fences.push(fence);
                continue;
            }
            if before.is_some_and(|before| before >= moment) {
                continue;
            }
            let proven = Told::Proven(noted);
            match self.told.last_mut() {
                Some(last @ Told::Proven(_)) => *last = proven,
                _ => self.told.push(proven),
            }
        }
    }
}

impl<'a> Books<'a> {
    pub(crate) fn open(protocol: &'a Protocol, source: &'a Source, instance: &'a Instance) -> Self {
        Self { protocol, source, instance, ledger: OnceCell::new() }
    }

    /// Made when it is first asked for: in most states there is nothing to ask.
    fn ledger(&self) -> &Ledger {
        self.ledger.get_or_init(|| self.told_again())
    }

    fn told_again(&self) -> Ledger {
        let (protocol, source, instance) = (self.protocol, self.source, self.instance);
        let ledger = Ledger::new(LedgerSize { stripes: 64, changes: protocol.size.remembered * 64 });
        for told in &instance.told {
            match told {
                Told::Link(link) => {
                    ledger.apply(&source.record(&protocol.size, protocol.variant, link));
                }
                Told::Proven(asked_at) => {
                    // A position it has reached: what was asked for has been compared already.
                    if let Some(sight) = ledger.sight() {
                        ledger.prove(Moment::from_nanos(u64::from(*asked_at)), sight.position());
                    }
                }
            }
        }
        ledger
    }

    pub(crate) fn sight(&self) -> Option<Sight> {
        self.ledger().sight()
    }

    /// What memory holds for a key.
    pub(crate) fn look(&self, key: u8) -> Option<Look<'a>> {
        let kept = self.instance.memory[usize::from(key)].as_ref()?;
        let sight = self.sight()?;
        let verdict = self.judge(&sight, key, kept);
        let proven_until = sight.proven_until.map_or(0, |moment| moment.as_nanos() as u8);
        let as_of = match verdict {
            Verdict::Current { .. } => proven_until.max(kept.filled_at),
            Verdict::Outdated(outdated) => {
                outdated.proven_before.map_or(0, |before| before.as_nanos() as u8).max(kept.filled_at)
            }
            Verdict::Void(_) => kept.filled_at,
        };
        Some(Look { kept, verdict, as_of, sight })
    }

    /// Whether an entry is current.
    pub(crate) fn judge(&self, sight: &Sight, key: u8, kept: &Kept) -> Verdict {
        let current = Verdict::Current { proven: u64::from(kept.proven).max(sight.watermark) };
        match self.protocol.variant {
            // What a lease allowed in stays until a change removes it.
            Variant::Lease => current,
            Variant::JudgedOnceOnly if u64::from(kept.generation) == sight.generation => current,
            _ => self.ledger().judge(sight, &self.entry(key, kept)),
        }
    }

    /// Whether an entry was current at the glance's watermark and reflects nothing beyond it.
    pub(crate) fn is_piece(&self, sight: &Sight, key: u8, kept: &Kept) -> bool {
        let entry = self.entry(key, kept);
        let within = entry.upper() <= sight.watermark || self.protocol.variant == Variant::PiecesApart;
        within && matches!(self.ledger().judge_at(sight, &entry, sight.watermark), Verdict::Current { .. })
    }

    /// The entry a flight's answer makes, if it may be kept.
    pub(crate) fn keep(&self, flight: &Flight, fill: &Fill) -> Option<Kept> {
        let variant = self.protocol.variant;
        let sight = self.sight()?;
        if epoch(variant, fill.seen.epoch) != sight.epoch {
            return None;
        }
        let kept = Kept {
            value: fill.value,
            seen: fill.seen.clone(),
            filled_at: self.moment(flight, fill),
            proven: self.certain(flight, fill),
            generation: sight.generation as u8,
        };
        if variant == Variant::Lease {
            return flight.is_leased.then_some(kept);
        }
        match self.ledger().judge(&sight, &self.entry(flight.key, &kept)) {
            Verdict::Current { proven } => Some(Kept { proven: proven as u8, ..kept }),
            Verdict::Outdated(_) | Verdict::Void(_) => None,
        }
    }

    /// An entry of the second tier, as this instance takes it into memory, if it may.
    pub(crate) fn fetch(&self, key: u8, stored: &Kept) -> Option<Kept> {
        let variant = self.protocol.variant;
        let sight = self.sight()?;
        if epoch(variant, stored.seen.epoch) != sight.epoch {
            return None;
        }
        let kept = Kept { generation: sight.generation as u8, ..stored.clone() };
        if variant == Variant::SecondTierTrusted {
            return Some(Kept { proven: kept.proven.max(sight.watermark as u8), ..kept });
        }
        match self.judge(&sight, key, &kept) {
            Verdict::Current { proven } => Some(Kept { proven: proven as u8, ..kept }),
            Verdict::Outdated(_) | Verdict::Void(_) => None,
        }
    }

    /// The moment a flight's answer reflects. Nothing bounds how far behind a standby is.
    pub(crate) fn moment(&self, flight: &Flight, fill: &Fill) -> u8 {
        let is_bounded = !fill.by_standby || self.protocol.variant == Variant::StandbyMomentBelieved;
        if is_bounded { flight.begun } else { 0 }
    }

    /// The position up to which every commit is visible to the fill: below the first one known that it does not see, and
    /// nothing at all while something may be unknown.
    pub(crate) fn certain(&self, flight: &Flight, fill: &Fill) -> u8 {
        let variant = self.protocol.variant;
        if fill.seen.basis == Basis::Position || variant == Variant::LogPosition {
            return fill.seen.upper;
        }
        let Some(unsettled) = self.instance.unsettled.filter(|_| flight.is_settled) else { return 0 };
        let number = |transaction| self.source.xids.iter().position(|other| *other == transaction);
        let sees = |xid: u8| fill.seen.sees(variant, 0, xid);
        // An id that a crash took back is of another epoch, and so is every snapshot that could tell.
        let xid = |transaction| number(transaction).map(|index| index as u8 + 10);
        if !unsettled.iter().filter_map(xid).all(sees) {
            return 0;
        }
        let (reached_epoch, watermark) = self.instance.reached();
        let links = self.instance.told.iter().filter_map(|told| match told {
            Told::Link(link) if link.epoch == reached_epoch => Some(link),
            _ => None,
        });
        let known =
            links.flat_map(|link| self.source.histories[usize::from(link.epoch)].between(link.from, link.at));
        let unseen = known.filter(|(_, commit)| !sees(commit.xid)).map(|(at, _)| at - 1).min();
        unseen.unwrap_or(watermark)
    }

    fn entry(&self, key: u8, kept: &Kept) -> Entry<()> {
        let stamp: Stamp = kept.seen.stamp(self.protocol.variant, 0);
        let mut entry = Entry::new(EntryParts {
            value: Some(()),
            filled_at: Moment::from_nanos(u64::from(kept.filled_at)),
            stamp,
            tags: vec![tag(key)],
            generation: u64::from(kept.generation),
            ttl: Duration::MAX,
        });
        entry.set_proven(u64::from(kept.proven));
        entry
    }
}

impl Look<'_> {
    /// Whether it reflects everything up to `token` on its key.
    pub(crate) fn reaches(&self, token: Position) -> bool {
        let proven = Position { epoch: self.sight.epoch, at: u64::from(self.kept.proven) };
        self.is_current() && (self.sight.position().reaches(token) || proven.reaches(token))
    }

    pub(crate) fn is_current(&self) -> bool {
        matches!(self.verdict, Verdict::Current { .. })
    }
}
