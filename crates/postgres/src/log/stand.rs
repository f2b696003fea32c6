//! Bringing the stream to stand: who is asked, from where it goes on, and what is not certain at its beginning.

use super::task::Task;
use super::{Standing, is_pending};
use crate::catalog::coverage::{PUBLICATION, look_sql};
use crate::facets::Published;
use crate::fault;
use crate::pool::{Conn, Held};
use crate::session::{Session, Stream};
use candor_core::Xid;
use candor_core::port::SourceError;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use std::collections::{BTreeSet, HashMap};
use tokio_postgres::types::Type;

/// A stream that stands.
pub(super) struct Stood {
    pub(super) stream: Stream,
    pub(super) standing: Standing,
    /// From here on every commit is told.
    pub(super) from: u64,
    /// Whether it goes on where the last one of this log ended.
    pub(super) goes_on: bool,
}

/// The transactions whose changes the stream may not tell: those that write to a published table, or to one below it.
/// Their commit may be logged already and not be visible yet; or what they wrote may stand in the log before its table was
/// published, and then it is left out even when they commit later. A transaction keeps its locks until it is visible, and
/// one that is prepared keeps them without a process. `$1` is the publication. Why those that write elsewhere do not
/// count: `docs/decisions/0015`.
const RUNNING_SQL: &str = "\
WITH RECURSIVE told(oid) AS (
  SELECT m.relid::oid FROM pg_publication p, LATERAL pg_get_publication_tables(p.pubname::text) m WHERE p.pubname = $1
  UNION SELECT i.inhrelid FROM told t JOIN pg_inherits i ON i.inhparent = t.oid),
held AS MATERIALIZED (SELECT * FROM pg_locks)
SELECT x.transactionid::text
FROM held x
WHERE x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock' AND x.granted
  AND EXISTS (
    SELECT FROM held r
    WHERE r.virtualtransaction = x.virtualtransaction AND r.pid IS NOT DISTINCT FROM x.pid
      AND r.locktype = 'relation' AND r.granted
      AND r.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND r.relation IN (SELECT oid FROM told)
      AND r.mode IN ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                     'AccessExclusiveLock'))";

/// Where the slot stands, and whether it tells of transactions before they commit. `$1` is the slot.
const SLOT_SQL: &str = "\
SELECT (s.confirmed_flush_lsn - '0/0'::pg_lsn)::int8, coalesce(to_jsonb(s) ->> 'two_phase', 'false') = 'true'
FROM pg_replication_slots s WHERE s.slot_name = $1";

/// The published tables, by their numbers, what they are called, and whether rows below a root are stored under another replica
/// identity than the root's, by which the log labels them. They agree only if all are FULL, or if all have the primary key that
/// they inherit. `$1` is the publication.
const PUBLISHED_SQL: &str = "\
SELECT coalesce(array_agg(c.oid), '{}') AS numbers, coalesce(array_agg(n.nspname || '.' || c.relname), '{}') AS names,
  coalesce(array_agg(c.relkind = 'p' AND EXISTS (
    SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class leaf ON leaf.oid = t.relid
    WHERE t.isleaf AND NOT (c.relreplident = 'f' AND leaf.relreplident = 'f'
      OR c.relreplident = 'd' AND leaf.relreplident = 'd' AND EXISTS (
        SELECT FROM pg_index root, LATERAL pg_partition_tree(root.indexrelid) below, pg_index own
        WHERE root.indrelid = c.oid AND root.indisprimary AND own.indrelid = leaf.oid AND own.indisprimary
          AND own.indexrelid = below.relid)))), '{}') AS uneven
FROM pg_publication p, LATERAL pg_get_publication_tables(p.pubname::text) m
JOIN pg_class c ON c.oid = m.relid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $1";

/// The fingerprint, and the published tables under the same snapshot.
async fn read_coverage(
    held: &Held,
    publication: &str,
) -> Result<(String, HashMap<u32, Published>), SourceError> {
    let sql = format!(
        "SELECT l.coverage, t.numbers, t.names, l.unseen, t.uneven FROM ({PUBLISHED_SQL}) t, ({}) l",
        look_sql(publication)
    );
    let doing = |error: tokio_postgres::Error| fault::of("reading the publication", &error);
    let row = held.client.query_typed_one(&sql, &[(&publication, Type::TEXT)]).await.map_err(doing)?;
    let unseen: i32 = row.try_get(3).map_err(doing)?;
    let is_under_change = unseen & PUBLICATION != 0;
    #[cfg(candor_sabotage)]
    let is_under_change = is_under_change && !is(Sabotage::PublicationPending);
    if is_under_change {
        return Err(is_pending());
    }
    let numbers: Vec<u32> = row.try_get(1).map_err(doing)?;
    let names: Vec<String> = row.try_get(2).map_err(doing)?;
    let uneven: Vec<bool> = row.try_get(4).map_err(doing)?;
    let published = names.into_iter().zip(uneven);
    let published = published.map(|(name, is_uneven)| Published { name: name.into_boxed_str(), is_uneven });
    Ok((row.try_get(0).map_err(doing)?, numbers.into_iter().zip(published).collect()))
}

