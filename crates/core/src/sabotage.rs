//! Defences taken out on purpose, to see that the audit notices.
//!
//! Compiled only with `--cfg candor_sabotage` (`cargo x sim --power`, `cargo x sabotage`); no ordinary build contains any
//! of it. The one piece of state in this crate: a switch for the whole process, because defences lie in functions that are
//! handed nothing but values. See docs/decisions/0013.

use std::sync::atomic::{AtomicU8, Ordering};

/// A defence that can be taken out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sabotage {
    /// None.
    Nothing,
    /// Every entry passes as current, when it is read and when it is kept.
    JudgeAlwaysCurrent,
    /// A read joins whatever is being loaded, however long ago it began.
    JoinAnyFlight,
    /// A snapshot sees whatever was logged below its upper position.
    VisibilityRule,
    /// A fill is kept whatever the ledger says, also one of a log that has ended.
    JudgeAtInstall,
    /// The stripes learn of a record after readers could see its watermark.
    StripesLate,
    /// The watermark passes changes that are not in the ledger yet.
    WatermarkFirst,
    /// Entries of an epoch that ended pass for entries of this one.
    EpochCheck,
    /// What was forgotten counts as not having happened.
    FloorCheck,
    /// What was lost in a gap counts as not having happened.
    HorizonCheck,
    /// A reader joins a question for the source's position that has been asked already.
    JoinAnyFence,
    /// The moment of a fence is noted when its answer is there.
    MomentAfterFence,
    /// The moment of a fill is noted when its answer is there.
    MomentAfterFill,
    /// "Absent" depends on nothing.
    AbsentUntagged,
    /// A snapshot takes entries that reflect more than its position.
    SnapshotUpper,
    /// An outdated entry reflects the moment at which the ledger was proven complete.
    OutdatedMoment,
    /// Of a load that was joined, the upper position counts for a session, whatever it saw below.
    JoinedFlightToken,
    /// What a snapshot under way may not see is forgotten as soon as another one saw it.
    ForgetUnderWay,
    /// A transaction that was open when the log began to be followed counts as logged at that beginning.
    UnsettledAtBeginning,
    /// What waited for other keys of its call keeps the bound it had before.
    BoundBeforeWaiting,
    /// A transaction that a fence shows and of which nothing is known has changed nothing.
    ShownUnknown,
    /// Where the commits ended of a log that is no more counts in the next one.
    ShownOfFormerLog,
    /// A position counts as reached when it was asked for.
    ProofUnreached,
    /// Tokens of unknown logs ask nothing.
    TokenOfUnknownLog,
}

impl Sabotage {
    /// All of them but none, with the names of the defences.
    pub const ALL: [(&'static str, Self); 23] = [
        ("rule", Self::JudgeAlwaysCurrent),
        ("flight-join rule", Self::JoinAnyFlight),
        ("visibility rule", Self::VisibilityRule),
        ("judgement at install", Self::JudgeAtInstall),
        ("stripe fast path order", Self::StripesLate),
        ("watermark order", Self::WatermarkFirst),
        ("epoch check", Self::EpochCheck),
        ("floor check", Self::FloorCheck),
        ("horizon check", Self::HorizonCheck),
        ("fence-join rule", Self::JoinAnyFence),
        ("moment before the fence", Self::MomentAfterFence),
        ("moment before the fill", Self::MomentAfterFill),
        ("absent-entry stamp", Self::AbsentUntagged),
        ("snapshot upper bound", Self::SnapshotUpper),
        ("moment of the outdated", Self::OutdatedMoment),
        ("token of a joined flight", Self::JoinedFlightToken),
        ("snapshots under way", Self::ForgetUnderWay),
        ("place of the unsettled", Self::UnsettledAtBeginning),
        ("age of what waited", Self::BoundBeforeWaiting),
        ("fence shows the unknown", Self::ShownUnknown),
        ("fence of a former log", Self::ShownOfFormerLog),
        ("proof of positions reached", Self::ProofUnreached),
        ("tokens of unknown logs", Self::TokenOfUnknownLog),
    ];
}

static ACTIVE: AtomicU8 = AtomicU8::new(0);

/// Takes one defence out, for the whole process.
pub fn set(sabotage: Sabotage) {
    ACTIVE.store(sabotage as u8, Ordering::SeqCst);
}

/// Whether this defence is out.
#[inline]
pub fn is(sabotage: Sabotage) -> bool {
    ACTIVE.load(Ordering::Relaxed) == sabotage as u8
}
