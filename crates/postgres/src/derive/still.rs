//! Whether the names of a view still mean what they meant when it was held against the schema.
//!
//! Fills send the SQL as it was declared, under the search path under which it was held against the schema. So its functions,
//! operators and types are what they were, or the fingerprint of the log shows that something was made anew. Tables alone may
//! come to stand before another of the same name, in a schema that is looked into earlier, without anything in the fingerprint
//! being touched. So each fill asks in its own statement what their names mean ([`Compiler::still`]).
//!
//! The queries for values met are the server's text, not the view's own. What that leaves without a schema is meant to be the
//! server's, and a function elsewhere in the path may fit better. So each is held against the schema, too, and must call
//! nothing that the view does not call ([`Compiler::calls_the_same`]).

use crate::derive::Compiler;
use crate::derive::placeholders::{replaced, scan};
use crate::derive::server::{Calls, Told, key_function};
use crate::setup::literal;
use tokio_postgres::error::Error;
use tokio_postgres::types::{ToSql, Type};

/// The names of relations as they are looked up, with their schema and, where it finds them, without.
const RELATIONS_SQL: &str = "\
SELECT c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
  pg_catalog.quote_ident(c.relname), pg_catalog.pg_table_is_visible(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY($1::oid[]) ORDER BY c.oid";

/// The stored tree of a query.
const TREE_SQL: &str = "\
SELECT r.ev_action::text FROM pg_catalog.pg_rewrite r
WHERE r.ev_class = 'pg_temp.candor_met'::pg_catalog.regclass AND r.ev_type = '1'";

/// The schemas among those given, which this role may not use, in which another role finds something by a name that a view
/// uses: one of these relations or functions, or any operator.
const HIDING_SQL: &str = "\
SELECT n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY($1::text[]) AND (
  EXISTS (SELECT FROM pg_catalog.pg_class c, pg_catalog.pg_class ours
    WHERE c.relnamespace = n.oid AND ours.oid = ANY($2::oid[]) AND c.relname = ours.relname)
  OR EXISTS (SELECT FROM pg_catalog.pg_proc f WHERE f.pronamespace = n.oid AND f.proname::text = ANY($3::text[]))
  OR EXISTS (SELECT FROM pg_catalog.pg_operator o WHERE o.oprnamespace = n.oid))";

impl Compiler<'_> {
    /// The schemas of the path that this role may not use, where a name of the view may mean something else for it: the server
    /// passes them over in silence.
    pub(super) async fn hiding(&self, told: &Told) -> Result<Vec<String>, Error> {
        let missing = self.path.missing(self.client).await?;
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let direct: Vec<u32> = told.direct.iter().copied().collect();
        let missing: Vec<&str> = missing.iter().map(|schema| &**schema).collect();
        let called: Vec<&str> = told.functions.iter().map(|function| &*function.name).collect();
        let given: [(&(dyn ToSql + Sync), Type); 3] =
            [(&missing, Type::TEXT_ARRAY), (&direct, Type::OID_ARRAY), (&called, Type::TEXT_ARRAY)];
        let rows = self.client.query_typed(HIDING_SQL, &given).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// An expression of type `boolean`: whether the names of the relations that a view reads itself mean what they mean now.
    pub(super) async fn still(&self, told: &Told) -> Result<String, Error> {
        let direct: Vec<u32> = told.direct.iter().copied().collect();
        let rows = self.client.query_typed(RELATIONS_SQL, &[(&direct, Type::OID_ARRAY)]).await?;
        let mut parts = Vec::new();
        for row in rows {
            let (oid, qualified, alone): (u32, &str, &str) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            parts.push(means(qualified, oid));
            // A text that does not find it by this name has written its schema.
            if row.try_get(3)? {
                parts.push(means(alone, oid));
            }
        }
        Ok(if parts.is_empty() { "true".into() } else { parts.join(" AND ") })
    }

    /// Whether a query that the server wrote, read under the path of fills, calls nothing of users' making that the view does not.
    pub(super) async fn calls_the_same(&self, sql: &str, told: &Told) -> Result<bool, Error> {
        let sql = replaced(sql, &scan(sql).placeholders, key_function);
        self.client
            .batch_execute(&format!("CREATE TEMPORARY VIEW candor_met(candor_value) AS {sql}"))
            .await?;
        let row = self.client.query_typed_one(TREE_SQL, &[]).await?;
        let met = Calls::of(row.try_get(0)?);
        self.client.batch_execute("DROP VIEW pg_temp.candor_met").await?;
        Ok(met.are_among(&told.calls))
    }

    /// Sets the path under which fills look for names, for all that is asked here.
    pub(super) async fn look_as_filled(&self) -> Result<(), Error> {
        self.client.batch_execute(&format!("SET LOCAL search_path = {}", self.path.as_sql())).await
    }
}

/// Looked up anew each time: in a statement that the server keeps, a name by itself would go on to mean what it meant.
fn means(named: &str, oid: u32) -> String {
    format!("pg_catalog.to_regclass({}) OPERATOR(pg_catalog.=) {oid}::oid", literal(named))
}
