//! What a source and a feed must do. The traits are declared here, where nothing implements them, so that the engine
//! depends on no outside system and an outside system depends on no engine.

use crate::key::KeyValue;
use crate::position::Position;
use crate::record::Record;
use crate::stamp::Stamp;
use crate::tag::Tag;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The ordered record of changes of one source.
///
/// # Contract
///
/// * [`Log::fence`] returns a position at or above every transaction that was visible at the source when it was called.
///   It never returns from memory, and it vouches for that position ([`Fence::vouched`]) unless the source changed meanwhile.
/// * The feed delivers every change at or below a position before, or in, the record that reaches it. What it cannot
///   deliver it reports as a new epoch or a gap between records, never by silence.
/// * After a fence has returned position F, the feed reaches F by itself within a short time, also on an idle source.
pub trait Log: Send + Sync + 'static {
    /// Asks the source for its position now.
    fn fence(&self) -> BoxFuture<'_, Result<Fence, SourceError>>;

    /// The same for whoever needs no more than what is visible now: a position at or above every transaction that was
    /// visible when this was called, but not necessarily one that a position somebody has noted reaches. Never above what
    /// [`Log::fence`] would return.
    fn fence_visible(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        self.fence()
    }

    /// Begins to follow the log, from now. The first record opens an epoch.
    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn Feed>, SourceError>>;
}

/// What a source says of now.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// At or above every transaction that was visible at the source when it was asked.
    pub position: Position,
    /// Up to here, in the epoch of the position, the feed tells of every transaction, whoever comes to see it and whenever:
    /// the source has looked whether anybody made its log leave something out, and had logged this much before it looked.
    /// Between two looks a log may fall silent about a table and go on with the others, and only what lies at or below this
    /// number is safe from that.
    pub vouched: u64,
    /// Who was not told up to here, in that epoch, has not heard of a gap yet: to him the fence says nothing. Where a stream is
    /// begun anew because something was left out, its fences speak of the new one before every follower has met the gap.
    pub since: u64,
}

impl Fence {
    /// Of a log that leaves nothing out within an epoch: whoever makes it do so begins another one.
    pub fn whole(position: Position) -> Self {
        Self { position, vouched: u64::MAX, since: 0 }
    }
}

impl From<Position> for Fence {
    fn from(position: Position) -> Self {
        Self::whole(position)
    }
}

/// The ordered stream of changes of one source.
///
/// # Contract
///
/// * Records come in the order of the log.
/// * [`Feed::next`] is cancel-safe: dropped before it is ready, it loses no record.
/// * An error ends the feed. Whoever wants to go on follows anew and treats everything before as unproven.
pub trait Feed: Send + 'static {
    /// The next record.
    fn next(&mut self) -> BoxFuture<'_, Result<Record, SourceError>>;
}

/// The system of record, as far as fills are concerned.
///
/// # Contract
///
/// * All keys of one call are read in one transaction, and the stamp belongs to exactly that transaction: it is taken
///   with the value, neither before nor after.
/// * The tags name everything on which the value depends, also what was looked for and not found.
/// * A fill never writes.
pub trait Source: Send + Sync + 'static {
    /// Reads one view for some keys. `view` is the handle under which the implementation knows the view.
    fn fill(
        &self,
        view: ViewHandle,
        keys: Arc<[Box<[KeyValue]>]>,
    ) -> BoxFuture<'_, Result<Fill, SourceError>>;

    /// The same for a read that may be answered by a copy of the source, where there is one. What is shown was visible at
    /// the source itself when this ends, and nothing is missing that was visible there when it was called: a copy that
    /// cannot prove both does not answer.
    fn fill_from_copy(
        &self,
        view: ViewHandle,
        keys: Arc<[Box<[KeyValue]>]>,
    ) -> BoxFuture<'_, Result<Fill, SourceError>> {
        self.fill(view, keys)
    }
}

/// The number under which a source knows a prepared view.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ViewHandle(pub u32);

/// What a fill brings back.
#[derive(Clone, Debug)]
pub struct Fill {
    /// What the transaction saw.
    pub stamp: Stamp,
    /// One per key, in the order asked.
    pub answers: Vec<Filled>,
}

/// The answer for one key.
#[derive(Clone, Debug)]
pub struct Filled {
    /// JSON: an object or an array of objects; `None` for absent.
    pub value: Option<Box<[u8]>>,
    /// What it depends on.
    pub tags: Vec<Tag>,
}

/// Why a source did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// Whose fault it is, and so what to do.
    pub fault: Fault,
    /// What happened, for the people who run the service.
    pub message: String,
}

/// Whose fault a failed call of a source is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The source cannot be reached or cannot read its data. Try again later.
    Down,
    /// The source did not answer in time. Try again later, and look at its load.
    Slow,
    /// The source answers, but the contract asks for what it cannot give: a missing table, SQL that writes. Mend the
    /// contract or the schema.
    Contract,
}

impl SourceError {
    /// The source cannot be reached.
    pub fn down(message: impl Into<String>) -> Self {
        Self { fault: Fault::Down, message: message.into() }
    }

    /// The source did not answer in time.
    pub fn slow(message: impl Into<String>) -> Self {
        Self { fault: Fault::Slow, message: message.into() }
    }

    /// The contract cannot be kept.
    pub fn contract(message: impl Into<String>) -> Self {
        Self { fault: Fault::Contract, message: message.into() }
    }
}
