//! What a read asks of its source, and the fence that tells whether the source has it.

use super::weigh::Need;
use crate::cache::Cache;
use crate::error::{ReadError, SessionError};
use candor_core::{Level, LogId, Moment, Position, SessionToken};
use std::hash::Hash;

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// What a read at this level with this token asks of this source.
    pub(crate) fn need(
        &self,
        level: Level,
        token: Option<&SessionToken>,
        begun: Moment,
    ) -> Result<Need, ReadError> {
        let Some(token) = token else {
            if level == Level::Session {
                return Err(SessionError::Missing.into());
            }
            return Ok(Need { level, begun, token: None, afresh: false, is_asked: false });
        };
        let follower = &self.shared.follower;
        let log = || follower.ledger().sight().map(|sight| sight.epoch.log);
        let mut own = log();
        loop {
            #[cfg(candor_sabotage)]
            if crate::sabotage::is(crate::sabotage::Sabotage::TokenOfUnknownLog) {
                break;
            }
            let is_lost =
                |log: LogId| !follower.known().contains(log) || (Some(log) != own && follower.has_left(log));
            if token.positions().iter().any(|position| is_lost(position.epoch.log)) {
                return Err(SessionError::UnknownLog.into());
            }
            // The source's log may have been replaced between the two questions; then the token would seem to speak of
            // another source and to ask nothing of this one.
            let still = log();
            if still == own {
                break;
            }
            own = still;
        }
        match own.filter(|_| self.logged()) {
            Some(own) => {
                Ok(Need { level, begun, token: token.position(own), afresh: false, is_asked: false })
            }
            None => Ok(Need { level, begun, token: None, afresh: true, is_asked: false }),
        }
    }

    /// Waits until everything visible now is in the ledger, and for the token's position, which has to be reached as one.
    pub(crate) async fn prove(&self, need: &Need, deadline: Moment) -> Result<Position, String> {
        match need.token {
            None => self.shared.follower.prove(deadline).await,
            Some(_) => self.shared.follower.prove_logged(deadline).await,
        }
    }

    pub(crate) fn check_token(&self, token: Option<Position>, reached: Position) -> Result<(), ReadError> {
        match token {
            Some(wanted) if !reached.reaches(wanted) => Err(SessionError::Ahead { wanted, reached }.into()),
            _ => Ok(()),
        }
    }
}
