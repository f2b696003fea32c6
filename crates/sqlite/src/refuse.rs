//! What is refused, each with its mend.

use crate::image::lower;
use crate::inspect::Inspection;
use crate::reach::{Reach, fits};
use crate::schema::{Kind, Schema, Table};
use crate::text::{self, DATE_FUNCTIONS, Told, near};
use candor_core::{Dependency, Finding, Severity, ViewQuery};
use rusqlite::Error;

/// Functions whose result depends on more than their arguments.
const VOLATILE: [&str; 9] = [
    "random",
    "randomblob",
    "changes",
    "total_changes",
    "last_insert_rowid",
    "current_date",
    "current_time",
    "current_timestamp",
    "sqlite_offset",
];

fn refused(message: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { severity: Severity::Refused, message: message.into(), mend: mend.into() }
}

/// SQLite could not prepare the SQL: says which name is missing and which are near.
pub(crate) fn unprepared(query: &ViewQuery, schema: &Schema, error: &Error) -> Finding {
    let text = match error {
        Error::MultipleStatement => {
            return refused("the SQL holds several statements", "write one SELECT");
        }
        Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    let visible = |table: &&Table| !table.name.starts_with("candor_");
    if let Some(name) = text.strip_prefix("no such table: ") {
        let name = name.strip_prefix("main.").unwrap_or(name);
        let tables = schema.tables.values().filter(visible).map(|table| table.name.as_str());
        return refused(format!("there is no table `{name}`"), suggest(&near(name, tables)));
    }
    if let Some(name) = text.strip_prefix("no such column: ") {
        let (_, column) = name.rsplit_once('.').unwrap_or(("", name));
        let read: Vec<String> =
            text::parse(&query.sql).map(|statement| text::tell(&statement).relations).unwrap_or_default();
        let columns = schema
            .tables
            .values()
            .filter(|table| read.contains(&lower(&table.name)))
            .flat_map(|table| table.columns.iter().map(|column| column.name.as_str()));
        return refused(format!("there is no column `{name}`"), suggest(&near(column, columns)));
    }
    refused(format!("SQLite cannot prepare the SQL: {text}"), "write one SELECT that SQLite accepts")
}

/// What is wrong with the statement as such.
pub(crate) fn shape(query: &ViewQuery, inspection: &Inspection, slots: &[usize]) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        inspection.forbidden.iter().map(|why| refused(why.clone(), "write one SELECT")).collect();
    for (place, column) in query.key.iter().enumerate() {
        if !slots.contains(&place) && slots.len() == inspection.parameters.len() {
            findings.push(refused(
                format!("key column `{}` does not occur in the SQL", column.name),
                format!("use ${} in the SQL, or drop the key column", place + 1),
            ));
        }
    }
    for (place, name) in inspection.columns.iter().enumerate() {
        if inspection.columns[..place].contains(name) {
            findings.push(refused(
                format!("two result columns are called `{name}`"),
                "give one of them an alias with AS",
            ));
        }
    }
    findings
}

/// Functions that make an answer depend on more than rows.
pub(crate) fn volatile(
    query: &ViewQuery,
    schema: &Schema,
    inspection: &Inspection,
    told: Option<&Told>,
) -> Vec<Finding> {
    let mend = "leave it out, pass it in the key, or declare proof = \"clock\"";
    let called = |name: &&&str| inspection.functions.contains(**name);
    let mut findings: Vec<Finding> = VOLATILE
        .iter()
        .filter(called)
        .map(|name| refused(format!("`{name}` gives another result each time"), mend))
        .collect();
    if let Some(name) = DATE_FUNCTIONS.iter().find(called) {
        let mut bodies: Vec<Option<Option<String>>> = vec![told.map(|told| told.clock.clone())];
        for table in inspection.reads.keys().filter_map(|name| schema.table(name)) {
            if table.kind == Kind::View {
                let statement = body_of(&table.sql).and_then(text::parse);
                bodies.push(statement.map(|statement| text::tell(&statement).clock));
            }
        }
        let culprit = bodies.into_iter().find_map(|body| match body {
            None => Some((*name).to_owned()),
            Some(clock) => clock,
        });
        if let Some(name) = culprit {
            findings.push(refused(
                format!("view `{}` calls `{name}` with what is, or may be, the present time", query.name),
                mend,
            ));
        }
    }
    findings
}

/// A declared dependency as a way to reach rows; `Ok(None)` for an application tag.
pub(crate) fn dependency(
    query: &ViewQuery,
    schema: &Schema,
    dependency: &Dependency,
) -> Result<Option<(String, Reach)>, Finding> {
    let table_named = |name: &str| {
        let known = || {
            schema.tables.values().filter(|table| table.kind == Kind::Table).map(|table| table.name.as_str())
        };
        match schema.table(name) {
            Some(table) if table.kind == Kind::Table && !lower(name).starts_with("candor_") => Ok(table),
            Some(_) => Err(refused(
                format!("invalidated_by names `{name}`, which is not an ordinary table"),
                "name the tables whose rows change",
            )),
            None => Err(refused(
                format!("invalidated_by names `{name}`, but there is no such table"),
                suggest(&near(name, known())),
            )),
        }
    };
    match dependency {
        Dependency::Application(_) => Ok(None),
        Dependency::Table(name) => {
            let table = table_named(name)?;
            Ok(Some((lower(&table.name), Reach::Table { why: "declared".into() })))
        }
        Dependency::Row { table: name, column, parameter } => {
            let table = table_named(name)?;
            let Some(found) = table.column(column) else {
                let columns = table.columns.iter().map(|column| column.name.as_str());
                return Err(refused(
                    format!("invalidated_by names `{name}.{column}`, but there is no such column"),
                    suggest(&near(column, columns)),
                ));
            };
            let Some(key) = query.key.get(*parameter) else {
                return Err(refused(
                    format!(
                        "invalidated_by names ${}, but the view has {} key columns",
                        parameter + 1,
                        query.key.len()
                    ),
                    "lower the number",
                ));
            };
            let whole = format!("declare \"{name}\" without a column");
            if table.has_expression_index() {
                return Err(refused(
                    format!(
                        "`{name}` has a unique index on an expression, so that rows displaced by REPLACE cannot be named"
                    ),
                    whole,
                ));
            }
            fits(key.kind, table, found).map_err(|why| refused(why, whole))?;
            let reach = Reach::Key { column: lower(&found.name), parameter: *parameter };
            Ok(Some((lower(&table.name), reach)))
        }
    }
}

/// The SELECT of a view's definition.
pub(crate) fn body_of(sql: &str) -> Option<&str> {
    let upper = sql.to_ascii_uppercase();
    let mut from = 0;
    while let Some(found) = upper[from..].find("AS") {
        let at = from + found;
        let is_word =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let body = sql[at + 2..].trim_start();
        let start: String = body.chars().take(6).collect::<String>().to_ascii_uppercase();
        if at > 0
            && !is_word(upper.as_bytes().get(at - 1))
            && !is_word(upper.as_bytes().get(at + 2))
            && ["SELECT", "VALUES"].contains(&start.as_str()) | start.starts_with("WITH")
        {
            return Some(body);
        }
        from = at + 2;
    }
    None
}

fn suggest(near: &[&str]) -> String {
    if near.is_empty() {
        return "correct the name, or create it".into();
    }
    let names: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    format!("did you mean {}?", names.join(" or "))
}
