//! Making one connection: to the first host that answers and can be written to, directly or through a pooler.

use super::cancel::Canceller;
use super::{Route, Shared, settings};
use crate::identity::Identity;
use crate::options::{is_socket_directory, place};
use crate::{connect, fault};
use candor_core::port::SourceError;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Connection, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Statements kept by name in one session. There are a few per view; more means that texts vary that should not.
const STATEMENTS_MAX: usize = 256;

/// A connection that stands.
pub(crate) struct Conn {
    pub(crate) client: Client,
    pub(crate) route: Route,
    /// Whether the server was a standby when it was last heard of.
    pub(crate) in_recovery: bool,
    /// The search path that fills have set, if the session is ours.
    path: Option<Box<str>>,
    statements: HashMap<Arc<str>, Statement>,
    host: Box<str>,
    port: u16,
    tls: Option<MakeRustlsConnect>,
    _counted: Counted,
}

/// One of the pool's connections, for as long as it stands.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.figures.size.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.figures.size.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tries the hosts in order. A standby is taken only if no host can be written to: its fills prove less.
pub(super) async fn connect(shared: &Arc<Shared>) -> Result<Conn, SourceError> {
    let hosts = &shared.options.connect.hosts;
    let (mut standby, mut failures) = (None, Vec::new());
    for (host, port) in hosts {
        match to_host(shared, host, *port).await {
            Ok((conn, identity)) if !conn.in_recovery || hosts.len() == 1 => {
                *shared.identity.lock() = Some(identity);
                return Ok(conn);
            }
            Ok(found) => standby = standby.or(Some(found)),
            Err(error) => failures.push(error),
        }
    }
    match (standby, failures.pop()) {
        (Some((conn, identity)), _) => {
            *shared.identity.lock() = Some(identity);
            Ok(conn)
        }
        (None, Some(mut last)) => {
            for failure in failures.iter().rev() {
                last.message = format!("{}; {}", failure.message, last.message);
            }
            Err(last)
        }
        (None, None) => Err(SourceError::down("no host is given to connect to")),
    }
}

async fn to_host(shared: &Arc<Shared>, host: &str, port: u16) -> Result<(Conn, Identity), SourceError> {
    let connecting = async {
        if shared.route() == Route::Direct {
            match attempt(shared, host, port, Route::Direct).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(Failure::Refused(error)) if settings::is_poolers_refusal(&error) => {}
                Err(failure) => return Err(failure.into_error(shared, host, port)),
            }
        }
        let found = attempt(shared, host, port, Route::Pooler).await;
        let found = found.map_err(|failure| failure.into_error(shared, host, port))?;
        if !shared.is_pooled.swap(true, Ordering::Relaxed) {
            tracing::info!(
                place = place(host, port),
                "a pooler stands before the server; every fill brings its settings along"
            );
        }
        found.ok_or_else(|| SourceError::down(format!("connecting to {} led nowhere", place(host, port))))
    };
    let limit = shared.options.connect.connect_timeout;
    timeout(limit, connecting).await.unwrap_or_else(|_| {
        Err(SourceError::down(format!(
            "connecting to {}: no answer within {} ms; check the address, and firewalls in between",
            place(host, port),
            limit.as_millis()
        )))
    })
}

enum Failure {
    Refused(tokio_postgres::Error),
    Other(SourceError),
}

impl Failure {
    fn into_error(self, shared: &Shared, host: &str, port: u16) -> SourceError {
        match self {
            Self::Refused(error) => shared.connect_failed(&place(host, port), &error),
            Self::Other(error) => error,
        }
    }
}

