//! Holds every answer against the truth, at once and by one look-up.
//!
//! | promise | broken when the version that was answered |
//! |---|---|
//! | any answer | is no version of that row, or was not visible yet |
//! | bound | was superseded, visibly, longer ago than the bound |
//! | age | was superseded before the fill is said to have begun |
//! | position | was superseded at or below the position cited; or was logged above the upper one |
//! | strong | was superseded before the read began |
//! | bounded(d) | was superseded longer than d ago, or the claimed bound is above d |
//! | session | was superseded before what the token's holder has seen; or the token is of another log than the answer |
//! | snapshot | was at no count of visible events, and at no place of the log, current together with all others |
//! | degraded | is less than was asked for where the contract does not allow that, or older than its limit |
//!
//! "Before" counts visible events, not time, so it is exact also where the clock stands still.

use super::truth::{Place, Truth};
use candor::core::LogId;
use candor::{Level, Origin, ProofKind, Receipt, SessionToken};
use std::time::Duration;

/// A promise that was broken.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broken {
    /// No version of that row, or one that nobody could have seen.
    Invented,
    /// Another subject's.
    Foreign,
    /// The bound claims too much.
    Bound,
    /// The age claims too little.
    Age,
    /// A cited position claims too much.
    Position,
    /// A strong read missed a visible change.
    Strong,
    /// A bounded read missed a change for too long.
    Bounded,
    /// A session went behind its token.
    Session,
    /// A token of a log that is no more was honoured.
    DeadToken,
    /// Answers of one snapshot do not hold together.
    Snapshot,
    /// A degraded answer that the contract does not allow, or that is not marked.
    Degraded,
}

/// What the holder of a session token has seen.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// As the engine gave it.
    pub token: SessionToken,
    /// Everything that was visible at this count has to be reflected.
    pub seen: u64,
    /// The log of the token.
    pub log: Option<LogId>,
}

/// What a contract allows where it matters to the audit.
#[derive(Copy, Clone, Debug)]
pub struct Allowed {
    /// The oldest degraded answer.
    pub stale: Option<Duration>,
    /// The oldest answer from memory at all: time to live and grace.
    pub age: Duration,
}

/// One answer.
pub struct Seen<'a> {
    /// The row that was asked for.
    pub row: u32,
    /// The version that was answered; `None` for "absent".
    pub value: Option<u32>,
    /// What was asked for.
    pub level: Level,
    /// The session, if one was shown.
    pub session: Option<&'a Session>,
    /// The count of visible events when the read began.
    pub begun: u64,
    /// How long the read took. Memory was asked somewhere in between.
    pub took: Duration,
    /// The virtual time of the answer.
    pub now: u64,
    /// What it claims.
    pub receipt: &'a Receipt,
}

impl Truth {
    /// The promise that the answer breaks, if any.
    #[inline]
    pub fn judge(&self, seen: &Seen<'_>, allowed: &Allowed) -> Option<Broken> {
        let number = match seen.value {
            Some(number) => number,
            None => self.absence(seen.row).unwrap_or(seen.row),
        };
        let Some(version) = self.version(number) else { return Some(Broken::Invented) };
        if version.row != seen.row {
            return Some(Broken::Foreign);
        }
        if !version.seen || version.absent != seen.value.is_none() {
            return Some(Broken::Invented);
        }
        let (until, receipt) = (version.until, seen.receipt);
        let superseded_for = seen.now.saturating_sub(until.time);
        if receipt.bound.is_some_and(|bound| u128::from(superseded_for) > bound.as_nanos()) {
            return Some(Broken::Bound);
        }
        if u128::from(superseded_for) > receipt.age.as_nanos() {
            return Some(Broken::Age);
        }
        if receipt.proof == ProofKind::Log
            && let Some(position) = receipt.position
        {
            let log = self.log(position.epoch.log);
            if log.is_some_and(|log| until.place <= Place { log, at: position.at }) {
                return Some(Broken::Position);
            }
        }
        if let Some(upper) = receipt.upper
            && seen.value.is_some()
            && self.log(upper.epoch.log) == Some(version.place.log)
            && version.place.at > upper.at
        {
            return Some(Broken::Position);
        }
        self.judge_level(seen, until.seq, superseded_for, allowed)
    }

