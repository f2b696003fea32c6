//! A small set of small numbers: of transactions, of keys. It is part of every state, so it is one byte.

use std::fmt;

/// A set of numbers below eight.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Set(u8);

impl Set {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// One number, below eight.
    pub const fn single(number: u8) -> Self {
        Self(1 << number)
    }

    /// These numbers, each below eight.
    pub fn of(numbers: impl IntoIterator<Item = u8>) -> Self {
        numbers.into_iter().fold(Self::NONE, Self::with)
    }

    /// The same and `number`.
    pub fn with(self, number: u8) -> Self {
        Self(self.0 | 1 << number)
    }

    /// Whether `number` is in it.
    pub fn has(self, number: u8) -> bool {
        self.0 & 1 << number != 0
    }

    /// What is in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this one alone.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |number| self.has(*number))
    }
}

/// Transactions, as people name them: `T0, T2`, or `nothing`.
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let names: Vec<String> = self.iter().map(|number| format!("T{number}")).collect();
        f.write_str(&names.join(", "))
    }
}
