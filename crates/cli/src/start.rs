//! From the file to open sources and a running service: what several commands begin with.

use crate::args::Global;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal::Terminal;
use candor_core::ViewQuery;
use candor_server::config::{Complaint, SourceDeclaration, SourceKind};
use candor_server::{Config, Database, Prepared, Service, Survey, process_environment};
use candor_sqlite::{Sqlite, SqliteOptions};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// How long a log may take to be followed before reads are tried without it.
const FOLLOW_WITHIN: Duration = Duration::from_secs(3);

/// Setup waits for writers that hold the database, rather than to be told to come again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What is warned of while a connection string is completed; a command's own report has no place for it.
const WARNINGS: &str = "off,candor_postgres::options=warn";

/// Runs a command on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // Whoever has set one up already hears it there.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(WARNINGS))
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .try_init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(format!("no runtime: {error}")))?;
    let outcome = runtime.block_on(work);
    // Nothing that is still in the background is worth waiting for.
    runtime.shutdown_background();
    outcome
}

/// Reads the configuration.
pub(crate) fn config(global: &Global) -> Result<Config, Failure> {
    let file = &global.config;
    if !file.exists() {
        let missing = Complaint::of_file(
            file,
            "there is no such file",
            "name it with --config or CANDOR_CONFIG; `candor demo` needs none",
        );
        return Err(Failure::config(missing.into()));
    }
    Config::read(file, &process_environment).map_err(Failure::config)
}

/// Opens every source and holds every view against it.
pub(crate) async fn prepared(config: &Config, terminal: &Terminal) -> Result<Prepared, Failure> {
    let _progress = holding(config, terminal);
    Prepared::open(config).await.map_err(Failure::sources)
}

/// The same as far as it goes.
pub(crate) async fn surveyed(config: &Config, terminal: &Terminal) -> Survey {
    let _progress = holding(config, terminal);
    Survey::of(config).await
}

fn holding(config: &Config, terminal: &Terminal) -> Progress {
    let views = crate::terminal::count(config.views.len(), "view");
    Progress::begin(terminal, format!("holding {views} against the sources"))
}

/// A running service.
pub(crate) async fn service(config: &Config, terminal: &Terminal) -> Result<Service, Failure> {
    prepared(config, terminal).await?.start(config).map_err(Failure::config)
}

/// Waits until the logs are followed, but not for ever: a read then says itself what it misses.
pub(crate) async fn followed(service: &Service) -> bool {
    tokio::time::timeout(FOLLOW_WITHIN, service.followed()).await.is_ok()
}

/// Opens one source.
pub(crate) fn database(source: &SourceDeclaration) -> Result<Database, Failure> {
    let opened = match &source.kind {
        SourceKind::Sqlite { path } => {
            let options = SqliteOptions { busy_timeout: BUSY_TIMEOUT, ..SqliteOptions::new(path) };
            Sqlite::open(options).map(Database::Sqlite)
        }
        SourceKind::Postgres { .. } => Database::open(source),
    };
    opened.map_err(|error| Failure::of_source(&source.name, &error))
}

/// The sources, or the one of that name.
pub(crate) fn sources<'c>(
    config: &'c Config,
    name: Option<&str>,
) -> Result<Vec<&'c SourceDeclaration>, Failure> {
    match name {
        None => Ok(config.sources.iter().collect()),
        Some(name) => config.source(name).map(|source| vec![source]).ok_or_else(|| {
            let names: Vec<&str> = config.sources.iter().map(|source| &*source.name).collect();
            Failure::usage(format!("there is no source `{name}`"), known("sources", &names))
        }),
    }
}

/// The views of a source.
pub(crate) fn queries(config: &Config, source: &str) -> Vec<ViewQuery> {
    config.views.iter().filter(|view| *view.source == *source).map(|view| view.query.clone()).collect()
}

/// Where a source is, as a member of JSON: the `path` of a file, the `address` of a server.
pub(crate) fn place_member(source: &SourceDeclaration) -> (&'static str, String) {
    let name = match &source.kind {
        SourceKind::Sqlite { .. } => "path",
        SourceKind::Postgres { .. } => "address",
    };
    (name, source.kind.place())
}

/// What there is, for whoever named what there is not.
pub(crate) fn known(what: &str, names: &[&str]) -> String {
    match names {
        [] => format!("the configuration declares no {what}"),
        [one] => format!("there is only `{one}`"),
        names => format!("the {what} are {}", names.join(", ")),
    }
}
