//! What one history consists of: drawn from its seed, written as one line, read back from it, and made smaller.
//!
//! Everything that may be taken away while a history still fails is a field of its own, so that shrinking is trying.

use super::chance::Chance;
use std::fmt;
use std::str::FromStr;

/// What is modelled.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Snapshots, a log that runs ahead of visibility, slots, a standby.
    Postgres,
    /// One writer after another, a file.
    Sequence,
}

/// What goes wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// An instance's replication connection is cut, with what was on its way.
    Drop,
    /// An instance is told its next records twice.
    Duplicate,
    /// The network of an instance is slow for a while.
    Delay,
    /// The next response of the source to an instance is held back.
    HoldResponse,
    /// The next commit succeeds and its writer is told that it failed.
    FailAfterWrite,
    /// An instance gets no processor for a while.
    Pause,
    /// The source is put back to what it was a while ago.
    RollBack,
    /// The source's server restarts; from a crash more often than not.
    Restart,
    /// A standby is promoted.
    FailOver,
    /// An instance's slot is lost and made anew.
    LoseSlot,
    /// Somebody takes a table out of the publication, unannounced, and puts it back after a while. A short one goes with a cut
    /// of the instance's connection: nobody looked.
    Silence,
    /// An instance's memory loses an entry.
    Evict,
}

/// All verbs, with their names.
pub const VERBS: [(&str, Verb); 12] = [
    ("Drop", Verb::Drop),
    ("Duplicate", Verb::Duplicate),
    ("Delay", Verb::Delay),
    ("HoldResponse", Verb::HoldResponse),
    ("FailAfterWrite", Verb::FailAfterWrite),
    ("Pause", Verb::Pause),
    ("RollBack", Verb::RollBack),
    ("Restart", Verb::Restart),
    ("FailOver", Verb::FailOver),
    ("LoseSlot", Verb::LoseSlot),
    ("Silence", Verb::Silence),
    ("Evict", Verb::Evict),
];

/// A fault: what, when, to whom, how much.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Virtual microseconds after the history began.
    pub at_us: u64,
    /// What.
    pub verb: Verb,
    /// Which instance, where it concerns one.
    pub instance: usize,
    /// How long, in microseconds, or how much.
    pub amount: u64,
}

/// A defence of the modelled source that is left out, in the words of the mutants of the real ones.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// None.
    None,
    /// The slot is confirmed before the records are in the mailboxes.
    SlotTooEarly,
    /// A row that moves to another key tells of the new one alone.
    KeyChangeNewOnly,
    /// The door leaves the subject out of a private view's key.
    SubjectLeftOut,
    /// A fill is certain of all that was decoded, whatever its snapshot saw.
    CertainOfDecoded,
    /// The stream goes on where the slot was made anew, as if nothing had been missed.
    SlotBelieved,
    /// A restart of the server is taken for the same log.
    LogIdentity,
    /// Nobody asks which transactions run when the stream begins.
    UnsettledForgotten,
    /// A fence takes any fingerprint for that of the stream.
    FingerprintAtFence,
    /// A fence that found the fingerprint intact once never asks for it again.
    FingerprintOfAnySnapshot,
    /// A stream goes on, whatever was published meanwhile.
    FingerprintGoingOn,
    /// Nobody looks for the marks of those who change the publication and are not visible.
    PendingForgotten,
    /// The log vouches for the position that was read after the snapshot.
    VouchedTooFar,
}

/// All flaws, with their names.
pub const FLAWS: [(&str, Flaw); 13] = [
    ("none", Flaw::None),
    ("slot-acknowledged-too-early", Flaw::SlotTooEarly),
    ("key-change-old-value", Flaw::KeyChangeNewOnly),
    ("subject-in-key", Flaw::SubjectLeftOut),
    ("certain-by-snapshot", Flaw::CertainOfDecoded),
    ("slot-continuity", Flaw::SlotBelieved),
    ("log-identity", Flaw::LogIdentity),
    ("unsettled-transactions", Flaw::UnsettledForgotten),
    ("fingerprint-at-fences", Flaw::FingerprintAtFence),
    ("fingerprint-under-one-snapshot", Flaw::FingerprintOfAnySnapshot),
    ("fingerprint-when-going-on", Flaw::FingerprintGoingOn),
    ("publication-under-change", Flaw::PendingForgotten),
    ("logged-before-the-question", Flaw::VouchedTooFar),
];

