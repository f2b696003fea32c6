//! A small music shop in a temporary directory, somebody who writes to it, and Candor looking on.

use candor_core::port::{Feed, Filled, Log, Source, SourceError, ViewHandle};
use candor_core::{
    Derived, KeyColumn, KeyType, KeyValue, Position, ProofKind, Record, Rows, Severity, Stamp, Tag, ViewQuery,
};
use candor_sqlite::{Sqlite, SqliteOptions};
use rusqlite::Connection;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

pub(crate) const SHOP: &str = "
CREATE TABLE artist (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT NOT NULL,
    artist_id INTEGER REFERENCES artist (id) ON DELETE CASCADE);
CREATE TABLE genre (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE track (id INTEGER PRIMARY KEY, name TEXT NOT NULL, album_id INTEGER, genre_id INTEGER,
    milliseconds INTEGER NOT NULL DEFAULT 0, code TEXT UNIQUE);
CREATE TABLE price (track_id INTEGER NOT NULL, currency TEXT NOT NULL, cents INTEGER NOT NULL,
    PRIMARY KEY (track_id, currency)) WITHOUT ROWID;
INSERT INTO artist VALUES (1, 'Nina'), (2, 'Miles');
INSERT INTO album VALUES (1, 'Pastel Blues', 1), (2, 'Kind of Blue', 2);
INSERT INTO genre VALUES (1, 'Blues'), (2, 'Jazz');
INSERT INTO track VALUES (1, 'Sinnerman', 1, 1, 620000, 'A1'), (2, 'So What', 2, 2, 545000, 'B1'),
    (3, 'Blue in Green', 2, 2, 337000, 'B2');
INSERT INTO price VALUES (1, 'EUR', 99), (2, 'EUR', 129), (2, 'USD', 139);
";

/// The database, a writer, and Candor.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) path: PathBuf,
    pub(crate) writer: Connection,
    pub(crate) sqlite: Sqlite,
}

/// What a fill brought for one key.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) position: Position,
    pub(crate) value: Option<String>,
    pub(crate) tags: Vec<Tag>,
}

pub(crate) fn view(name: &str, key: &[(&str, KeyType)], sql: &str) -> ViewQuery {
    ViewQuery {
        name: name.into(),
        key: key.iter().map(|(name, kind)| KeyColumn { name: (*name).into(), kind: *kind }).collect(),
        sql: sql.into(),
        rows: Rows::Many,
        invalidated_by: None,
        proof: ProofKind::Log,
    }
}

/// A view of one row by an integer.
pub(crate) fn by_id(sql: &str) -> ViewQuery {
    ViewQuery { rows: Rows::One, ..view("one", &[("id", KeyType::Int8)], sql) }
}

pub(crate) fn track() -> ViewQuery {
    by_id("SELECT id, name, album_id FROM track WHERE id = $1")
}

