//! How big a world is: who writes what, who reads how, and how often what may go wrong.
//!
//! The checker visits every interleaving of a world, and their number grows by an order of magnitude with each thing in
//! it. So there is not one world but several, each with one group of dangers in it and nothing that does not concern
//! them.

use crate::defence::Variant;
use crate::set::Set;

/// One transaction.
#[derive(Copy, Clone, Debug)]
pub struct Writer {
    /// The keys it changes.
    pub keys: Set,
    /// Whether it may be visible before its commit is durable.
    pub asynchronous: bool,
}

/// One read.
#[derive(Copy, Clone, Debug)]
pub struct Wanted {
    /// Where it is asked.
    pub instance: u8,
    /// What for.
    pub keys: Set,
    /// How stale it may be.
    pub level: Level,
}

/// What a read demands. Time is counted in changes of what is visible.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything visible before it began.
    Strong,
    /// Everything visible this many changes before the answer.
    Bounded(u8),
    /// Everything its holder has seen or written.
    Session(Holder),
    /// Answers that hold together.
    Snapshot,
}

/// Where a session token comes from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A fence after this transaction was acknowledged.
    Writer(u8),
    /// The answer to this read.
    Reader(u8),
}

/// A world.
#[derive(Clone, Debug)]
pub struct Size {
    /// A word for it.
    pub name: &'static str,
    /// What goes on in it.
    pub about: &'static str,
    /// The transactions, T0 first.
    pub writers: Vec<Writer>,
    /// The reads, R0 first.
    pub reads: Vec<Wanted>,
    /// Number of keys.
    pub keys: u8,
    /// Number of instances.
    pub instances: u8,
    /// Fills of each instance.
    pub fills_max: u8,
    /// Fences of each instance.
    pub fences_max: u8,
    /// Crashes and promotions together.
    pub breaks_max: u8,
    /// Whether there is a standby, which may answer fills and be promoted.
    pub standby: bool,
    /// Whether records come over a relay that repeats, reorders and loses them, also those of former epochs.
    pub relay: bool,
    /// Whether there is a second tier that may return any entry it ever held.
    pub second_tier: bool,
    /// Whether entries are judged and proven further between reads; it matters where knowledge is forgotten or shared.
    pub proves_on: bool,
    /// Changes each ledger remembers of one shard, before it forgets.
    pub remembered: usize,
}

/// How often a ledger may begin a new epoch in one history; an old leader's records could make it change for ever.
pub(crate) const BEGINNINGS_MAX: usize = 3;

const A: Set = key(0);
const B: Set = key(1);

const fn key(number: u8) -> Set {
    Set::single(number)
}

const fn sync(keys: Set) -> Writer {
    Writer { keys, asynchronous: false }
}

const fn lazy(keys: Set) -> Writer {
    Writer { keys, asynchronous: true }
}

const fn read(instance: u8, keys: Set, level: Level) -> Wanted {
    Wanted { instance, keys, level }
}

impl Size {
    fn plain(name: &'static str, about: &'static str, writers: Vec<Writer>, reads: Vec<Wanted>) -> Self {
        Self {
            name,
            about,
            writers,
            reads,
            keys: 1,
            instances: 1,
            fills_max: 1,
            fences_max: 1,
            breaks_max: 0,
            standby: false,
            relay: false,
            second_tier: false,
            proves_on: false,
            remembered: 4,
        }
    }

