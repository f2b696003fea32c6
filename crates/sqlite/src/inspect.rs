//! What SQLite itself says a statement reads.
//!
//! The authorizer is called for every table and column that a statement touches, also inside views, subqueries and
//! common table expressions, while it is prepared. That is exact where reading the SQL text could only guess.

use crate::image::lower;
use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inspection {
    /// Tables, views and virtual tables with the columns read; all in lower case.
    pub(crate) reads: BTreeMap<String, BTreeSet<String>>,
    /// Functions called, in lower case.
    pub(crate) functions: BTreeSet<String>,
    /// What a view may not do.
    pub(crate) forbidden: BTreeSet<String>,
    /// Result columns.
    pub(crate) columns: Vec<String>,
    /// Names of the parameters in their order; `None` for one without a name.
    pub(crate) parameters: Vec<Option<String>>,
}

/// Prepares the SQL without running it.
pub(crate) fn inspect(connection: &mut Connection, sql: &str) -> rusqlite::Result<Inspection> {
    let found = Arc::new(Mutex::new(Inspection::default()));
    let into = found.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        into.lock().note(&context);
        Authorization::Allow
    }))?;
    let result = describe(connection, sql);
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    let (columns, parameters, readonly) = result?;
    let mut found = found.lock().clone();
    (found.columns, found.parameters) = (columns, parameters);
    if !readonly || found.columns.is_empty() {
        found.forbidden.insert("it is not a SELECT".into());
    }
    Ok(found)
}

type Description = (Vec<String>, Vec<Option<String>>, bool);

fn describe(connection: &Connection, sql: &str) -> rusqlite::Result<Description> {
    let statement = connection.prepare(sql)?;
    let columns = statement.column_names().map(str::to_owned).collect();
    let parameters = (1..=statement.parameter_count())
        .map(|place| statement.parameter_name(place).map(str::to_owned))
        .collect();
    Ok((columns, parameters, statement.readonly() && statement.is_explain() == 0))
}

impl Inspection {
    fn note(&mut self, context: &AuthContext<'_>) {
        match context.action {
            AuthAction::Select | AuthAction::Recursive => {}
            AuthAction::Function { function_name } => {
                self.functions.insert(lower(function_name));
            }
            AuthAction::Read { table_name, column_name } => {
                if context.database_name.is_some_and(|name| name != "main") {
                    self.forbidden.insert(format!("it reads `{table_name}` outside the main database"));
                }
                let columns = self.reads.entry(lower(table_name)).or_default();
                // An empty name stands for "the table, but no column of it", as in count(*).
                if !column_name.is_empty() {
                    columns.insert(lower(column_name));
                }
            }
            AuthAction::Pragma { .. } => {
                self.forbidden.insert("it is a PRAGMA".into());
            }
            _ => {
                self.forbidden.insert("it does more than read".into());
            }
        }
    }
}
