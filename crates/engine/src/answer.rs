//! What a read returns, with the level it was asked for in its type.

use crate::view::Event;
use candor_core::{Degraded, Demand, Epoch, Level, Origin, Position, ProofKind, Receipt, SessionToken};
use std::marker::PhantomData;
use std::time::Duration;

mod sealed {
    pub trait Sealed {}
}

/// A consistency level as a type.
///
/// [`Answer<V, Strong>`](Answer) can only come from a strong read. So a function that takes one is safe from hints:
///
/// ```
/// # use candor::{Answer, Any, Strong};
/// struct Balance(i64);
/// fn withdraw(balance: &Answer<Balance, Strong>) { /* … */ }
///
/// fn careful(certain: Answer<Balance, Strong>) {
///     withdraw(&certain);
/// }
/// ```
///
/// The same program with a hint in its hand does not compile:
///
/// ```compile_fail
/// # use candor::{Answer, Any, Strong};
/// struct Balance(i64);
/// fn withdraw(balance: &Answer<Balance, Strong>) { /* … */ }
///
/// fn careful(certain: Answer<Balance, Any>) {
///     withdraw(&certain);
/// }
/// ```
pub trait Consistency: sealed::Sealed + Clone + Send + Sync {
    /// What a read at this level asks for; `None` for whatever the contract declares.
    fn demand(&self) -> Option<Demand>;

    /// The level a plain hit has to satisfy, given the one the contract declares; `None` where no plain hit can: for
    /// `strong` and `session`, and for any read with a token.
    #[doc(hidden)]
    fn of_plain_hit(&self, declared: Level) -> Option<Level>;
}

/// Reflects every transaction visible at the source before the read began.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Strong;

/// Reflects every transaction visible at the source this long or more before the answer was given.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Bounded(pub Duration);

/// Reflects at least what the token's holder has seen or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session(pub SessionToken);

/// Whatever is there within the contract's limits; the receipt says what it is worth.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Any;

/// The level the contract declares.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Declared;

/// A level known only at run time, as the doors use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demanded(pub Demand);

macro_rules! consistency {
    ($($level:ident => $demand:expr, $of_plain_hit:expr;)*) => {$(
        impl sealed::Sealed for $level {}
        impl Consistency for $level {
            fn demand(&self) -> Option<Demand> {
                let demand: fn(&Self) -> Option<Demand> = $demand;
                demand(self)
            }

            #[inline]
            fn of_plain_hit(&self, declared: Level) -> Option<Level> {
                let of_plain_hit: fn(&Self, Level) -> Option<Level> = $of_plain_hit;
                of_plain_hit(self, declared)
            }
        }
    )*};
}

consistency! {
    Strong => |_| Some(Level::Strong.into()), |_, _| None;
    Bounded => |this| Some(Level::Bounded(this.0).into()), |this, _| Some(Level::Bounded(this.0));
    Session => |this| Some(Demand { level: Level::Session, token: Some(this.0.clone()) }), |_, _| None;
    Any => |_| Some(Level::Any.into()), |_, _| Some(Level::Any);
    Declared => |_| None, |_, declared| from_memory(declared);
    Demanded => |this| Some(this.0.clone()),
        |this, _| if this.0.token.is_none() { from_memory(this.0.level) } else { None };
}

/// The level, if memory alone may satisfy it.
#[inline]
fn from_memory(level: Level) -> Option<Level> {
    match level {
        Level::Strong | Level::Session => None,
        Level::Bounded(_) | Level::Any => Some(level),
    }
}

/// How an answer came about, beyond its receipt; what HTTP's own cache headers want to know.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Why memory did not answer; `None` for a hit.
    pub miss: Option<Event>,
    /// Whether the answer is in memory now.
    pub kept: bool,
    /// How much of its time to live is left, in nanoseconds; `u64::MAX` for all time.
    pub(crate) left_nanos: u64,
}

impl Route {
    /// How much of the answer's time to live is left; `None` for all time.
    pub fn left(self) -> Option<Duration> {
        (self.left_nanos != u64::MAX).then(|| Duration::from_nanos(self.left_nanos))
    }
}

