//! What a reader asked for and was told.

use crate::clock::Nanos;
use crate::schema::{ACCOUNT, ACCOUNT_LIFE, ITEM, JOINED, OWNER_LIFE, SHELF};
use serde_json::Value;
use std::time::Duration;

/// The level of a read, as the report counts them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Asked {
    Strong,
    Bounded(Duration),
    Session,
    Any,
    /// Several keys that hold together.
    Snapshot,
}

/// A version of a row, as an answer shows it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: i64,
    pub(crate) version: i64,
    pub(crate) nonce: i64,
}

/// The content of an answer, as far as the oracle looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// One row; its life.
    Row(Version),
    /// A row and the one it is joined with.
    Joined(Version, Version),
    /// No row with this life.
    Absent(i64),
    /// Neither, or nothing to join with.
    NotJoined(i64),
    /// The nonces of all rows of a shelf, added up.
    List { shelf: i64, sum: i64 },
    /// All accounts, and their sum.
    Accounts(Vec<Version>, i64),
    /// What none of our views gives.
    Strange(String),
}

/// The token a read was to honour.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// Which chain of reads.
    pub(crate) chain: u64,
    /// Everything visible before this moment is behind the token.
    pub(crate) floor: Nanos,
    /// When the oldest part of the token was made.
    pub(crate) made: Nanos,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) door: &'static str,
    pub(crate) view: usize,
    pub(crate) key: i64,
    pub(crate) asked: Asked,
    pub(crate) content: Content,
    pub(crate) begun: Nanos,
    pub(crate) ended: Nanos,
    pub(crate) given: Option<Given>,
    pub(crate) receipt: Claim,
}

/// The receipt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claim {
    pub(crate) origin: String,
    pub(crate) proof: String,
    pub(crate) bound: Option<Duration>,
    pub(crate) position: String,
    pub(crate) degraded: bool,
    pub(crate) text: String,
}

/// A read that got an answer, or the reason why not.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Answer(Box<Observation>),
    Refused { door: &'static str, asked: Asked, why: String, begun: Nanos },
}

impl Asked {
    pub(crate) fn word(self) -> String {
        match self {
            Self::Strong => "strong".into(),
            Self::Bounded(limit) => format!("bounded:{}ms", limit.as_millis()),
            Self::Session => "session".into(),
            Self::Any => "any".into(),
            Self::Snapshot => "snapshot".into(),
        }
    }
}

impl Content {
    /// Reads the JSON of an answer of `view` for `key`.
    pub(crate) fn of(view: usize, key: i64, json: Option<&str>) -> Self {
        let Some(text) = json else {
            return match view {
                ITEM => Self::Absent(key),
                JOINED => Self::NotJoined(key),
                ACCOUNT => Self::Absent(ACCOUNT_LIFE + key),
                _ => Self::Strange("absent".into()),
            };
        };
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        Self::read(view, key, &value).unwrap_or_else(|| Self::Strange(text.into()))
    }

    fn read(view: usize, key: i64, value: &Value) -> Option<Self> {
        let number = |value: &Value, name: &str| value.get(name)?.as_i64();
        let version = |offset: i64, names: [&str; 3]| {
            let [id, version, nonce] = names.map(|name| number(value, name));
            Some(Version { id: offset + id?, version: version?, nonce: nonce? })
        };
        let plain = ["id", "version", "nonce"];
        Some(match view {
            ITEM => Self::Row(version(0, plain)?),
            JOINED => Self::Joined(
                version(0, plain)?,
                version(OWNER_LIFE, ["owner", "owner_version", "owner_nonce"])?,
            ),
            SHELF => {
                let nonces = value.as_array()?.iter().map(|row| number(row, "nonce"));
                Self::List { shelf: key, sum: nonces.sum::<Option<i64>>()? }
            }
            ACCOUNT => Self::Row(version(ACCOUNT_LIFE, plain)?),
            _ => Self::List { shelf: key, sum: number(value, "total")? },
        })
    }

    /// All accounts together, from the JSON of each.
    pub(crate) fn accounts(rows: &[Value]) -> Self {
        let read = || {
            let mut sum = 0;
            let mut versions = Vec::new();
            for row in rows {
                let number = |name: &str| row.get(name)?.as_i64();
                let id = ACCOUNT_LIFE + number("id")?;
                versions.push(Version { id, version: number("version")?, nonce: number("nonce")? });
                sum += number("amount")?;
            }
            Some(Self::Accounts(versions, sum))
        };
        read().unwrap_or_else(|| Self::Strange(format!("{rows:?}")))
    }

    /// The rows that are shown.
    pub(crate) fn versions(&self) -> Vec<Version> {
        match self {
            Self::Row(one) => vec![*one],
            Self::Joined(one, other) => vec![*one, *other],
            Self::Accounts(all, _) => all.clone(),
            _ => Vec::new(),
        }
    }
}

/// The members of `Candor-Receipt`, or of the receipt in an answer for several keys.
impl Claim {
    pub(crate) fn of_header(text: &str) -> Self {
        let mut claim = Self { text: text.into(), ..Self::default() };
        for (name, value) in text.split(", ").filter_map(|member| member.split_once('=')) {
            claim.member(name, value.trim_matches('"'));
        }
        claim
    }

    pub(crate) fn of_json(value: &Value) -> Self {
        let mut claim = Self { text: value.to_string(), ..Self::default() };
        for (name, value) in value.as_object().into_iter().flatten() {
            claim.member(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str());
        }
        claim
    }

    pub(crate) fn of_receipt(receipt: &candor::Receipt) -> Self {
        let exact = receipt.bound;
        Self { bound: exact, ..Self::of_header(&receipt.to_string()) }
    }

    fn member(&mut self, name: &str, value: &str) {
        match name {
            "from" => self.origin = value.into(),
            "proof" => self.proof = value.into(),
            "bound" => self.bound = value.parse().ok().map(Duration::from_millis),
            "position" => self.position = value.into(),
            "degraded" => self.degraded = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receipt_of_a_header_says_what_it_claims() {
        let claim = Claim::of_header("from=l1, proof=log, bound=38, age=5120, position=\"1034\"");
        assert_eq!((claim.origin.as_str(), claim.bound), ("l1", Some(Duration::from_millis(38))));
        assert!(!claim.degraded && claim.position == "1034");
    }
}