/// One history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What everything else is drawn from.
    pub seed: u64,
    /// What is modelled.
    pub kind: Kind,
    /// Engines over the one source.
    pub instances: usize,
    /// Tasks that read, per instance.
    pub readers: usize,
    /// Tasks that write.
    pub writers: usize,
    /// Public rows.
    pub keys: u32,
    /// Length in virtual milliseconds.
    pub millis: u64,
    /// Plain reads per step of a reader.
    pub batch: u64,
    /// Number of the first transaction.
    pub first_xid: u64,
    /// Whether the ledger remembers next to nothing.
    pub forgetful: bool,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// The defence that is left out.
    pub flaw: Flaw,
}

impl Plan {
    /// The history of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut chance = Chance::of_part(seed, "plan", 0);
        let kind = if chance.one_in(4) { Kind::Sequence } else { Kind::Postgres };
        let instances = chance.within(1, 3) as usize;
        let millis = chance.pick(&[60, 150, 400, 1000, 2500]);
        // A third of all histories run past the point where the log's numbers of transactions wrap around.
        let first_xid =
            if chance.one_in(3) { (3 << 32) - chance.within(1, 60) } else { chance.within(700, 5000) };
        let how_many = chance.pick(&[0, 2, 4, 8, 16, 32]);
        // In half of all histories the same two kinds of trouble come again and again.
        let kinds = [Verb::draw(&mut chance), Verb::draw(&mut chance)];
        let is_theme = chance.one_in(2);
        let mut faults: Vec<Fault> = (0..how_many)
            .map(|_| {
                let verb = if is_theme { chance.pick(&kinds) } else { Verb::draw(&mut chance) };
                Fault::draw(verb, &mut chance, millis, instances)
            })
            .collect();
        faults.sort_by_key(|fault| fault.at_us);
        Self {
            seed,
            kind,
            instances,
            readers: chance.within(1, 3) as usize,
            writers: chance.within(1, 6) as usize,
            keys: chance.pick(&[2, 4, 8, 16, 32]),
            millis,
            batch: chance.pick(&[4, 16, 64, 256]),
            first_xid,
            forgetful: chance.one_in(3),
            faults,
            flaw: Flaw::None,
        }
    }

    /// Public and private rows.
    pub fn rows(&self) -> u32 {
        self.keys + SUBJECTS * PRIVATE
    }

    /// Plans that are one step smaller, the greatest steps first.
    pub fn smaller(&self) -> Vec<Self> {
        let mut smaller = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            if plan != *self {
                smaller.push(plan);
            }
        };
        let half = self.faults.len() / 2;
        with(&|plan| plan.faults.clear());
        with(&|plan| drop(plan.faults.drain(..half)));
        with(&|plan| plan.faults.truncate(half));
        with(&|plan| plan.millis = (plan.millis / 2).max(5));
        with(&|plan| plan.instances = 1);
        with(&|plan| plan.readers = 1);
        with(&|plan| plan.writers = 1);
        with(&|plan| plan.keys = 1);
        with(&|plan| plan.keys = (plan.keys / 2).max(1));
        with(&|plan| plan.batch = 1);
        with(&|plan| plan.batch = (plan.batch / 8).max(1));
        with(&|plan| plan.forgetful = false);
        with(&|plan| plan.first_xid = 1000);
        for index in 0..self.faults.len() {
            with(&|plan| {
                plan.faults.remove(index);
            });
        }
        with(&|plan| plan.millis = (plan.millis * 7 / 8).max(5));
        smaller
    }
}

/// Subjects that own private rows.
pub const SUBJECTS: u32 = 3;
/// Private rows of each.
pub const PRIVATE: u32 = 2;

