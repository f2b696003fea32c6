//! Defences taken out on purpose, to see that the audit notices.
//!
//! Compiled only with `--cfg candor_sabotage` (`cargo x sim --power`, `cargo x sabotage`); no ordinary build contains any
//! of it. The one piece of state in this crate: a switch for the whole process, because defences lie in functions that are
//! handed nothing but values. Whoever audits many defences in one process sets it; a test program of its own finds the name
//! of the defence in its environment, and so does every process that it starts. See docs/decisions/0013.
//!
//! Self-contained, because `cargo x` compiles this file, too: its table of defences and tests is held against these lists.

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
    /// A snapshot's pieces are current at its position, and reflect a moment that was proven beyond it.
    SnapshotMoment,
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
    /// What a source says after a gap counts for whoever has not met the gap.
    FenceBeforeGap,
    /// A token of a log that this source has lost passes for one of another source, if that knows it.
    FormerLogForgotten,
    /// A log that goes on tells everything, also of what it was asked to leave out since somebody last looked.
    WatermarkVouches,

    // From here on in code that talks to servers.
    /// The slot may be told of a transaction as soon as its first message is there.
    SlotTooEarly,
    /// Of a row that moves to another key, only the new one is looked at.
    KeyChangeNewOnly,
    /// Whoever names a subject in the key of a private view is believed.
    SubjectFromRequest,
    /// A fill's snapshot is certain of whatever was decoded.
    CertainOfDecoded,
    /// A slot that was moved or made anew passes for the one that was followed.
    SlotBelieved,
    /// All servers write one and the same log.
    OneLogForAll,
    /// A server that recovered without starting anew still writes the same log.
    RecoveryForgotten,
    /// Transactions that were open at the beginning are settled.
    UnsettledForgotten,
    /// Those that write below a published root are settled.
    WritersBelowForgotten,
    /// TRUNCATE changes no row.
    TruncateIgnored,
    /// The rows of a transaction with too many are forgotten.
    HugeForgotten,
    /// A row that cannot be named changes nothing.
    UnnamedForgotten,
    /// A key that was not sent again names no row.
    UnchangedForgotten,
    /// A fence does not compare the fingerprint.
    FingerprintAtFence,
    /// Whatever the snapshot, the fingerprint is taken for that of the latest one.
    FingerprintOfAnySnapshot,
    /// A stream that goes on does not compare the fingerprint.
    FingerprintGoingOn,
    /// The fingerprint says what is there and not who wrote it last.
    FingerprintOfLooks,
    /// The fingerprint leaves out what views read through.
    FingerprintOfTables,
    /// Tables are known by what the stream calls them.
    TablesByName,
    /// The number that a gap was given passes for a position of the log.
    GapIsPosition,
    /// A position is vouched for while a change of the schema waits to be seen.
    DoubtForgotten,
    /// A slot that tells of transactions before they commit is followed.
    TwoPhaseFollowed,
    /// A standby's answer is as good as a primary's.
    StandbyAnswers,
    /// A standby answers however far behind it is.
    StandbyBehind,
    /// A standby's answer is taken although the primary does not show all of it.
    StandbyAhead,
    /// Whatever timeline a standby receives, it is the primary's.
    StandbyTimeline,
    /// Whatever mark a standby shows, it is the primary's.
    StandbyMark,
    /// Whatever schema a standby shows, it is the primary's.
    StandbySchema,
    /// A publication under change by somebody nobody sees is what it looks like.
    PublicationPending,
    /// Whatever server answers a fence, it is the one whose log is followed.
    FenceOfAnyServer,
    /// The stream and the questions may lead to two servers.
    StreamOfAnyServer,
    /// The position of a fence is what was flushed, not what was written.
    FlushedPosition,
    /// A fence for what is visible waits for everything that was written.
    VisibleIsInsert,
    /// A position in what the server has not flushed is waited for in silence.
    LogNotPushed,
    /// Rows below a root are taken to be stored under the replica identity that the root has.
    UnevenBelieved,
    /// What a view depends on that was prepared after the log was followed is taken to have been told all along.
    ViewsOfLater,
    /// Behind a pooler the role's default says when snapshots are taken.
    PoolersIsolation,
    /// What names mean is asked of whatever session there is.
    PathOfSession,
    /// Names mean what they mean to the role that reads the log.
    NamesOfCompiler,
    /// Fills read under the search path that is there.
    PathLeft,
    /// A view that comes to mean something else goes on with what is kept.
    MeaningForgotten,
    /// Whatever names mean when a view is filled, it is what they meant.
    NamesBelieved,
    /// Questions are asked by name, also behind a pooler.
    NamesBehindPooler,
    /// Transaction ids are compared as they are.
    NoWrap,
    /// Tables that are in no log are read like all others.
    UnloggedAllowed,
    /// Functions that may give another result each time are computed like all others.
    VolatileAllowed,
    /// So are tables whose rows depend on who asks.
    RowSecurityAllowed,
    /// So are columns whose text shows names that live elsewhere.
    NamesFromElsewhereAllowed,
    /// A publication that leaves something out tells everything.
    PartialAllowed,
    /// The audit takes every answer for what its looks saw.
    AuditAllAlike,
    /// The audit takes every answer for one that claims the moment of its read.
    AuditWithoutBound,
    /// The audit's incidents come without the life of the entry.
    AuditWithoutLife,
    /// The audit says nothing of changes that the log told nothing of.
    AuditSilent,
    /// The audit tells values of private views.
    AuditTellsAll,
    /// The audit reads through memory what nobody asked it for.
    AuditReads,
}

