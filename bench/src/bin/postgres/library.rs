//! The library in this process: a cache over the database that follows its log.

use crate::round::{Bell, Seen};
use crate::world::{LIBRARY, ROWS, SQL, World};
use candor::{Cache, Contract, Demanded, Level, Limits, LoadContext, LoadError, Loaded, Origin, Refresh, TypedView};
use candor_core::port::{Log, Source, ViewHandle};
use candor_core::{KeyColumn, KeyType, KeyValue, ProofKind, Rows, ViewQuery};
use candor_postgres::{ConnectOptions, Postgres, PostgresOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Json = Arc<[u8]>;

pub struct Library {
    pub view: TypedView<i64, Json>,
    _postgres: Postgres,
}

/// The view, as both doors know it.
pub fn view() -> ViewQuery {
    ViewQuery {
        name: "item".into(),
        key: vec![KeyColumn { name: "id".into(), kind: KeyType::Int8 }],
        sql: SQL.into(),
        rows: Rows::One,
        invalidated_by: None,
        proof: ProofKind::Log,
    }
}

/// A handle with a slot and a publication of the role's own, set up.
pub async fn open(world: &World, role: &str) -> Postgres {
    let connect = ConnectOptions::parse(&world.url(role), &|_| None).expect("a sound address");
    let mut options = PostgresOptions::new(connect);
    (options.slot, options.publication) = (role.into(), role.into());
    let postgres = Postgres::open(options);
    postgres.setup(&[view()]).await.expect("set up");
    postgres
}

impl Library {
    pub async fn start(world: &World) -> Self {
        let postgres = open(world, LIBRARY).await;
        let derived = postgres.prepare(&view()).await.expect("asked");
        let handle = derived.handle.unwrap_or_else(|| panic!("the view is refused: {derived:#?}"));
        let contract = Contract { level: Level::Strong, refresh: Refresh::None, ttl: Duration::MAX, ..Contract::default() };
        let log = Arc::new(postgres.clone()) as Arc<dyn Log>;
        // As many loads at once as connections, like the service.
        let limits = Limits { in_flight: 8, queue_timeout: Duration::from_secs(2), ..Limits::default() };
        let builder = Cache::builder().contract(contract).capacity(256 << 20).limits(limits);
        let cache: Cache<i64, Json> = builder.log(log).build();
        cache.follower().following().await;
        let source = postgres.clone();
        let view = cache.bind(move |context: LoadContext<i64, Json>| load(source.clone(), handle, *context.key()));
        Self { view, _postgres: postgres }
    }

    /// Reads every key once.
    pub async fn warm(&self) {
        let readers = 8;
        let tasks: Vec<_> = (0..readers)
            .map(|reader| {
                let view = self.view.clone();
                tokio::spawn(async move {
                    for key in (1..=ROWS as i64).filter(|key| *key as usize % readers == reader) {
                        // One that is refused because the machine is busy is loaded when it is asked for.
                        let _ = view.at(candor::Any).read(&key).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("warmed");
        }
    }

    pub fn client(
        &self,
        world: &World,
        level: Level,
        number: usize,
        bell: Bell,
    ) -> impl Future<Output = Seen> + Send + use<> {
        let view = self.view.clone();
        let mut walk = world.keys.walk(number);
        async move {
            let mut seen = Seen::default();
            let mut turn = 0u32;
            while !bell.is_over() {
                let key = walk.next();
                let since = Instant::now();
                match view.at(Demanded(level.into())).read(&key).await {
                    Ok(answer) => seen.answered(&bell, since, answer.receipt().origin == Origin::L1),
                    Err(_) => seen.failed += 1,
                }
                turn += 1;
                // A plain hit is ready at once; without this one client would keep the others from running.
                if turn % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            seen
        }
    }
}

async fn load(postgres: Postgres, handle: ViewHandle, key: i64) -> Result<Loaded<Json>, LoadError> {
    let keys: Arc<[Box<[KeyValue]>]> = Arc::new([Box::new([KeyValue::Int(key)])]);
    let mut fill = postgres.fill(handle, keys).await?;
    let filled = fill.answers.pop().expect("one answer per key");
    let loaded = Loaded::maybe(filled.value.map(Json::from)).stamped(fill.stamp);
    Ok(filled.tags.into_iter().fold(loaded, Loaded::tagged))
}
