//! What the entries of a view depend on: derived from the SQL, or declared and checked against it.

use crate::canonical::fits_canon;
use crate::catalog::Relation;
use crate::derive::blocks::{Joins, Known};
use crate::derive::reach::{self, Reach};
use crate::derive::{Compiler, Seen};
use crate::refuse;
use crate::view::{Compiled, Met, Registration, reset_tag};
use candor_core::{Dependency, Finding, Severity, TableRead, Tag, TaggedBy};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::error::Error;

/// How one table, by the name the log gives it, is read.
#[derive(Clone, Debug, Default)]
struct Read {
    /// The columns; `None` if every change of a row counts.
    columns: Option<BTreeSet<String>>,
    /// For messages: all columns it may read.
    shown: BTreeSet<String>,
}

type Reads = BTreeMap<String, Read>;
type Reaches = BTreeMap<String, Vec<Reach>>;

impl Compiler<'_> {
    /// Works out the dependencies, declared or derived.
    pub(super) async fn depend(&mut self, compiled: &mut Compiled, seen: &Seen) -> Result<(), Error> {
        if compiled.is_logged {
            let reads = reads(seen);
            let mut reaches = self.derive(seen, &reads);
            self.check_values(&mut reaches, seen).await?;
            if let Some(declared) = &self.query.invalidated_by {
                reaches = self.declared(declared, seen, &reads, &reaches);
            }
            for (table, ways) in reaches {
                let read = reads.get(&table).cloned().unwrap_or_default();
                self.add(compiled, &table, &read, ways);
            }
        }
        for dependency in self.query.invalidated_by.iter().flatten() {
            if let Dependency::Application(name) = dependency {
                compiled.fixed.push(Tag::application(name));
            }
        }
        if compiled.is_logged && compiled.derived.reads.is_empty() && compiled.fixed.is_empty() {
            self.warn("the view depends on no table".into(), "its entries end by their ttl alone".into());
        }
        compiled.fixed.sort_unstable();
        compiled.fixed.dedup();
        Ok(())
    }

    /// What the SQL itself says.
    fn derive(&mut self, seen: &Seen, reads: &Reads) -> Reaches {
        let (reaches, unused) = derive(seen, &self.query.key, reads);
        for why in unused {
            self.warn(
                format!("an equality does not narrow what the view depends on: {why}"),
                "compare columns of like types".into(),
            );
        }
        reaches
    }

    /// The values must be askable, else the whole table counts.
    async fn check_values(&mut self, reaches: &mut Reaches, seen: &Seen) -> Result<(), Error> {
        for reach in reaches.values_mut().flatten() {
            let Reach::Met { sql, .. } = reach else { continue };
            self.client.batch_execute("SAVEPOINT candor_met").await?;
            match self.calls_the_same(sql, &seen.told).await {
                Ok(true) => {}
                Ok(false) => {
                    *reach = Reach::any(
                        "the values that reach it would be asked for by another function or operator",
                    );
                }
                Err(error) if error.as_db_error().is_some() => {
                    *reach = Reach::any("the values that reach it cannot be asked for");
                    self.client.batch_execute("ROLLBACK TO candor_met").await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What the contract says, checked against what the SQL reads.
    fn declared(
        &mut self,
        declared: &[Dependency],
        seen: &Seen,
        reads: &Reads,
        derived: &Reaches,
    ) -> Reaches {
        let mut found = Reaches::new();
        for dependency in declared {
            match refuse::dependency(self.query, &seen.catalog, &seen.declared, dependency) {
                Err(finding) => self.findings.push(finding),
                Ok(None) => {}
                Ok(Some((table, reach))) => found.entry(table).or_default().push(reach),
            }
        }
        for table in reads.keys().filter(|table| !found.contains_key(*table)) {
            self.findings.push(Finding {
                severity: Severity::Refused,
                message: format!("the SQL reads `{table}`, but invalidated_by does not mention it"),
                mend: format!("add \"{table}\" to invalidated_by, or leave it out to have it derived"),
            });
        }
        for (table, ways) in &found {
            let is_any = |ways: &[Reach]| ways.iter().any(|way| matches!(way, Reach::Table { .. }));
            let is_confirmed = is_any(ways)
                || derived.get(table).is_none_or(|derived| derived.iter().all(|way| ways.contains(way)));
            if !is_confirmed {
                self.warn(
                    format!("that only the declared rows of `{table}` matter is not confirmed by the SQL"),
                    "leave invalidated_by out to have it derived".into(),
                );
            }
        }
        found
    }

    /// Adds the ways one table reaches an entry to everything that must know them.
    fn add(&mut self, compiled: &mut Compiled, table: &str, read: &Read, ways: Vec<Reach>) {
        let by = |column: Option<&String>| Registration {
            table: table.to_owned(),
            columns: read.columns.clone(),
            by: column.cloned(),
        };
        let whole = by(None);
        let mut tagged_by = Vec::new();
        let mut register = |registration: Registration| {
            if !compiled.registrations.contains(&registration) {
                compiled.registrations.push(registration);
            }
        };
        for way in ways {
            match way {
                Reach::Key { column, parameters } => {
                    register(by(Some(&column)));
                    for parameter in parameters {
                        let tag = (by(Some(&column)), parameter);
                        if !compiled.by_key.contains(&tag) {
                            compiled.by_key.push(tag);
                        }
                        tagged_by.push(TaggedBy::Key { column: column.as_str().into(), parameter });
                    }
                    compiled.fixed.push(reset_tag(table));
                }
                Reach::Met { column, from, sql } => {
                    register(by(Some(&column)));
                    register(whole.clone());
                    let met = Met { sql, tagged: by(Some(&column)), table: whole.clone() };
                    if !compiled.met.contains(&met) {
                        compiled.met.push(met);
                    }
                    compiled.fixed.push(reset_tag(table));
                    tagged_by
                        .push(TaggedBy::Met { column: column.as_str().into(), from: from.as_str().into() });
                }
                Reach::Table { why, mend } => {
                    register(whole.clone());
                    compiled.fixed.push(Tag::table(table, whole.facet()));
                    if self.query.invalidated_by.is_none() {
                        let otherwise = || "reach it by an equality, or declare invalidated_by".into();
                        let finding = Finding {
                            severity: Severity::Warning,
                            message: format!("any change of `{table}` ends every entry: {why}"),
                            mend: mend.unwrap_or_else(otherwise),
                        };
                        if !self.findings.contains(&finding) {
                            self.findings.push(finding);
                        }
                    }
                    tagged_by.push(TaggedBy::Table { why: why.as_str().into() });
                }
            }
        }
        tagged_by.dedup();
        compiled.derived.reads.push(TableRead {
            table: table.into(),
            columns: read.shown.iter().map(|name| name.as_str().into()).collect(),
            tagged_by,
        });
    }
}

/// The tables read, by the names the log gives them, and the columns.
fn reads(seen: &Seen) -> Reads {
    let mut reads = Reads::new();
    for oid in seen.told.relations.iter() {
        let Some(relation) = seen.catalog.relations.get(oid) else { continue };
        let numbers = seen.told.columns.get(oid).cloned().unwrap_or_default();
        let mut columns: BTreeSet<String> =
            numbers.iter().filter_map(|number| seen.names.get(&(*oid, *number)).cloned()).collect();
        // What a generated column is made of is not told, and the log does not carry it.
        let counts_whole = seen.told.has_whole_rows
            || columns.iter().any(|name| relation.column(name).is_some_and(|column| column.is_generated));
        if seen.told.has_whole_rows {
            columns.extend(relation.columns.iter().map(|column| column.name.clone()));
        }
        let heirs = relation.heirs.iter().filter_map(|heir| seen.catalog.relations.get(heir));
        for table in std::iter::once(relation).chain(heirs).filter_map(|table| table.logged_as.clone()) {
            let known = reads
                .entry(table)
                .or_insert_with(|| Read { columns: Some(BTreeSet::new()), shown: BTreeSet::new() });
            known.shown.extend(columns.iter().cloned());
            match &mut known.columns {
                _ if counts_whole => known.columns = None,
                Some(all) => all.extend(columns.iter().cloned()),
                None => {}
            }
        }
    }
    reads
}

/// How each table reaches an entry, and which equalities were of no use.
fn derive(seen: &Seen, key: &[candor_core::KeyColumn], reads: &Reads) -> (Reaches, Vec<String>) {
    let any =
        |why: &str| -> Reaches { reads.keys().map(|table| (table.clone(), vec![Reach::any(why)])).collect() };
    let aggregates: BTreeSet<String> = seen
        .told
        .functions
        .iter()
        .filter(|function| function.is_aggregate)
        .map(|function| function.name.clone())
        .collect();
    let known = Known { catalog: &seen.catalog, key, aggregates: &aggregates };
    let joins = match Joins::read(&seen.told.sql, known) {
        Ok(joins) => joins,
        Err(why) => return (any(&why), Vec::new()),
    };
    let (reaches, unused) = reach::of(&joins, key);
    let mut found = Reaches::new();
    for (item, reach) in joins.items.iter().zip(reaches) {
        let reach =
            if item.relation.heirs.is_empty() { reach } else { Reach::any("other tables inherit from it") };
        for table in logged_names(item.relation, seen) {
            let ways = found.entry(table).or_default();
            if !ways.contains(&reach) {
                ways.push(reach.clone());
            }
        }
    }
    for (schema, name) in &joins.unread {
        if let Some(relation) = seen.catalog.relation(schema, name) {
            for table in logged_names(relation, seen) {
                found.entry(table).or_default().push(Reach::any("part of the SQL does not use it"));
            }
        }
    }
    for table in reads.keys() {
        // Read where the text does not show it.
        found.entry(table.clone()).or_insert_with(|| vec![Reach::any("it is read out of sight")]);
    }
    for ways in found.values_mut() {
        // One way by any row makes all others needless.
        if let Some(any) = ways.iter().find(|way| matches!(way, Reach::Table { .. })).cloned() {
            *ways = vec![any];
        }
    }
    (found, unused)
}

fn logged_names(relation: &Relation, seen: &Seen) -> Vec<String> {
    let heirs = relation.heirs.iter().filter_map(|heir| seen.catalog.relations.get(heir));
    std::iter::once(relation).chain(heirs).filter_map(|table| table.logged_as.clone()).collect()
}

/// Whether a declared column can name rows by a key column.
pub(crate) fn can_name(
    relation: &Relation,
    column: &str,
    kind: candor_core::KeyType,
) -> Result<(), (String, Option<String>)> {
    let Some(found) = relation.column(column) else { return Err(("there is no such column".into(), None)) };
    let name = format!("`{}.{column}`", relation.name);
    if found.is_generated {
        return Err((format!("{name} is generated, so the log does not carry it"), None));
    }
    if !fits_canon(found.canon, Some(crate::canonical::canon_of_key(kind))) {
        return Err((
            format!("{name} ({}) and a key of type {} do not agree in text", found.type_name, kind.name()),
            None,
        ));
    }
    relation.tells_old(column).map_err(|mend| {
        (format!("the log does not tell the old value of {name} when a row moves or is deleted"), Some(mend))
    })
}
