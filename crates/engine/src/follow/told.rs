//! What the log has told between two stamps. For whoever checks answers from outside; no read rests on it.

use super::Follower;
use candor_core::{Position, Stamp, Tag};

impl Follower {
    /// How many changes on any of these tags the log told of that `seen` does not reflect, up to and including `until`.
    /// `None` where that cannot be known: the log has not come so far yet, another epoch has begun, records are missing,
    /// or the changes are so many that they are no longer remembered one by one.
    pub fn changes_between(&self, tags: &[Tag], seen: &Stamp, until: Position) -> Option<usize> {
        let sight = self.shared.ledger.sight()?;
        let (epoch, certain) = (seen.upper().epoch, seen.certain());
        let state = self.shared.state.lock();
        // The ledger is ahead of what is remembered here; so it is not asked how far the log has come.
        let noted = state.noted?;
        let is_told = noted.epoch == epoch && until.epoch == epoch && noted.at >= until.at;
        // Below the horizon nothing is known, and below what was forgotten not everything.
        let is_whole = sight.epoch == epoch
            && sight.horizon <= certain
            && state.forgotten.is_none_or(|last| last.epoch != epoch || last.at <= certain);
        if !is_told || !is_whole {
            return None;
        }
        let mut last = None;
        let changes = state.recent.iter().filter(|noted| {
            let Position { epoch: of, at } = noted.position;
            let concerns = of == epoch
                && at > certain
                && at <= until.at
                && !seen.sees(at, noted.xid)
                && noted.tags.iter().any(|tag| tags.contains(tag));
            // Parts of one transaction stand beside each other.
            concerns && last.replace(at) != Some(at)
        });
        Some(changes.count())
    }
}
