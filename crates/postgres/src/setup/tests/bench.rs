//! A server, a client of it, and short words for what the tests do all the time.

use crate::setup::{self, Facts, IdentityNeed, Needs, SetupOptions, TableNeed};
use crate::status::{self, Finding, Severity, Status};
use candor_core::port::SourceError;
use candor_testbed::{Builder, Cluster};
use tokio_postgres::{Client, NoTls};

pub(super) const SLOT: &str = "candor";
pub(super) const PUBLICATION: &str = "candor";

pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) cluster: Cluster,
}

impl Bench {
    pub(super) async fn start(schema: &str) -> Self {
        Self::with(Cluster::builder(), schema).await
    }

    pub(super) async fn with(builder: Builder, schema: &str) -> Self {
        let cluster = builder.start();
        cluster.psql(schema);
        Self { client: connect(&cluster, "postgres").await, cluster }
    }

    pub(super) async fn facts(&self, needs: &Needs) -> Facts {
        facts(&self.client, needs).await
    }

    pub(super) async fn plan(&self, needs: &Needs, options: SetupOptions) -> Vec<String> {
        setup::plan(&self.facts(needs).await, needs, options)
    }

    /// Plans and applies with the defaults, and gives the plan.
    pub(super) async fn set_up(&self, needs: &Needs) -> Vec<String> {
        let statements = self.plan(needs, SetupOptions::default()).await;
        self.apply(&statements).await.unwrap();
        statements
    }

    pub(super) async fn apply(&self, statements: &[String]) -> Result<Vec<String>, SourceError> {
        setup::apply(&self.client, statements).await
    }

    pub(super) async fn status(&self, needs: &Needs) -> Status {
        status::read(&self.client, SLOT, PUBLICATION, needs).await.unwrap()
    }

    pub(super) async fn remove(&self) -> Vec<String> {
        let statements = setup::removal(&self.facts(&Needs::default()).await);
        self.apply(&statements).await.unwrap();
        statements
    }
}

pub(super) async fn connect(cluster: &Cluster, user: &str) -> Client {
    let config = format!("host=127.0.0.1 port={} user={user} dbname=postgres", cluster.port());
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own client; the seams belong to the engine")]
    tokio::spawn(connection);
    client
}

pub(super) async fn facts(client: &Client, needs: &Needs) -> Facts {
    let tables: Vec<String> = needs.tables.keys().cloned().collect();
    setup::facts(client, SLOT, PUBLICATION, &tables).await.unwrap()
}

/// Tables, each with the columns whose old values are needed.
pub(super) fn needs(tables: &[(&str, &[&str])]) -> Needs {
    let need = |columns: &[&str]| match columns {
        [] => IdentityNeed::None,
        _ => IdentityNeed::Columns(columns.iter().map(|column| (*column).to_owned()).collect()),
    };
    Needs {
        tables: tables
            .iter()
            .map(|(table, columns)| ((*table).to_owned(), TableNeed { identity: need(columns) }))
            .collect(),
    }
}

/// The one finding that speaks of something.
#[track_caller]
pub(super) fn finding<'a>(status: &'a Status, about: &str) -> &'a Finding {
    let found = status.findings.iter().find(|finding| finding.what.contains(about));
    found.unwrap_or_else(|| panic!("nothing about `{about}` in {:#?}", status.findings))
}

pub(super) fn broken(status: &Status) -> Vec<&Finding> {
    status.findings.iter().filter(|finding| finding.severity == Severity::Broken).collect()
}
