//! What can happen in the world, drawn at random.

use super::source::{TAGS, tag};
use candor_core::Tag;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

/// One thing that happens. Numbers named `which` choose among whatever there is at that time.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A transaction that is logged and visible at once.
    Write { tags: Vec<Tag>, skip: u64, in_parts: bool },
    /// A transaction begins.
    Begin { tags: Vec<Tag> },
    /// The commit of a running one reaches the log.
    Log { which: usize, skip: u64, in_parts: bool },
    /// A logged one becomes visible.
    Show { which: usize },
    /// A running one rolls back.
    Abort { which: usize },
    /// The source notes what it needs to vouch for the present end of its log.
    Note,
    /// A record that begins `offset` from the watermark: below it an overlap or a duplicate, above it a gap.
    Deliver { offset: i64, length: u64 },
    /// A record that was delivered before, perhaps of an earlier epoch.
    Late { which: usize },
    /// The source crashes into a new log.
    Restart { end: u64 },
    /// A schema change.
    Reshape,
    /// The follower gives up its proofs.
    BreakOff,
    /// A fence is asked for.
    Fence,
    /// A fence that was asked for is held against the watermark.
    Prove { which: usize },
    /// An entry is filled.
    Fill { tags: Vec<Tag>, vouches: bool },
    /// A reader glances at the ledger and is slow to use what it saw.
    Glance,
    /// An entry is judged, perhaps at a position that far below the watermark, perhaps with an old glance, and perhaps
    /// keeps what was proven.
    Judge { which: usize, below: Option<u64>, old: bool, keep: bool },
}

/// A whole history, and the ledger it happens to.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) stripes: usize,
    pub(crate) changes_per_shard: usize,
    pub(crate) first_id: u64,
    pub(crate) steps: Vec<Step>,
}

/// Histories of a source, long enough that most see several entries changed, proven and forgotten.
pub(crate) fn histories(concurrent: bool) -> impl Strategy<Value = History> {
    let steps = Union::new_weighted(if concurrent { concurrent_steps() } else { steps(30) });
    let stripes = prop_oneof![Just(64usize), Just(128)];
    let changes = prop_oneof![Just(1usize), 2..=4usize, 5..=9usize, Just(1000)];
    (stripes, changes, first_ids(), vec(steps, 10..140)).prop_map(
        |(stripes, changes_per_shard, first_id, steps)| History {
            stripes,
            changes_per_shard,
            first_id,
            steps,
        },
    )
}

/// Beginnings of time, in the middle, before the low half of the ids turns negative, and before it wraps.
fn first_ids() -> impl Strategy<Value = u64> {
    let near = |id: u64| (0..8u64).prop_map(move |back| id - back);
    prop_oneof![
        Just(3u64),
        Just(1_000_000),
        near(1 << 31),
        near(1 << 32),
        near(7 << 32),
        near((7 << 32) + (1 << 31))
    ]
}

fn tags(count: usize) -> impl Strategy<Value = Vec<Tag>> {
    vec(0..TAGS, 1..=count).prop_map(|mut indices| {
        indices.sort_unstable();
        indices.dedup();
        indices.into_iter().map(tag).collect()
    })
}

/// How far numbers jump: mostly not at all.
fn skip() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0u64), 1 => 1..4u64]
}

fn steps(writes: u32) -> Vec<(u32, BoxedStrategy<Step>)> {
    let which = || any::<u8>().prop_map(usize::from);
    let write = (tags(3), skip(), any::<bool>());
    let offset = prop_oneof![10 => Just(0i64), 3 => -10..0i64, 1 => 1..8i64];
    let judge =
        (which(), proptest::option::weighted(0.3, 0..6u64), proptest::bool::weighted(0.2), any::<bool>());
    vec![
        (writes, write.prop_map(|(tags, skip, in_parts)| Step::Write { tags, skip, in_parts }).boxed()),
        (30, (offset, 0..12u64).prop_map(|(offset, length)| Step::Deliver { offset, length }).boxed()),
        (
            20,
            (tags(3), proptest::bool::weighted(0.8))
                .prop_map(|(tags, vouches)| Step::Fill { tags, vouches })
                .boxed(),
        ),
        (50, judge.prop_map(|(which, below, old, keep)| Step::Judge { which, below, old, keep }).boxed()),
        (5, Just(Step::Glance).boxed()),
        (6, Just(Step::Fence).boxed()),
        (8, which().prop_map(|which| Step::Prove { which }).boxed()),
        (1, which().prop_map(|which| Step::Late { which }).boxed()),
        (1, (0..60u64).prop_map(|end| Step::Restart { end }).boxed()),
        (1, Just(Step::Reshape).boxed()),
        (1, Just(Step::BreakOff).boxed()),
    ]
}

fn concurrent_steps() -> Vec<(u32, BoxedStrategy<Step>)> {
    let which = || any::<u8>().prop_map(usize::from);
    let log = (which(), skip(), any::<bool>());
    let mut steps = steps(8);
    steps.extend([
        (22, tags(3).prop_map(|tags| Step::Begin { tags }).boxed()),
        (22, log.prop_map(|(which, skip, in_parts)| Step::Log { which, skip, in_parts }).boxed()),
        (22, which().prop_map(|which| Step::Show { which }).boxed()),
        (4, which().prop_map(|which| Step::Abort { which }).boxed()),
        (8, Just(Step::Note).boxed()),
    ]);
    steps
}
