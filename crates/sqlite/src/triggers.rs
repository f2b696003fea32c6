//! The triggers that write the change log.
//!
//! Triggers run in whatever program writes, with whatever SQLite it links, so their SQL is old and plain: `quote`,
//! `typeof`, `IS NOT`, `CASE`. Five triggers per table:
//!
//! | trigger | writes |
//! |---|---|
//! | after insert, after delete | the key columns of the row |
//! | after update | those before and after, and which watched columns changed; nothing if none did |
//! | before insert, before update | the key columns of every row that REPLACE would displace |
//!
//! The last two exist because SQLite fires no delete trigger for rows that `REPLACE` displaces, unless the writer has
//! switched on `recursive_triggers`. They cannot know which conflict clause the statement has, so they also record rows
//! that an upsert or `INSERT OR IGNORE` only runs into: a needless refill, never a missed change. Rows displaced through
//! a unique index on an expression cannot be found by comparing columns; views on such tables depend on the whole
//! table, and every update of it is recorded as touching everything.
//!
//! *Changed* means: not the same bytes. `IS NOT` alone follows the column's collation and calls 1 and 1.0 equal, so the
//! comparison is binary and types are compared too.

use crate::image::{image_name, quote_name, quote_text};
use crate::schema::{Kind, Table, Unique};
use crate::watch::Watch;

/// What a trigger is called and how it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// Names of all triggers begin with this.
pub(crate) const PREFIX: &str = "candor_";

/// The triggers of a table, or why it cannot be watched.
pub(crate) fn of(table: &Table, watch: &Watch) -> Result<Vec<Trigger>, String> {
    match table.kind {
        Kind::Table => {}
        Kind::View => return Err(format!("`{}` is a view; watch the tables under it", table.name)),
        Kind::Virtual => {
            return Err(format!("`{}` is a virtual table, for which there are no triggers", table.name));
        }
    }
    let reach = |names: &mut dyn Iterator<Item = &String>| -> Result<Vec<&str>, String> {
        names
            .map(|name| {
                table
                    .reach(name)
                    .ok_or_else(|| format!("table `{}` has no column `{name}` any more", table.name))
            })
            .collect()
    };
    let writer = Writer {
        table,
        key: reach(&mut watch.key_columns.iter())?,
        watched: reach(&mut watch.columns.iter())?,
    };
    let all = [
        Some(writer.after_insert()),
        writer.after_update(),
        Some(writer.after_delete()),
        writer.before_insert(),
        writer.before_update(),
    ];
    Ok(all.into_iter().flatten().collect())
}

struct Writer<'a> {
    table: &'a Table,
    key: Vec<&'a str>,
    watched: Vec<&'a str>,
}

