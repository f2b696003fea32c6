//! Holding a view against the live schema: what is refused, what it depends on, and by what its entries are tagged.
//!
//! SQLite's authorizer says which tables and columns are read ([`crate::inspect`]); the text says by which equalities
//! rows are reached ([`crate::joins`], [`crate::reach`]). Where the text cannot be understood, every row of a table
//! matters: *less narrow, never less sound*.
//!
//! Everything is read in one transaction on a connection of its own, because an authorizer makes SQLite prepare every
//! statement of its connection anew.

use crate::facets::Registration;
use crate::fault;
use crate::file::{self, Access};
use crate::image::lower;
use crate::inspect::{Inspection, inspect};
use crate::joins::Joins;
use crate::params;
use crate::reach::{self, Reach};
use crate::refuse;
use crate::schema::{Kind, Schema};
use crate::setup;
use crate::text;
use crate::view::{Compiled, Met};
use crate::watch::Plan;
use candor_core::port::SourceError;
use candor_core::{Dependency, Derived, Finding, ProofKind, Severity, TableRead, Tag, TaggedBy, ViewQuery};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// The first refusal with its mend, as a sentence.
pub(crate) fn refusal(derived: &Derived) -> Option<String> {
    let first = derived.findings.iter().find(|finding| finding.severity == Severity::Refused)?;
    Some(format!("{}; {}", first.message, first.mend))
}

/// Holds a view against the schema of the database at `path`.
pub(crate) fn compile(
    path: &Path,
    busy_timeout: Duration,
    query: &ViewQuery,
) -> Result<Compiled, SourceError> {
    let doing = |error| fault::of(&format!("preparing view `{}`", query.name), &error);
    let (mut connection, _) = file::open(path, Access::Query, busy_timeout)?;
    connection.execute_batch("BEGIN").map_err(doing)?;
    // The connection is closed at the end, and its transaction with it.
    let schema = Schema::read(&connection).map_err(doing)?;
    let installed = setup::installed(&connection, &schema).map_err(doing)?;
    let mut compiler = Compiler { query, schema: &schema, findings: Vec::new() };
    let mut compiled = compiler.compile(&mut connection)?;
    compiled.is_refused_anyway = compiler.is_refused();
    if compiled.is_logged && !compiled.is_refused_anyway {
        compiler.check_setup(installed.as_ref(), &compiled.needs);
    }
    compiled.derived.findings = compiler.findings;
    Ok(compiled)
}

struct Compiler<'a> {
    query: &'a ViewQuery,
    schema: &'a Schema,
    findings: Vec<Finding>,
}

/// How one table is read, with the columns.
type Reads = BTreeMap<String, BTreeSet<String>>;

