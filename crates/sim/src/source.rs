//! The sources under test.

use crate::history::{Commit, History};
use candor::core::port::{BoxFuture, Log, Source as _, SourceError, ViewHandle};
use candor::core::{KeyValue, Rows, ViewQuery};
use candor::testing::MemorySource;
use candor::{Load, LoadContext, LoadError, LoadMany, Loaded, ManyLoaded, ProofKind, World};
use candor_sqlite::Sqlite;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A way for a loader to be wrong on purpose.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LoadFault {
    /// None: the stamp is taken with the value.
    None,
    /// The stamp is taken after the value was read.
    StampAfterRead,
}

/// A source whose every commit is known.
pub trait Source: Send + Sync + 'static {
    /// Commits one transaction and records it.
    fn commit(&self, writes: &[(u32, Option<u64>)], world: &World);

    /// Its log.
    fn log(&self) -> Arc<dyn Log>;

    /// Loads one key; the answer lingers before it returns, as on a real network.
    fn loader(&self, world: &World) -> Arc<dyn Load<u32, u64>>;

    /// Loads several keys in one transaction.
    fn many_loader(&self) -> Arc<dyn LoadMany<u32, u64>>;

    /// The truth.
    fn history(&self) -> &History;
}

/// How long a loaded answer lingers: usually not at all, sometimes long enough for several commits.
async fn linger(draw: u64) {
    match draw % 8 {
        0..=4 => {}
        5 | 6 => pause(Duration::from_micros(100)).await,
        _ => pause(Duration::from_micros(1500)).await,
    }
}

/// The longest wait for a change that is to come between a value and its stamp. The writer may have ended before a load
/// in the background has.
const CHANGE_WITHIN: Duration = Duration::from_secs(2);

/// How an answer lingers whose loader is wrong on purpose: one in eight, until a commit changed its key. The fault then
/// takes effect however seldom the machine lets the writer run. Begun after the value was read; the change that was just
/// being recorded then is one the value may reflect, so that two are waited for.
async fn linger_until_changed(draw: u64, world: &World, history: &History, key: u32) {
    if !draw.is_multiple_of(8) {
        return;
    }
    let wanted = history.changes_of(key) + 2;
    let deadline = world.now().plus(CHANGE_WITHIN);
    while history.changes_of(key) < wanted && world.now() < deadline {
        pause(Duration::from_micros(200)).await;
    }
}

async fn pause(wait: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the readers run in real time")]
    tokio::time::sleep(wait).await;
}

/// The source in memory.
pub struct MemoryWorld {
    source: MemorySource<u32, u64>,
    history: Arc<History>,
    fault: LoadFault,
}

impl MemoryWorld {
    /// An empty source.
    pub fn new(fault: LoadFault) -> Self {
        Self { source: MemorySource::new(), history: Arc::default(), fault }
    }
}

impl Source for MemoryWorld {
    fn commit(&self, writes: &[(u32, Option<u64>)], world: &World) {
        let at = self.source.commit(writes.iter().copied()).at;
        let visible = world.now();
        for (key, value) in writes {
            self.history.record(*key, Commit { at, value: *value, visible });
        }
    }

    fn log(&self) -> Arc<dyn Log> {
        self.source.log()
    }

    fn loader(&self, world: &World) -> Arc<dyn Load<u32, u64>> {
        let (source, world, fault) = (self.source.clone(), world.clone(), self.fault);
        let history = Arc::clone(&self.history);
        Arc::new(move |context: LoadContext<u32, u64>| {
            let (source, world, history) = (source.clone(), world.clone(), Arc::clone(&history));
            async move {
                let (value, mut stamp) = source.read(context.key())?;
                match fault {
                    LoadFault::None => linger(world.draw()).await,
                    LoadFault::StampAfterRead => {
                        linger_until_changed(world.draw(), &world, &history, *context.key()).await;
                        stamp = source.read(context.key())?.1;
                    }
                }
                let tag = MemorySource::<u32, u64>::tag(context.key());
                Ok::<_, SourceError>(Loaded::maybe(value).stamped(stamp).tagged(tag))
            }
        })
    }

    fn many_loader(&self) -> Arc<dyn LoadMany<u32, u64>> {
        self.source.many_loader()
    }

    fn history(&self) -> &History {
        &self.history
    }
}

/// A real SQLite database, written to through a connection that knows nothing of Candor.
pub struct SqliteWorld {
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
    pub async fn new(folder: &Path, fault: LoadFault) -> Self {
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
                        loaded.stamp = candor::Stamp::Sequence(sqlite.fence().await?);
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
