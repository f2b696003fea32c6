//! Holding a view against the live server: what is refused, what it depends on, and by what its entries are tagged.
//!
//! ```text
//!  SQL ──► placeholders ──► server (a temporary view, rolled back) ──► what is read, by which functions ──► refuse
//!                                     │                                                                        │
//!                                     └─► the SQL with all names resolved ──► blocks ──► reach ──► depend ◄────┘
//! ```
//!
//! The server says what is read; the text only ever makes that narrower. Where it cannot be understood, every row of a
//! table matters: *less narrow, never less sound*.
//!
//! Names are resolved as the role that fills resolves them ([`crate::names`]), and each fill asks whether they still are
//! ([`still`]).
//!
//! Everything is asked in one transaction that is rolled back. If the future is dropped before it is done, the connection
//! is left inside that transaction and must not be used for anything else.

mod aggregates;
mod blocks;
mod conditions;
mod depend;
mod from;
pub(crate) mod placeholders;
pub(crate) mod reach;
mod regions;
pub(crate) mod server;
mod still;
mod syntax;
#[cfg(test)]
mod tests;
mod times;

pub(crate) use depend::can_name;

use crate::canonical::parameter_type;
use crate::catalog::Catalog;
use crate::catalog::read::{named, read};
use crate::derive::placeholders::scan;
use crate::derive::server::{Told, ask, define};
use crate::fault;
use crate::names::SearchPath;
use crate::refuse;
use crate::setup::Needs;
use crate::view::Compiled;
use candor_core::port::{Fault, SourceError};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{Dependency, Derived, Finding, ProofKind, Severity, ViewQuery};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// Begins the names of the functions that stand for placeholders.
const KEY_FUNCTION: &str = "candor_key_";

/// Preparing reads the catalog alone; longer than this and a lock or a dead connection is in the way.
pub(crate) const COMPILE_TIMEOUT: Duration = Duration::from_secs(15);

/// The temporary view needs a transaction that may write, even if the role's are read-only. It waits for no lock longer
/// than a moment: an ALTER TABLE in progress must not queue readers behind us.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET LOCAL lock_timeout = '2s'; \
                     SET LOCAL statement_timeout = '10s'; SET LOCAL standard_conforming_strings = on; \
                     SET LOCAL quote_all_identifiers = off";

/// Holds a view against the server. `path`: where the role that fills looks for what is not qualified.
///
/// # Errors
///
/// Only if the server could not be asked; what is wrong with the view is a finding.
pub(crate) async fn compile(
    client: &Client,
    path: &SearchPath,
    publication: &str,
    query: &ViewQuery,
) -> Result<Compiled, SourceError> {
    compile_given(client, path, publication, query, Given::AsItIs).await
}

/// What the view needs of the log to be followed as narrowly as its SQL allows; or why nothing helps it.
///
/// # Errors
///
/// Only if the server could not be asked.
pub(crate) async fn needs(
    client: &Client,
    path: &SearchPath,
    publication: &str,
    query: &ViewQuery,
) -> Result<Result<Needs, Derived>, SourceError> {
    let compiled = compile_given(client, path, publication, query, Given::SetUp).await?;
    if compiled.derived.is_refused() {
        return Ok(Err(compiled.derived));
    }
    let mut needs = Needs::default();
    for registration in compiled.registrations {
        needs.add(&registration.table, registration.by);
    }
    Ok(Ok(needs))
}

/// What is taken for given when a view is held against the server.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Given {
    /// What is there.
    AsItIs,
    /// As if setup had been run: every table published, with all old values.
    SetUp,
}

async fn compile_given(
    client: &Client,
    path: &SearchPath,
    publication: &str,
    query: &ViewQuery,
    given: Given,
) -> Result<Compiled, SourceError> {
    let doing = format!("preparing view `{}`", query.name);
    let compiling = async {
        let mut compiler = Compiler { client, path, publication, query, given, findings: Vec::new() };
        compiler.begin().await.map_err(|error| fault::of(&doing, &error))?;
        let compiled = compiler.compile(&doing).await;
        let ended = client.batch_execute("ROLLBACK").await.map_err(|error| fault::of(&doing, &error));
        let mut compiled = compiled?;
        ended?;
        compiled.derived.findings = compiler.findings;
        Ok(compiled)
    };
    tokio::time::timeout(COMPILE_TIMEOUT, compiling).await.unwrap_or_else(|_| {
        Err(SourceError::slow(format!("{doing}: no answer within {} s", COMPILE_TIMEOUT.as_secs())))
    })
}

struct Compiler<'a> {
    client: &'a Client,
    path: &'a SearchPath,
    publication: &'a str,
    query: &'a ViewQuery,
    given: Given,
    findings: Vec<Finding>,
}

/// Everything the server told, for the work that is done without it.
struct Seen {
    told: Told,
    catalog: Catalog,
    /// Names of columns by relation and number.
    names: BTreeMap<(u32, i32), String>,
    /// What the tables named in `invalidated_by` are.
    declared: BTreeMap<String, u32>,
}