impl Task {
    /// Connects, starts the stream, and finds out from where it tells everything.
    pub(super) async fn stand(&mut self) -> Result<Stood, SourceError> {
        let (slot, publication) = (self.options.slot.clone(), self.options.publication.clone());
        let mut session = Session::connect(&self.options.connect).await?;
        let system = session.identify().await?;
        tracing::debug!(
            process = session.process(),
            version = session.version(),
            "the server lets us replicate"
        );
        let mut held = self.pool.acquire().await?;
        held.busy();
        let (identity, in_recovery) = Conn::identity(&held).await?;
        if in_recovery {
            return Err(SourceError::down(
                "the server is a standby; the log is followed on the primary, so list it first in `url`",
            ));
        }
        let is_one = identity.system == system.system && identity.timeline == system.timeline;
        #[cfg(candor_sabotage)]
        let is_one = is_one || is(Sabotage::StreamOfAnyServer);
        if !is_one {
            return Err(SourceError::down(
                "the replication connection and the others lead to two different servers; use one address that leads to one",
            ));
        }
        self.leave_mark(&identity).await;
        // Before the views: what changes after this question shows at the next fence.
        let (coverage, published) = read_coverage(&held, &publication).await?;
        let path = self.names.path_anew().await?;
        self.views.compile_all(&mut held, &path, &publication, &self.facets).await?;
        // What is registered from here on is missing in what this stream tells first. A view that means something else than
        // before counts as well: what was kept of it is another view's.
        let (grown, is_told) = (self.facets.grown(), self.facets.is_told_all());
        let known = self.reached.clone().filter(|known| known.log == identity.log());
        let reached = known.as_ref().map(|known| known.sent);
        let stream = session
            .start(&slot, &publication, crate::Lsn(reached.unwrap_or(0)))
            .await
            .map_err(|error| self.explain(error))?;
        // The slot is ours now, so nobody else moves it. Whoever moved it before, or made it anew, left a gap.
        let doing = |error: tokio_postgres::Error| fault::of("reading the replication slot", &error);
        let row = held.client.query_typed_one(SLOT_SQL, &[(&&*slot, Type::TEXT)]).await.map_err(doing)?;
        let confirmed: i64 = row.try_get(0).map_err(doing)?;
        let tells_early: bool = row.try_get(1).map_err(doing)?;
        #[cfg(candor_sabotage)]
        let tells_early = tells_early && !is(Sabotage::TwoPhaseFollowed);
        if tells_early {
            return Err(SourceError::contract(format!(
                "the replication slot `{slot}` was made with two_phase and tells of transactions before they commit; \
                 drop it, and `candor setup` makes it anew"
            )));
        }
        let confirmed = u64::try_from(confirmed).unwrap_or_default();
        let goes_on = known.is_some_and(|known| {
            let (is_covered, is_confirmed) = (known.coverage == coverage, confirmed <= known.sent);
            #[cfg(candor_sabotage)]
            let is_covered = is_covered || is(Sabotage::FingerprintGoingOn);
            #[cfg(candor_sabotage)]
            let is_confirmed = is_confirmed || is(Sabotage::SlotBelieved);
            #[cfg(candor_sabotage)]
            let is_told = is_told || is(Sabotage::ViewsOfLater);
            !known.broken && is_covered && is_confirmed && is_told
        });
        let from = reached.unwrap_or(confirmed).max(confirmed);
        if !goes_on {
            self.visibility.restart();
            let running_sql = RUNNING_SQL;
            #[cfg(candor_sabotage)]
            let running_sql = &sabotaged(running_sql);
            let running = held.client.query_typed(running_sql, &[(&&*publication, Type::TEXT)]).await;
            let doing = |error: tokio_postgres::Error| fault::of("reading which transactions run", &error);
            let mut unsettled = BTreeSet::new();
            for row in running.map_err(doing)? {
                let xid: &str = row.try_get(0).map_err(doing)?;
                unsettled.insert(xid.parse::<u64>().map_err(|_| {
                    SourceError::down(format!(
                        "the server calls a transaction `{xid}`, which is not a number"
                    ))
                })?);
            }
            #[cfg(candor_sabotage)]
            if is(Sabotage::UnsettledForgotten) {
                unsettled.clear();
            }
            if !unsettled.is_empty() {
                tracing::info!(
                    transactions = unsettled.len(),
                    "transactions that were writing to published tables before the log was followed are still open; until they end, answers are not kept"
                );
            }
            self.visibility.settle(identity.log(), from, unsettled.into_iter().map(Xid));
        }
        held.settled();
        self.facets.begin(published, grown);
        Ok(Stood { stream, standing: Standing { identity, coverage, opened: 0 }, from, goes_on })
    }
}

/// Without those that write below a published root.
#[cfg(candor_sabotage)]
fn sabotaged(sql: &str) -> String {
    let below = "UNION SELECT i.inhrelid FROM told t JOIN pg_inherits i ON i.inhparent = t.oid";
    sql.replace(below, if is(Sabotage::WritersBelowForgotten) { "" } else { below })
}
