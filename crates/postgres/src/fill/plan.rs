//! The statements of a view's fills, written once when the view is prepared.
//!
//! ```text
//! one key    SELECT 1, <answer>, <met>…, <seen> FROM (… the view's SQL, untouched …)
//! many keys  SELECT ord, <answer>, <met>…, <seen at ord 1> FROM unnest(keys) WITH ORDINALITY, LATERAL (… the view's SQL …)
//! ```
//!
//! Both put rows together as JSON inside the server, which counts rows and bytes first: too large an answer is a number on
//! the wire. The rows stay in the order of the view's own ORDER BY, because nothing joins or sorts between the view and
//! the aggregate, and the LIMIT keeps the planner from taking the view apart.

use super::params::array_type;
use super::scan::Pieces;
use super::seen;
use crate::canonical::parameter_type;
use crate::view::{Compiled, MET_MAX};
use candor_core::Rows;
use candor_core::port::SourceError;
use std::sync::Arc;
use tokio_postgres::types::Type;

/// The most one fill may bring.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Rows of one answer.
    pub(crate) rows_max: usize,
    /// Bytes of JSON of all answers.
    pub(crate) bytes_max: usize,
}

/// A view, ready to be filled.
#[derive(Debug)]
pub(crate) struct FillPlan {
    pub(crate) compiled: Arc<Compiled>,
    pub(super) bounds: Bounds,
    /// The search path that fills set, as SQL.
    pub(super) path: String,
    pub(super) one: Statement,
    pub(super) many: Statement,
}

/// A text and the types of its parameters.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: Arc<str>,
    pub(super) types: Vec<Type>,
}

/// The columns before the values met: the key's place, rows and bytes found, the answer.
pub(super) const FIRST_MET: usize = 4;

impl FillPlan {
    /// Writes the statements.
    ///
    /// # Errors
    ///
    /// The contract's, if its SQL is open at the end or asks for more key columns than there are.
    pub(crate) fn new(compiled: Arc<Compiled>, bounds: Bounds) -> Result<Self, SourceError> {
        let query = &compiled.query;
        let wrong =
            |error: String| SourceError::contract(format!("the SQL of view `{}`: {error}", query.name));
        let view = Pieces::of(&query.sql).map_err(wrong)?;
        let met = compiled
            .met
            .iter()
            .map(|met| Pieces::of(&met.sql))
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        let asked = met.iter().chain([&view]).map(Pieces::highest).max().unwrap_or(0);
        if asked > query.key.len() {
            return Err(wrong(format!(
                "`${asked}` asks for key column {asked}, but the view has {}",
                query.key.len()
            )));
        }
        let kinds = || query.key.iter().map(|column| column.kind);
        let writing = Writing { compiled: &compiled, bounds, view: &view, met: &met };
        let one = Statement { sql: writing.one().into(), types: kinds().map(parameter_type).collect() };
        let many = Statement { sql: writing.many().into(), types: kinds().map(array_type).collect() };
        let path = compiled.path.as_sql();
        Ok(Self { compiled, bounds, path, one, many })
    }
}

struct Writing<'a> {
    compiled: &'a Compiled,
    bounds: Bounds,
    view: &'a Pieces<'a>,
    met: &'a [Pieces<'a>],
}

impl Writing<'_> {
    fn one(&self) -> String {
        let as_written = |number: usize| format!("${number}");
        let mut columns = vec!["1::int8".to_owned()];
        columns.extend(self.answer_columns());
        columns.extend(self.met_columns(as_written));
        columns.extend(seen::sql());
        columns.push(self.compiled.still.clone());
        format!("SELECT {} FROM ({}) AS candor_answer", columns.join(", "), self.answer(as_written))
    }

    fn many(&self) -> String {
        // An alias that the view's SQL does not know, so that no name in it can mean ours.
        let mut alias = String::from("candor_key");
        let is_used = |alias: &str| {
            let met = self.compiled.met.iter().map(|met| met.sql.as_str());
            met.chain([&*self.compiled.query.sql, &self.compiled.still]).any(|sql| sql.contains(alias))
        };
        while is_used(&alias) {
            alias.push('_');
        }
        let of_key = |number: usize| format!("{alias}.{alias}{number}");
        let mut columns = vec![format!("{alias}.{alias}0")];
        columns.extend(self.answer_columns());
        columns.extend(self.met_columns(of_key));
        // Once is enough: it is one statement and one snapshot.
        let once = seen::sql().into_iter().chain([self.compiled.still.clone()]);
        columns.extend(once.map(|column| format!("CASE WHEN {alias}.{alias}0 = 1 THEN {column} END")));
        let count = self.compiled.query.key.len();
        let arrays: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
        let mut names: Vec<String> = (1..=count).map(|number| format!("{alias}{number}")).collect();
        names.push(format!("{alias}0"));
        format!(
            "SELECT {} FROM unnest({}) WITH ORDINALITY AS {alias}({}) CROSS JOIN LATERAL ({}) AS candor_answer",
            columns.join(", "),
            arrays.join(", "),
            names.join(", "),
            self.answer(of_key)
        )
    }

    /// One row: how many rows and bytes there are, and the rows as JSON if they are not too many.
    fn answer(&self, instead: impl FnMut(usize) -> String) -> String {
        let limit = match self.compiled.query.rows {
            Rows::One => 1,
            Rows::Many => self.bounds.rows_max,
        };
        // The line break ends a comment that the view's SQL may end with. `(name.*)` is the whole row, whatever its
        // columns are called.
        let rows = format!(
            "SELECT row_to_json(candor_row.*)::text AS json FROM (\n{}\n) AS candor_row LIMIT {}",
            self.view.with(instead),
            limit.saturating_add(1)
        );
        let bytes_max = self.bounds.bytes_max;
        match self.compiled.query.rows {
            Rows::One => format!(
                "SELECT count(*) AS found, coalesce(sum(octet_length(json)), 0)::int8 AS bytes, \
                 min(json) FILTER (WHERE octet_length(json) <= {bytes_max}) AS json FROM ({rows}) AS candor_rows"
            ),
            // The running length keeps the server from building what it will not send.
            Rows::Many => format!(
                "SELECT count(*) AS found, coalesce(max(upto), 0)::int8 AS bytes, \
                 string_agg(json, ',') FILTER (WHERE upto <= {bytes_max}) AS json FROM \
                 (SELECT json, sum(octet_length(json) + 1) OVER (ROWS UNBOUNDED PRECEDING) AS upto \
                 FROM ({rows}) AS candor_rows) AS candor_counted"
            ),
        }
    }

    fn answer_columns(&self) -> [String; 3] {
        let limit = match self.compiled.query.rows {
            Rows::One => 1,
            Rows::Many => self.bounds.rows_max,
        };
        [
            "candor_answer.found".into(),
            "candor_answer.bytes".into(),
            format!(
                "CASE WHEN candor_answer.found <= {limit} AND candor_answer.bytes <= {} THEN candor_answer.json END",
                self.bounds.bytes_max
            ),
        ]
    }

    fn met_columns(&self, instead: impl Fn(usize) -> String) -> Vec<String> {
        let column = |met: &Pieces<'_>| {
            format!(
                "(SELECT array_agg(candor_value::text) FROM (SELECT candor_value FROM (\n{}\n) AS candor_met(candor_value) \
                 LIMIT {}) AS candor_values)",
                met.with(&instead),
                MET_MAX + 1
            )
        };
        self.met.iter().map(column).collect()
    }
}
