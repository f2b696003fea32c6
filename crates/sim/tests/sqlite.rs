//! A real SQLite database as a source under test.

use candor::core::port::{BoxFuture, Log, Source as _, SourceError, ViewHandle};
use candor::core::{KeyValue, Rows, ViewQuery};
use candor::{Load, LoadContext, LoadError, LoadMany, Loaded, ManyLoaded, ProofKind, World};
use candor_sim::{Commit, History, LoadFault, Source, linger, linger_until_changed};
use candor_sqlite::Sqlite;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A real SQLite database, written to through a connection that knows nothing of Candor.
pub(crate) struct SqliteWorld {
    sqlite: Arc<Sqlite>,
    view: ViewHandle,
    writer: parking_lot::Mutex<rusqlite::Connection>,
    history: Arc<History>,
    fault: LoadFault,
    commits: AtomicU64,
}

const SCHEMA: &str = "CREATE TABLE item (id INTEGER PRIMARY KEY, value INTEGER NOT NULL, note TEXT)";

impl SqliteWorld {
    /// A fresh database in this folder, set up for one view of one row.
    ///
    /// # Panics
    ///
    /// If the database cannot be made; there is nothing to test then.
    pub(crate) async fn new(folder: &Path, fault: LoadFault) -> Self {
        let path = folder.join("world.db");
        let writer = rusqlite::Connection::open(&path).expect("a database can be made");
        writer.execute_batch(SCHEMA).expect("the schema is sound");
        writer.busy_timeout(Duration::from_secs(5)).expect("a timeout can be set");
        let mut options = candor_sqlite::SqliteOptions::new(&path);
        options.readers = 4;
        let sqlite = Sqlite::open(options).expect("the database opens");
        let view = ViewQuery {
            name: "item".into(),
            key: vec![candor::core::KeyColumn { name: "id".into(), kind: candor::core::KeyType::Int8 }],
            sql: "SELECT value FROM item WHERE id = $1".into(),
            rows: Rows::One,
            invalidated_by: None,
            proof: ProofKind::Log,
        };
        sqlite.setup(std::slice::from_ref(&view)).await.expect("the triggers can be installed");
        let derived = sqlite.prepare(&view).await.expect("the view is sound");
        let view = derived.handle.unwrap_or_else(|| panic!("the view was refused: {:?}", derived.findings));
        let (history, commits) = (Arc::default(), AtomicU64::new(0));
        Self {
            sqlite: Arc::new(sqlite),
            view,
            writer: parking_lot::Mutex::new(writer),
            history,
            fault,
            commits,
        }
    }

    fn write(connection: &mut rusqlite::Connection, writes: &[(u32, Option<u64>)]) -> rusqlite::Result<u64> {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (key, value) in writes {
            match value {
                Some(value) => transaction.prepare_cached(
                    "INSERT INTO item (id, value) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET value = ?2",
                )?.execute((key, *value as i64))?,
                None => transaction.prepare_cached("DELETE FROM item WHERE id = ?1")?.execute([key])?,
            };
        }
        let at: i64 = transaction.query_row("SELECT max(seq) FROM candor_changes", [], |row| row.get(0))?;
        transaction.commit()?;
        Ok(at.unsigned_abs())
    }
}

impl Source for SqliteWorld {
    fn commit(&self, writes: &[(u32, Option<u64>)], world: &World) {
        let mut writer = self.writer.lock();
        // Now and then a transaction that never happens.
        if self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(16) {
            let doomed = writer.transaction().expect("a transaction begins");
            let _ = doomed.execute("UPDATE item SET value = -1", []);
            doomed.rollback().expect("a rollback works");
        }
        let at = Self::write(&mut writer, writes).expect("the writer's transaction commits");
        let visible = world.now();
        for (key, value) in writes {
            self.history.record(*key, Commit { at, value: *value, visible });
        }
    }

    fn log(&self) -> Arc<dyn Log> {
        self.sqlite.clone()
    }

    fn loader(&self, world: &World) -> Arc<dyn Load<u32, u64>> {
        let (sqlite, view, world, fault) = (Arc::clone(&self.sqlite), self.view, world.clone(), self.fault);
        let history = Arc::clone(&self.history);
        Arc::new(move |context: LoadContext<u32, u64>| {
            let (sqlite, world, key) = (Arc::clone(&sqlite), world.clone(), *context.key());
            let history = Arc::clone(&history);
            async move {
                let mut loaded = load(&sqlite, view, &[key]).await?;
                match fault {
                    LoadFault::None => linger(world.draw()).await,
                    LoadFault::StampAfterRead => {
                        linger_until_changed(world.draw(), &world, &history, key).await;
                        loaded.stamp = candor::Stamp::Sequence(sqlite.fence().await?.position);
                    }
                }
                let answer = loaded.answers.pop().unwrap_or_else(Loaded::absent);
                Ok::<_, SourceError>(answer.stamped(loaded.stamp))
            }
        })
    }

    fn many_loader(&self) -> Arc<dyn LoadMany<u32, u64>> {
        Arc::new(Many { sqlite: Arc::clone(&self.sqlite), view: self.view })
    }

    fn history(&self) -> &History {
        &self.history
    }
}

struct Many {
    sqlite: Arc<Sqlite>,
    view: ViewHandle,
}

impl LoadMany<u32, u64> for Many {
    fn load_many(&self, keys: Vec<u32>) -> BoxFuture<'static, Result<ManyLoaded<u64>, LoadError>> {
        let (sqlite, view) = (Arc::clone(&self.sqlite), self.view);
        Box::pin(async move { load(&sqlite, view, &keys).await.map_err(LoadError::from) })
    }
}

async fn load(sqlite: &Sqlite, view: ViewHandle, keys: &[u32]) -> Result<ManyLoaded<u64>, SourceError> {
    let values: Arc<[Box<[KeyValue]>]> =
        keys.iter().map(|key| vec![KeyValue::Int(i64::from(*key))].into_boxed_slice()).collect();
    let fill = sqlite.fill(view, values).await?;
    let answers = fill.answers.into_iter().map(|filled| {
        let loaded = Loaded::maybe(filled.value.as_deref().and_then(parse));
        filled.tags.into_iter().fold(loaded, Loaded::tagged)
    });
    Ok(ManyLoaded { stamp: fill.stamp, answers: answers.collect() })
}

/// `{"value":123}`.
fn parse(json: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(json).ok()?.strip_prefix("{\"value\":")?.strip_suffix('}')?;
    digits.parse().ok()
}