/// One attempt by one route; `None` if the session lost the settings it was given, so the route is another.
async fn attempt(
    shared: &Arc<Shared>,
    host: &str,
    port: u16,
    route: Route,
) -> Result<Option<(Conn, Identity)>, Failure> {
    let config = config(shared, host, port, route);
    let tls = match config.get_ssl_mode() {
        SslMode::Disable => None,
        _ => Some(connect::tls_config(&shared.options.connect).map_err(Failure::Other)?),
    };
    let tls = tls.map(MakeRustlsConnect::new);
    let client = match &tls {
        Some(tls) => drive(config.connect(tls.clone()).await),
        None => drive(config.connect(NoTls).await),
    };
    let client = client.map_err(Failure::Refused)?;
    let counted = Counted::new(shared);
    if route == Route::Direct {
        let row = client.query_typed_one(settings::MARK_SQL, &[]).await.map_err(Failure::Refused)?;
        if !row.try_get::<_, bool>(0).map_err(Failure::Refused)? {
            return Ok(None);
        }
    }
    let (identity, in_recovery) = identity(&client).await?;
    let statements = HashMap::new();
    let host = host.into();
    let path = None;
    let conn = Conn { client, route, in_recovery, path, statements, host, port, tls, _counted: counted };
    Ok(Some((conn, identity)))
}

/// Gives a connection to a task of its own, which ends with it.
fn drive<S, T>(
    connected: Result<(Client, Connection<S, T>), tokio_postgres::Error>,
) -> Result<Client, tokio_postgres::Error>
where
    Connection<S, T>: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    let (client, connection) = connected?;
    let driving = async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = fault::with_causes(&error), "a connection for fills ended");
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the client library's own task, which ends with its connection"
    )]
    drop(tokio::spawn(driving));
    Ok(client)
}

async fn identity(client: &Client) -> Result<(Identity, bool), Failure> {
    let row = client.query_typed_one(&Identity::sql(), &[]).await.map_err(Failure::Refused)?;
    Identity::of_row(&row).map_err(|error| {
        Failure::Other(SourceError::down(format!("the server's identity cannot be read: {error}")))
    })
}

fn config(shared: &Shared, host: &str, port: u16, route: Route) -> Config {
    use crate::options::TlsMode;
    let options = &shared.options.connect;
    let mut config = Config::new();
    if is_socket_directory(host) {
        config.host_path(host);
    } else {
        config.host(host);
    }
    config
        .port(port)
        .user(&*options.user)
        .dbname(&*options.database)
        .application_name(&*options.application_name)
        .connect_timeout(options.connect_timeout)
        // A silent peer is found out by the deadlines of fills; this only clears away what nobody asks any more.
        .keepalives_idle(std::time::Duration::from_secs(60));
    if let Some(password) = &options.password {
        config.password(password.as_bytes());
    }
    if route == Route::Direct {
        config.options(settings::startup_options(&shared.options));
    }
    config.ssl_mode(match options.tls {
        // Nobody listens in on a socket of the file system, and servers do not encrypt there.
        _ if is_socket_directory(host) => SslMode::Disable,
        TlsMode::Disable => SslMode::Disable,
        TlsMode::Prefer => SslMode::Prefer,
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
    });
    config
}

impl Conn {
    /// Sees to it that names are looked for under this path, in a session that is ours. What was prepared under another the
    /// server reads anew.
    pub(crate) async fn look_into(&mut self, path: &str) -> Result<(), tokio_postgres::Error> {
        #[cfg(candor_sabotage)]
        if is(Sabotage::PathLeft) {
            return Ok(());
        }
        if self.path.as_deref() != Some(path) {
            self.client.batch_execute(&format!("SET search_path = {path}")).await?;
            self.path = Some(path.into());
        }
        Ok(())
    }

    /// A statement by name, prepared at first use.
    pub(crate) async fn prepared(
        &mut self,
        sql: &Arc<str>,
        types: &[Type],
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare_typed(sql, types).await?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(Arc::clone(sql), statement.clone());
        Ok(statement)
    }

    /// Forgets a statement that the server no longer knows, or knows for another shape of its tables.
    pub(crate) fn unprepare(&mut self, sql: &Arc<str>) {
        self.statements.remove(sql);
    }

    /// The identity of the server that answers now.
    pub(crate) async fn identity(&self) -> Result<(Identity, bool), SourceError> {
        identity(&self.client).await.map_err(|failure| match failure {
            Failure::Refused(error) => fault::of("reading the server's identity", &error),
            Failure::Other(error) => error,
        })
    }

    /// What ends a statement of this connection from elsewhere.
    pub(super) fn canceller(&self) -> Canceller {
        Canceller {
            token: self.client.cancel_token(),
            tls: self.tls.clone(),
            host: self.host.clone(),
            port: self.port,
        }
    }
}
