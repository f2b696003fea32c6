//! Who reads: no cache, a TTL cache, cache-aside, and Candor at each level.

use super::Trouble;
use super::shop::{self, Product};
use super::truth::{Author, Truth};
use candor::core::port::ViewHandle;
use candor::{
    Cache, Contract, Demand, Demanded, Level, Load, LoadContext, LoadError, Moment, Refresh, SessionToken,
    World,
};
use candor_sqlite::Sqlite;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// As most teams choose it.
const TTL: Duration = Duration::from_secs(5);
/// Cache-aside teams trust their deletes and choose a longer one.
const ASIDE_TTL: Duration = Duration::from_secs(60);
/// After this many reads a reader lets the others have a turn.
const TURN: u64 = 64;
/// A session writes, and so takes a fence, once in so many reads.
const SESSION_WRITES: u64 = 2000;

/// A way to read, and what came of it.
pub(super) struct Contender {
    pub(super) name: &'static str,
    way: Way,
    pub(super) tally: Tally,
}

enum Way {
    Direct(Loader),
    Ttl(Loader, Shelf),
    /// The same shelf, with a delete after each write.
    Aside(Loader, Shelf),
    Candor(Arc<dyn Load<u32, Product>>, Cache<u32, Product>, Level),
}

/// A cache as teams write it: entries with an end, loads shared by those who wait.
struct Shelf {
    entries: quick_cache::sync::Cache<u32, (Product, Moment)>,
    ttl: Duration,
}

#[derive(Clone)]
struct Loader {
    sqlite: Sqlite,
    view: ViewHandle,
    queries: Arc<AtomicU64>,
}

/// What came of reading.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) reads: AtomicU64,
    pub(super) errors: AtomicU64,
    /// Answers that missed a write which was visible when the read began.
    pub(super) stale: AtomicU64,
    /// Of these, how many missed a write of the application itself.
    pub(super) stale_own: AtomicU64,
    /// How long the missed write had been visible, at worst; nanoseconds.
    pub(super) worst_staleness: AtomicU64,
    /// The largest bound a receipt claimed; nanoseconds.
    pub(super) worst_bound: AtomicU64,
    /// Answers that were staler than their receipt claimed, or than their level allows.
    pub(super) broken: AtomicU64,
    queries: Arc<AtomicU64>,
}

/// What one answer was worth.
struct Seen {
    version: u64,
    bound: Option<Duration>,
}

/// All contenders, fresh.
pub(super) async fn all(
    sqlite: &Sqlite,
    world: &World,
    products: u32,
) -> Result<Vec<Arc<Contender>>, Trouble> {
    let derived = sqlite.prepare(&shop::view()).await?;
    let view = derived.handle.ok_or("the demonstration's own view was refused; this is a bug")?;
    let loader = |tally: &Tally| Loader { sqlite: sqlite.clone(), view, queries: Arc::clone(&tally.queries) };
    let shelf = |ttl| Shelf { entries: quick_cache::sync::Cache::new(2 * products as usize), ttl };
    let mut contenders = Vec::new();
    let mut enter = |name, tally, way| contenders.push(Arc::new(Contender { name, way, tally }));
    let tally = Tally::default();
    let direct = Way::Direct(loader(&tally));
    enter("no cache", tally, direct);
    let tally = Tally::default();
    let ttl = Way::Ttl(loader(&tally), shelf(TTL));
    enter("TTL cache (5 s)", tally, ttl);
    let tally = Tally::default();
    let aside = Way::Aside(loader(&tally), shelf(ASIDE_TTL));
    enter("cache-aside + delete (60 s)", tally, aside);
    for (name, level) in [
        ("candor any", Level::Any),
        ("candor bounded:100ms", Level::Bounded(Duration::from_millis(100))),
        ("candor session", Level::Session),
        ("candor strong", Level::Strong),
    ] {
        let tally = Tally::default();
        let loader: Arc<dyn Load<u32, Product>> = Arc::new(loader(&tally));
        let contract = Contract { view: "product".into(), refresh: Refresh::Early, ..Contract::default() };
        let cache =
            Cache::builder().world(world.clone()).contract(contract).log(Arc::new(sqlite.clone())).build();
        cache.follower().following().await;
        enter(name, tally, Way::Candor(loader, cache, level));
    }
    Ok(contenders)
}

