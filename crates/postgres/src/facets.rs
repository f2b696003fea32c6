//! Which facets of which tables the prepared views depend on, and how a row in the log becomes tags.
//!
//! The registry grows when a view is prepared, before its first fill. A row that cannot be named (its old key is not in
//! the log, its key column was not sent) stands for the whole table: *less narrow, never less sound*.

use crate::view::{Registration, reset_tag};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{Facet, Tag};
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// How views depend on one set of columns of one table.
#[derive(Clone, Debug)]
struct Interest {
    facet: Facet,
    /// The columns of the facet; `None` for the whole table.
    columns: Option<BTreeSet<String>>,
    /// Whether some view depends on any row.
    by_table: bool,
    /// By which columns views depend on rows.
    by_columns: BTreeSet<String>,
}

/// The facets of all prepared views, by `schema.table`.
#[derive(Debug, Default)]
pub(crate) struct Facets {
    tables: RwLock<HashMap<String, Vec<Interest>>>,
    /// What is known of the published tables, by their number, as read together with the fingerprint that the stream was
    /// begun with. The stream's own words do not do: it describes a table once, and not again when its schema is renamed.
    published: RwLock<HashMap<u32, Published>>,
    /// Counts what was registered for the first time, and views that came to mean something else.
    grown: AtomicU64,
    /// What that was when the stream began.
    told: AtomicU64,
}

/// A table that the log tells of.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// What views call it.
    pub(crate) name: Box<str>,
    /// Whether rows are stored under another replica identity than the log says: that of the root, by which it labels what
    /// its partitions tell. Then nothing that is said of an old row can be relied upon.
    pub(crate) is_uneven: bool,
}

/// A column's value in a row of the log.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen<'a> {
    /// NULL, which equals nothing and tags nothing.
    Null,
    /// As Postgres writes it.
    Text(&'a [u8]),
    /// Stored elsewhere and not changed; the value was not sent.
    Unchanged,
    /// Not in this image.
    Unknown,
}

/// One row of the log: its columns' names, before and after.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    /// `schema.table`.
    pub(crate) table: &'a str,
    /// In the order of the images.
    pub(crate) names: Vec<&'a str>,
    /// `None` where there was no row, or nothing is known of it. Of an update that left the replica identity as it was, the
    /// log sends no old image: then these columns are those of the new row, and the others unknown.
    pub(crate) old: Option<Vec<Seen<'a>>>,
    /// `None` for a deleted row.
    pub(crate) new: Option<Vec<Seen<'a>>>,
    /// What happened.
    pub(crate) kind: Kind,
}

/// What happened to a row.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Insert,
    Update,
    Delete,
}

/// The tags of one transaction, bounded: beyond, its tables stand for their rows.
#[derive(Debug)]
pub(crate) struct Gathered {
    tags: HashSet<Tag>,
    by_table: BTreeMap<String, u64>,
    whole: BTreeSet<String>,
    tags_max: usize,
}

impl Facets {
    /// Takes registrations in.
    pub(crate) fn register<'a>(&self, registrations: impl IntoIterator<Item = &'a Registration>) {
        let mut tables = self.tables.write();
        let mut is_news = false;
        for registration in registrations {
            let facet = registration.facet();
            let interests = tables.entry(registration.table.clone()).or_default();
            let place = interests.iter().position(|interest| interest.facet == facet).unwrap_or_else(|| {
                is_news = true;
                interests.push(Interest {
                    facet,
                    columns: registration.columns.clone(),
                    by_table: false,
                    by_columns: BTreeSet::new(),
                });
                interests.len() - 1
            });
            match &registration.by {
                Some(column) => is_news |= interests[place].by_columns.insert(column.clone()),
                None => is_news |= !std::mem::replace(&mut interests[place].by_table, true),
            }
        }
        if is_news {
            self.grown.fetch_add(1, Ordering::Release);
        }
    }

    /// A view means something else from now on: whatever was told, and is kept, was of another one.
    pub(crate) fn means_otherwise(&self) {
        self.grown.fetch_add(1, Ordering::Release);
    }

    /// Changes whenever something is registered for the first time. What was told before has no tags for it.
    pub(crate) fn grown(&self) -> u64 {
        self.grown.load(Ordering::Acquire)
    }

    /// A stream begins: these are the published tables, and this was registered when the views had been held against them.
    pub(crate) fn begin(&self, published: HashMap<u32, Published>, grown: u64) {
        *self.published.write() = published;
        self.told.store(grown, Ordering::Release);
    }

    /// Whether the stream tells everything that views depend on. What one depends on that was prepared later is missing in what
    /// was told before, also in what is not visible yet.
    pub(crate) fn is_told_all(&self) -> bool {
        #[cfg(candor_sabotage)]
        if is(Sabotage::ViewsOfLater) {
            return true;
        }
        self.told.load(Ordering::Acquire) == self.grown()
    }

    /// Whether nothing that the log says of old rows of this table can be relied upon.
    pub(crate) fn is_uneven(&self, oid: u32) -> bool {
        #[cfg(candor_sabotage)]
        if is(Sabotage::UnevenBelieved) {
            return false;
        }
        self.published.read().get(&oid).is_some_and(|published| published.is_uneven)
    }

    /// The name under which views know the table of this number; what the stream calls it, if it was not there when the
    /// stream began.
    pub(crate) fn table(&self, oid: u32, called: impl FnOnce() -> String) -> Box<str> {
        let known = self.published.read().get(&oid).map(|published| published.name.clone());
        #[cfg(candor_sabotage)]
        let known = known.filter(|_| !is(Sabotage::TablesByName));
        known.unwrap_or_else(|| called().into())
    }

    /// Whether some view depends on the table.
    pub(crate) fn knows(&self, table: &str) -> bool {
        self.tables.read().contains_key(table)
    }

    /// Gathers the tags of one row.
    pub(crate) fn gather(&self, row: &Row<'_>, into: &mut Gathered) {
        let tables = self.tables.read();
        let Some(interests) = tables.get(row.table) else { return };
        *into.by_table.entry(row.table.to_owned()).or_default() += 1;
        if into.whole.contains(row.table) {
            return;
        }
        let mut named = true;
        for interest in interests {
            if row.touches(interest.columns.as_ref()) {
                named &= interest.gather(row, &mut into.tags);
            }
        }
        #[cfg(candor_sabotage)]
        let named = named || is(Sabotage::UnnamedForgotten);
        if !named {
            into.whole.insert(row.table.to_owned());
        }
        if into.tags.len() > into.tags_max {
            into.tags.clear();
            #[cfg(candor_sabotage)]
            if is(Sabotage::HugeForgotten) {
                return;
            }
            into.whole.extend(into.by_table.keys().cloned());
        }
    }

    /// Every tag that a change of unknown rows of the table may concern.
    fn whole(&self, table: &str) -> Vec<Tag> {
        let tables = self.tables.read();
        let interests = tables.get(table).into_iter().flatten();
        let by_table = interests.filter(|interest| interest.by_table);
        by_table.map(|interest| Tag::table(table, interest.facet)).chain([reset_tag(table)]).collect()
    }

    /// Gathers a change of unknown rows of a table.
    pub(crate) fn gather_whole(&self, table: &str, into: &mut Gathered) {
        if self.tables.read().contains_key(table) {
            into.by_table.entry(table.to_owned()).or_default();
            into.whole.insert(table.to_owned());
        }
    }

    /// The tags gathered, ascending, and what happened in words; `None` if nothing concerns any view.
    pub(crate) fn finish(&self, gathered: Gathered) -> Option<(Box<[Tag]>, Box<str>)> {
        let mut tags: Vec<Tag> = gathered.tags.into_iter().collect();
        for table in &gathered.whole {
            tags.extend(self.whole(table));
        }
        if tags.is_empty() {
            return None;
        }
        tags.sort_unstable();
        tags.dedup();
        let told = gathered.by_table.iter().map(|(table, rows)| {
            let name = table.strip_prefix("public.").unwrap_or(table);
            match rows {
                _ if gathered.whole.contains(table) => format!("any row of {name}"),
                1 => format!("1 row of {name}"),
                rows => format!("{rows} rows of {name}"),
            }
        });
        Some((tags.into(), told.collect::<Vec<_>>().join(", ").into()))
    }
}

