//! Holding a view against the live schema: what is refused, what it depends on, and by what its entries are tagged.
//!
//! SQLite's authorizer says which tables and columns are read ([`crate::inspect`]); the text says by which equalities
//! rows are reached ([`crate::depend`]), and by which columns USING and NATURAL join, which the authorizer leaves out.
//!
//! Everything is read in one transaction on a connection of its own, because an authorizer makes SQLite prepare every
//! statement of its connection anew.

use crate::fault;
use crate::file::{self, Access};
use crate::image::lower;
use crate::inspect::{Inspection, inspect};
use crate::params;
use crate::refuse;
use crate::schema::{Kind, Schema};
use crate::setup;
use crate::text::{self, Told};
use crate::view::Compiled;
use crate::watch::Plan;
use candor_core::port::SourceError;
use candor_core::{Derived, Finding, ProofKind, Severity, ViewQuery};
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

pub(crate) struct Compiler<'a> {
    pub(crate) query: &'a ViewQuery,
    pub(crate) schema: &'a Schema,
    pub(crate) findings: Vec<Finding>,
}

/// How one table is read, with the columns.
pub(crate) type Reads = BTreeMap<String, BTreeSet<String>>;

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
        let reads = self.tables(&inspection);
        if is_logged {
            self.findings.extend(refuse::volatile(self.query, self.schema, &inspection, told.as_ref()));
        }
        if self.is_refused() {
            return Ok(compiled);
        }
        self.depend(&mut compiled, &reads, statement.as_ref(), told.as_ref(), connection);
        Ok(compiled)
    }

    /// What the text tells beyond the authorizer, of the SQL itself and of every view it reads.
    fn told(&mut self, inspection: &Inspection) -> Told {
        let mut all = Told::default();
        let mut views: Vec<String> = inspection.reads.keys().cloned().collect();
        let mut seen = BTreeSet::new();
        let mut text: Option<(String, Option<&str>)> =
            Some((self.query.name.to_string(), Some(&self.query.sql)));
        loop {
            if let Some((name, body)) = text.take() {
                match body.and_then(text::parse).map(|statement| text::tell(&statement)) {
                    Some(told) => {
                        views.extend(told.relations.iter().cloned());
                        all.ctes.extend(told.ctes);
                        all.relations.extend(told.relations);
                        all.using.extend(told.using);
                        all.has_natural |= told.has_natural;
                    }
                    None if body.is_none_or(text::may_hide_columns) => self.unprovable(
                        format!("the join columns of `{name}` cannot be told from its SQL"),
                        "write the join with ON instead of USING or NATURAL".into(),
                    ),
                    None => {}
                }
            }
            let Some(name) = views.pop() else { return all };
            if let Some(view) = self.schema.table(&name).filter(|table| table.kind == Kind::View)
                && seen.insert(name)
            {
                text = Some((view.name.clone(), refuse::body_of(&view.sql)));
            }
        }
    }

    /// The base tables read, and the columns, with the row number under the name it has in the table.
    fn tables(&mut self, inspection: &Inspection) -> Reads {
        let told = self.told(inspection);
        let ctes = &told.ctes;
        let mut reported = inspection.reads.clone();
        for name in &told.relations {
            // A table that only USING reads is not reported. One that is hidden by a common table expression is no harm.
            if self.schema.table(name).is_some() {
                reported.entry(name.clone()).or_default();
            }
        }
        for (name, columns) in &mut reported {
            let live = self.schema.table(name).into_iter().flat_map(|table| &table.columns);
            let names = live.map(|column| lower(&column.name));
            columns.extend(names.filter(|name| told.has_natural || told.using.contains(name)));
        }
        let mut reads = Reads::new();
        for (name, columns) in &reported {
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
    pub(crate) fn unprovable(&mut self, message: String, mend: String) {
        if self.query.proof == ProofKind::Log {
            self.refuse(message, mend);
        }
    }

    pub(crate) fn refuse(&mut self, message: String, mend: String) {
        self.refuse_with(Finding { severity: Severity::Refused, message, mend });
    }

    fn refuse_with(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(crate) fn warn(&mut self, message: String, mend: String) {
        let finding = Finding { severity: Severity::Warning, message, mend };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}
