//! A database of any kind: the one place in the server that knows which kinds there are.
//!
//! Fills and logs go through the core's ports, the same for all. What only one kind has (a change table to trim, a slot
//! to look at) is had from the concrete one, for those who ask for it by name.

use crate::config::{SourceDeclaration, SourceKind};
use candor_core::port::{Log, Source, SourceError};
use candor_core::{Derived, ViewQuery};
use candor_postgres::{Postgres, PostgresOptions};
use candor_sqlite::{Sqlite, SqliteOptions, TrimOptions};
use std::sync::Arc;

/// An open database. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Database {
    /// A SQLite file.
    Sqlite(Sqlite),
    /// A PostgreSQL server's database.
    Postgres(Postgres),
}

impl Database {
    /// Opens what is declared. A file must be there; a server is not asked yet.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(declared: &SourceDeclaration) -> Result<Self, SourceError> {
        match &declared.kind {
            SourceKind::Sqlite { path } => {
                Sqlite::open(sqlite(declared, SqliteOptions::new(path))).map(Self::Sqlite)
            }
            SourceKind::Postgres { connect, pooler, standby } => {
                let options = PostgresOptions::new((**connect).clone());
                let (pooler, standby) = (*pooler, standby.as_deref().cloned());
                let options = PostgresOptions { pooler, standby, ..postgres(declared, options) };
                Ok(Self::Postgres(Postgres::open(options)))
            }
        }
    }

    /// Its log.
    pub fn log(&self) -> Arc<dyn Log> {
        match self {
            Self::Sqlite(sqlite) => Arc::new(sqlite.clone()),
            Self::Postgres(postgres) => Arc::new(postgres.clone()),
        }
    }

    /// Where fills go.
    pub fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::Sqlite(sqlite) => Arc::new(sqlite.clone()),
            Self::Postgres(postgres) => Arc::new(postgres.clone()),
        }
    }

    /// Holds a view against the live schema.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn prepare(&self, query: &ViewQuery) -> Result<Derived, SourceError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.prepare(query).await,
            Self::Postgres(postgres) => postgres.prepare(query).await,
        }
    }

    /// The SQLite file, if it is one.
    pub fn as_sqlite(&self) -> Option<&Sqlite> {
        match self {
            Self::Sqlite(sqlite) => Some(sqlite),
            Self::Postgres(_) => None,
        }
    }

    /// The PostgreSQL database, if it is one.
    pub fn as_postgres(&self) -> Option<&Postgres> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(postgres) => Some(postgres),
        }
    }
}

fn sqlite(declared: &SourceDeclaration, default: SqliteOptions) -> SqliteOptions {
    SqliteOptions {
        readers: declared.pool.connections_max,
        // The limiter admits no more than this many at a time; the queue never fills.
        fill_queue: declared.limit.in_flight_max.max(256),
        busy_timeout: declared.pool.acquire_timeout.min(declared.timeout),
        trim: TrimOptions {
            keep_rows: declared.feed.keep_rows,
            // A hundred thousand rows a round: more than anybody writes in the time between two.
            batches_max: 200,
            ..TrimOptions::default()
        },
        ..default
    }
}

fn postgres(declared: &SourceDeclaration, default: PostgresOptions) -> PostgresOptions {
    PostgresOptions {
        connections_max: declared.pool.connections_max,
        acquire_timeout: declared.pool.acquire_timeout,
        statement_timeout: declared.timeout,
        slot: declared.feed.slot.clone(),
        publication: declared.feed.publication.clone(),
        direct: declared.feed.connect.as_deref().cloned(),
        ..default
    }
}
