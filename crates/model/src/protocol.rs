//! The protocol as a model: states, steps, and what must hold in each of them.

use crate::defence::Variant;
use crate::instance::{Books, Fence, Fill, Flight, Instance, Kept, Link};
use crate::reads::{Falsehood, Stage};
use crate::set::Set;
use crate::size::{BEGINNINGS_MAX, Holder, Level, Size};
use crate::source::{Phase, Source, epoch};
use candor_core::Position;
use stateright::{Model, Property};

/// A world with one variant of the protocol in it.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// What there is.
    pub size: Size,
    /// How it protects its readers.
    pub variant: Variant,
}

/// Everything at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) source: Source,
    pub(crate) instances: Vec<Instance>,
    /// Everything the second tier ever held, by key: it may return any of it.
    pub(crate) second_tier: Vec<(u8, Kept)>,
    pub(crate) reads: Vec<Stage>,
    pub(crate) breaks_left: u8,
    /// The answer that ends this history.
    pub(crate) falsehood: Option<Falsehood>,
}

/// One thing that may happen.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A transaction writes its rows, and gets its id.
    Write(u8),
    /// Its commit is in the log.
    Log(u8),
    /// The next commit is durable.
    Harden,
    /// The next durable commit is decoded.
    Decode,
    /// New snapshots see a transaction.
    Show(u8),
    /// Its writer is told that it committed.
    Acknowledge(u8),
    /// The server crashes and recovers.
    Crash,
    /// The standby replays the next commit.
    Replay,
    /// The standby becomes the primary.
    Promote,
    /// A record arrives at an instance: epoch, previous, at.
    Take(u8, u8, u8, u8),
    /// An instance asks which transactions are running.
    Settle(u8),
    /// An instance notes the time and asks for the source's position.
    AskFence(u8),
    /// The source says its position.
    AnswerFence(u8, u8),
    /// An instance notes the time and begins to fill a key.
    BeginFlight(u8, u8),
    /// The source answers it: value and stamp in one instant.
    AnswerFlight(u8, u8),
    /// The standby answers it.
    AnswerByStandby(u8, u8),
    /// The answer arrives; it is judged, given to those who wait, and kept or not.
    Land(u8, u8),
    /// An entry is judged and proven further; the second tier gets it anew.
    Prove(u8, u8),
    /// An instance takes an entry from the second tier: its number there.
    Fetch(u8, u8),
    /// A read begins.
    Begin(u8),
    /// A read is answered from memory.
    Serve(u8),
}

impl Protocol {
    pub(crate) fn position(&self, number: u8, at: u8) -> Position {
        Position { epoch: epoch(self.variant, number), at: u64::from(at) }
    }

    fn source_steps(&self, state: &State, steps: &mut Vec<Step>) {
        let source = &state.source;
        for transaction in 0..self.size.writers.len() as u8 {
            match source.phases[usize::from(transaction)] {
                Phase::Idle if source.may_write(&self.size, transaction) => {
                    steps.push(Step::Write(transaction))
                }
                Phase::Writing => steps.push(Step::Log(transaction)),
                Phase::Logged if source.may_show(&self.size, transaction) => {
                    steps.push(Step::Show(transaction))
                }
                Phase::Visible if self.size.is_awaited(transaction) => {
                    steps.push(Step::Acknowledge(transaction));
                }
                _ => {}
            }
        }
        let history = source.history();
        if history.durable < history.end() {
            steps.push(Step::Harden);
        }
        if history.decoded < history.durable {
            steps.push(Step::Decode);
        }
        if source.replayed.is_some_and(|replayed| replayed < history.durable) {
            steps.push(Step::Replay);
        }
        if state.breaks_left > 0 {
            // Without anything that could be lost or reused it changes nothing but the epoch.
            steps.push(if source.replayed.is_some() { Step::Promote } else { Step::Crash });
        }
    }

    fn feed_steps(&self, state: &State, number: u8, steps: &mut Vec<Step>) {
        let source = &state.source;
        let instance = &state.instances[usize::from(number)];
        let (told_epoch, watermark) = instance.reached();
        let may_change = instance.epochs().len() < BEGINNINGS_MAX;
        if self.size.relay {
            for (epoch, history) in source.histories.iter().enumerate() {
                let epoch = epoch as u8;
                let is_known = epoch == told_epoch;
                for at in crate::source::FIRST..=history.decoded {
                    if (is_known && at <= watermark) || (!is_known && !may_change) {
                        continue;
                    }
                    let previous = crate::source::FIRST..=at;
                    steps.extend(previous.map(|previous| Step::Take(number, epoch, previous, at)));
                }
            }
            return;
        }
        let decoded = source.history().decoded;
        if told_epoch == source.epoch() || self.variant == Variant::EpochIgnored {
            if watermark < decoded {
                steps.push(Step::Take(number, source.epoch(), watermark, watermark + 1));
            }
        } else if may_change {
            steps.push(Step::Take(number, source.epoch(), decoded, decoded));
        }
    }

