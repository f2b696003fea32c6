//! What names mean: what they mean to the role that fills.
//!
//! A view's SQL says `users`, and which table that is depends on the session: on the role's own `search_path`, on the one
//! that another program left in a session of a pooler, on temporary tables there. Views are held against the schema by one
//! role and filled by another, in many sessions. So the role that fills is asked for its own path, whatever the session has
//! now; the view is held against the schema under that path, by whichever role; and fills set it, and ask whether names still
//! mean the same.
//!
//! Invariants:
//! * No path that is written here begins with the schema of temporary tables, which the server looks into first where a path
//!   does not say otherwise.
//! * Asking takes none of the connections for fills: a herd of fills delays no beginning of the log.

use crate::fault;
use crate::options::PostgresOptions;
use crate::pool::Pool;
use crate::setup::name;
use candor_core::port::SourceError;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use parking_lot::Mutex;
use tokio_postgres::{Client, SimpleQueryMessage};

const DOING: &str = "asking for the search path of the role that fills";

/// The schemas that a role looks into, as its own settings say: whoever used the session before may have left another path,
/// or another role. Schemas that are not there, or not for this role, the server leaves out.
const OWN_SQL: &str = "BEGIN READ ONLY; SET LOCAL role TO DEFAULT; SET LOCAL search_path TO DEFAULT; \
                       SELECT pg_catalog.unnest(pg_catalog.current_schemas(false)); COMMIT";

/// Sets, for a transaction, the session's path to the role's own, with temporary tables last.
pub(crate) const OWN_PATH_SQL: &str = "SET LOCAL search_path TO DEFAULT; \
    SELECT pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', \
      (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(schema), ', ' ORDER BY place) \
       FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS own(schema, place) \
       WHERE NOT pg_catalog.starts_with(schema::text, 'pg_temp_')), 'pg_temp'), true)";

/// The schemas that a role looks into for what is not qualified, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SearchPath(Vec<Box<str>>);

impl SearchPath {
    /// Of these schemas; temporary ones are another session's, or come last in any case.
    pub(crate) fn of(schemas: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let mut schemas: Vec<Box<str>> = schemas.into_iter().map(Into::into).collect();
        schemas.retain(|schema| !schema.starts_with("pg_temp"));
        Self(schemas)
    }

    /// As a setting: in the role's own order.
    pub(crate) fn as_sql(&self) -> String {
        let schemas: Vec<String> = self.0.iter().map(|schema| name(schema)).collect();
        [schemas, vec!["pg_temp".into()]].concat().join(", ")
    }

    /// The schemas that this session, whose path was set to this one, does not look into.
    pub(crate) async fn missing(&self, client: &Client) -> Result<Vec<Box<str>>, tokio_postgres::Error> {
        let sql = "SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]";
        let row = client.query_typed_one(sql, &[]).await?;
        let used: Vec<&str> = row.try_get(0)?;
        Ok(self.0.iter().filter(|schema| !used.contains(&&***schema)).cloned().collect())
    }
}

/// Asks the role that fills for its path.
pub(crate) struct Names {
    pool: Pool,
    /// What was answered last.
    last: Mutex<Option<SearchPath>>,
}

impl Names {
    /// By connections of its own, made as those for fills are. Connects to nothing yet.
    pub(crate) fn of(options: &PostgresOptions) -> Self {
        let acquire_timeout = options.connect.connect_timeout;
        let options = PostgresOptions { connections_max: 2, acquire_timeout, ..options.clone() };
        Self { pool: Pool::new(options), last: Mutex::default() }
    }

    /// The path under which views were held against the schema last; what was set for the role since counts when the log is
    /// followed anew, and for all views alike.
    ///
    /// # Errors
    ///
    /// The server cannot be asked, and never was.
    pub(crate) async fn path_known(&self) -> Result<SearchPath, SourceError> {
        let known = self.last.lock().clone();
        match known {
            Some(path) => Ok(path),
            None => self.path().await,
        }
    }

    /// The path now.
    ///
    /// # Errors
    ///
    /// The server cannot be asked.
    pub(crate) async fn path(&self) -> Result<SearchPath, SourceError> {
        let mut held = self.pool.acquire().await?;
        held.busy();
        let sql = OWN_SQL;
        #[cfg(candor_sabotage)]
        let sql = if is(Sabotage::PathOfSession) { "SELECT unnest(current_schemas(false))" } else { sql };
        let limit = self.pool.options().statement_timeout;
        let asked = tokio::time::timeout(limit, held.client.simple_query(sql)).await;
        let late = |_| SourceError::slow(format!("{DOING}: no answer within {} ms", limit.as_millis()));
        let answers = asked.map_err(late)?.map_err(|error| fault::of(DOING, &error))?;
        held.settled();
        let schema = |answer: SimpleQueryMessage| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        let path = SearchPath::of(answers.into_iter().filter_map(schema));
        *self.last.lock() = Some(path.clone());
        Ok(path)
    }

    /// The path of a session that begins now: what was set for the role since. While nobody can be asked, as where a pooler
    /// before the fills is away, it is the last one known: fills then fail by themselves, and what is kept was filled
    /// under that one.
    ///
    /// # Errors
    ///
    /// The server cannot be asked, and never was.
    pub(crate) async fn path_anew(&self) -> Result<SearchPath, SourceError> {
        self.pool.forget_idle();
        match self.path().await {
            Err(error) => self.last.lock().clone().ok_or(error),
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_tables_come_last() {
        let path = SearchPath::of(["pg_temp_3", "Tenant \"1\"", "public", "pg_catalog"]);
        assert_eq!(path.as_sql(), r#""Tenant ""1""", "public", "pg_catalog", pg_temp"#);
        assert_eq!(SearchPath::default().as_sql(), "pg_temp");
    }
}
