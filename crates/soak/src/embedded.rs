//! Candor as a library: an instance in this process, with a slot of its own, and loaders that may be made to lie.

use crate::observation::{Asked, Claim, Content};
use crate::schema::{ACCOUNT, ACCOUNTS, VIEWS};
use candor::core::port::{BoxFuture, Log, Source, SourceError, ViewHandle};
use candor::{
    Answer, Any, Cache, Contract, Demand, Demanded, Level, LoadContext, LoadError, LoadMany, Loaded,
    ManyLoaded, ReadError, Refresh, SessionToken,
};
use candor_core::{KeyColumn, KeyType, KeyValue, ProofKind, Rows, ViewQuery};
use candor_postgres::{ConnectOptions, Postgres, PostgresOptions};
use std::sync::Arc;
use std::time::Duration;

/// A defence taken out on purpose, to see the oracle notice.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    /// None.
    #[default]
    None,
    /// Loaders that read the value first and take its stamp a little later.
    StampAfterRead,
}

type Json = Arc<str>;
type Loading = BoxFuture<'static, Result<Loaded<Json>, LoadError>>;
type Views = Cache<(usize, i64), Json>;

/// One instance.
#[derive(Clone)]
pub(crate) struct Embedded {
    pub(crate) cache: Views,
    postgres: Postgres,
    handles: Arc<[ViewHandle]>,
    lie: Lie,
}

/// All our views, as a source wants them.
pub(crate) fn queries() -> Vec<ViewQuery> {
    let query = |(name, sql, many): (&str, &str, bool)| ViewQuery {
        name: name.into(),
        key: vec![KeyColumn { name: "id".into(), kind: KeyType::Int8 }],
        sql: sql.into(),
        rows: if many { Rows::Many } else { Rows::One },
        invalidated_by: None,
        proof: ProofKind::Log,
    };
    VIEWS.into_iter().map(query).collect()
}

/// A handle with this slot.
pub(crate) fn open(url: &str, slot: &str) -> Postgres {
    let connect = ConnectOptions::parse(url, &|_| None).expect("a sound address");
    Postgres::open(PostgresOptions { slot: slot.into(), connections_max: 4, ..PostgresOptions::new(connect) })
}

/// Sets up for an instance with this slot.
pub(crate) async fn set_up(url: &str, slot: &str, queries: &[ViewQuery]) {
    let postgres = open(url, slot);
    let plan = patiently("setup", || postgres.setup(queries)).await;
    assert!(plan.refused.is_empty(), "{plan:#?}");
}

/// Before anything is broken on purpose, only a busy machine can be in the way: its server takes longer than Candor waits.
async fn patiently<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, SourceError>>,
{
    let until = crate::clock::now() + 180_000_000_000;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(crate::clock::now() < until, "{what}: {error:?}"),
        }
        crate::clock::pause(Duration::from_millis(200)).await;
    }
}

impl Embedded {
    /// Sets up, prepares, follows.
    pub(crate) async fn new(url: &str, slot: &str, lie: Lie) -> Self {
        let postgres = open(url, slot);
        let queries = queries();
        set_up(url, slot, &queries).await;
        let mut handles = Vec::new();
        for query in &queries {
            let derived = patiently("prepare", || postgres.prepare(query)).await;
            handles.push(derived.handle.unwrap_or_else(|| panic!("{derived:#?}")));
        }
        let contract = Contract {
            level: Level::Any,
            ttl: Duration::from_secs(20),
            absent_ttl: Duration::from_secs(10),
            refresh: Refresh::None,
            timeout: Duration::from_secs(3),
            ..Contract::default()
        };
        let cache =
            Cache::builder().contract(contract).log(Arc::new(postgres.clone()) as Arc<dyn Log>).build();
        Self { cache, postgres, handles: handles.into(), lie }
    }

    pub(crate) async fn read(
        &self,
        view: usize,
        key: i64,
        level: Level,
        token: Option<SessionToken>,
    ) -> Result<(Content, Claim, SessionToken), String> {
        let demanded = Demanded(Demand { level, token });
        let answer: Answer<Json, Demanded> =
            self.cache.at(demanded).read(&(view, key), self.loader()).await.map_err(|error| why(&error))?;
        let content = Content::of(view, key, answer.value().map(|json| &**json));
        Ok((content, Claim::of_receipt(&answer.receipt()), answer.session()))
    }

