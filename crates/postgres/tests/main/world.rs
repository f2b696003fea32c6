//! A server of its own, a source over it and a cache over that.

use candor::core::port::{Log, Source};
use candor::{
    Answer, Cache, Contract, Demanded, FollowOptions, Level, LoadContext, LoadError, Loaded, ReadError, Stamp,
};
use candor_core::{Derived, KeyColumn, KeyType, KeyValue, ProofKind, Rows, ViewQuery};
use candor_postgres::{ConnectOptions, Postgres, PostgresOptions};
use candor_testbed::{Cluster, Proxy};
use std::sync::Arc;
use std::time::Duration;

pub(crate) type Json = Arc<str>;
type Loading = candor_core::port::BoxFuture<'static, Result<Loaded<Json>, LoadError>>;
pub(crate) type Views = Cache<(usize, i64), Json>;

/// A database and a cache of some views of it.
pub(crate) struct World {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) postgres: Postgres,
    pub(crate) cache: Views,
    pub(crate) derived: Vec<Derived>,
    loads: Loads,
}

/// How answers are loaded.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loads {
    /// From the primary, stamped with what was seen.
    Primary,
    /// The same, stamped with a position as SQLite's may be, and Postgres's may not.
    Pretending,
    /// From a standby, if it can answer.
    Copy,
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
    options_at(&cluster.url("postgres"))
}

pub(crate) fn options_at(url: &str) -> PostgresOptions {
    let connect = ConnectOptions::parse(url, &|_| None).expect("a sound address");
    PostgresOptions::new(connect)
}

/// The price in a row of JSON.
pub(crate) fn price(json: &str) -> i64 {
    let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
    json["price"].as_i64().expect("a price")
}

impl World {
    /// Runs `schema`, sets up and follows.
    pub(crate) async fn new(cluster: impl Into<Arc<Cluster>>, schema: &str, views: &[ViewQuery]) -> Self {
        let cluster = cluster.into();
        cluster.psql(schema);
        let postgres = Postgres::open(options(&cluster));
        postgres.setup(views).await.expect("setup");
        Self::over(cluster, postgres, views).await
    }

    /// The same, with a network in between.
    pub(crate) async fn through(
        proxy: &Proxy,
        cluster: impl Into<Arc<Cluster>>,
        schema: &str,
        views: &[ViewQuery],
    ) -> Self {
        let cluster = cluster.into();
        cluster.psql(schema);
        let postgres = Postgres::open(options_at(&cluster.url_through(proxy.address(), "postgres")));
        postgres.setup(views).await.expect("setup");
        Self::over(cluster, postgres, views).await
    }

    /// Follows what was set up before.
    pub(crate) async fn over(
        cluster: impl Into<Arc<Cluster>>,
        postgres: Postgres,
        views: &[ViewQuery],
    ) -> Self {
        let world = Self::beside(cluster, postgres, views).await;
        world.followed().await;
        world
    }

    /// Tries to follow what was set up before, and does not wait for it.
    pub(crate) async fn beside(
        cluster: impl Into<Arc<Cluster>>,
        postgres: Postgres,
        views: &[ViewQuery],
    ) -> Self {
        let mut derived = Vec::new();
        for view in views {
            let found = postgres.prepare(view).await.expect("prepare");
            assert!(!found.is_refused(), "{found:#?}");
            derived.push(found);
        }
        let cache = cache(&postgres);
        Self { cluster: cluster.into(), postgres, cache, derived, loads: Loads::Primary }
    }

    /// Another view, which can be proven by now.
    pub(crate) async fn add(&mut self, view: &ViewQuery) -> usize {
        let found = self.postgres.prepare(view).await.expect("prepare");
        assert!(!found.is_refused(), "{found:#?}");
        self.derived.push(found);
        self.derived.len() - 1
    }

