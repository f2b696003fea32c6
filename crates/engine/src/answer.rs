//! What a read returns, with the level it was asked for in its type.

use crate::view::Event;
use candor_core::{Demand, Level, Receipt, SessionToken};
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
    ($($level:ident => |$this:ident| $demand:expr;)*) => {$(
        impl sealed::Sealed for $level {}
        impl Consistency for $level {
            fn demand(&self) -> Option<Demand> {
                let $this = self;
                $demand
            }
        }
    )*};
}

consistency! {
    Strong => |_this| Some(Level::Strong.into());
    Bounded => |this| Some(Level::Bounded(this.0).into());
    Session => |this| Some(Demand { level: Level::Session, token: Some(this.0.clone()) });
    Any => |_this| Some(Level::Any.into());
    Declared => |_this| None;
    Demanded => |this| Some(this.0.clone());
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

/// An answer and its receipt. `L` is the level it was read at.
#[derive(Clone, Debug)]
#[must_use]
pub struct Answer<V, L = Declared> {
    value: Option<V>,
    receipt: Receipt,
    route: Route,
    given: Option<SessionToken>,
    level: PhantomData<fn() -> L>,
}

impl<V, L> Answer<V, L> {
    pub(crate) fn new(value: Option<V>, receipt: Receipt, route: Route) -> Self {
        Self { value, receipt, route, given: None, level: PhantomData }
    }

    /// Remembers the token the reader showed.
    pub(crate) fn with_given(mut self, given: Option<SessionToken>) -> Self {
        self.given = given;
        self
    }

    /// The value, or `None` where the source has none.
    pub fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// Takes the value out.
    pub fn into_value(self) -> Option<V> {
        self.value
    }

    /// Where the answer came from, as of when, and what proves it.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// How the answer came about.
    pub fn route(&self) -> Route {
        self.route
    }

    /// The token a later read must present to not go behind this answer. Includes what the token given to this read
    /// stood for.
    pub fn session(&self) -> SessionToken {
        let mut token = self.given.clone().unwrap_or_default();
        if let Some(upper) = self.receipt.upper {
            token.observe(upper);
        }
        token
    }

    /// Gives up the level: any answer is good enough for whoever asks for a hint.
    pub fn weaken(self) -> Answer<V, Any> {
        self.retype()
    }

    pub(crate) fn retype<M>(self) -> Answer<V, M> {
        Answer {
            value: self.value,
            receipt: self.receipt,
            route: self.route,
            given: self.given,
            level: PhantomData,
        }
    }
}
