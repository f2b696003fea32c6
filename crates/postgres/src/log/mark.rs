//! A mark in the primary's log, by which standbys of the same history are known.
//!
//! System identifier and timeline do not tell apart two standbys that were promoted each by itself: both go on with the same
//! number. So whoever begins to follow a primary writes into its log what no other primary has: a number made from its
//! identity, the start of the server included, as the value of a sequence. A sequence is part of the log and of every
//! standby, and of no publication. All instances write the same number, and only where it is not there yet.

use super::task::Task;
use crate::fault;
use crate::identity::Identity;
use crate::pool::Pool;
use crate::setup::name;
use candor_core::port::SourceError;

/// The mark of a primary. Always positive, as a sequence wants it.
pub(crate) fn mark_of(identity: &Identity) -> i64 {
    (identity.log().0 >> 2).cast_signed() + 1
}

/// What lets a role leave the mark and read it, for messages.
pub(crate) fn grants(role: &str) -> String {
    let role = name(role);
    format!("GRANT USAGE ON SCHEMA candor TO {role}; GRANT SELECT, UPDATE ON SEQUENCE candor.mark TO {role}")
}

/// Leaves the mark of a primary in its log. Without it fills go to the primary, which is slower and no less true.
pub(crate) async fn leave_mark(pool: &Pool, identity: &Identity) -> Result<(), SourceError> {
    let mark = mark_of(identity);
    // Durable here is enough: a synchronous standby that is away must not keep us from following.
    let sql = format!(
        "BEGIN READ WRITE; SET LOCAL synchronous_commit = local; SELECT setval('candor.mark', {mark}) \
         WHERE pg_sequence_last_value('candor.mark'::regclass) IS DISTINCT FROM {mark}; COMMIT"
    );
    let mut held = pool.acquire().await?;
    held.busy();
    let doing = |error| fault::of("leaving a mark for the standby", &error);
    held.client.batch_execute(&sql).await.map_err(doing)?;
    held.settled();
    Ok(())
}

impl Task {
    /// Leaves the mark, if there is a standby to know by it. Called before anything is proven of the log, so every fence
    /// lies above the mark. Where that fails, fills try again.
    pub(super) async fn leave_mark(&self, identity: &Identity) {
        if self.options.standby.is_none() {
            return;
        }
        if let Err(error) = leave_mark(&self.pool, identity).await {
            tracing::warn!(
                %error,
                "the standby cannot be known by a mark, so all fills go to the primary; run `candor setup`, and as the owner `{}`",
                grants(&self.options.connect.user)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_start_of_a_server_is_another_mark_and_each_is_a_value_of_a_sequence() {
        let one = Identity { system: 1, timeline: 1, started_micros: 1, database: "shop".into() };
        let other = Identity { started_micros: 2, ..one.clone() };
        assert_ne!(mark_of(&one), mark_of(&other));
        assert!(mark_of(&one) > 0 && mark_of(&other) > 0);
    }
}