    /// For how long the answer was superseded when it was given.
    #[inline]
    pub fn stale_for(&self, seen: &Seen<'_>) -> u64 {
        let number = seen.value.or_else(|| self.absence(seen.row)).unwrap_or(seen.row);
        self.version(number).map_or(0, |version| seen.now.saturating_sub(version.until.time))
    }

    fn judge_level(
        &self,
        seen: &Seen<'_>,
        until: u64,
        superseded_for: u64,
        allowed: &Allowed,
    ) -> Option<Broken> {
        let receipt = seen.receipt;
        if let Some(session) = seen.session.filter(|session| session.log.is_some()) {
            if receipt.upper.map(|upper| upper.epoch.log) != session.log {
                return Some(Broken::DeadToken);
            }
            if until <= session.seen {
                return Some(Broken::Session);
            }
        }
        if receipt.degraded.is_some() {
            let inside = allowed.stale.zip(receipt.bound).is_some_and(|(limit, bound)| bound <= limit);
            let may = matches!(seen.level, Level::Any | Level::Bounded(_)) && seen.session.is_none();
            return (!inside || !may).then_some(Broken::Degraded);
        }
        if receipt.origin == Origin::L1 && receipt.age > allowed.age + seen.took {
            return Some(Broken::Age);
        }
        match seen.level {
            Level::Strong if until <= seen.begun => Some(Broken::Strong),
            Level::Bounded(limit)
                if u128::from(superseded_for) > limit.as_nanos()
                    || receipt.bound.is_none_or(|bound| bound > limit) =>
            {
                Some(Broken::Bounded)
            }
            _ => None,
        }
    }

    /// Whether these answers were current together: when visible, or at a place of the log.
    /// None of them was superseded before `since`, the moment that their bound names.
    pub fn hold_together(
        &self,
        answers: &[(u32, Option<u32>)],
        cited: Option<candor::Position>,
        since: u64,
    ) -> bool {
        let versions =
            || answers.iter().filter_map(|(row, value)| self.version(value.or_else(|| self.absence(*row))?));
        if answers.iter().any(|(_, value)| value.is_none()) {
            return self.hold_together_with_absence(answers, cited, since);
        }
        let from = versions().map(|version| version.from_seq).max().unwrap_or(0);
        let until = versions().map(|version| version.until.seq).min().unwrap_or(u64::MAX);
        let logged = versions().map(|version| version.place).max().unwrap_or(NOWHERE);
        let superseded = versions().map(|version| version.until.place).min().unwrap_or(NOWHERE);
        from < until || logged < superseded
    }

    /// "Absent" may be any of several stretches of time. Every stretch is tried at every beginning of another answer.
    fn hold_together_with_absence(
        &self,
        answers: &[(u32, Option<u32>)],
        cited: Option<candor::Position>,
        since: u64,
    ) -> bool {
        let candidates: Vec<Vec<&super::truth::Version>> = answers
            .iter()
            .map(|(row, value)| match value {
                Some(number) => self.version(*number).into_iter().collect(),
                None => {
                    let of_row = self.of_row(*row).iter().rev().filter_map(|number| self.version(*number));
                    let recent = of_row.take_while(|version| version.until.time >= since);
                    recent.filter(|version| version.absent).collect()
                }
            })
            .collect();
        let at_count = |count: u64| {
            candidates.iter().all(|of_row| {
                of_row.iter().any(|version| version.from_seq <= count && count < version.until.seq)
            })
        };
        let at_place = |place: Place| {
            candidates.iter().all(|of_row| {
                of_row.iter().any(|version| version.place <= place && place < version.until.place)
            })
        };
        let all = || candidates.iter().flatten();
        let cited = cited.and_then(|cited| Some(Place { log: self.log(cited.epoch.log)?, at: cited.at }));
        all().any(|version| at_count(version.from_seq))
            || all().any(|version| at_place(version.place))
            || cited.is_some_and(at_place)
    }
}

const NOWHERE: Place = Place { log: 0, at: 0 };