    /// All accounts at one position.
    pub(crate) async fn snapshot(&self) -> Result<(Content, Claim), String> {
        let keys: Vec<_> = (0..ACCOUNTS).map(|id| (ACCOUNT, id)).collect();
        let loader = Arc::new(Many { postgres: self.postgres.clone(), handle: self.handles[ACCOUNT] });
        let answers = self.cache.snapshot(&keys, Any, loader).await.map_err(|error| why(&error))?;
        let rows: Vec<_> = answers
            .iter()
            .map(|answer| answer.value().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default())
            .collect();
        let claims = answers.iter().map(|answer| Claim::of_receipt(&answer.receipt())).collect();
        Ok((Content::accounts(&rows), strictest(claims)))
    }

    pub(crate) async fn fence(&self) -> Result<SessionToken, String> {
        self.cache.fence().await.map_err(|error| why(&error))
    }

    fn loader(&self) -> impl Fn(LoadContext<(usize, i64), Json>) -> Loading + Send + Sync + 'static {
        let (postgres, handles, lie) = (self.postgres.clone(), Arc::clone(&self.handles), self.lie);
        move |context| {
            let (view, key) = *context.key();
            let (postgres, handle) = (postgres.clone(), handles[view]);
            Box::pin(async move {
                let keys: Arc<[Box<[KeyValue]>]> = Arc::new([Box::new([KeyValue::Int(key)])]);
                let mut fill = postgres.fill(handle, Arc::clone(&keys)).await?;
                if lie == Lie::StampAfterRead {
                    crate::clock::pause(Duration::from_millis(30)).await;
                    fill.stamp = postgres.fill(handle, keys).await?.stamp;
                }
                let filled = fill.answers.pop().expect("one answer per key");
                let loaded = Loaded::maybe(filled.value.map(text));
                Ok(filled.tags.into_iter().fold(loaded, Loaded::tagged).stamped(fill.stamp))
            })
        }
    }
}

fn text(bytes: Box<[u8]>) -> Json {
    String::from_utf8_lossy(&bytes).into()
}

/// Several receipts as one: each of them must be true of its answer, so all share the weakest bound; from memory only if
/// all are.
pub(crate) fn strictest(claims: Vec<Claim>) -> Claim {
    let bound = claims.iter().map(|claim| claim.bound).collect::<Option<Vec<_>>>();
    let is_memory = claims.iter().all(|claim| claim.origin == "l1");
    let mut one = claims.into_iter().find(|claim| is_memory || claim.origin != "l1").unwrap_or_default();
    one.bound = bound.and_then(|bounds| bounds.into_iter().max());
    one
}

/// The kind of an error, without what differs from one to the next.
fn why(error: &ReadError) -> String {
    let detail = |text: &str| {
        text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).take(70).collect::<String>()
    };
    match error {
        ReadError::Load(load) => format!("source {:?}", load.fault),
        ReadError::Overloaded(_) => "overloaded".into(),
        ReadError::Timeout(_) => "timeout".into(),
        ReadError::LevelUnmet { why, .. } => format!("level unmet: {}", detail(why)),
        ReadError::SnapshotUnmet { .. } => "snapshot unmet".into(),
        ReadError::Session(error) => format!("session: {}", detail(&error.to_string())),
        other => detail(&other.to_string()),
    }
}

/// Loads keys of one view in one transaction.
struct Many {
    postgres: Postgres,
    handle: ViewHandle,
}

impl LoadMany<(usize, i64), Json> for Many {
    fn load_many(&self, keys: Vec<(usize, i64)>) -> BoxFuture<'static, Result<ManyLoaded<Json>, LoadError>> {
        let (postgres, handle) = (self.postgres.clone(), self.handle);
        Box::pin(async move {
            let keys: Arc<[Box<[KeyValue]>]> =
                keys.iter().map(|(_, key)| Box::from([KeyValue::Int(*key)])).collect();
            let fill = postgres.fill(handle, keys).await?;
            let answers = fill.answers.into_iter().map(|filled| {
                filled.tags.into_iter().fold(Loaded::maybe(filled.value.map(text)), Loaded::tagged)
            });
            Ok(ManyLoaded { stamp: fill.stamp, answers: answers.collect() })
        })
    }
}

/// The level a read asks the library for.
pub(crate) fn level(asked: Asked) -> Level {
    match asked {
        Asked::Strong => Level::Strong,
        Asked::Bounded(limit) => Level::Bounded(limit),
        Asked::Session => Level::Session,
        Asked::Any | Asked::Snapshot => Level::Any,
    }
}