    fn instance_steps(&self, state: &State, number: u8, steps: &mut Vec<Step>) {
        let instance = &state.instances[usize::from(number)];
        if instance.unsettled.is_none() {
            steps.push(Step::Settle(number));
        }
        if instance.fences_left > 0 && instance.fences.iter().all(|fence| fence.answer.is_some()) {
            steps.push(Step::AskFence(number));
        }
        for (index, fence) in instance.fences.iter().enumerate() {
            if fence.answer.is_none() {
                steps.push(Step::AnswerFence(number, index as u8));
            }
        }
        let books = Books::open(self, &state.source, instance);
        for key in 0..self.size.keys {
            match instance.flights.iter().find(|flight| flight.key == key) {
                None if instance.fills_left > 0 => steps.push(Step::BeginFlight(number, key)),
                None => {}
                Some(flight) if flight.fill.is_some() => steps.push(Step::Land(number, key)),
                Some(_) => {
                    steps.push(Step::AnswerFlight(number, key));
                    if state.source.replayed.is_some() {
                        steps.push(Step::AnswerByStandby(number, key));
                    }
                }
            }
            let Some(look) = books.look(key).filter(|look| look.is_current()) else {
                for (index, (other, stored)) in state.second_tier.iter().enumerate() {
                    if *other == key && books.fetch(key, stored).is_some() {
                        steps.push(Step::Fetch(number, index as u8));
                    }
                }
                continue;
            };
            if self.size.proves_on && look.sight.watermark > u64::from(look.kept.proven) {
                steps.push(Step::Prove(number, key));
            }
        }
        for (read, wanted) in self.size.reads.iter().enumerate() {
            if wanted.instance == number && self.serve(state, &books, read as u8).is_some() {
                steps.push(Step::Serve(read as u8));
            }
        }
    }

    fn take(&self, state: &mut State, number: u8, epoch: u8, previous: u8, at: u8) {
        let State { source, instances, .. } = state;
        let instance = &mut instances[usize::from(number)];
        let (_, watermark) = instance.reached();
        let told = if self.variant == Variant::GapIgnored { previous.min(watermark) } else { previous };
        instance.tell(self, source, Link { epoch, previous: told, from: previous, at });
    }

    fn store(&self, state: &mut State, key: u8, kept: &Kept) {
        if !self.size.second_tier {
            return;
        }
        // Of another instance's moments nothing is known, and generations are its own.
        let stored = (key, Kept { filled_at: 0, generation: 0, ..kept.clone() });
        if !state.second_tier.contains(&stored) {
            state.second_tier.push(stored);
            state.second_tier.sort_by(|one, other| {
                let order = |of: &(u8, Kept)| (of.0, of.1.value, of.1.proven, of.1.seen.clone());
                order(one).cmp(&order(other))
            });
        }
    }

    fn land_flight(&self, state: &mut State, number: u8, key: u8) -> Option<()> {
        let instance = &mut state.instances[usize::from(number)];
        let index = instance.flights.iter().position(|flight| flight.key == key)?;
        let flight = instance.flights.remove(index);
        let fill = flight.fill.clone()?;
        let books = Books::open(self, &state.source, &state.instances[usize::from(number)]);
        let (kept, certain) = (books.keep(&flight, &fill), books.certain(&flight, &fill));
        let moment = books.moment(&flight, &fill);
        if let Some(kept) = kept {
            self.store(state, key, &kept);
            state.instances[usize::from(number)].memory[usize::from(key)] = Some(kept);
        }
        self.land(state, number, &flight, &fill, certain, moment);
        Some(())
    }

    fn prove(&self, state: &mut State, number: u8, key: u8) -> Option<()> {
        let instance = &state.instances[usize::from(number)];
        let books = Books::open(self, &state.source, instance);
        let look = books.look(key)?;
        let kept = Kept { proven: look.sight.watermark as u8, ..look.kept.clone() };
        self.store(state, key, &kept);
        state.instances[usize::from(number)].memory[usize::from(key)] = Some(kept);
        Some(())
    }