impl Compiler<'_> {
    /// Begins the transaction, under the search path of the role that fills.
    async fn begin(&self) -> Result<(), tokio_postgres::Error> {
        let path = format!("; SET LOCAL search_path = {}", self.path.as_sql());
        #[cfg(candor_sabotage)]
        let path = if is(Sabotage::NamesOfCompiler) { String::new() } else { path };
        self.client.batch_execute(&format!("{BEGIN}{path}")).await
    }

    async fn compile(&mut self, doing: &str) -> Result<Compiled, SourceError> {
        let mut compiled = blank(self.query, self.path);
        let scanned = scan(&self.query.sql);
        let types: Vec<Type> = self.query.key.iter().map(|column| parameter_type(column.kind)).collect();
        let statement = match self.client.prepare_typed(&self.query.sql, &types).await {
            Ok(statement) => statement,
            Err(error) => {
                let finding = self.opinion(doing, error).await?;
                let missing =
                    self.path.missing(self.client).await.map_err(|error| fault::of(doing, &error))?;
                self.hidden(&missing).await.map_err(|error| fault::of(doing, &error))?;
                self.findings.push(finding);
                return Ok(compiled);
            }
        };
        compiled.derived.columns = statement.columns().iter().map(|column| column.name().into()).collect();
        self.findings.extend(refuse::shape(self.query, &scanned, &compiled.derived.columns));
        if self.is_refused() {
            return Ok(compiled);
        }
        let defined = define(self.client, self.query, &scanned, &compiled.derived.columns).await;
        if let Err(error) = defined {
            let is_denied = error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
            if !is_denied {
                let finding = self.opinion(doing, error).await?;
                self.findings.push(finding);
            } else if compiled.is_logged || !syntax::only_reads(&self.query.sql) {
                self.findings.push(refuse::no_temporary(&error));
            }
            return Ok(compiled);
        }
        let seen = self.see().await.map_err(|error| fault::of(doing, &error))?;
        self.findings.extend(refuse::writes(&seen.told));
        if compiled.is_logged {
            if seen.told.has_times {
                let present = times::present(self.client, &scanned).await;
                self.findings.extend(present.map_err(|error| fault::of(doing, &error))?);
            }
            self.findings.extend(refuse::unprovable(self.publication, &seen.told, &seen.catalog));
            self.findings.extend(refuse::names_from_elsewhere(&seen.told, &seen.catalog, &seen.names));
            self.look_as_filled().await.map_err(|error| fault::of(doing, &error))?;
            let hiding = self.hiding(&seen.told).await.map_err(|error| fault::of(doing, &error))?;
            #[cfg(candor_sabotage)]
            let hiding = if is(Sabotage::NamesOfCompiler) { Vec::new() } else { hiding };
            self.hidden(&hiding).await.map_err(|error| fault::of(doing, &error))?;
        }
        if !self.is_refused() {
            self.depend(&mut compiled, &seen).await.map_err(|error| fault::of(doing, &error))?;
        }
        if compiled.is_logged && !self.is_refused() {
            compiled.still = self.still(&seen.told).await.map_err(|error| fault::of(doing, &error))?;
        }
        Ok(compiled)
    }

    async fn see(&self) -> Result<Seen, tokio_postgres::Error> {
        let declared: Vec<String> = self
            .query
            .invalidated_by
            .iter()
            .flatten()
            .filter_map(|dependency| match dependency {
                Dependency::Row { table, .. } | Dependency::Table(table) => Some(table.to_string()),
                Dependency::Application(_) => None,
            })
            .collect();
        // While the search path is still that of the role that fills.
        let declared = named(self.client, &declared).await?;
        let told = ask(self.client).await?;
        let mut relations = told.relations.clone();
        relations.extend(declared.values());
        let (mut catalog, mut names) = read(self.client, self.publication, &relations, &told.views).await?;
        let heirs = catalog.relations.values().flat_map(|relation| relation.heirs.clone()).collect();
        let (more, more_names) = read(self.client, self.publication, &heirs, &told.views).await?;
        catalog.relations.extend(more.relations);
        names.extend(more_names);
        if self.given == Given::SetUp {
            catalog.set_up();
        }
        Ok(Seen { told, catalog, names, declared })
    }

    /// What the server does not like about the SQL, as a finding; or the failure to ask.
    async fn opinion(&self, doing: &str, error: tokio_postgres::Error) -> Result<Finding, SourceError> {
        let failed = fault::of(doing, &error);
        if failed.fault != Fault::Contract {
            return Err(failed);
        }
        // The transaction has failed; names are looked up in another.
        let asked = async {
            self.client.batch_execute("ROLLBACK").await?;
            self.begin().await
        };
        asked.await.map_err(|error| fault::of(doing, &error))?;
        refuse::unprepared(self.client, self.query, &error).await.map_err(|error| fault::of(doing, &error))
    }

    fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Refused)
    }

    fn warn(&mut self, message: String, mend: String) {
        let finding = Finding { severity: Severity::Warning, message, mend };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Refuses the view for schemas that the role that fills looks into, and this one does not.
    async fn hidden(&mut self, schemas: &[impl AsRef<str>]) -> Result<(), tokio_postgres::Error> {
        if schemas.is_empty() {
            return Ok(());
        }
        let row = self.client.query_typed_one("SELECT pg_catalog.quote_ident(current_user)", &[]).await?;
        let role: &str = row.try_get(0)?;
        self.findings.extend(schemas.iter().map(|schema| {
            let schema = schema.as_ref();
            refuse::refused(
                format!(
                    "the role that fills looks for tables in the schema `{schema}`, which the role that reads the log may not \
                     use (or it is gone)"
                ),
                format!("GRANT USAGE ON SCHEMA {} TO {role}", crate::catalog::quote(schema)),
            )
        }));
        Ok(())
    }
}

fn blank(query: &ViewQuery, path: &SearchPath) -> Compiled {
    Compiled {
        query: query.clone(),
        still: "true".into(),
        path: path.clone(),
        fixed: Vec::new(),
        by_key: Vec::new(),
        met: Vec::new(),
        registrations: Vec::new(),
        is_logged: query.proof == ProofKind::Log,
        derived: Derived {
            handle: None,
            columns: Vec::new(),
            reads: Vec::new(),
            proof: query.proof,
            findings: Vec::new(),
        },
    }
}
