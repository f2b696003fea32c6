//! The one question of the read path, as a pure function: given what memory holds and what a read demands, what next?

use crate::view::Event;
use candor_core::{Contract, Entry, Level, Moment, Position, Refresh, Sight, Verdict, Void};
use std::time::Duration;

/// What memory holds for a key, and what the ledger says of it.
pub(crate) struct Look<V> {
    pub(crate) entry: Entry<V>,
    pub(crate) sight: Sight,
    pub(crate) verdict: Verdict,
    /// The entry reflects everything visible at this moment.
    pub(crate) as_of: Moment,
    /// Whether the verdict comes from the source's own log.
    pub(crate) logged: bool,
}

/// A read's demands.
pub(crate) struct Need {
    pub(crate) level: Level,
    pub(crate) begun: Moment,
    /// In this source's log.
    pub(crate) token: Option<Position>,
    /// A session for which there is nothing to compare positions with (the view has no log, or the ledger no epoch at
    /// the moment). What the source says after the read began reflects whatever the token stands for.
    pub(crate) afresh: bool,
    /// The source was asked since the read began, and its position is at or above the token's. What was visible then
    /// reflects whatever the token stands for, also where the log does not vouch for the position yet.
    pub(crate) is_asked: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Serve,
    ServeAndRefresh,
    /// Prove the ledger complete up to now.
    Fence(Event),
    Fill(Event),
}

impl Need {
    /// The moment the answer must reflect.
    pub(crate) fn floor(&self, now: Moment) -> Moment {
        match self.level {
            _ if self.afresh => self.just_after(),
            Level::Strong => self.just_after(),
            Level::Bounded(limit) => now.minus(limit),
            Level::Session | Level::Any => Moment::ZERO,
        }
    }

    /// Strictly after the read began: a fence asked in the very nanosecond in which it began may have been answered before
    /// it, on a clock too coarse to tell.
    fn just_after(&self) -> Moment {
        self.begun.plus(Duration::from_nanos(1))
    }

    /// Whether an answer that is less may be given if the contract says so. Whoever asks for strong, or shows a token,
    /// has a reason.
    pub(super) fn may_degrade(&self, contract: &Contract) -> bool {
        !contract.critical
            && !self.afresh
            && self.token.is_none()
            && !matches!(self.level, Level::Strong | Level::Session)
    }
}

impl<V> Look<V> {
    /// How far the entry reflects everything on its own tags, in the glance's epoch: as far as it was judged, and the log is
    /// known to have left nothing out.
    pub(crate) fn reflects(&self) -> u64 {
        let judged = match self.verdict {
            Verdict::Current { .. } => self.sight.watermark.max(self.entry.proven()),
            Verdict::Outdated(_) | Verdict::Void(Void::Forgotten) => self.entry.proven(),
            // It may have been judged up to there by a log that left something out: hence the gap.
            Verdict::Void(Void::BelowHorizon | Void::OtherEpoch) => 0,
        };
        self.sight.vouched_for(judged)
    }

    /// Whether the entry reflects everything up to `token` on its own tags.
    fn reaches(&self, token: Position) -> bool {
        let is_known = self.logged && self.verdict != Verdict::Void(Void::OtherEpoch);
        is_known && Position { epoch: self.sight.epoch, at: self.reflects() }.reaches(token)
    }
}

/// The next step of a read, given what memory holds. Pure, so that every case can be tested by itself.
///
/// `log_usable` is false where there is no log, or it is known to be down: then no fence can help.
pub(super) fn weigh<V>(
    look: Option<&Look<V>>,
    need: &Need,
    contract: &Contract,
    log_usable: bool,
    now: Moment,
) -> Step {
    let Some(look) = look else { return Step::Fill(Event::MissCold) };
    let is_of_now = need.is_asked && look.logged && look.as_of >= need.just_after();
    let reached = need
        .token
        .is_none_or(|token| is_of_now && token.epoch.log == look.sight.epoch.log || look.reaches(token));
    let fresh = look.as_of >= need.floor(now);
    let grace = match contract.refresh {
        Refresh::WhileRevalidate(grace) => Some(grace),
        Refresh::Early | Refresh::None => None,
    };
    match look.verdict {
        Verdict::Void(_) => match need.level {
            Level::Any if fresh && reached && !look.entry.is_expired(now) => Step::ServeAndRefresh,
            _ => Step::Fill(Event::MissVoid),
        },
        Verdict::Outdated(_) => {
            let tolerated =
                need.level == Level::Any || grace.is_some_and(|grace| now.since(look.as_of) <= grace);
            if tolerated && fresh && reached && !look.entry.is_expired(now) {
                Step::ServeAndRefresh
            } else {
                Step::Fill(Event::MissOutdated)
            }
        }
        Verdict::Current { .. } => {
            if let Some(end) = look.entry.expires_at()
                && now >= end
            {
                let tolerated = grace.is_some_and(|grace| now.since(end) <= grace);
                return if tolerated && fresh && reached {
                    Step::ServeAndRefresh
                } else {
                    Step::Fill(Event::MissExpired)
                };
            }
            match (reached, fresh, log_usable) {
                (true, true, _) => Step::Serve,
                (false, _, true) => Step::Fence(Event::FenceSession),
                (true, false, true) if need.level == Level::Strong => Step::Fence(Event::FenceStrong),
                (true, false, true) => Step::Fence(Event::FenceBound),
                (_, _, false) => Step::Fill(Event::MissBound),
            }
        }
    }
}

impl<V: Clone> Clone for Look<V> {
    fn clone(&self) -> Self {
        let entry = self.entry.clone();
        Self { entry, sight: self.sight, verdict: self.verdict, as_of: self.as_of, logged: self.logged }
    }
}

#[cfg(test)]
mod tests;