impl Writer<'_> {
    fn after_insert(&self) -> Trigger {
        let body = format!(
            "INSERT INTO candor_changes (tbl, op, new) VALUES ({}, 'insert', {});",
            self.literal(),
            self.image("NEW")
        );
        self.trigger("insert", "AFTER INSERT", None, &body)
    }

    fn after_delete(&self) -> Trigger {
        let body = format!(
            "INSERT INTO candor_changes (tbl, op, old) VALUES ({}, 'delete', {});",
            self.literal(),
            self.image("OLD")
        );
        self.trigger("delete", "AFTER DELETE", None, &body)
    }

    /// None if no column is watched: then only the number of rows matters.
    fn after_update(&self) -> Option<Trigger> {
        let everything = self.table.has_expression_index();
        if self.watched.is_empty() && !everything {
            return None;
        }
        let touched: Vec<String> = self
            .watched
            .iter()
            .map(|column| {
                let listed = quote_text(&format!(",{}", image_name(column)));
                format!("CASE WHEN {} THEN {listed} ELSE '' END", changed(column))
            })
            .collect();
        let touched =
            if everything { "NULL".to_owned() } else { format!("substr({}, 2)", touched.join(" || ")) };
        let body = format!(
            "INSERT INTO candor_changes (tbl, op, old, new, touched) VALUES ({}, 'update', {}, {}, {touched});",
            self.literal(),
            self.image("OLD"),
            self.image("NEW")
        );
        let when = (!everything).then(|| any_changed(self.watched.iter().copied()));
        Some(self.trigger("update", "AFTER UPDATE", when, &body))
    }

    fn before_insert(&self) -> Option<Trigger> {
        let body: Vec<String> = self.found_by_columns().map(|unique| self.displaced(unique, "")).collect();
        (!body.is_empty()).then(|| self.trigger("displace_insert", "BEFORE INSERT", None, &body.join(" ")))
    }

    /// Only where a column of a unique set changed can another row stand in the way.
    fn before_update(&self) -> Option<Trigger> {
        let own: Vec<String> = self
            .table
            .identity()
            .into_iter()
            .map(|column| format!("r.{0} IS OLD.{0}", quote_name(column)))
            .collect();
        let other = if own.is_empty() { String::new() } else { format!(" AND NOT ({})", own.join(" AND ")) };
        let body: Vec<String> =
            self.found_by_columns().map(|unique| self.displaced(unique, &other)).collect();
        let columns = self.found_by_columns().flat_map(|unique| unique.columns.iter());
        let mut names: Vec<&str> = columns.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let when = any_changed(names.into_iter());
        (!body.is_empty())
            .then(|| self.trigger("displace_update", "BEFORE UPDATE", Some(when), &body.join(" ")))
    }

    fn found_by_columns(&self) -> impl Iterator<Item = &Unique> {
        self.table.uniques.iter().filter(|unique| !unique.has_expression && !unique.columns.is_empty())
    }

    /// Records the rows that agree with NEW in a unique set of columns, under the collations of its index. Under REPLACE
    /// a NULL for a NOT NULL column becomes the column's default only after these triggers ran.
    fn displaced(&self, unique: &Unique, other: &str) -> String {
        let same: Vec<String> = unique
            .columns
            .iter()
            .map(|(name, collation)| {
                let column = quote_name(name);
                let default = self.table.column(name).and_then(|column| column.default_for_null.as_deref());
                let value = match default {
                    Some(default) => format!("coalesce(NEW.{column}, ({default}))"),
                    None => format!("NEW.{column}"),
                };
                if self.table.rowid.as_ref() == Some(name) {
                    format!("r.{column} = {value}")
                } else {
                    format!("r.{column} = {value} COLLATE {}", quote_name(collation))
                }
            })
            .collect();
        format!(
            "INSERT INTO candor_changes (tbl, op, old) SELECT {}, 'displace', {} FROM {} AS r WHERE {}{other};",
            self.literal(),
            self.image("r"),
            quote_name(&self.table.name),
            same.join(" AND ")
        )
    }

    fn image(&self, row: &str) -> String {
        if self.key.is_empty() {
            return "''".into();
        }
        let parts: Vec<String> = self
            .key
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let comma = if place == 0 { "" } else { "," };
                let label = quote_text(&format!("{comma}{}=", image_name(column)));
                format!("{label} || quote({row}.{})", quote_name(column))
            })
            .collect();
        parts.join(" || ")
    }

    fn literal(&self) -> String {
        quote_text(&self.table.name)
    }

    fn trigger(&self, kind: &str, event: &str, when: Option<String>, body: &str) -> Trigger {
        let name = format!("{PREFIX}{kind}_{}", self.table.name);
        let when = when.map_or(String::new(), |when| format!(" WHEN {when}"));
        let sql = format!(
            "CREATE TRIGGER {} {event} ON {}{when} BEGIN {body} END",
            quote_name(&name),
            quote_name(&self.table.name)
        );
        Trigger { name, sql }
    }
}

fn changed(column: &str) -> String {
    let column = quote_name(column);
    format!(
        "(OLD.{column} COLLATE BINARY IS NOT NEW.{column} OR typeof(OLD.{column}) <> typeof(NEW.{column}))"
    )
}

fn any_changed<'a>(columns: impl Iterator<Item = &'a str>) -> String {
    columns.map(changed).collect::<Vec<_>>().join(" OR ")
}