impl Gathered {
    /// Nothing yet; at most so many tags.
    pub(crate) fn new(tags_max: usize) -> Self {
        Self { tags: HashSet::new(), by_table: BTreeMap::new(), whole: BTreeSet::new(), tags_max }
    }
}

impl Interest {
    /// Adds this interest's tags of a row. False if the row cannot be named.
    fn gather(&self, row: &Row<'_>, tags: &mut HashSet<Tag>) -> bool {
        if self.by_table {
            tags.insert(Tag::table(row.table, self.facet));
        }
        self.by_columns.iter().all(|column| {
            let Some(place) = row.names.iter().position(|name| name == column) else { return false };
            let Some(values) = row.values(place) else { return false };
            for value in values {
                if let Seen::Text(text) = value {
                    // Not UTF-8 is a database of another encoding; then no key of ours can equal it either.
                    let Ok(text) = std::str::from_utf8(text) else { return false };
                    tags.insert(Tag::row(row.table, self.facet, column, text));
                }
            }
            true
        })
    }
}

impl<'a> Row<'a> {
    /// The column's values before and after; `None` if one of them is not known.
    fn values(&self, place: usize) -> Option<Vec<Seen<'a>>> {
        let of = |image: &Option<Vec<Seen<'a>>>| image.as_ref().map(|image| image.get(place).copied());
        let new = of(&self.new).map(|seen| seen.unwrap_or(Seen::Unknown));
        let old = of(&self.old).map(|seen| seen.unwrap_or(Seen::Unknown));
        let values = match (self.kind, old, new) {
            (Kind::Insert, _, Some(new)) => vec![new],
            (Kind::Delete, Some(old), _) => vec![old],
            #[cfg(candor_sabotage)]
            (Kind::Update, _, Some(Seen::Unchanged)) if is(Sabotage::UnchangedForgotten) => vec![],
            // The whole old row is there, or its identity, which the new row changed.
            (Kind::Update, Some(old), Some(Seen::Unchanged)) => vec![old],
            (Kind::Update, Some(old), Some(new)) => vec![old, new],
            _ => return None,
        };
        let known = values.iter().all(|value| matches!(value, Seen::Null | Seen::Text(_)));
        known.then_some(values)
    }

    /// Whether any of these columns changed. Inserted and deleted rows change all of them.
    fn touches(&self, columns: Option<&BTreeSet<String>>) -> bool {
        let (Some(columns), Kind::Update) = (columns, self.kind) else { return true };
        let Some(new) = &self.new else { return true };
        columns.iter().any(|column| {
            let Some(place) = self.names.iter().position(|name| name == column) else { return true };
            let before = self.old.as_ref().and_then(|old| old.get(place)).copied().unwrap_or(Seen::Unknown);
            match (before, new.get(place).copied().unwrap_or(Seen::Unknown)) {
                (_, Seen::Unchanged) => false,
                (Seen::Null | Seen::Text(_), after) => before != after,
                _ => true,
            }
        })
    }
}

#[cfg(test)]
mod tests;