    /// The small worlds: every one in a moment.
    pub fn small() -> Vec<Self> {
        let strong = read(0, A, Level::Strong);
        let bounded = read(0, A, Level::Bounded(1));
        vec![
            Self::plain(
                "races",
                "two writers of a key, one of them asynchronous; a strong read",
                vec![sync(A), lazy(A)],
                vec![strong],
            ),
            Self::plain(
                "bounded",
                "two writers of a key; a read that allows for one change",
                vec![sync(A), sync(A)],
                vec![bounded],
            ),
            Self {
                breaks_max: 1,
                ..Self::plain(
                    "crash",
                    "an asynchronous writer, and a crash that may lose what was seen",
                    vec![lazy(A)],
                    vec![strong],
                )
            },
            Self {
                standby: true,
                breaks_max: 1,
                ..Self::plain(
                    "standby",
                    "a standby that answers fills, lags, and may be promoted",
                    vec![sync(A)],
                    vec![strong],
                )
            },
            Self {
                relay: true,
                ..Self::plain(
                    "relay",
                    "records that are repeated, reordered across two leaders and lost",
                    vec![sync(A), sync(A)],
                    vec![strong],
                )
            },
            Self {
                second_tier: true,
                instances: 2,
                ..Self::plain(
                    "second-tier",
                    "two instances share a tier that drops, rolls back and resurrects",
                    vec![sync(A)],
                    vec![read(1, A, Level::Strong)],
                )
            },
            Self {
                instances: 2,
                // A session needs no fence of the instance: its token is a position already.
                fences_max: 0,
                ..Self::plain(
                    "session",
                    "a writer reads its own write, and reads on at another instance",
                    vec![sync(A)],
                    vec![
                        read(0, A, Level::Session(Holder::Writer(0))),
                        read(1, A, Level::Session(Holder::Reader(0))),
                    ],
                )
            },
            Self {
                keys: 2,
                fills_max: 2,
                ..Self::plain(
                    "snapshot",
                    "two keys read together while one transaction changes both",
                    vec![sync(A.or(B))],
                    vec![read(0, A.or(B), Level::Snapshot)],
                )
            },
        ]
    }

    /// The larger worlds, for whoever has the time.
    pub fn large() -> Vec<Self> {
        let strong = read(0, A, Level::Strong);
        vec![
            Self {
                fills_max: 2,
                fences_max: 2,
                ..Self::plain(
                    "races-more",
                    "as `races`, with two fills, two fences and a second, bounded read",
                    vec![sync(A), lazy(A)],
                    vec![strong, read(0, A, Level::Bounded(1))],
                )
            },
            Self {
                breaks_max: 1,
                ..Self::plain(
                    "crash-more",
                    "as `crash`, with a second writer whose commit takes a position that was given before",
                    vec![lazy(A), sync(A)],
                    vec![strong],
                )
            },
            Self {
                standby: true,
                breaks_max: 1,
                ..Self::plain(
                    "standby-more",
                    "as `standby`, with a second, asynchronous writer",
                    vec![sync(A), lazy(A)],
                    vec![strong],
                )
            },
            Self {
                relay: true,
                breaks_max: 1,
                proves_on: true,
                ..Self::plain(
                    "relay-crash",
                    "a relay, and a crash after which the old leader goes on",
                    vec![lazy(A)],
                    vec![strong],
                )
            },
            Self {
                second_tier: true,
                instances: 2,
                ..Self::plain(
                    "second-tier-more",
                    "as `second-tier`, with two writers",
                    vec![sync(A), sync(A)],
                    vec![read(1, A, Level::Strong)],
                )
            },
            Self {
                second_tier: true,
                proves_on: true,
                instances: 2,
                ..Self::plain(
                    "second-tier-proven",
                    "as `second-tier`, with entries that are proven further between reads",
                    vec![sync(A)],
                    vec![read(1, A, Level::Strong)],
                )
            },
            Self {
                remembered: 1,
                keys: 2,
                ..Self::plain(
                    "forgetful",
                    "two keys in one shard of a ledger that remembers a single change",
                    vec![sync(A), sync(B)],
                    vec![strong],
                )
            },
            Self {
                keys: 2,
                fills_max: 2,
                ..Self::plain(
                    "snapshot-more",
                    "as `snapshot`, with a second writer of one of the keys",
                    vec![sync(A.or(B)), sync(B)],
                    vec![read(0, A.or(B), Level::Snapshot)],
                )
            },
        ]
    }

    /// A world in which a missing defence shows.
    pub fn that_shows(variant: Variant) -> Self {
        let name = match variant {
            Variant::Ours
            | Variant::Lease
            | Variant::LogPosition
            | Variant::JudgedOnceOnly
            | Variant::AnyFlightJoined
            | Variant::MomentNotedLate
            | Variant::FenceOfDurableLog => 0,
            Variant::EpochIgnored => 2,
            Variant::StandbySnapshotBelieved | Variant::StandbyMomentBelieved => 3,
            Variant::GapIgnored | Variant::GapNotSettled => 4,
            Variant::SecondTierTrusted => 5,
            Variant::PiecesApart => 7,
        };
        Self::small().swap_remove(name)
    }
}
