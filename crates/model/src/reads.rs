//! Reads: what they demand, when they are answered, and what makes an answer false.
//!
//! A read is a floor and a token, as in the engine. What is checked is something else: the answer is held against what
//! was really visible, which no instance knows.

use crate::defence::Variant;
use crate::instance::{Books, Fill, Flight};
use crate::protocol::{Protocol, State};
use crate::set::Set;
use crate::size::{Holder, Level, Wanted};
use crate::source::{Instant, Phase, Source};
use candor_core::Verdict;

/// A session token, and what its holder has seen or written.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    pub(crate) epoch: u8,
    pub(crate) at: u8,
    pub(crate) stands_for: Set,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Waiting,
    Begun { at: u8, token: Option<Token> },
    Answered { from_memory: bool, token: Token },
}

/// An answer that claims more than is true.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Falsehood {
    pub(crate) read: u8,
    pub(crate) level: u8,
    pub(crate) from_memory: bool,
    /// The key; of a snapshot, the first of the two.
    pub(crate) key: u8,
    pub(crate) value: Set,
    /// Of a snapshot, the answer for the second key.
    pub(crate) other: Set,
    /// What the answer had to reflect and does not.
    pub(crate) missing: Set,
    /// What it reflects and had been lost before.
    pub(crate) undone: Set,
}

impl Level {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Strong => 0,
            Self::Bounded(_) => 1,
            Self::Session(_) => 2,
            Self::Snapshot => 3,
        }
    }
}

impl Protocol {
    pub(crate) fn wanted(&self, read: u8) -> &Wanted {
        &self.size.reads[usize::from(read)]
    }

    /// Whether a read can begin; a session needs its token first.
    pub(crate) fn may_begin(&self, state: &State, read: u8) -> bool {
        let has_token = match self.wanted(read).level {
            Level::Session(Holder::Writer(writer)) => {
                state.source.phases[usize::from(writer)] == Phase::Acknowledged
            }
            Level::Session(Holder::Reader(other)) => {
                matches!(state.reads[usize::from(other)], Stage::Answered { .. })
            }
            Level::Strong | Level::Bounded(_) | Level::Snapshot => true,
        };
        state.reads[usize::from(read)] == Stage::Waiting && has_token
    }

    pub(crate) fn begin(&self, state: &mut State, read: u8) {
        let source = &state.source;
        let token = match self.wanted(read).level {
            Level::Session(Holder::Writer(_)) => Some(Token {
                epoch: source.epoch(),
                at: source.history().end(),
                stands_for: source.visible(),
            }),
            Level::Session(Holder::Reader(other)) => match state.reads[usize::from(other)] {
                Stage::Answered { token, .. } => Some(token),
                Stage::Waiting | Stage::Begun { .. } => None,
            },
            Level::Strong | Level::Bounded(_) | Level::Snapshot => None,
        };
        state.reads[usize::from(read)] = Stage::Begun { at: source.now(), token };
    }

    /// The moment the answer must reflect. Time passes only when something becomes visible, so a moment equal to the
    /// read's beginning is as good as one after it.
    fn floor(&self, read: u8, begun: u8, now: u8) -> u8 {
        match self.wanted(read).level {
            Level::Strong => begun,
            Level::Bounded(limit) => now.saturating_sub(limit),
            Level::Session(_) | Level::Snapshot => 0,
        }
    }

    /// Answers a read from memory, if memory may. The state afterwards says what came of it.
    pub(crate) fn serve(&self, state: &State, books: &Books<'_>, read: u8) -> Option<State> {
        let Stage::Begun { at, token } = state.reads[usize::from(read)] else { return None };
        let wanted = self.wanted(read);
        let floor = self.floor(read, at, state.source.now());
        if wanted.level == Level::Snapshot {
            return self.serve_snapshot(state, books, read, floor);
        }
        let key = wanted.keys.iter().next()?;
        let look = books.look(key).filter(|look| look.is_current())?;
        let reached = token.is_none_or(|token| look.reaches(self.position(token.epoch, token.at)));
        if look.as_of < floor || !reached {
            return None;
        }
        let answer = Answer {
            from_memory: true,
            key,
            value: look.kept.value,
            upper: (look.kept.seen.epoch, look.kept.seen.upper),
            floor,
        };
        Some(self.answered(state, read, token, answer))
    }

