//! How a cache is put together.

use crate::cache::{Cache, Shared};
use crate::follow::{FollowOptions, Follower, KnownLogs};
use crate::limit::Limits;
use crate::seams::World;
use crate::view::View;
use candor_core::port::Log;
use candor_core::{Contract, Level};
use candor_tiers::{Memory, Tier};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`Cache`].
#[must_use]
pub struct CacheBuilder<K, V> {
    contract: Contract,
    world: Option<World>,
    tier: Option<Arc<Memory<K, V>>>,
    bytes_max: u64,
    limits: Limits,
    log: Option<Arc<dyn Log>>,
    follow: FollowOptions,
    known: KnownLogs,
}

impl<K, V> CacheBuilder<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self {
            contract: Contract::default(),
            world: None,
            tier: None,
            bytes_max: 64 << 20,
            limits: Limits::default(),
            log: None,
            follow: FollowOptions::default(),
            known: KnownLogs::default(),
        }
    }

    /// The promises. Default: [`Contract::default`].
    pub fn contract(mut self, contract: Contract) -> Self {
        self.contract = contract;
        self
    }

    /// How long an answer may live, whatever the log says. Default: one hour.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.contract.ttl = ttl;
        self
    }

    /// The level of reads that do not ask for one. Default: `bounded:2s`.
    pub fn level(mut self, level: Level) -> Self {
        self.contract.level = level;
        self
    }

    /// Memory for entries, in bytes of keys, answers and their slots. Default: 64 MiB. What answers own on the heap is
    /// not counted; use [`CacheBuilder::tier`] for a tier that weighs it.
    pub fn capacity(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Keep entries here; caches may share a tier if their keys cannot be alike.
    pub fn tier(mut self, tier: Arc<Memory<K, V>>) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Protect the source. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Prove answers with the source's log. Without one, receipts say `proof: clock`.
    pub fn log(mut self, log: Arc<dyn Log>) -> Self {
        self.log = Some(log);
        self
    }

    /// How the log is followed. Default: [`FollowOptions::default`].
    pub fn follow(mut self, options: FollowOptions) -> Self {
        self.follow = options;
        self
    }

    /// Share session tokens with other caches of this process.
    pub fn known_logs(mut self, known: KnownLogs) -> Self {
        self.known = known;
        self
    }

    /// Time, randomness and tasks. Default: [`World::system`].
    pub fn world(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    /// Builds the cache and, with a log, begins to follow it. Must be called where the world can spawn tasks: with the
    /// default world, inside a Tokio runtime.
    pub fn build(self) -> Cache<K, V> {
        let world = self.world.unwrap_or_else(World::system);
        let follower = match self.log {
            Some(log) => Follower::follow(world.clone(), log, self.follow, self.known),
            None => Follower::local(world.clone(), self.known),
        };
        let tier = self.tier.unwrap_or_else(|| Arc::new(Memory::new(self.bytes_max, |_, _| 0)));
        let shared = Shared::new(world, tier, follower, self.limits);
        let tier = Arc::downgrade(&shared.tier);
        shared.follower.on_generations_used_up(move || {
            if let Some(tier) = tier.upgrade() {
                tier.retain(&mut |_, _| false);
            }
        });
        Cache { shared: Arc::new(shared), view: Arc::new(View::new(self.contract)) }
    }
}