impl Verb {
    /// The server's own end is rarer than trouble on the way to it.
    fn draw(chance: &mut Chance) -> Self {
        match chance.below(22) {
            0..=2 => Verb::Drop,
            3 => Verb::Duplicate,
            4..=5 => Verb::Delay,
            6..=8 => Verb::HoldResponse,
            9 => Verb::FailAfterWrite,
            10..=11 => Verb::Pause,
            12 => Verb::RollBack,
            13..=14 => Verb::Restart,
            15 => Verb::FailOver,
            16..=17 => Verb::LoseSlot,
            18..=19 => Verb::Silence,
            _ => Verb::Evict,
        }
    }
}

impl Fault {
    fn draw(verb: Verb, chance: &mut Chance, millis: u64, instances: usize) -> Self {
        Self {
            at_us: chance.below(millis * 1000),
            verb,
            instance: chance.below(instances as u64) as usize,
            amount: 1 << chance.within(4, 16),
        }
    }
}

/// `pg seed=7 instances=2 … faults=Drop@1200/0/64,…`
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == Kind::Postgres { "postgres" } else { "sequence" };
        write!(
            f,
            "{kind} seed={} instances={} readers={} writers={} keys={} millis={} batch={} xid={} forgetful={}",
            self.seed,
            self.instances,
            self.readers,
            self.writers,
            self.keys,
            self.millis,
            self.batch,
            self.first_xid,
            u8::from(self.forgetful)
        )?;
        let name = |verb| VERBS.iter().find(|(_, other)| *other == verb).map_or("", |(name, _)| name);
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|fault| format!("{}@{}/{}/{}", name(fault.verb), fault.at_us, fault.instance, fault.amount))
            .collect();
        if !faults.is_empty() {
            write!(f, " faults={}", faults.join(","))?;
        }
        let flaw = FLAWS.iter().find(|(_, flaw)| *flaw == self.flaw).map_or("", |(name, _)| name);
        if self.flaw == Flaw::None { Ok(()) } else { write!(f, " flaw={flaw}") }
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut plan = Self::of_seed(0);
        plan.faults.clear();
        for word in line.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let number = || value.parse::<u64>().map_err(|_| format!("`{word}` lacks a number"));
            match name {
                "postgres" => plan.kind = Kind::Postgres,
                "sequence" => plan.kind = Kind::Sequence,
                "seed" => plan.seed = number()?,
                "instances" => plan.instances = number()?.clamp(1, 8) as usize,
                "readers" => plan.readers = number()?.clamp(1, 64) as usize,
                "writers" => plan.writers = number()? as usize,
                "keys" => plan.keys = number()?.clamp(1, 1 << 16) as u32,
                "millis" => plan.millis = number()?,
                "batch" => plan.batch = number()?,
                "xid" => plan.first_xid = number()?,
                "forgetful" => plan.forgetful = number()? == 1,
                "faults" => plan.faults = value.split(',').map(Fault::parse).collect::<Result<_, _>>()?,
                "flaw" => {
                    let known = FLAWS.iter().find(|(flaw, _)| *flaw == value);
                    plan.flaw = known.ok_or_else(|| format!("no flaw is called `{value}`"))?.1;
                }
                _ => return Err(format!("`{word}` is no part of a plan")),
            }
        }
        Ok(plan)
    }
}

impl Fault {
    fn parse(text: &str) -> Result<Self, String> {
        let refusal = || format!("`{text}` is no fault; write Verb@microseconds/instance/amount");
        let (name, rest) = text.split_once('@').ok_or_else(refusal)?;
        let verb = VERBS.iter().find(|(known, _)| *known == name).ok_or_else(refusal)?.1;
        let numbers: Vec<u64> =
            rest.split('/').map(str::parse).collect::<Result<_, _>>().map_err(|_| refusal())?;
        let [at_us, instance, amount] = numbers[..] else { return Err(refusal()) };
        Ok(Self { at_us, verb, instance: instance as usize, amount })
    }
}
