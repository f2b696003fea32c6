//! A server of its own, a source over it and a cache over that.

use candor::core::port::{Log, Source};
use candor::{Answer, Cache, Contract, Demanded, Level, LoadContext, LoadError, Loaded, ReadError, Stamp};
use candor_core::{Derived, KeyColumn, KeyType, KeyValue, ProofKind, Rows, ViewQuery};
use candor_postgres::{ConnectOptions, Postgres, PostgresOptions};
use candor_testbed::Cluster;
use std::sync::Arc;
use std::time::Duration;

pub(crate) type Json = Arc<str>;
type Loading = candor_core::port::BoxFuture<'static, Result<Loaded<Json>, LoadError>>;
pub(crate) type Views = Cache<(usize, i64), Json>;

/// A database and a cache of some views of it.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) postgres: Postgres,
    pub(crate) cache: Views,
    pub(crate) derived: Vec<Derived>,
    /// Whether loads pretend that their position says what they saw.
    pretends: bool,
}

pub(crate) fn view(name: &str, sql: &str, rows: Rows) -> ViewQuery {
    ViewQuery {
        name: name.into(),
        key: vec![KeyColumn { name: "id".into(), kind: KeyType::Int8 }],
        sql: sql.into(),
        rows,
        invalidated_by: None,
        proof: ProofKind::Log,
    }
}

pub(crate) fn options(cluster: &Cluster) -> PostgresOptions {
    let connect = ConnectOptions::parse(&cluster.url("postgres"), &|_| None).expect("a sound address");
    PostgresOptions::new(connect)
}

impl World {
    /// Runs `schema`, sets up and follows.
    pub(crate) async fn new(cluster: Cluster, schema: &str, views: &[ViewQuery]) -> Self {
        cluster.psql(schema);
        let postgres = Postgres::open(options(&cluster));
        postgres.setup(views).await.expect("setup");
        Self::over(cluster, postgres, views).await
    }

    /// Follows what was set up before.
    pub(crate) async fn over(cluster: Cluster, postgres: Postgres, views: &[ViewQuery]) -> Self {
        let mut derived = Vec::new();
        for view in views {
            let found = postgres.prepare(view).await.expect("prepare");
            assert!(!found.is_refused(), "{found:#?}");
            derived.push(found);
        }
        let cache = cache(&postgres);
        let world = Self { cluster, postgres, cache, derived, pretends: false };
        world.followed().await;
        world
    }

    /// The same, with loads that stamp their answers with a position as SQLite's may, and Postgres's may not.
    pub(crate) fn pretending(mut self) -> Self {
        self.pretends = true;
        self
    }

    /// Another instance over the same database.
    pub(crate) fn cache(&self) -> &Views {
        &self.cache
    }

    pub(crate) async fn followed(&self) {
        let within = tokio::time::timeout(Duration::from_secs(20), self.cache.follower().following()).await;
        assert!(within.is_ok(), "the log is not followed: {:?}", self.cache.follower().status());
    }

    pub(crate) async fn try_read(
        &self,
        level: Level,
        view: usize,
        key: i64,
    ) -> Result<Answer<Json, Demanded>, ReadError> {
        let demanded = Demanded(level.into());
        self.cache.at(demanded).read(&(view, key), self.loader()).await
    }

    pub(crate) async fn read(&self, level: Level, view: usize, key: i64) -> Answer<Json, Demanded> {
        self.try_read(level, view, key).await.expect("an answer")
    }

    pub(crate) async fn strong(&self, view: usize, key: i64) -> Option<String> {
        self.read(Level::Strong, view, key).await.value().map(|json| json.to_string())
    }

    /// Several keys at one position of the source.
    pub(crate) async fn snapshot(&self, keys: &[(usize, i64)]) -> Vec<Option<String>> {
        let loader = Arc::new(Many {
            postgres: self.postgres.clone(),
            handle: self.derived[keys[0].0].handle.expect("prepared"),
        });
        let answers = self.cache.snapshot(keys, candor::Any, loader).await.expect("a snapshot");
        answers.into_iter().map(|answer| answer.into_value().map(|json| json.to_string())).collect()
    }

    /// Reads strong until the answer comes from memory: the entry is kept and proven.
    pub(crate) async fn warm(&self, view: usize, key: i64) {
        for _ in 0..200 {
            let answer = self.read(Level::Strong, view, key).await;
            if answer.receipt().origin == candor::Origin::L1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no answer is kept: {:#?}", self.cache.explain(&(view, key)));
    }

    pub(crate) fn loader(
        &self,
    ) -> impl Fn(LoadContext<(usize, i64), Json>) -> Loading + Send + Sync + 'static {
        let (postgres, pretends) = (self.postgres.clone(), self.pretends);
        let handles: Vec<_> = self.derived.iter().map(|derived| derived.handle.expect("prepared")).collect();
        move |context| {
            let (postgres, handle, key) = (postgres.clone(), handles[context.key().0], context.key().1);
            Box::pin(async move {
                let keys: Arc<[Box<[KeyValue]>]> = Arc::new([Box::new([KeyValue::Int(key)])]);
                let mut fill = postgres.fill(handle, keys).await?;
                let filled = fill.answers.pop().expect("one answer per key");
                let value =
                    filled.value.map(|bytes| Json::from(String::from_utf8(bytes.into_vec()).expect("JSON")));
                let stamp = if pretends { Stamp::Sequence(fill.stamp.upper()) } else { fill.stamp };
                Ok(filled.tags.into_iter().fold(Loaded::maybe(value), Loaded::tagged).stamped(stamp))
            })
        }
    }
}

fn cache(postgres: &Postgres) -> Views {
    let contract = Contract {
        level: Level::Strong,
        refresh: candor::Refresh::None,
        timeout: Duration::from_secs(10),
        ..Contract::default()
    };
    Cache::builder().contract(contract).log(Arc::new(postgres.clone()) as Arc<dyn Log>).build()
}

/// Loads keys of one view in one transaction.
struct Many {
    postgres: Postgres,
    handle: candor_core::port::ViewHandle,
}

impl candor::LoadMany<(usize, i64), Json> for Many {
    fn load_many(
        &self,
        keys: Vec<(usize, i64)>,
    ) -> candor_core::port::BoxFuture<'static, Result<candor::ManyLoaded<Json>, LoadError>> {
        let (postgres, handle) = (self.postgres.clone(), self.handle);
        Box::pin(async move {
            let keys: Arc<[Box<[KeyValue]>]> =
                keys.iter().map(|(_, key)| Box::from([KeyValue::Int(*key)])).collect();
            let fill = postgres.fill(handle, keys).await?;
            let answers = fill.answers.into_iter().map(|filled| {
                let value =
                    filled.value.map(|bytes| Json::from(String::from_utf8(bytes.into_vec()).expect("JSON")));
                filled.tags.into_iter().fold(Loaded::maybe(value), Loaded::tagged)
            });
            Ok(candor::ManyLoaded { stamp: fill.stamp, answers: answers.collect() })
        })
    }
}
