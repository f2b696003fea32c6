//! The shop: a folder that is gone afterwards, a generated database, and a view on it.

use super::Trouble;
use candor::core::port::{Source, ViewHandle};
use candor::core::{KeyColumn, KeyType, KeyValue, Rows, ViewQuery};
use candor::{LoadError, Loaded, ProofKind};
use candor_sqlite::{Sqlite, SqliteOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One product as the readers hold it: its price, and the number of the write that gave it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Product {
    pub(super) price_cents: i64,
    pub(super) version: u64,
}

/// A folder of this run's own; removed at the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, Trouble> {
        let path = std::env::temp_dir().join(format!("candor-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("cannot make the folder {}: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn database(&self) -> PathBuf {
        self.0.join("shop.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        /// The threads of the source end shortly after their handle, and take files away while they are being removed.
        const ATTEMPTS: usize = 50;
        for _ in 0..ATTEMPTS {
            if std::fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        // What cannot be removed is left to the system's own cleaning of temporary files.
    }
}

/// The view every contender reads.
pub(super) fn view() -> ViewQuery {
    ViewQuery {
        name: "product".into(),
        key: vec![KeyColumn { name: "id".into(), kind: KeyType::Int8 }],
        sql: SQL.into(),
        rows: Rows::One,
        invalidated_by: None,
        proof: ProofKind::Log,
    }
}

/// Its statement.
pub(super) const SQL: &str = "SELECT id, name, price_cents, version FROM product WHERE id = $1";

/// Makes the database and installs the change log.
pub(super) async fn open(folder: &Folder, products: u32) -> Result<Sqlite, Trouble> {
    generate(&folder.database(), products)?;
    let mut options = SqliteOptions::new(folder.database());
    options.readers = 2;
    let sqlite = Sqlite::open(options)?;
    sqlite.setup(&[view()]).await?;
    Ok(sqlite)
}

fn generate(path: &Path, products: u32) -> Result<(), rusqlite::Error> {
    const KINDS: [&str; 6] = ["kettle", "lamp", "chair", "bicycle", "radio", "clock"];
    const MAKERS: [&str; 5] = ["Aster", "Birch", "Cedar", "Dahlia", "Elm"];
    let mut connection = rusqlite::Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.execute_batch(
        "CREATE TABLE product (
             id INTEGER PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL,
             stock INTEGER NOT NULL, version INTEGER NOT NULL)",
    )?;
    let filling = connection.transaction()?;
    for id in 1..=products {
        let at = id as usize;
        let name = format!("{} {} no. {id}", MAKERS[at % MAKERS.len()], KINDS[at % KINDS.len()]);
        filling.execute("INSERT INTO product VALUES (?1, ?2, ?3, 100, 0)", (id, name, 1000 + id))?;
    }
    filling.commit()
}

/// Reads one product from the source, with the stamp and the tags that came with it.
pub(super) async fn load(sqlite: &Sqlite, view: ViewHandle, id: u32) -> Result<Loaded<Product>, LoadError> {
    let key: Box<[KeyValue]> = Box::new([KeyValue::Int(i64::from(id))]);
    let mut fill = sqlite.fill(view, Arc::new([key])).await?;
    let Some(filled) = fill.answers.pop() else { return Ok(Loaded::absent().stamped(fill.stamp)) };
    let product = match &filled.value {
        Some(json) => Some(serde_json::from_slice(json).map_err(|error| {
            LoadError::new(candor::core::port::Fault::Contract, format!("not a product: {error}"))
        })?),
        None => None,
    };
    let loaded = Loaded::maybe(product).stamped(fill.stamp);
    Ok(filled.tags.into_iter().fold(loaded, Loaded::tagged))
}
