//! The SQL that fills send: the view's own, as the server prints it with all names resolved.
//!
//! The text as it was declared means what its names mean to the session that reads it. This one says which tables and
//! functions were meant when the view was held against the schema, and leaves out the schema only of what is the server's
//! own. So fills read what their tags are made of, in whatever session, also after somebody made a table of the same name in
//! a schema that is looked into earlier.
//!
//! What the server prints is fixed in one more way: `*` stands for the columns that were there. So a fill also asks whether
//! the relations that are named are still the ones that were met and nobody altered them since ([`Resolved::still`]); where
//! they are not, the view is held against the schema anew before anything is answered.
//!
//! Views that are proven by the clock are filled by their own words: a `'now'` in them must stay one, and the server prints
//! the moment at which it was asked.

use crate::derive::Compiler;
use crate::derive::placeholders::{replaced, scan};
use crate::derive::server::{Told, undefine};
use crate::refuse;
use crate::setup::{literal, name};
use candor_core::ViewQuery;
use tokio_postgres::Statement;
use tokio_postgres::error::Error;
use tokio_postgres::types::Type;

/// What fills of a view send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// With the view's own `$n`.
    pub(crate) sql: String,
    /// An expression of type `boolean`: whether the relations that are named are what they were.
    pub(crate) still: String,
}

/// The names of the relations as SQL and as they are looked up, and by whom their rows in the catalog were written last.
const RELATIONS_SQL: &str = "\
SELECT c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), c.xmin::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY($1::oid[]) ORDER BY c.oid";

impl Compiler<'_> {
    /// The text for fills. `statement` is the view as it was declared. `None`, and a finding, if the server does not read
    /// its own text as it read that.
    pub(super) async fn resolve(
        &mut self,
        told: &Told,
        statement: &Statement,
        types: &[Type],
    ) -> Result<Option<Resolved>, Error> {
        let sql = restored(&told.sql);
        // What is left of the functions for placeholders must not be understood: they answer NULL.
        undefine(self.client, types.len()).await?;
        let path = self.path.of_resolved();
        self.client.batch_execute(&format!("SET LOCAL search_path = {path}")).await?;
        let read = match self.client.prepare_typed(&sql, types).await {
            Ok(read) => read,
            Err(error) if error.as_db_error().is_some() => {
                self.findings.push(unread(self.query, &error.to_string()));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let types_of = |statement: &Statement| -> Vec<Type> {
            statement.columns().iter().map(|column| column.type_().clone()).collect()
        };
        if types_of(&read) != types_of(statement) {
            self.findings.push(unread(self.query, "it gives columns of other types"));
            return Ok(None);
        }
        let direct: Vec<u32> = told.direct.iter().copied().collect();
        let rows = self.client.query_typed(RELATIONS_SQL, &[(&direct, Type::OID_ARRAY)]).await?;
        let still = rows
            .iter()
            .map(|row| Ok(still(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .collect::<Result<Vec<String>, Error>>()?;
        let still = if still.is_empty() { "true".into() } else { still.join(" AND ") };
        Ok(Some(Resolved { sql, still }))
    }
}

/// The server's text, with the placeholders where it has calls of the functions that stand for them.
fn restored(sql: &str) -> String {
    replaced(sql, &scan(sql).key_calls, |number| format!("${number}"))
}

/// Whether this name still means this relation, as it was. Looked up by name each time: in a statement that the server keeps, a
/// name alone would go on to mean what it meant.
fn still(oid: u32, named: &str, xmin: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_class candor_c WHERE candor_c.oid = pg_catalog.to_regclass({})::oid \
         AND candor_c.oid = {oid} AND candor_c.xmin = '{xmin}'::xid)",
        literal(named)
    )
}

fn unread(query: &ViewQuery, why: &str) -> candor_core::Finding {
    refuse::refused(
        format!("PostgreSQL does not read its own text of view `{}` as it read yours: {why}", query.name),
        "write it with schemas before all names and without `*`, or declare proof = \"clock\"",
    )
}

/// A list of columns, to call them as the declared text does: where that gives no name, the server makes one up from what
/// stands there, and in its own text that was something else.
pub(crate) fn column_list(columns: &[Box<str>]) -> String {
    columns.iter().map(|column| name(column)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_come_back_and_nothing_that_looks_like_them() {
        for (printed, wanted) in [
            ("SELECT pg_temp.candor_key_1() AS candor_key_1", "SELECT $1 AS candor_key_1"),
            ("(pg_temp_12.candor_key_2())::text = pg_temp_12.candor_key_10()", "($2)::text = $10"),
            ("'pg_temp.candor_key_1()' || pg_temp.candor_key_1()", "'pg_temp.candor_key_1()' || $1"),
            (r"E'\'pg_temp.candor_key_1()' || pg_temp.candor_key_1()", r"E'\'pg_temp.candor_key_1()' || $1"),
            (r#"t."pg_temp.candor_key_1()" = pg_temp.candor_key_1()"#, r#"t."pg_temp.candor_key_1()" = $1"#),
            ("my_pg_temp.candor_key_1()", "my_pg_temp.candor_key_1()"),
            ("pg_temp.candor_key_1(1)", "pg_temp.candor_key_1(1)"),
            ("pg_temporary.candor_key_1()", "pg_temporary.candor_key_1()"),
            ("pg_temp.candor_key_()", "pg_temp.candor_key_()"),
            ("é.pg_temp.candor_key_1()é", "é.$1é"),
        ] {
            assert_eq!(restored(printed), wanted);
        }
    }
}