pub(crate) fn int(value: i64) -> Vec<KeyValue> {
    vec![KeyValue::Int(value)]
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(SHOP, |_| {})
    }

    pub(crate) fn with(schema: &str, change: impl FnOnce(&mut SqliteOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.db");
        let writer = connect(&path);
        writer.execute_batch(schema).unwrap();
        let mut options = SqliteOptions::new(&path);
        change(&mut options);
        let sqlite = Sqlite::open(options).unwrap();
        Self { dir, path, writer, sqlite }
    }

    /// Sets up for these views and prepares them.
    pub(crate) async fn views(&self, views: &[ViewQuery]) -> Vec<ViewHandle> {
        let plan = self.sqlite.setup(views).await.unwrap();
        assert!(plan.refused.is_empty(), "{:?}", plan.refused);
        let mut handles = Vec::new();
        for view in views {
            let derived = self.sqlite.prepare(view).await.unwrap();
            assert!(!derived.is_refused(), "{view:?}: {:?}", derived.findings);
            handles.push(derived.handle.unwrap());
        }
        handles
    }

    pub(crate) async fn view(&self, view: ViewQuery) -> ViewHandle {
        self.views(&[view]).await[0]
    }

    pub(crate) async fn prepare(&self, view: &ViewQuery) -> Derived {
        self.sqlite.prepare(view).await.unwrap()
    }

    pub(crate) fn write(&self, sql: &str) {
        self.writer.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) async fn fill(&self, view: ViewHandle, key: Vec<KeyValue>) -> Got {
        self.try_fill(view, key).await.unwrap()
    }

    pub(crate) async fn try_fill(&self, view: ViewHandle, key: Vec<KeyValue>) -> Result<Got, SourceError> {
        let keys: Arc<[Box<[KeyValue]>]> = [key.into_boxed_slice()].into();
        let mut fill = self.sqlite.fill(view, keys).await?;
        let Stamp::Sequence(position) = fill.stamp else { panic!("not a sequence") };
        let Filled { value, tags } = fill.answers.remove(0);
        let value = value.map(|bytes| String::from_utf8(bytes.into_vec()).unwrap());
        Ok(Got { position, value, tags })
    }

    pub(crate) async fn follow(&self) -> Follower {
        Follower { feed: self.sqlite.follow().await.unwrap(), at: None }
    }

    pub(crate) async fn fence(&self) -> Position {
        self.sqlite.fence().await.unwrap().position
    }

    /// Runs the `sqlite3` shell, which is another program with another SQLite.
    pub(crate) fn shell(&self, script: &str) -> String {
        let output = Command::new("sqlite3").arg("-bail").arg(&self.path).arg(script).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether a change after the fill, written by `sql`, reaches what the fill brought.
    pub(crate) async fn reaches(&self, got: &Got, sql: &str) -> bool {
        let mut follower = self.follow().await;
        self.write(sql);
        let seen = follower.catch_up(self).await;
        assert!(
            seen.iter().all(|record| record.epoch == got.position.epoch),
            "reached by tags, not by an epoch"
        );
        is_reached(got, &seen)
    }
}

pub(crate) fn connect(path: &std::path::Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

/// Whether records end what a fill brought, exactly as a ledger would judge it.
pub(crate) fn is_reached(got: &Got, records: &[Record]) -> bool {
    records.iter().any(|record| {
        record.epoch != got.position.epoch
            || record.changes.iter().any(|change| {
                change.at > got.position.at && change.tags.iter().any(|tag| got.tags.contains(tag))
            })
    })
}

/// A feed that can be read without waiting.
pub(crate) struct Follower {
    pub(crate) feed: Box<dyn Feed>,
    at: Option<Position>,
}

impl Follower {
    /// What is there now.
    pub(crate) async fn now(&mut self) -> Option<Result<Record, SourceError>> {
        let record = tokio::select! {
            biased;
            record = self.feed.next() => Some(record),
            () = std::future::ready(()) => None,
        };
        if let Some(Ok(record)) = &record {
            self.at = Some(Position { epoch: record.epoch, at: record.at });
        }
        record
    }

    /// Everything up to a fence asked now, without the first opening. A fence answers after the records were delivered.
    pub(crate) async fn catch_up(&mut self, world: &World) -> Vec<Record> {
        let is_new = self.at.is_none();
        let fence = world.fence().await;
        let mut seen: Vec<Record> = Vec::new();
        while let Some(record) = self.now().await {
            seen.push(record.unwrap());
        }
        assert!(self.at.unwrap().reaches(fence), "the feed stands at {:?}, the fence at {fence:?}", self.at);
        if is_new {
            seen.remove(0);
        }
        seen
    }
}

pub(crate) fn notes(records: &[Record]) -> Vec<String> {
    records.iter().flat_map(|record| record.changes.iter().map(|change| change.note.to_string())).collect()
}

pub(crate) fn refusals(derived: &Derived) -> Vec<String> {
    let refused = derived.findings.iter().filter(|finding| finding.severity == Severity::Refused);
    refused.map(|finding| format!("{}; {}", finding.message, finding.mend)).collect()
}
