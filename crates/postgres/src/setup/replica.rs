//! Which replica identity a table needs.
//!
//! The replica identity says what the log tells of a row that is changed or deleted: the columns of a key, or all. The
//! cheapest that suffices is taken: what is there, the primary key, another key, at last all columns.

use crate::setup::facts::{Key, Relation};
use crate::setup::quote::name;
use crate::setup::{IdentityNeed, Table};
use std::collections::BTreeSet;

/// What the log tells of old rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told<'a> {
    /// Nothing: Postgres refuses UPDATE and DELETE once the table is published.
    Nothing,
    /// These columns.
    Columns(&'a BTreeSet<String>),
    /// Everything.
    All,
}

impl Relation {
    /// What its replica identity makes the log tell.
    pub(crate) fn told(&self) -> Told<'_> {
        let key = |wanted: fn(&Key) -> bool| {
            self.keys.iter().find(|key| wanted(key)).map_or(Told::Nothing, |key| Told::Columns(&key.columns))
        };
        match self.identity.as_str() {
            "f" => Told::All,
            "d" => key(|key| key.is_primary),
            // Without its index the identity is gone as well.
            "i" => key(|key| key.is_chosen),
            _ => Told::Nothing,
        }
    }

    /// Whether the log tells enough.
    pub(crate) fn suffices(&self, need: &IdentityNeed) -> bool {
        match (self.told(), need) {
            (Told::All, _) | (Told::Columns(_), IdentityNeed::None) => true,
            (Told::Columns(columns), IdentityNeed::Columns(needed)) => needed.is_subset(columns),
            (Told::Nothing, _) => false,
        }
    }
}

impl Table {
    /// Whether UPDATE and DELETE work on all of it once it is published.
    pub(crate) fn is_publishable(&self) -> bool {
        self.stored().all(|relation| relation.told() != Told::Nothing)
    }
}

/// The statement that makes the identity of a relation suffice; `None` if it does.
pub(crate) fn statement(relation: &Relation, need: &IdentityNeed) -> Option<String> {
    if relation.suffices(need) {
        return None;
    }
    let identity = match best_key(relation, need) {
        Some(key) if key.is_primary => "DEFAULT".to_owned(),
        Some(key) => format!("USING INDEX {}", name(&key.index)),
        None => "FULL".to_owned(),
    };
    Some(format!("ALTER TABLE {} REPLICA IDENTITY {identity}", relation.sql()))
}

/// The key with the fewest columns that has all that is needed.
fn best_key<'a>(relation: &'a Relation, need: &IdentityNeed) -> Option<&'a Key> {
    // Whoever else subscribes, or chose an index by name, rests on the columns told now. All columns contain them.
    let rests_on_it = relation.is_published_elsewhere || relation.identity == "i";
    if rests_on_it && relation.told() != Told::Nothing {
        return None;
    }
    let suffices = |key: &&Key| match need {
        IdentityNeed::None => true,
        IdentityNeed::Columns(needed) => needed.is_subset(&key.columns),
    };
    relation.keys.iter().filter(suffices).min_by_key(|key| (!key.is_primary, key.columns.len(), &key.index))
}