impl Contender {
    /// Whether the application deletes what it writes from this cache.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.way, Way::Aside(..))
    }

    pub(super) fn delete(&self, product: u32) {
        if let Way::Aside(_, shelf) = &self.way {
            shelf.entries.remove(&product);
        }
    }

    /// Queries the source has seen for this contender: fills, and for Candor the fences as well.
    pub(super) fn queries(&self) -> (u64, u64) {
        let fences = match &self.way {
            Way::Candor(_, cache, _) => cache.follower().fences(),
            Way::Direct(_) | Way::Ttl(..) | Way::Aside(..) => 0,
        };
        (self.tally.queries.load(Ordering::Relaxed), fences)
    }

    pub(super) fn is_candor(&self) -> bool {
        matches!(self.way, Way::Candor(..))
    }

    pub(super) async fn close(&self) {
        if let Way::Candor(_, cache, _) = &self.way {
            cache.close(Duration::from_secs(1)).await;
        }
    }

    /// Reads until told to stop, and checks every answer.
    pub(super) async fn read_on(&self, world: &World, truth: &Truth, reading: &AtomicBool) {
        let products = truth.products();
        let mut session = Session { token: SessionToken::default(), floors: vec![0; products as usize + 1] };
        for count in 1u64.. {
            if count.is_multiple_of(TURN) {
                if !reading.load(Ordering::Acquire) {
                    return;
                }
                tokio::task::yield_now().await;
            }
            let draw = world.draw_unit();
            let product = 1 + (draw * draw * f64::from(products)) as u32;
            if count.is_multiple_of(SESSION_WRITES) {
                self.renew_session(&mut session, truth).await;
            }
            let visible = truth.visible(product);
            let begun = world.now();
            match self.read(world, product, &mut session).await {
                Ok(seen) => {
                    self.tally.reads.fetch_add(1, Ordering::Relaxed);
                    self.check(truth, product, &seen, visible, begun, &mut session);
                }
                Err(_) => {
                    self.tally.errors.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    async fn read(&self, world: &World, product: u32, session: &mut Session) -> Result<Seen, Trouble> {
        match &self.way {
            Way::Direct(loader) => Ok(Seen { version: loader.fetch(product).await?.version, bound: None }),
            Way::Ttl(loader, shelf) | Way::Aside(loader, shelf) => {
                let found = shelf.get(world, loader, product).await?;
                Ok(Seen { version: found.version, bound: None })
            }
            Way::Candor(loader, cache, level) => {
                let token = (*level == Level::Session).then(|| session.token.clone());
                let demand = Demand { level: *level, token };
                let answer = cache.read_with(&product, Demanded(demand), || Arc::clone(loader)).await?;
                if *level == Level::Session {
                    session.token = answer.session();
                }
                let bound = answer.receipt().bound;
                Ok(Seen { version: answer.into_value().map_or(0, |product| product.version), bound })
            }
        }
    }

    /// A session that just wrote: it takes a fence, and from then on must see at least what is visible now.
    async fn renew_session(&self, session: &mut Session, truth: &Truth) {
        let Way::Candor(_, cache, Level::Session) = &self.way else { return };
        let floors: Vec<u64> = (0..=truth.products()).map(|product| truth.visible(product)).collect();
        if let Ok(token) = cache.fence().await {
            *session = Session { token, floors };
        }
    }

    fn check(
        &self,
        truth: &Truth,
        product: u32,
        seen: &Seen,
        visible: u64,
        begun: Moment,
        session: &mut Session,
    ) {
        let tally = &self.tally;
        if let Some(bound) = seen.bound {
            tally.worst_bound.fetch_max(nanos(bound), Ordering::Relaxed);
        }
        let mut broken = false;
        if let Way::Candor(_, _, Level::Session) = &self.way {
            let floor = &mut session.floors[product as usize];
            broken |= seen.version < *floor;
            *floor = (*floor).max(seen.version);
        }
        if seen.version < visible
            && let Some(missed) = truth.missed(product, seen.version)
        {
            let staleness = begun.since(missed.visible);
            tally.stale.fetch_add(1, Ordering::Relaxed);
            if missed.author == Author::Application {
                tally.stale_own.fetch_add(1, Ordering::Relaxed);
            }
            tally.worst_staleness.fetch_max(nanos(staleness), Ordering::Relaxed);
            broken |= seen.bound.is_some_and(|bound| staleness > bound);
            broken |= match &self.way {
                Way::Candor(_, _, Level::Strong) => true,
                Way::Candor(_, _, Level::Bounded(limit)) => staleness > *limit,
                _ => false,
            };
        }
        if broken {
            tally.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the reader of the session contender must not be shown anything older than.
struct Session {
    token: SessionToken,
    floors: Vec<u64>,
}

impl Shelf {
    async fn get(&self, world: &World, loader: &Loader, product: u32) -> Result<Product, Trouble> {
        if let Some((found, end)) = self.entries.get(&product) {
            if world.now() < end {
                return Ok(found);
            }
            self.entries.remove_if(&product, |(_, other)| *other == end);
        }
        // Those who wait for the same product share one load.
        let load = async {
            let fetched = loader.fetch(product).await?;
            Ok::<_, Trouble>((fetched, world.now().plus(self.ttl)))
        };
        Ok(self.entries.get_or_insert_async(&product, load).await?.0)
    }
}

impl Loader {
    async fn fetch(&self, product: u32) -> Result<Product, Trouble> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let loaded = shop::load(&self.sqlite, self.view, product).await?;
        loaded.into_value().ok_or_else(|| format!("product {product} is gone").into())
    }
}

impl Load<u32, Product> for Loader {
    fn load(
        &self,
        context: LoadContext<u32, Product>,
    ) -> candor::core::port::BoxFuture<'static, Result<candor::Loaded<Product>, LoadError>> {
        let loader = self.clone();
        Box::pin(async move {
            loader.queries.fetch_add(1, Ordering::Relaxed);
            shop::load(&loader.sqlite, loader.view, *context.key()).await
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