    /// The same, with other loads.
    pub(crate) fn loading(mut self, loads: Loads) -> Self {
        self.loads = loads;
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

    /// Waits until the log is followed by a stream that the server has begun to send just now, and everything that is
    /// logged has been told. Nothing is read meanwhile, for the source would mend what memory holds.
    pub(crate) async fn followed_anew(&self) {
        candor_testbed::until("a stream is sent", || {
            self.cluster.psql("SELECT count(*) FROM pg_stat_replication WHERE application_name <> 'heir'")
                == "1"
        });
        self.followed().await;
        self.told().await;
    }

    /// Waits until everything that is logged by now has been told.
    pub(crate) async fn told(&self) {
        let mut at = None;
        for _ in 0..400 {
            if at.is_none() {
                at = self.postgres.fence().await.ok().map(|fence| fence.position);
            }
            let sight = self.cache.follower().ledger().sight();
            if at.is_some_and(|at| {
                sight.is_some_and(|sight| sight.epoch == at.epoch && sight.watermark >= at.at)
            }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the log is not told up to {at:?}: {:?}", self.cache.follower().status());
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

    /// Reads strong until the source answers again.
    pub(crate) async fn strong_again(&self, view: usize, key: i64) -> Option<String> {
        for _ in 0..200 {
            if let Ok(answer) = self.try_read(Level::Strong, view, key).await {
                return answer.value().map(|json| json.to_string());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the source does not come back: {:?}", self.cache.follower().status());
    }

    /// The price, by a strong read that is answered.
    pub(crate) async fn price(&self, view: usize, key: i64) -> i64 {
        price(&self.strong_again(view, key).await.expect("a row"))
    }

    /// Reads strong for a while, failures included, and holds every price against the truth. Proofs come and go
    /// meanwhile; an answer may be late and never false.
    pub(crate) async fn only_tells(&self, truth: i64, view: usize, key: i64) {
        let answered = self.tells_nothing_but(truth, view, key).await;
        assert!(answered > 0, "no answer at all: {:?}", self.cache.follower().status());
    }

    /// As [`World::only_tells`], where no answer at all is as good. Gives how many there were.
    pub(crate) async fn tells_nothing_but(&self, truth: i64, view: usize, key: i64) -> u32 {
        let mut answered = 0;
        for _ in 0..40 {
            if let Ok(answer) = self.try_read(Level::Strong, view, key).await {
                answered += 1;
                let told = price(answer.value().expect("a row"));
                assert_eq!(told, truth, "{:?}", answer.receipt());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answered
    }

    /// Whether a strong read comes from memory.
    pub(crate) async fn is_kept(&self, view: usize, key: i64) -> bool {
        let answer = self.try_read(Level::Strong, view, key).await;
        answer.is_ok_and(|answer| answer.receipt().origin == candor::Origin::L1)
    }

    /// Reads a few times and gives whether any answer came from memory.
    pub(crate) async fn is_ever_kept(&self, view: usize, key: i64) -> bool {
        for _ in 0..10 {
            if self.is_kept(view, key).await {
                return true;
            }
        }
        false
    }

    /// The log that is followed.
    pub(crate) fn log(&self) -> candor_core::LogId {
        self.cache.follower().ledger().sight().expect("followed").epoch.log
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

    /// A session of a program that knows nothing of us.
    pub(crate) async fn client(&self) -> tokio_postgres::Client {
        let url = self.cluster.url("postgres");
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a client");
        tokio::spawn(connection);
        client
    }

    /// A commit that is logged and not visible, because its standby is not there.
    pub(crate) async fn waits_for_a_standby(&self, sql: &str) -> Waiting {
        self.cluster.set("synchronous_standby_names", "absent");
        let client = self.client().await;
        let process: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a process").get(0);
        let sql = sql.to_owned();
        let ended = tokio::spawn(async move { client.batch_execute(&sql).await });
        let waits = format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {process}");
        candor_testbed::until("the commit waits for its standby", || self.cluster.psql(&waits) == "SyncRep");
        Waiting { cluster: Arc::clone(&self.cluster), process, ended }
    }

    pub(crate) fn loader(
        &self,
    ) -> impl Fn(LoadContext<(usize, i64), Json>) -> Loading + Send + Sync + 'static {
        loader(&self.postgres, &self.derived, self.loads)
    }
}

/// A commit that waits for its standby.
pub(crate) struct Waiting {
    cluster: Arc<Cluster>,
    process: i32,
    ended: tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Waiting {
    /// Ends the wait.
    pub(crate) async fn becomes_visible(self) {
        self.cluster.psql(&format!("SELECT pg_cancel_backend({})", self.process));
        self.ended.await.expect("no panic").expect("committed here all the same");
        self.cluster.set("synchronous_standby_names", "");
    }
}

/// Loads one key of one view.
pub(crate) fn loader(
    postgres: &Postgres,
    derived: &[Derived],
    loads: Loads,
) -> impl Fn(LoadContext<(usize, i64), Json>) -> Loading + Send + Sync + 'static {
    let postgres = postgres.clone();
    let handles: Vec<_> = derived.iter().map(|derived| derived.handle.expect("prepared")).collect();
    move |context| {
        let (postgres, handle, key) = (postgres.clone(), handles[context.key().0], context.key().1);
        Box::pin(async move {
            let keys: Arc<[Box<[KeyValue]>]> = Arc::new([Box::new([KeyValue::Int(key)])]);
            let mut fill = match loads {
                Loads::Copy => postgres.fill_from_copy(handle, keys).await?,
                Loads::Primary | Loads::Pretending => postgres.fill(handle, keys).await?,
            };
            let filled = fill.answers.pop().expect("one answer per key");
            let value =
                filled.value.map(|bytes| Json::from(String::from_utf8(bytes.into_vec()).expect("JSON")));
            let stamp = match loads {
                Loads::Pretending => Stamp::Sequence(fill.stamp.upper()),
                Loads::Primary | Loads::Copy => fill.stamp,
            };
            Ok(filled.tags.into_iter().fold(Loaded::maybe(value), Loaded::tagged).stamped(stamp))
        })
    }
}

pub(crate) fn cache(postgres: &Postgres) -> Views {
    cache_that_asks(postgres, FollowOptions::default())
}

pub(crate) fn cache_that_asks(postgres: &Postgres, follow: FollowOptions) -> Views {
    let contract = Contract {
        level: Level::Strong,
        refresh: candor::Refresh::None,
        timeout: Duration::from_secs(10),
        ..Contract::default()
    };
    let log: Arc<dyn Log> = Arc::new(postgres.clone());
    Cache::builder().contract(contract).log(log).follow(follow).build()
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
