//! What the entries of a view depend on: derived from the SQL, or declared and checked against it.
//!
//! Where the text cannot be understood, every row of a table matters: *less narrow, never less sound*.

use crate::facets::Registration;
use crate::image::lower;
use crate::inspect::inspect;
use crate::joins::Joins;
use crate::params;
use crate::prepare::{Compiler, Reads};
use crate::reach::{self, Reach};
use crate::refuse;
use crate::schema::Kind;
use crate::text;
use crate::view::{Compiled, Met};
use candor_core::{Dependency, TableRead, Tag, TaggedBy};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

impl Compiler<'_> {
    /// Works out the dependencies, declared or derived.
    pub(crate) fn depend(
        &mut self,
        compiled: &mut Compiled,
        reads: &Reads,
        statement: Option<&sqlparser::ast::Statement>,
        told: Option<&text::Told>,
        connection: &mut Connection,
    ) {
        let derived = self.derive(reads, statement, told);
        let mut dependencies: Vec<(String, Reach)> = match &self.query.invalidated_by {
            None => derived.into_iter().collect(),
            Some(declared) => {
                for dependency in declared {
                    if let Dependency::Application(name) = dependency {
                        compiled.fixed.push(Tag::application(name));
                    }
                }
                self.declared(declared, reads, &derived)
            }
        };
        if !compiled.is_logged {
            dependencies.clear();
        }
        for (table, reach) in dependencies {
            // A table the view does not read itself is declared as a whole.
            let columns = reads.get(&table).cloned();
            self.add(compiled, &table, columns, reach, connection);
        }
        let reads = compiled.derived.reads.len();
        if reads == 0 && compiled.fixed.is_empty() && compiled.is_logged {
            self.warn("the view depends on no table".into(), "its entries end by their ttl alone".into());
        }
    }

    /// What the SQL itself says.
    fn derive(
        &mut self,
        reads: &Reads,
        statement: Option<&sqlparser::ast::Statement>,
        told: Option<&text::Told>,
    ) -> BTreeMap<String, Reach> {
        let all = |why: &str| -> BTreeMap<String, Reach> {
            reads.keys().map(|table| (table.clone(), Reach::Table { why: why.into() })).collect()
        };
        let (Some(statement), Some(told)) = (statement, told) else {
            return all("the SQL is beyond what Candor reads");
        };
        let joins = match Joins::read(statement, self.schema) {
            Ok(joins) => joins,
            Err(why) => return all(&why),
        };
        let sigil = if params::scan(&self.query.sql).placeholders.iter().any(|name| name.starts_with('?')) {
            '?'
        } else {
            '$'
        };
        let (reaches, unused) = reach::of(&joins, &self.query.key, sigil);
        for why in unused {
            self.warn(
                format!("an equality does not narrow what the view depends on: {why}"),
                "compare columns of one type and collation".into(),
            );
        }
        let has_view = joins.items.iter().any(|item| item.table.kind != Kind::Table)
            || told
                .relations
                .iter()
                .any(|name| self.schema.table(name).is_some_and(|table| table.kind == Kind::View));
        let mut found = all("it is read in a subquery or a view, or twice");
        for (item, reach) in joins.items.iter().zip(reaches) {
            let table = lower(&item.table.name);
            let times = told.relations.iter().filter(|name| **name == table).count();
            // A view may read the same table underneath.
            if times == 1 && !has_view && reads.contains_key(&table) {
                found.insert(table, reach);
            }
        }
        found
    }

    /// What the contract says, checked against what the SQL reads.
    fn declared(
        &mut self,
        declared: &[Dependency],
        reads: &Reads,
        derived: &BTreeMap<String, Reach>,
    ) -> Vec<(String, Reach)> {
        let mut found: Vec<(String, Reach)> = Vec::new();
        for dependency in declared {
            match refuse::dependency(self.query, self.schema, dependency) {
                Err(finding) => self.findings.push(finding),
                Ok(None) => {}
                Ok(Some((table, reach))) => found.push((table, reach)),
            }
        }
        for table in reads.keys().filter(|table| !found.iter().any(|(covered, _)| covered == *table)) {
            self.unprovable(
                format!("the SQL reads `{table}`, but invalidated_by does not mention it"),
                format!("add \"{table}\" to invalidated_by, or leave it out to have it derived"),
            );
        }
        for (table, reach) in &found {
            let confirmed = match (reach, derived.get(table)) {
                (Reach::Key { .. }, Some(derived)) => derived == reach,
                _ => true,
            };
            if !confirmed {
                self.warn(
                    format!("that only the declared rows of `{table}` matter is not confirmed by the SQL"),
                    "leave invalidated_by out to have it derived".into(),
                );
            }
        }
        found
    }

    /// Adds one dependency to everything that must know it.
    fn add(
        &mut self,
        compiled: &mut Compiled,
        table: &str,
        columns: Option<BTreeSet<String>>,
        reach: Reach,
        connection: &mut Connection,
    ) {
        let by = |column: Option<&String>| Registration {
            table: table.to_owned(),
            columns: columns.clone(),
            by: column.cloned(),
        };
        let whole = by(None);
        let reach = match reach {
            Reach::Met { column, from, sql } => {
                match self.met(&sql, by(Some(&column)), whole.clone(), connection) {
                    Some(met) => {
                        compiled.registrations.extend([met.tagged.clone(), whole.clone()]);
                        compiled.met.push(met);
                        Reach::Met { column, from, sql }
                    }
                    None => Reach::Table { why: "the values that reach it cannot be asked for".into() },
                }
            }
            other => other,
        };
        let tagged_by = match &reach {
            Reach::Key { column, parameter } => {
                compiled.by_key.push((by(Some(column)), *parameter));
                compiled.registrations.push(by(Some(column)));
                TaggedBy::Key { column: column.as_str().into(), parameter: *parameter }
            }
            Reach::Met { column, from, .. } => {
                TaggedBy::Met { column: column.as_str().into(), from: from.as_str().into() }
            }
            Reach::Table { why } => {
                compiled.fixed.push(Tag::table(table, whole.facet()));
                compiled.registrations.push(whole.clone());
                if self.query.invalidated_by.is_none() {
                    self.warn(
                        format!("any change of `{table}` ends every entry: {why}"),
                        "reach it by an equality, or declare invalidated_by".into(),
                    );
                }
                TaggedBy::Table { why: why.as_str().into() }
            }
        };
        let live: Vec<String> = match (&columns, self.schema.table(table)) {
            (None, Some(table)) => table.columns.iter().map(|column| lower(&column.name)).collect(),
            (columns, _) => columns.iter().flatten().cloned().collect(),
        };
        let key = match &reach {
            Reach::Key { column, .. } | Reach::Met { column, .. } => Some(column.as_str()),
            Reach::Table { .. } => None,
        };
        compiled.needs.add(table, key, live.iter().map(String::as_str));
        let reads = &mut compiled.derived.reads;
        match reads.iter_mut().find(|read| &*read.table == table) {
            Some(read) => read.tagged_by.push(tagged_by),
            None => reads.push(TableRead {
                table: table.into(),
                columns: live.iter().map(|name| name.as_str().into()).collect(),
                tagged_by: vec![tagged_by],
            }),
        }
    }

    /// The query for met values, if SQLite can prepare it.
    fn met(
        &self,
        sql: &str,
        tagged: Registration,
        table: Registration,
        connection: &mut Connection,
    ) -> Option<Met> {
        let inspection = inspect(connection, sql).ok()?;
        let slots = params::slots(sql, &inspection.parameters, self.query.key.len()).ok()?;
        (inspection.forbidden.is_empty() && inspection.columns.len() == 1).then(|| Met {
            sql: sql.to_owned(),
            slots,
            tagged,
            table,
        })
    }
}
