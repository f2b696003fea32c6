//! A history in words: what happened, step by step, and what was false at its end.

use crate::instance::Books;
use crate::protocol::{Protocol, State, Step};
use crate::reads::Stage;
use crate::set::Set;
use crate::size::{Holder, Level};
use candor_core::Verdict;

/// What a key is called.
fn name(key: u8) -> char {
    char::from(b'A' + key)
}

impl Protocol {
    /// The steps from the beginning, numbered, and the verdict.
    pub fn tell(&self, history: &[(State, Option<Step>)]) -> String {
        let mut lines = Vec::new();
        for (index, pair) in history.windows(2).enumerate() {
            if let (before, Some(step)) = &pair[0] {
                lines.push(format!("{:>3}. {}", index + 1, self.words(before, &pair[1].0, *step)));
            }
        }
        if let Some((last, _)) = history.last() {
            lines.push(format!("  => {}", self.verdict(last)));
        }
        lines.join("\n")
    }

    fn words(&self, before: &State, after: &State, step: Step) -> String {
        match step {
            Step::Write(transaction) => {
                let writer = &self.size.writers[usize::from(transaction)];
                let keys: String = writer.keys.iter().map(name).collect();
                let kind = if writer.asynchronous { ", which commits asynchronously," } else { "" };
                format!("T{transaction}{kind} writes {keys} and gets its id")
            }
            Step::Log(transaction) => {
                let at = after.source.position(transaction).unwrap_or_default();
                format!("the commit of T{transaction} is logged at {at}; new snapshots do not see it yet")
            }
            Step::Harden => format!("the log is durable up to {}", after.source.history().durable),
            Step::Decode => format!("the log is decoded up to {}", after.source.history().decoded),
            Step::Show(transaction) => {
                format!("T{transaction} becomes visible (moment {})", after.source.now())
            }
            Step::Acknowledge(transaction) => {
                format!("the writer of T{transaction} is told that it committed")
            }
            Step::Crash => self.break_words(after, "the server crashes and recovers"),
            Step::Replay => {
                format!("the standby replays up to {}", after.source.replayed.unwrap_or_default())
            }
            Step::Promote => self.break_words(after, "the standby is promoted"),
            Step::Take(number, epoch, previous, at) => {
                let told = before.source.histories[usize::from(epoch)].between(previous, at);
                let told = Set::of(told.map(|(_, commit)| commit.transaction));
                format!(
                    "instance {number} takes a record of epoch {epoch}, above {previous} up to {at}: {told}"
                )
            }
            Step::Settle(number) => {
                format!("instance {number} asks which transactions are running: {}", after.source.running())
            }
            Step::AskFence(number) => {
                format!(
                    "instance {number} notes the time (moment {}) and asks for a fence",
                    after.source.now()
                )
            }
            Step::AnswerFence(number, _) => {
                format!("the source tells instance {number} its position: {}", after.source.history().end())
            }
            Step::BeginFlight(number, key) => {
                let now = after.source.now();
                format!("instance {number} notes the time (moment {now}) and begins to fill {}", name(key))
            }
            Step::AnswerFlight(number, key) => self.answer_words(after, number, key, "the source"),
            Step::AnswerByStandby(number, key) => self.answer_words(after, number, key, "the standby"),
            Step::Land(number, key) => {
                let kept = &after.instances[usize::from(number)].memory[usize::from(key)];
                let is_new = *kept != before.instances[usize::from(number)].memory[usize::from(key)];
                let fate = if is_new { "and is kept" } else { "and is not kept" };
                let readers: String = (0..self.size.reads.len())
                    .filter(|read| before.reads[*read] != after.reads[*read])
                    .map(|read| format!("; R{read} takes it"))
                    .collect();
                format!("the answer for {} arrives at instance {number} {fate}{readers}", name(key))
            }
            Step::Prove(number, key) => {
                format!("instance {number} judges its entry of {} and proves it further", name(key))
            }
            Step::Fetch(number, index) => {
                let (key, stored) = &before.second_tier[usize::from(index)];
                let (key, value) = (name(*key), stored.value);
                format!("instance {number} takes {key} from the second tier; it reflects {value}")
            }
            Step::Begin(read) => self.begin_words(after, read),
            Step::Serve(read) => format!("R{read} is answered from memory"),
        }
    }

    fn break_words(&self, after: &State, what: &str) -> String {
        let source = &after.source;
        let lost = source.instants[source.instants.len() - 1].lost;
        let end = source.history().end();
        format!(
            "{what}: epoch {}, the log ends at {end}; lost: {lost} (moment {})",
            source.epoch(),
            source.now()
        )
    }

    fn answer_words(&self, after: &State, number: u8, key: u8, who: &str) -> String {
        let flights = &after.instances[usize::from(number)].flights;
        let fill = flights.iter().find(|flight| flight.key == key).and_then(|flight| flight.fill.as_ref());
        let Some(fill) = fill else { return format!("{who} answers") };
        let (value, upper) = (fill.value, fill.seen.upper);
        format!(
            "{who} reads {} for instance {number}: it reflects {value}, read at position {upper}",
            name(key)
        )
    }

    fn begin_words(&self, after: &State, read: u8) -> String {
        let wanted = self.wanted(read);
        let keys: String = wanted.keys.iter().map(name).collect();
        let level = match wanted.level {
            Level::Strong => "strong".to_owned(),
            Level::Bounded(limit) => format!("bounded to {limit} changes"),
            Level::Session(Holder::Writer(writer)) => format!("session, with a token taken after T{writer}"),
            Level::Session(Holder::Reader(other)) => format!("session, with the token of R{other}"),
            Level::Snapshot => "snapshot".to_owned(),
        };
        let visible = after.source.visible();
        format!("R{read} asks instance {} for {keys} ({level}); visible now: {visible}", wanted.instance)
    }

    fn verdict(&self, last: &State) -> String {
        let Some(falsehood) = last.falsehood else { return self.receipt_verdict(last) };
        let key = name(falsehood.key);
        let from = if falsehood.from_memory { "memory" } else { "a flight" };
        let mut words = format!("R{}, from {from}: {key} reflects {}", falsehood.read, falsehood.value);
        if falsehood.level == Level::Snapshot.number() {
            words += &format!(", the other key {}; they do not hold together", falsehood.other);
        }
        if !falsehood.missing.is_empty() {
            words += &format!(", and lacks {}", falsehood.missing);
        }
        if !falsehood.undone.is_empty() {
            words += &format!(", although {} had been lost before", falsehood.undone);
        }
        words
    }

    fn receipt_verdict(&self, last: &State) -> String {
        for (number, instance) in last.instances.iter().enumerate() {
            let books = Books::open(self, &last.source, instance);
            for key in 0..self.size.keys {
                let Some(look) = books.look(key) else { continue };
                let (missing, undone) = self.held_against(&last.source, key, look.kept.value, look.as_of);
                if matches!(look.verdict, Verdict::Void(_)) || (missing.is_empty() && undone.is_empty()) {
                    continue;
                }
                let (key, value, as_of) = (name(key), look.kept.value, look.as_of);
                return format!(
                    "instance {number} would say that its {key}, which reflects {value}, reflects moment {as_of}; \
                     it lacks {missing}, and of what it has, lost by then: {undone}"
                );
            }
        }
        let answered = last.reads.iter().filter(|read| matches!(read, Stage::Answered { .. })).count();
        format!("nothing false; {answered} reads are answered")
    }
}