impl Sabotage {
    /// All of them but none, with the names of the defences.
    pub const ALL: [(&'static str, Self); 26] = [
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
        ("moment of a snapshot", Self::SnapshotMoment),
        ("moment of the outdated", Self::OutdatedMoment),
        ("token of a joined flight", Self::JoinedFlightToken),
        ("snapshots under way", Self::ForgetUnderWay),
        ("place of the unsettled", Self::UnsettledAtBeginning),
        ("age of what waited", Self::BoundBeforeWaiting),
        ("fence shows the unknown", Self::ShownUnknown),
        ("fence of a former log", Self::ShownOfFormerLog),
        ("proof of positions reached", Self::ProofUnreached),
        ("tokens of unknown logs", Self::TokenOfUnknownLog),
        ("gap before the fence", Self::FenceBeforeGap),
        ("what the log vouches for", Self::WatermarkVouches),
    ];

    /// Those that no model contains, because they stand in code that talks to servers. Tests against real ones miss them.
    pub const AT_SERVERS: [(&'static str, Self); 56] = [
        ("slot acknowledged too early", Self::SlotTooEarly),
        ("key change old value", Self::KeyChangeNewOnly),
        ("subject in key", Self::SubjectFromRequest),
        ("certain by snapshot", Self::CertainOfDecoded),
        ("slot continuity", Self::SlotBelieved),
        ("log identity", Self::OneLogForAll),
        ("recovery in the log identity", Self::RecoveryForgotten),
        ("unsettled transactions", Self::UnsettledForgotten),
        ("writers below a root", Self::WritersBelowForgotten),
        ("truncate", Self::TruncateIgnored),
        ("huge transaction", Self::HugeForgotten),
        ("row without a name", Self::UnnamedForgotten),
        ("unchanged key", Self::UnchangedForgotten),
        ("fingerprint at fences", Self::FingerprintAtFence),
        ("fingerprint under one snapshot", Self::FingerprintOfAnySnapshot),
        ("fingerprint when going on", Self::FingerprintGoingOn),
        ("there and back", Self::FingerprintOfLooks),
        ("what views read through", Self::FingerprintOfTables),
        ("tables by number", Self::TablesByName),
        ("gap's own number", Self::GapIsPosition),
        ("change nobody sees", Self::DoubtForgotten),
        ("two-phase slot", Self::TwoPhaseFollowed),
        ("standby", Self::StandbyAnswers),
        ("fence before a standby", Self::StandbyBehind),
        ("look after a standby", Self::StandbyAhead),
        ("timeline of a standby", Self::StandbyTimeline),
        ("mark of the primary", Self::StandbyMark),
        ("schema of a standby", Self::StandbySchema),
        ("publication under change", Self::PublicationPending),
        ("server of a fence", Self::FenceOfAnyServer),
        ("server of the stream", Self::StreamOfAnyServer),
        ("insert position", Self::FlushedPosition),
        ("visible fence", Self::VisibleIsInsert),
        ("log pushed on", Self::LogNotPushed),
        ("identity of partitions", Self::UnevenBelieved),
        ("views prepared later", Self::ViewsOfLater),
        ("former logs of a source", Self::FormerLogForgotten),
        ("isolation behind a pooler", Self::PoolersIsolation),
        ("search path of who fills", Self::PathOfSession),
        ("names of who fills", Self::NamesOfCompiler),
        ("search path of fills", Self::PathLeft),
        ("views that mean something else", Self::MeaningForgotten),
        ("names that still mean the same", Self::NamesBelieved),
        ("no names behind a pooler", Self::NamesBehindPooler),
        ("ids on the ring", Self::NoWrap),
        ("unlogged tables", Self::UnloggedAllowed),
        ("volatile functions", Self::VolatileAllowed),
        ("row security", Self::RowSecurityAllowed),
        ("names from elsewhere", Self::NamesFromElsewhereAllowed),
        ("partial publication", Self::PartialAllowed),
        ("comparison of the audit", Self::AuditAllAlike),
        ("bound in the audit", Self::AuditWithoutBound),
        ("life in the audit", Self::AuditWithoutLife),
        ("silent changes in the audit", Self::AuditSilent),
        ("hashes in the audit", Self::AuditTellsAll),
        ("audit leaves memory alone", Self::AuditReads),
    ];

    /// All that have a name, in both lists.
    pub fn named() -> impl Iterator<Item = (&'static str, Self)> {
        Self::ALL.into_iter().chain(Self::AT_SERVERS)
    }
}

/// Names the defence that a process does without.
pub const VARIABLE: &str = "CANDOR_WITHOUT";

/// Nobody has looked into the environment yet.
const UNREAD: u8 = u8::MAX;

static ACTIVE: AtomicU8 = AtomicU8::new(UNREAD);

/// Takes one defence out, for the whole process.
pub fn set(sabotage: Sabotage) {
    ACTIVE.store(sabotage as u8, Ordering::SeqCst);
}

/// Whether this defence is out.
#[inline]
pub fn is(sabotage: Sabotage) -> bool {
    let active = ACTIVE.load(Ordering::Relaxed);
    let active = if active == UNREAD { of_environment() } else { active };
    active == sabotage as u8
}

/// What the environment says, which stands from now on.
#[cold]
fn of_environment() -> u8 {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    let found = Sabotage::named().find(|(known, _)| *known == name);
    assert!(name.is_empty() || found.is_some(), "{VARIABLE} names no defence: {name}");
    let active = found.map_or(Sabotage::Nothing, |(_, sabotage)| sabotage) as u8;
    // Whoever set a defence meanwhile is right.
    let _ = ACTIVE.compare_exchange(UNREAD, active, Ordering::SeqCst, Ordering::SeqCst);
    ACTIVE.load(Ordering::SeqCst)
}
