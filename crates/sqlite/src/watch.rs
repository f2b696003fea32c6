//! What is watched: per table, the columns that name rows and the columns whose change matters.
//!
//! The plan is the union over all views. It is stored in the database beside the change log, so that every instance can
//! see what the triggers promise without knowing every other instance's configuration.

use crate::image::lower;
use std::collections::{BTreeMap, BTreeSet};

/// What is watched of one table. All names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Columns by whose values changes are tagged.
    pub key_columns: BTreeSet<String>,
    /// Columns whose change is recorded; always includes the key columns.
    pub columns: BTreeSet<String>,
}

/// What is watched, by table name in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The tables.
    pub tables: BTreeMap<String, Watch>,
}

impl Plan {
    /// Adds a table, or more columns of it.
    pub fn add<'a>(
        &mut self,
        table: &str,
        key_columns: impl IntoIterator<Item = &'a str>,
        columns: impl IntoIterator<Item = &'a str>,
    ) {
        let watch = self.tables.entry(lower(table)).or_default();
        for column in key_columns {
            watch.key_columns.insert(lower(column));
            watch.columns.insert(lower(column));
        }
        watch.columns.extend(columns.into_iter().map(lower));
    }

    /// Everything either of them watches.
    pub fn merge(&mut self, other: &Self) {
        for (table, watch) in &other.tables {
            self.add(
                table,
                watch.key_columns.iter().map(String::as_str),
                watch.columns.iter().map(String::as_str),
            );
        }
    }

    /// The tables of which `self` watches less than `needed`.
    pub fn lacks<'a>(&self, needed: &'a Self) -> Vec<&'a str> {
        let covers = |table: &str, need: &Watch| {
            self.tables.get(table).is_some_and(|have| {
                need.columns.is_subset(&have.columns) && need.key_columns.is_subset(&have.key_columns)
            })
        };
        let lacking = needed.tables.iter().filter(|(table, need)| !covers(table, need));
        lacking.map(|(table, _)| table.as_str()).collect()
    }

    /// The form in which it is stored: `{"track":{"key":["albumid"],"columns":["albumid","name"]}}`.
    pub(crate) fn to_json(&self) -> String {
        let list = |names: &BTreeSet<String>| names.iter().map(|name| name.as_str().into()).collect();
        let tables = self.tables.iter().map(|(table, watch)| {
            let mut columns = serde_json::Map::new();
            columns.insert("key".into(), serde_json::Value::Array(list(&watch.key_columns)));
            columns.insert("columns".into(), serde_json::Value::Array(list(&watch.columns)));
            (table.clone(), serde_json::Value::Object(columns))
        });
        serde_json::Value::Object(tables.collect()).to_string()
    }

    /// The reverse of [`Self::to_json`]; `None` if somebody else wrote it.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let mut plan = Self::default();
        for (table, watch) in value.as_object()? {
            let names = |field: &str| -> Option<Vec<&str>> {
                watch.get(field)?.as_array()?.iter().map(|name| name.as_str()).collect()
            };
            plan.add(table, names("key")?, names("columns")?);
        }
        Some(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_storage() {
        let mut plan = Plan::default();
        plan.add("Track", ["TrackId"], ["Name", "AlbumId"]);
        plan.add("odd \"name", [], ["x"]);
        assert_eq!(Plan::from_json(&plan.to_json()), Some(plan));
        for text in ["", "[]", "{\"a\":1}", "{\"a\":{\"key\":[1],\"columns\":[]}}"] {
            assert_eq!(Plan::from_json(text), None, "{text}");
        }
    }

    #[test]
    fn a_plan_lacks_what_it_does_not_cover() {
        let plan = |key: &[&str], columns: &[&str]| {
            let mut plan = Plan::default();
            plan.add("t", key.iter().copied(), columns.iter().copied());
            plan
        };
        let have = plan(&["a"], &["b"]);
        assert_eq!(have.lacks(&plan(&["a"], &[])), [""; 0]);
        assert_eq!(have.lacks(&plan(&["b"], &[])), ["t"]);
        assert_eq!(have.lacks(&plan(&[], &["c"])), ["t"]);
        assert_eq!(Plan::default().lacks(&plan(&[], &[])), ["t"]);
    }
}