/// What an answer carries beside its value: its receipt and its route, in the 64 bytes they need. A [`Receipt`] is made
/// of it when someone asks; answers are moved more often than their receipts are read, and on the path of a hit every
/// byte moved counts.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Carried {
    /// The epoch of both positions.
    pub(crate) epoch: Epoch,
    /// Where the answer was proven; `at` and `upper` mean something only if `has_positions`.
    pub(crate) at: u64,
    pub(crate) upper: u64,
    pub(crate) bound_nanos: u64,
    pub(crate) age_nanos: u64,
    pub(crate) left_nanos: u64,
    pub(crate) has_positions: bool,
    pub(crate) origin: Origin,
    pub(crate) proof: ProofKind,
    pub(crate) degraded: Option<Degraded>,
    pub(crate) miss: Option<Event>,
    pub(crate) kept: bool,
}

impl Carried {
    #[inline]
    fn receipt(&self) -> Receipt {
        let position = |at| self.has_positions.then_some(Position { epoch: self.epoch, at });
        Receipt {
            origin: self.origin,
            proof: self.proof,
            bound: Some(Duration::from_nanos(self.bound_nanos)),
            age: Duration::from_nanos(self.age_nanos),
            // Nothing is vouched for yet: there is nothing to cite.
            position: position(self.at).filter(|position| position.at > 0),
            upper: position(self.upper),
            degraded: self.degraded,
        }
    }
}

/// An answer and its receipt. `L` is the level it was read at.
#[derive(Clone, Debug)]
#[must_use]
pub struct Answer<V, L = Declared> {
    value: Option<V>,
    carried: Carried,
    /// Boxed, because most readers show none and every answer is moved.
    given: Option<Box<SessionToken>>,
    level: PhantomData<fn() -> L>,
}

impl<V, L> Answer<V, L> {
    #[inline]
    pub(crate) fn new(value: Option<V>, carried: Carried) -> Self {
        Self { value, carried, given: None, level: PhantomData }
    }

    /// The same answer, given so much later than it was made.
    pub(crate) fn waited(mut self, nanos: u64) -> Self {
        let carried = &mut self.carried;
        carried.bound_nanos = carried.bound_nanos.saturating_add(nanos);
        carried.age_nanos = carried.age_nanos.saturating_add(nanos);
        if carried.left_nanos != u64::MAX {
            carried.left_nanos = carried.left_nanos.saturating_sub(nanos);
        }
        self
    }

    /// Remembers the token the reader showed.
    pub(crate) fn with_given(mut self, given: Option<SessionToken>) -> Self {
        self.given = given.map(Box::new);
        self
    }

    /// The value, or `None` where the source has none.
    #[inline]
    pub fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// Takes the value out.
    #[inline]
    pub fn into_value(self) -> Option<V> {
        self.value
    }

    /// Where the answer came from, as of when, and what proves it.
    #[inline]
    pub fn receipt(&self) -> Receipt {
        self.carried.receipt()
    }

    /// How the answer came about.
    #[inline]
    pub fn route(&self) -> Route {
        let Carried { miss, kept, left_nanos, .. } = self.carried;
        Route { miss, kept, left_nanos }
    }

    #[inline]
    pub(crate) fn left_nanos(&self) -> u64 {
        self.carried.left_nanos
    }

    /// The token a later read must present to not go behind this answer. Includes what the token given to this read
    /// stood for.
    pub fn session(&self) -> SessionToken {
        let mut token = self.given.as_deref().cloned().unwrap_or_default();
        if let Some(upper) = self.carried.receipt().upper {
            token.observe(upper);
        }
        token
    }

    /// Gives up the level: any answer is good enough for whoever asks for a hint.
    #[inline]
    pub fn weaken(self) -> Answer<V, Any> {
        self.retype()
    }

    #[inline]
    pub(crate) fn retype<M>(self) -> Answer<V, M> {
        Answer { value: self.value, carried: self.carried, given: self.given, level: PhantomData }
    }
}
