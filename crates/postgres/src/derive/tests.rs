//! Views held against a real server.

mod doubtful;
mod property;
mod pure;
mod refusals;
mod shapes;

use crate::names::SearchPath;
use crate::view::Compiled;
use candor_core::port::SourceError;
use candor_core::{Dependency, KeyColumn, KeyType, ProofKind, Rows, Severity, TaggedBy, ViewQuery};
use candor_testbed::Cluster;
use tokio_postgres::{Client, NoTls};

/// A shop of records, small; `track` tells whole old rows, the others their primary keys.
const SHOP: &str = "
    CREATE TABLE artist (artist_id int PRIMARY KEY, name varchar(120));
    CREATE TABLE album (album_id int PRIMARY KEY, title varchar(160), artist_id int);
    CREATE TABLE genre (genre_id int PRIMARY KEY, name varchar(120));
    CREATE TABLE track (track_id int PRIMARY KEY, name varchar(200), album_id int, genre_id int, milliseconds int,
                        code char(4), price numeric(10,2), added timestamptz);
    CREATE TABLE invoice (invoice_id int PRIMARY KEY, customer_id int, billed date, total numeric(10,2));
    CREATE TABLE invoice_line (line_id int PRIMARY KEY, invoice_id int, track_id int, quantity int);
    ALTER TABLE track REPLICA IDENTITY FULL;
    ALTER TABLE invoice_line REPLICA IDENTITY FULL;
    CREATE VIEW lines AS SELECT l.invoice_id AS invoice, l.quantity AS n, t.name AS title, t.track_id AS track
        FROM invoice_line l JOIN track t USING (track_id);
    CREATE PUBLICATION candor FOR ALL TABLES WITH (publish_via_partition_root = true);
";

/// A server with tables of its own.
struct Bench {
    cluster: Cluster,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Bench {
    fn new(sql: &str) -> Self {
        let cluster = Cluster::start();
        cluster.psql(sql);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(connect(&cluster.url("postgres")));
        Self { cluster, runtime, client }
    }

    fn compile(&self, query: &ViewQuery) -> Compiled {
        self.runtime.block_on(compile(&self.client, "candor", query)).unwrap()
    }

    /// How each table reaches an entry, in a line each; panics if the view is refused.
    fn ways(&self, query: &ViewQuery) -> Vec<String> {
        let compiled = self.compile(query);
        let refused = refusals_of(&compiled);
        assert!(refused.is_empty(), "{}: {refused:?}", query.sql);
        ways(&compiled)
    }
}

/// Under the path that roles have where nobody sets another.
async fn compile(client: &Client, publication: &str, query: &ViewQuery) -> Result<Compiled, SourceError> {
    super::compile(client, &SearchPath::of(["public"]), publication, query).await
}

#[expect(clippy::disallowed_methods, reason = "a test's connection lives as long as the test")]
async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn ways(compiled: &Compiled) -> Vec<String> {
    let mut ways = Vec::new();
    for read in &compiled.derived.reads {
        let table = read.table.strip_prefix("public.").unwrap_or(&read.table);
        ways.extend(read.tagged_by.iter().map(|by| match by {
            TaggedBy::Key { column, parameter } => format!("{table}.{column} = ${}", parameter + 1),
            TaggedBy::Met { column, from } => format!("{table}.{column} = {from}"),
            TaggedBy::Table { .. } => format!("{table}: any"),
        }));
    }
    ways
}

fn refusals_of(compiled: &Compiled) -> Vec<String> {
    let findings = compiled.derived.findings.iter();
    findings
        .filter(|finding| finding.severity == Severity::Refused)
        .map(|finding| format!("{} | {}", finding.message, finding.mend))
        .collect()
}

fn view(key: &[KeyType], sql: &str) -> ViewQuery {
    let column =
        |(place, kind): (usize, &KeyType)| KeyColumn { name: format!("k{place}").into(), kind: *kind };
    ViewQuery {
        name: "probe".into(),
        key: key.iter().enumerate().map(column).collect(),
        sql: sql.into(),
        rows: Rows::Many,
        invalidated_by: None,
        proof: ProofKind::Log,
    }
}

fn declaring(mut query: ViewQuery, dependencies: &[&str]) -> ViewQuery {
    query.invalidated_by = Some(dependencies.iter().map(|text| Dependency::parse(text).unwrap()).collect());
    query
}