impl Compiler<'_> {
    fn compile(&mut self, connection: &mut Connection) -> Result<Compiled, SourceError> {
        let is_logged = self.query.proof == ProofKind::Log;
        let mut compiled = Compiled {
            era: self.schema.version,
            slots: Vec::new(),
            names: Vec::new(),
            fixed: Vec::new(),
            by_key: Vec::new(),
            met: Vec::new(),
            registrations: Vec::new(),
            is_logged,
            is_refused_anyway: false,
            needs: Plan::default(),
            derived: Derived {
                handle: None,
                columns: Vec::new(),
                reads: Vec::new(),
                proof: self.query.proof,
                findings: Vec::new(),
            },
        };
        let inspection = match inspect(connection, &self.query.sql) {
            Ok(inspection) => inspection,
            Err(error) => {
                let fault = fault::of("preparing", &error);
                if fault.fault != candor_core::port::Fault::Contract {
                    return Err(fault);
                }
                self.refuse_with(refuse::unprepared(self.query, self.schema, &error));
                return Ok(compiled);
            }
        };
        match params::slots(&self.query.sql, &inspection.parameters, self.query.key.len()) {
            Ok(slots) => compiled.slots = slots,
            Err((message, mend)) => self.refuse(message, mend),
        }
        for finding in refuse::shape(self.query, &inspection, &compiled.slots) {
            self.findings.push(finding);
        }
        compiled.names = inspection.columns.iter().map(|name| crate::json::string(name).into()).collect();
        compiled.derived.columns = inspection.columns.iter().map(|name| name.as_str().into()).collect();
        let statement = text::parse(&self.query.sql);
        let told = statement.as_ref().map(text::tell);
        let reads = self.tables(&inspection, told.as_ref().map(|told| &told.ctes));
        if is_logged {
            self.findings.extend(refuse::volatile(self.query, self.schema, &inspection, told.as_ref()));
        }
        if self.is_refused() {
            return Ok(compiled);
        }
        self.depend(&mut compiled, &reads, statement.as_ref(), told.as_ref(), connection);
        Ok(compiled)
    }

    /// The base tables read, and the columns, with the row number under the name it has in the table.
    fn tables(&mut self, inspection: &Inspection, ctes: Option<&BTreeSet<String>>) -> Reads {
        let mut ctes = ctes.cloned().unwrap_or_default();
        for name in inspection.reads.keys() {
            if let Some(view) = self.schema.table(name).filter(|table| table.kind == Kind::View)
                && let Some(query) = refuse::body_of(&view.sql)
                && let Some(statement) = text::parse(query)
            {
                ctes.extend(text::tell(&statement).ctes);
            }
        }
        let mut reads = Reads::new();
        for (name, columns) in &inspection.reads {
            match self.schema.table(name) {
                Some(table) if table.kind == Kind::View => {}
                Some(table) if table.kind == Kind::Table && !name.starts_with("candor_") => {
                    let mut found = BTreeSet::new();
                    for column in columns {
                        // SQLite says `ROWID` both for the row number and for a column of that name.
                        let is_doubtful = column == "rowid"
                            && table
                                .column(column)
                                .is_some_and(|found| Some(&found.name) != table.rowid.as_ref());
                        match table.reach(column).filter(|_| !is_doubtful) {
                            Some(reached) => drop(found.insert(lower(reached))),
                            None => self.unprovable(
                                format!("`{name}` is read by its row number, which its columns hide"),
                                "read it by a column".into(),
                            ),
                        }
                    }
                    reads.insert(name.clone(), found);
                }
                None if ctes.contains(name) => {}
                // Functions that look like tables: they read nothing but their arguments.
                None if matches!(name.as_str(), "json_each" | "json_tree") => {}
                _ => self.unprovable(
                    format!("`{name}` is not an ordinary table, so its changes are not in the log"),
                    "read an ordinary table, or declare proof = \"clock\"".into(),
                ),
            }
        }
        reads
    }

    /// Works out the dependencies, declared or derived.
    fn depend(
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

    fn check_setup(&mut self, installed: Option<&setup::Installed>, needs: &Plan) {
        let mend = "run `candor setup`".to_owned();
        match installed {
            None => self.refuse("the database has no change log".into(), mend),
            Some(installed) if !installed.broken.is_empty() => {
                self.refuse(format!("changes are not recorded: {}", installed.broken.join("; ")), mend);
            }
            Some(installed) => {
                let lacking = installed.plan.lacks(needs);
                if !lacking.is_empty() {
                    self.refuse(format!("the change log does not cover {} yet", lacking.join(", ")), mend);
                }
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Refused)
    }

    /// Refused, unless the view does not rest on the log.
    fn unprovable(&mut self, message: String, mend: String) {
        if self.query.proof == ProofKind::Log {
            self.refuse(message, mend);
        }
    }

    fn refuse(&mut self, message: String, mend: String) {
        self.refuse_with(Finding { severity: Severity::Refused, message, mend });
    }

    fn refuse_with(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn warn(&mut self, message: String, mend: String) {
        let finding = Finding { severity: Severity::Warning, message, mend };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}