    fn source_step(&self, source: &mut Source, step: Step) {
        match step {
            Step::Write(transaction) => {
                source.phases[usize::from(transaction)] = Phase::Writing;
                source.xids.push(transaction);
            }
            Step::Log(transaction) => {
                source.log(transaction);
                if !self.size.may_lose() {
                    source.history_mut().durable += 1;
                }
            }
            Step::Harden => source.history_mut().durable += 1,
            Step::Decode => source.history_mut().decoded += 1,
            Step::Show(transaction) => source.show(transaction),
            Step::Acknowledge(transaction) => {
                source.phases[usize::from(transaction)] = Phase::Acknowledged;
            }
            Step::Crash => source.break_at(source.history().durable),
            Step::Replay => source.replayed = source.replayed.map(|replayed| replayed + 1),
            Step::Promote => {
                if let Some(replayed) = source.replayed.take() {
                    source.break_at(replayed);
                }
            }
            _ => {}
        }
    }
}

impl Size {
    /// The transactions that change this key.
    pub(crate) fn writers_of(&self, key: u8) -> Set {
        Set::of(
            (0..self.writers.len() as u8).filter(|writer| self.writers[usize::from(*writer)].keys.has(key)),
        )
    }

    /// Whether it makes a difference when a commit becomes durable.
    fn may_lose(&self) -> bool {
        self.breaks_max > 0 || self.writers.iter().any(|writer| writer.asynchronous)
    }

    /// Whether anybody waits until this writer is told that it committed.
    fn is_awaited(&self, transaction: u8) -> bool {
        self.reads.iter().any(|read| read.level == Level::Session(Holder::Writer(transaction)))
    }

    fn has(&self, level: u8) -> bool {
        self.reads.iter().any(|read| read.level.number() == level)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            source: Source::new(&self.size),
            instances: vec![Instance::new(self); usize::from(self.size.instances)],
            second_tier: Vec::new(),
            reads: vec![Stage::Waiting; self.size.reads.len()],
            breaks_left: self.size.breaks_max,
            falsehood: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        // What comes after the last answer concerns no reader.
        if state.falsehood.is_some() || state.reads.iter().all(|read| matches!(read, Stage::Answered { .. }))
        {
            return;
        }
        self.source_steps(state, steps);
        for number in 0..self.size.instances {
            self.feed_steps(state, number, steps);
            self.instance_steps(state, number, steps);
        }
        steps.extend(
            (0..self.size.reads.len() as u8).filter(|read| self.may_begin(state, *read)).map(Step::Begin),
        );
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut next = last.clone();
        let instances = &mut next.instances;
        match step {
            Step::Take(number, epoch, previous, at) => self.take(&mut next, number, epoch, previous, at),
            Step::Settle(number) => {
                let instance = &mut instances[usize::from(number)];
                instance.unsettled = Some(next.source.running());
            }
            Step::AskFence(number) => {
                let instance = &mut instances[usize::from(number)];
                instance.fences_left -= 1;
                instance.fences.push(Fence { asked_at: next.source.now(), answer: None });
            }
            Step::AnswerFence(number, index) => {
                let source = &next.source;
                let fence = &mut instances[usize::from(number)].fences[usize::from(index)];
                let history = source.history();
                let durable_only = self.variant == Variant::FenceOfDurableLog;
                let at = if durable_only { history.durable } else { history.end() };
                fence.answer = Some((source.epoch(), at));
                instances[usize::from(number)].absorb(self, source);
            }
            Step::BeginFlight(number, key) => {
                let begun = next.source.now();
                let instance = &mut instances[usize::from(number)];
                instance.fills_left -= 1;
                let is_settled = instance.unsettled.is_some();
                let flight = Flight { key, begun, is_settled, is_leased: true, fill: None };
                instance.flights.push(flight);
                instance.flights.sort_by_key(|flight| flight.key);
            }
            Step::AnswerFlight(number, key) | Step::AnswerByStandby(number, key) => {
                let by_standby = matches!(step, Step::AnswerByStandby(..));
                let (value, seen) = match next.source.replayed.filter(|_| by_standby) {
                    Some(replayed) => next.source.read_standby(replayed, self.variant),
                    None => next.source.read(),
                };
                let value = value.and(self.size.writers_of(key));
                let flights = &mut instances[usize::from(number)].flights;
                let flight = flights.iter_mut().find(|flight| flight.key == key)?;
                flight.fill = Some(Fill { value, seen, by_standby });
            }
            Step::Land(number, key) => self.land_flight(&mut next, number, key)?,
            Step::Prove(number, key) => self.prove(&mut next, number, key)?,
            Step::Fetch(number, index) => {
                let (key, stored) = next.second_tier.get(usize::from(index))?.clone();
                let books = Books::open(self, &next.source, &next.instances[usize::from(number)]);
                let kept = books.fetch(key, &stored)?;
                next.instances[usize::from(number)].memory[usize::from(key)] = Some(kept);
            }
            Step::Begin(read) => self.begin(&mut next, read),
            Step::Serve(read) => {
                let number = self.wanted(read).instance;
                let books = Books::open(self, &last.source, &last.instances[usize::from(number)]);
                next = self.serve(last, &books, read)?;
            }
            Step::Crash | Step::Promote => {
                next.breaks_left -= 1;
                self.source_step(&mut next.source, step);
            }
            _ => self.source_step(&mut next.source, step),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(RECEIPTS, |protocol: &Self, state: &State| {
            protocol.receipts_are_true(state)
        })];
        if self.size.has(Level::Strong.number()) {
            properties.push(Property::always(STRONG, |_, state| !is_false(state, 0)));
            properties
                .push(Property::sometimes("a strong read is answered from memory", |protocol, state| {
                    protocol.is_answered_from_memory(state, 0)
                }));
        }
        if self.size.has(1) {
            properties.push(Property::always(BOUNDED, |_, state| !is_false(state, 1)));
            properties
                .push(Property::sometimes("a bounded read is answered from memory", |protocol, state| {
                    protocol.is_answered_from_memory(state, 1)
                }));
        }
        if self.size.has(2) {
            properties.push(Property::always(SESSION, |_, state| !is_false(state, 2)));
            properties.push(Property::sometimes("a session is answered from memory", |protocol, state| {
                protocol.is_answered_from_memory(state, 2)
            }));
        }
        if self.size.has(3) {
            properties.push(Property::always(SNAPSHOT, |_, state| !is_false(state, 3)));
            properties.push(Property::sometimes("a snapshot is answered from memory", |protocol, state| {
                protocol.is_answered_from_memory(state, 3)
            }));
        }
        properties.extend(self.liveliness());
        properties
    }
}

