//! The rule by which entries are current, and the defences around it, each of which can be taken out.
//!
//! Exactly one thing differs from ours in every variant. The checker must find what each of them breaks; a model in
//! which a missing defence goes unnoticed proves nothing about the defence.

/// How the world protects its readers.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// As Candor does: visibility decides, and every defence stands.
    Ours,
    /// A lease per key instead of the rule: whoever fills holds one from before it asks, a change takes it away, and
    /// removes what is kept.
    Lease,
    /// Positions instead of visibility: a fill reflects every change logged at or below the position it read.
    LogPosition,
    /// A fill is judged when it lands, and an entry never again.
    JudgedOnceOnly,
    /// Positions of one epoch are compared with those of another.
    EpochIgnored,
    /// A record that does not follow the last one is taken as if it did.
    GapIgnored,
    /// After a gap the horizon rises, but nobody asks which transactions were still running then.
    GapNotSettled,
    /// A standby's snapshot is taken for what it saw.
    StandbySnapshotBelieved,
    /// A standby's answer is said to reflect the moment at which it was asked for.
    StandbyMomentBelieved,
    /// What comes from the second tier is not judged.
    SecondTierTrusted,
    /// A read takes the answer of any flight, whenever that began.
    AnyFlightJoined,
    /// The moment of a fence is noted when the watermark has reached it.
    MomentNotedLate,
    /// A fence is the position up to which the log is durable.
    FenceOfDurableLog,
    /// The pieces of a snapshot are current, each by itself.
    PiecesApart,
}

impl Variant {
    /// Everything but ours.
    pub const BROKEN: [Self; 13] = [
        Self::Lease,
        Self::LogPosition,
        Self::JudgedOnceOnly,
        Self::EpochIgnored,
        Self::GapIgnored,
        Self::GapNotSettled,
        Self::StandbySnapshotBelieved,
        Self::StandbyMomentBelieved,
        Self::SecondTierTrusted,
        Self::AnyFlightJoined,
        Self::MomentNotedLate,
        Self::FenceOfDurableLog,
        Self::PiecesApart,
    ];

    /// A few words for a heading.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Lease => "a lease instead of the rule",
            Self::LogPosition => "positions compared instead of visibility",
            Self::JudgedOnceOnly => "entries judged when filled and never again",
            Self::EpochIgnored => "epochs ignored",
            Self::GapIgnored => "gaps ignored",
            Self::GapNotSettled => "nobody asks after a gap what was still running",
            Self::StandbySnapshotBelieved => "a standby's snapshot believed",
            Self::StandbyMomentBelieved => "a standby's answer said to reflect the moment it was asked for",
            Self::SecondTierTrusted => "the second tier trusted",
            Self::AnyFlightJoined => "any flight joined",
            Self::MomentNotedLate => "a fence's moment noted when it is reached, not when it is asked for",
            Self::FenceOfDurableLog => "fences at the durable position",
            Self::PiecesApart => "pieces of a snapshot each current by itself",
        }
    }

    /// The number of the log as ledgers are told it.
    pub(crate) fn log_of(self, epoch: u8) -> u64 {
        if self == Self::EpochIgnored { 1 } else { u64::from(epoch) + 1 }
    }
}
