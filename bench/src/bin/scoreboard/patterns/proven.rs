//! Candor, as a library in each instance: every instance follows the log with a slot of its own.

use super::{Answered, Places};
use crate::ground::Trouble;
use candor::core::port::{BoxFuture, Fault, Log, Source, ViewHandle};
use candor::core::{KeyColumn, KeyType, KeyValue, ProofKind, Rows, SessionToken, ViewQuery};
use candor::{Cache, Contract, Demand, Demanded, Level, Load, LoadContext, LoadError, Loaded};
use candor_postgres::{ConnectOptions, Postgres, PostgresOptions};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) struct Proven {
    level: Level,
    cache: Cache<u32, u64>,
    loader: Arc<Loader>,
    /// What this instance's user has written or seen.
    token: Mutex<SessionToken>,
}

struct Loader {
    postgres: Postgres,
    view: ViewHandle,
    fills: AtomicU64,
}

impl Proven {
    pub(crate) async fn start(places: &Places, level: Level) -> Result<Self, Trouble> {
        let mut options = PostgresOptions::new(ConnectOptions::parse(&places.database, &|_| None)?);
        options.slot = format!("candor_{}", places.instance).into();
        options.connections_max = super::CONNECTIONS;
        let postgres = Postgres::open(options);
        let view = ViewQuery {
            name: "item".into(),
            key: vec![KeyColumn { name: "id".into(), kind: KeyType::Int4 }],
            sql: "SELECT version, name FROM item WHERE id = $1".into(),
            rows: Rows::One,
            invalidated_by: None,
            proof: ProofKind::Log,
        };
        {
            // One after the other: the first makes the publication, the others find it.
            static SETUP: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
            let _alone = SETUP.lock().await;
            postgres.setup(std::slice::from_ref(&view)).await?;
        }
        let derived = postgres.prepare(&view).await?;
        let handle = derived.handle.ok_or_else(|| format!("the view is refused: {:?}", derived.findings))?;
        let contract = Contract { view: "item".into(), level, ..Contract::default() };
        let cache = Cache::builder().contract(contract).log(Arc::new(postgres.clone()) as Arc<dyn Log>).build();
        tokio::time::timeout(Duration::from_secs(30), cache.follower().following()).await?;
        let loader = Arc::new(Loader { postgres, view: handle, fills: AtomicU64::new(0) });
        Ok(Self { level, cache, loader, token: Mutex::default() })
    }

    pub(crate) async fn read(&self, key: u32) -> Result<Answered, Trouble> {
        let is_session = self.level == Level::Session;
        let token = is_session.then(|| self.token.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let demand = Demanded(Demand { level: self.level, token });
        let answer = self.cache.read_with(&key, demand, || Arc::clone(&self.loader) as Arc<dyn Load<u32, u64>>).await?;
        let bound = answer.receipt().bound;
        if is_session {
            let seen = answer.session();
            let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
            seen.positions().iter().for_each(|position| token.observe(*position));
        }
        Ok(Answered { version: answer.into_value().unwrap_or(0), bound })
    }

    /// The user wrote: from now on this must be seen.
    pub(crate) async fn wrote(&self) {
        if let Ok(fence) = self.cache.fence().await {
            let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
            fence.positions().iter().for_each(|position| token.observe(*position));
        }
    }

    pub(crate) fn queries(&self) -> u64 {
        self.loader.fills.load(Ordering::Relaxed) + self.cache.follower().fences()
    }

    pub(crate) async fn close(&self) {
        self.cache.close(Duration::from_secs(2)).await;
    }
}

impl Load<u32, u64> for Loader {
    fn load(&self, context: LoadContext<u32, u64>) -> BoxFuture<'static, Result<Loaded<u64>, LoadError>> {
        self.fills.fetch_add(1, Ordering::Relaxed);
        let (postgres, view, key) = (self.postgres.clone(), self.view, *context.key());
        Box::pin(async move {
            let keys: Arc<[Box<[KeyValue]>]> = Arc::new([Box::new([KeyValue::Int(i64::from(key))])]);
            let mut fill = postgres.fill(view, keys).await?;
            let Some(filled) = fill.answers.pop() else { return Err(LoadError::new(Fault::Contract, "no answer")) };
            let version = filled.value.and_then(|json| version_of(&json));
            Ok(filled.tags.into_iter().fold(Loaded::maybe(version), Loaded::tagged).stamped(fill.stamp))
        })
    }
}

/// From `{"version":7,…}`.
fn version_of(json: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(json).ok()?;
    let (_, rest) = text.split_once("\"version\":")?;
    let digits = rest.trim_start();
    digits[..digits.find(|letter: char| !letter.is_ascii_digit())?].parse().ok()
}
