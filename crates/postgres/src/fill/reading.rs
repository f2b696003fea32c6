//! Several queries at one moment: a repeatable-read transaction that knows what it sees.

use super::around::set_path;
use super::seen::{self, Seen, Told};
use crate::fault;
use crate::identity::Identity;
use crate::lsn::Lsn;
use crate::names::OWN_PATH_SQL;
use crate::pool::{Held, Pool, Route, local_settings};
use candor_core::port::SourceError;
use tokio::time::timeout;
use tokio_postgres::{IsolationLevel, Transaction};

const DOING: &str = "a reading transaction";

/// A transaction whose queries all see the same. It cannot write. Dropped before [`Reading::end`], it gives up its
/// connection.
///
/// Every query runs under the time limit of fills. Behind a pooler, queries that are prepared by name work only if the
/// pooler knows how; `query_typed` always works.
pub(crate) struct Reading<'a> {
    transaction: Transaction<'a>,
    is_busy: &'a mut bool,
    seen: Seen,
}

impl<'a> Reading<'a> {
    /// Begins, and fixes what is seen. `path`: the search path to read under. Without one it is the role's own, also behind a
    /// pooler, whatever another user of the session set.
    ///
    /// # Errors
    ///
    /// `Down` and `Slow`, as fills.
    pub(crate) async fn begin(
        pool: &Pool,
        held: &'a mut Held,
        path: Option<&str>,
    ) -> Result<Self, SourceError> {
        let limit = pool.options().statement_timeout + super::GRACE;
        let begun = timeout(limit, Self::begin_unlimited(pool, held, path)).await;
        begun.map_err(|_| {
            SourceError::slow(format!(
                "{DOING}: no answer within {} ms; look at the network",
                limit.as_millis()
            ))
        })?
    }

    async fn begin_unlimited(
        pool: &Pool,
        held: &'a mut Held,
        path: Option<&str>,
    ) -> Result<Self, SourceError> {
        let failed = |error| fault::of(DOING, &error);
        let odd = |error: String| {
            SourceError::down(format!("{DOING}: the server's answer cannot be read: {error}"))
        };
        held.busy();
        let route = held.route;
        // Any query within the transaction would fix what it sees, so this one comes before, on the same session. Behind
        // a pooler nobody can say that it is the same.
        let replayed: Option<Lsn> = match (held.in_recovery, route) {
            (true, Route::Direct) => super::replayed(&held.client).await.map_err(failed)?,
            _ => None,
        };
        let (client, is_busy) = held.parts();
        let building =
            client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let transaction = building.start().await.map_err(failed)?;
        let settings = (route == Route::Pooler).then(|| local_settings(pool.options().statement_timeout));
        let path = match path {
            Some(path) => Some(set_path(path)),
            None => settings.is_some().then(|| OWN_PATH_SQL.to_owned()),
        };
        let begin: Vec<String> = settings.into_iter().chain(path).collect();
        if !begin.is_empty() {
            transaction.batch_execute(&begin.join("; ")).await.map_err(failed)?;
        }
        let sql = format!("SELECT {}", seen::sql().join(", "));
        let row = transaction.query_typed_one(&sql, &[]).await.map_err(failed)?;
        let told = Told::of_row(&row, 0).map_err(odd)?;
        let row = transaction.query_typed_one(&Identity::sql(), &[]).await.map_err(failed)?;
        let (identity, _) = Identity::of_row(&row).map_err(odd)?;
        Ok(Self { transaction, is_busy, seen: told.seen(replayed, identity) })
    }

    /// For queries.
    pub(crate) fn transaction(&self) -> &Transaction<'a> {
        &self.transaction
    }

    /// What every query sees.
    #[cfg(test)]
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Ends the transaction and says what its queries saw.
    ///
    /// # Errors
    ///
    /// The connection broke; what was read is good all the same.
    pub(crate) async fn end(self) -> Result<Seen, SourceError> {
        let Self { transaction, is_busy, seen } = self;
        transaction.commit().await.map_err(|error| fault::of(DOING, &error))?;
        *is_busy = false;
        Ok(seen)
    }
}