    fn serve_snapshot(&self, state: &State, books: &Books<'_>, read: u8, floor: u8) -> Option<State> {
        let keys: Vec<u8> = self.wanted(read).keys.iter().collect();
        let sight = books.sight()?;
        let mut pieces = Vec::new();
        for key in &keys {
            let kept = books.instance.memory[usize::from(*key)].as_ref()?;
            if !books.is_piece(&sight, *key, kept) {
                return None;
            }
            pieces.push(kept);
        }
        let [one, two] = pieces.as_slice() else { return None };
        let proven = sight.proven_until.map_or(0, |moment| moment.as_nanos() as u8);
        let as_of = proven.max(one.filled_at).max(two.filled_at);
        if as_of < floor {
            return None;
        }
        let mut next = state.clone();
        let history = &state.source.histories[usize::from(one.seen.epoch)];
        let together = (0..=history.end()).any(|at| {
            let cut = history.up_to(at);
            keys.iter().zip(&pieces).all(|(key, kept)| cut.and(self.size.writers_of(*key)) == kept.value)
        });
        let (missing, undone) =
            keys.iter().zip(&pieces).fold((Set::NONE, Set::NONE), |so_far, (key, kept)| {
                let (missing, undone) = self.held_against(&state.source, *key, kept.value, as_of);
                (so_far.0.or(missing), so_far.1.or(undone))
            });
        let token =
            Token { epoch: one.seen.epoch, at: one.seen.upper.max(two.seen.upper), stands_for: Set::NONE };
        next.reads[usize::from(read)] = Stage::Answered { from_memory: true, token };
        if !together || !missing.is_empty() || !undone.is_empty() {
            next.falsehood = Some(Falsehood {
                read,
                level: Level::Snapshot.number(),
                from_memory: true,
                key: keys[0],
                value: one.value,
                other: two.value,
                missing,
                undone,
            });
        }
        Some(next)
    }

    /// Gives a flight's answer to every read that waits at this instance and may take it.
    pub(crate) fn land(
        &self,
        state: &mut State,
        instance: u8,
        flight: &Flight,
        fill: &Fill,
        certain: u8,
        moment: u8,
    ) {
        for read in 0..self.size.reads.len() as u8 {
            let Stage::Begun { at, token } = state.reads[usize::from(read)] else { continue };
            let wanted = *self.wanted(read);
            if wanted.instance != instance
                || wanted.keys != Set::single(flight.key)
                || wanted.level == Level::Snapshot
            {
                continue;
            }
            let floor = self.floor(read, at, state.source.now());
            let fresh = moment >= floor || self.variant == Variant::AnyFlightJoined;
            let reached = token.is_none_or(|token| {
                let wanted = self.position(token.epoch, token.at);
                let afresh = moment >= at && moment == flight.begun && !fill.by_standby;
                (self.position(fill.seen.epoch, certain).reaches(wanted) || afresh)
                    && self.position(fill.seen.epoch, fill.seen.upper).reaches(wanted)
            });
            if fresh && reached {
                let upper = (fill.seen.epoch, fill.seen.upper);
                let answer = Answer { from_memory: false, key: flight.key, value: fill.value, upper, floor };
                *state = self.answered(state, read, token, answer);
            }
        }
    }

    fn answered(&self, state: &State, read: u8, given: Option<Token>, answer: Answer) -> State {
        let mut next = state.clone();
        let Answer { from_memory, key, value, upper, floor } = answer;
        let (mut missing, undone) = self.held_against(&state.source, key, value, floor);
        let mut token = Token { epoch: upper.0, at: upper.1, stands_for: value };
        if let Some(given) = given {
            missing = missing.or(given.stands_for.and(self.size.writers_of(key)).without(value));
            token.stands_for = token.stands_for.or(given.stands_for);
            if given.epoch == token.epoch {
                token.at = token.at.max(given.at);
            }
        }
        next.reads[usize::from(read)] = Stage::Answered { from_memory, token };
        if !missing.is_empty() || !undone.is_empty() {
            let level = self.wanted(read).level.number();
            let other = Set::NONE;
            next.falsehood = Some(Falsehood { read, level, from_memory, key, value, other, missing, undone });
        }
        next
    }

    /// What an answer said to reflect `moment` lacks of what was visible then, and what it has that was lost by then.
    ///
    /// Neither, if it is true of a later moment: what the source itself loses between a read's beginning and its answer,
    /// no answer can have.
    pub(crate) fn held_against(&self, source: &Source, key: u8, value: Set, moment: u8) -> (Set, Set) {
        let compare = |then: &Instant| {
            (then.visible.and(self.size.writers_of(key)).without(value), value.and(then.lost))
        };
        let since = &source.instants[usize::from(moment)..];
        let mut compared = since.iter().map(compare);
        let first = compared.next().unwrap_or_default();
        let is_clean = |(missing, undone): &(Set, Set)| missing.is_empty() && undone.is_empty();
        if is_clean(&first) || compared.any(|later| is_clean(&later)) {
            (Set::NONE, Set::NONE)
        } else {
            first
        }
    }

    /// Whether every entry of every instance reflects the moment it would be said to reflect.
    pub(crate) fn receipts_are_true(&self, state: &State) -> bool {
        state.instances.iter().all(|instance| {
            let books = Books::open(self, &state.source, instance);
            (0..self.size.keys).all(|key| {
                let Some(look) = books.look(key) else { return true };
                if matches!(look.verdict, Verdict::Void(_)) {
                    return true;
                }
                let (missing, undone) = self.held_against(&state.source, key, look.kept.value, look.as_of);
                missing.is_empty() && undone.is_empty()
            })
        })
    }
}

struct Answer {
    from_memory: bool,
    key: u8,
    value: Set,
    /// Epoch and number.
    upper: (u8, u8),
    floor: u8,
}