/// What must always hold.
pub const RECEIPTS: &str = "every entry reflects the moment it is said to reflect";
/// See [`RECEIPTS`].
pub const STRONG: &str = "no strong answer lacks what was visible before its read began";
/// See [`RECEIPTS`].
pub const BOUNDED: &str = "no bounded answer is staler than its bound";
/// See [`RECEIPTS`].
pub const SESSION: &str = "no session goes behind what its holder saw or wrote";
/// See [`RECEIPTS`].
pub const SNAPSHOT: &str = "the answers of a snapshot hold together";

fn is_false(state: &State, level: u8) -> bool {
    state.falsehood.is_some_and(|falsehood| falsehood.level == level)
}

impl Protocol {
    fn is_answered_from_memory(&self, state: &State, level: u8) -> bool {
        state.reads.iter().zip(&self.size.reads).any(|(stage, wanted)| {
            wanted.level.number() == level && matches!(stage, Stage::Answered { from_memory: true, .. })
        })
    }

    /// What must happen in some history, or the rest proves nothing.
    fn liveliness(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::sometimes("a ledger holds a change that is not visible yet", |_, state: &State| {
                let source = &state.source;
                state.instances.iter().any(|instance| {
                    let (epoch, at) = instance.reached();
                    epoch == source.epoch()
                        && !source.history().up_to(at).without(source.visible()).is_empty()
                })
            }),
            Property::sometimes("an entry is found outdated", |protocol: &Self, state: &State| {
                protocol.any_look(state, |look| matches!(look.verdict, candor_core::Verdict::Outdated(_)))
            }),
        ];
        if self.size.breaks_max > 0 {
            properties.push(Property::sometimes("something that was seen is lost", |_, state: &State| {
                let instants = &state.source.instants;
                let lost = instants[instants.len() - 1].lost;
                instants.iter().any(|instant| !instant.visible.and(lost).is_empty())
            }));
        }
        if self.size.second_tier {
            properties.push(Property::sometimes(
                "an entry of another instance is used",
                |_, state: &State| {
                    state.instances.iter().any(|instance| {
                        instance.memory.iter().flatten().next().is_some() && instance.fills_left == 1
                    })
                },
            ));
        }
        properties
    }

    fn any_look(&self, state: &State, is_wanted: impl Fn(&crate::instance::Look<'_>) -> bool) -> bool {
        state.instances.iter().any(|instance| {
            let books = Books::open(self, &state.source, instance);
            (0..self.size.keys).any(|key| books.look(key).is_some_and(|look| is_wanted(&look)))
        })
    }
}
