//! One server for all fill tests, a database for each.

use crate::fill::{Bounds, FillPlan, RawFill};
use crate::options::{ConnectOptions, PostgresOptions};
use crate::pool::Pool;
use crate::view::{Compiled, Met, Registration};
use candor_core::port::SourceError;
use candor_core::{Derived, KeyColumn, KeyType, KeyValue, ProofKind, Rows, ViewQuery};
use candor_testbed::Cluster;
use std::sync::{Arc, LazyLock};

static SERVER: LazyLock<Cluster> = LazyLock::new(Cluster::start);

/// A database of a test's own.
pub(crate) struct World {
    pub(crate) database: &'static str,
    pub(crate) pool: Pool,
}

impl World {
    pub(crate) fn new(database: &'static str, schema: &str) -> Self {
        Self::with(database, schema, |_| {})
    }

    pub(crate) fn with(
        database: &'static str,
        schema: &str,
        change: impl FnOnce(&mut PostgresOptions),
    ) -> Self {
        SERVER.psql(&format!("CREATE DATABASE {database}"));
        let world = Self { database, pool: Pool::new(options(&SERVER, database, change)) };
        world.psql(schema);
        world
    }

    pub(crate) fn server(&self) -> &'static Cluster {
        &SERVER
    }

    pub(crate) fn psql(&self, sql: &str) -> String {
        SERVER.psql_in(self.database, sql)
    }

    /// Fills a view of these key columns for keys written as text.
    pub(crate) async fn fill(&self, view: View<'_>, keys: &[&[&str]]) -> Result<RawFill, SourceError> {
        fill(&self.pool, &view.plan()?, &view.keys(keys)).await
    }

    /// The answers alone, as text.
    pub(crate) async fn answers(&self, view: View<'_>, keys: &[&[&str]]) -> Vec<Option<String>> {
        texts(&self.fill(view, keys).await.unwrap())
    }

    /// The sentence of a fill that fails, after its fault.
    pub(crate) async fn refusal(&self, view: View<'_>, keys: &[&[&str]]) -> String {
        let error = self.fill(view, keys).await.map(|fill| texts(&fill)).unwrap_err();
        format!("{:?}: {}", error.fault, error.message)
    }
}

/// A fill by a plan for which the schema is always the right one.
pub(crate) async fn fill(
    pool: &Pool,
    plan: &FillPlan,
    keys: &[Box<[KeyValue]>],
) -> Result<RawFill, SourceError> {
    Ok(crate::fill::fill(pool, plan, keys).await?)
}

pub(crate) fn options(
    cluster: &Cluster,
    database: &str,
    change: impl FnOnce(&mut PostgresOptions),
) -> PostgresOptions {
    let connect = ConnectOptions::parse(&cluster.url(database), &|_| None).unwrap();
    let mut options = PostgresOptions::new(connect);
    // A busy machine is not what these tests are about.
    options.acquire_timeout = std::time::Duration::from_secs(10);
    options.statement_timeout = std::time::Duration::from_secs(10);
    change(&mut options);
    options
}

pub(crate) fn texts(fill: &RawFill) -> Vec<Option<String>> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    fill.answers.iter().map(|answer| answer.value.as_deref().map(text)).collect()
}

/// A view under test.
#[derive(Clone)]
pub(crate) struct View<'a> {
    pub(crate) sql: &'a str,
    pub(crate) kinds: &'a [KeyType],
    pub(crate) rows: Rows,
    pub(crate) met: &'a [&'a str],
    pub(crate) bounds: Bounds,
}

impl<'a> View<'a> {
    pub(crate) fn one(sql: &'a str, kinds: &'a [KeyType]) -> Self {
        let bounds = Bounds { rows_max: 100, bytes_max: 10_000 };
        Self { sql, kinds, rows: Rows::One, met: &[], bounds }
    }

    pub(crate) fn many(sql: &'a str, kinds: &'a [KeyType]) -> Self {
        Self { rows: Rows::Many, ..Self::one(sql, kinds) }
    }

    pub(crate) fn keys(&self, keys: &[&[&str]]) -> Vec<Box<[KeyValue]>> {
        let parse = |(part, kind): (&&str, &KeyType)| kind.parse(part).unwrap();
        keys.iter().map(|key| key.iter().zip(self.kinds).map(parse).collect()).collect()
    }

    pub(crate) fn plan(&self) -> Result<FillPlan, SourceError> {
        let key =
            |(place, kind): (usize, &KeyType)| KeyColumn { name: format!("k{place}").into(), kind: *kind };
        let query = ViewQuery {
            name: "v".into(),
            key: self.kinds.iter().enumerate().map(key).collect(),
            sql: self.sql.into(),
            rows: self.rows,
            invalidated_by: None,
            proof: ProofKind::Log,
        };
        let met = |sql: &&str| Met {
            sql: (*sql).to_owned(),
            tagged: registration("public.met", Some("id")),
            table: registration("public.met", None),
        };
        let by_key =
            (0..self.kinds.len()).map(|place| (registration("public.t", Some("id")), place)).collect();
        let derived = Derived {
            handle: None,
            columns: Vec::new(),
            reads: Vec::new(),
            proof: ProofKind::Log,
            findings: Vec::new(),
        };
        let compiled = Compiled {
            query,
            still: "true".into(),
            path: crate::names::SearchPath::of(["public"]),
            fixed: vec![candor_core::Tag(7)],
            by_key,
            met: self.met.iter().map(met).collect(),
            registrations: Vec::new(),
            is_logged: true,
            derived,
        };
        FillPlan::new(Arc::new(compiled), self.bounds)
    }
}

pub(crate) fn registration(table: &str, by: Option<&str>) -> Registration {
    Registration { table: table.into(), columns: None, by: by.map(str::to_owned) }
}
