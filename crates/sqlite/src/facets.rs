//! Which facets of which tables the prepared views depend on, and how a row of the change log becomes tags.
//!
//! The registry grows when a view is prepared, before its first fill. That is early enough: a change that was decoded
//! before stands at or below the position of every later fill, so no later fill depends on it. Entries that *another*
//! instance filled earlier may depend on it, so a registry that grew makes the log's thread end every feed.

use crate::image::{self, lower};
use candor_core::{Change, Facet, Tag, Xid};
use parking_lot::RwLock;
use std::collections::{BTreeSet, HashMap};

/// How views depend on one set of columns of one table.
#[derive(Clone, Debug)]
struct Interest {
    facet: Facet,
    /// The columns of the facet, in lower case; `None` for the whole table.
    columns: Option<BTreeSet<String>>,
    /// Whether some view depends on any row.
    by_table: bool,
    /// By which columns views depend on rows.
    by_columns: BTreeSet<String>,
}

/// The facets of all prepared views.
#[derive(Debug, Default)]
pub(crate) struct Facets {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tables: HashMap<String, Vec<Interest>>,
    grown: u64,
}

/// One way in which a view depends on a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) table: String,
    /// `None` for the whole table.
    pub(crate) columns: Option<BTreeSet<String>>,
    /// The column whose value names rows; `None` for any row.
    pub(crate) by: Option<String>,
}

impl Registration {
    pub(crate) fn facet(&self) -> Facet {
        match &self.columns {
            Some(columns) => Facet::of(columns.iter().map(String::as_str)),
            None => Facet::WHOLE,
        }
    }
}

/// A row of the change log as it is stored.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) seq: u64,
    pub(crate) table: String,
    pub(crate) op: String,
    pub(crate) old: Option<Vec<u8>>,
    pub(crate) new: Option<Vec<u8>>,
    pub(crate) touched: Option<Vec<u8>>,
}

impl Facets {
    /// Takes registrations in.
    pub(crate) fn register<'a>(&self, registrations: impl IntoIterator<Item = &'a Registration>) {
        let mut inner = self.inner.write();
        for registration in registrations {
            let facet = registration.facet();
            let interests = inner.tables.entry(registration.table.clone()).or_default();
            let place = interests.iter().position(|interest| interest.facet == facet).unwrap_or_else(|| {
                interests.push(Interest {
                    facet,
                    columns: registration.columns.clone(),
                    by_table: false,
                    by_columns: BTreeSet::new(),
                });
                interests.len() - 1
            });
            let interest = &mut interests[place];
            let grew = match &registration.by {
                Some(column) => interest.by_columns.insert(column.clone()),
                None => !std::mem::replace(&mut interest.by_table, true),
            };
            inner.grown += u64::from(grew);
        }
    }

    /// How often something was added.
    pub(crate) fn grown(&self) -> u64 {
        self.inner.read().grown
    }

    /// The change a row tells of; `None` if the row cannot be understood, or lacks a column that a view depends on.
    pub(crate) fn change(&self, row: &Logged) -> Option<Change> {
        let table = lower(&row.table);
        let old = row.old.as_deref().map(image::parse).transpose_option()?;
        let new = row.new.as_deref().map(image::parse).transpose_option()?;
        let touched = row.touched.as_deref().map(image::parse_names).transpose_option()?;
        let inner = self.inner.read();
        let mut tags = Vec::new();
        for interest in inner.tables.get(&table).into_iter().flatten() {
            if !interest.is_touched(touched.as_deref()) {
                continue;
            }
            if interest.by_table {
                tags.push(Tag::table(&table, interest.facet));
            }
            for image in [&old, &new].into_iter().flatten() {
                for column in &interest.by_columns {
                    let (_, value) = image.iter().find(|(name, _)| name == column)?;
                    if let Some(text) = value.tag_text() {
                        tags.push(Tag::row(&table, interest.facet, column, &text));
                    }
                }
            }
        }
        tags.sort_unstable();
        tags.dedup();
        Some(Change { at: row.seq, xid: Xid(row.seq), tags: tags.into(), note: row.note(&table).into() })
    }
}

impl Interest {
    /// `touched` is what an update changed; `None` for everything else, which touches every facet.
    fn is_touched(&self, touched: Option<&[String]>) -> bool {
        match (&self.columns, touched) {
            (Some(columns), Some(touched)) => touched.iter().any(|column| columns.contains(column)),
            _ => true,
        }
    }
}

impl Logged {
    fn note(&self, table: &str) -> String {
        let text = |bytes: &Option<Vec<u8>>| {
            bytes
                .as_deref()
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                .filter(|text| !text.is_empty())
        };
        let (old, new) = (text(&self.old), text(&self.new));
        let rows = match (old, new) {
            (Some(old), Some(new)) if old != new => format!(" {old} → {new}"),
            (Some(row), _) | (None, Some(row)) => format!(" {row}"),
            (None, None) => String::new(),
        };
        let touched = text(&self.touched).map_or(String::new(), |touched| format!(" ({touched})"));
        format!("{} {table}{rows}{touched}", self.op)
    }
}

/// `None` in the outer place means that something was there and could not be read.
trait TransposeOption<T> {
    fn transpose_option(self) -> Option<Option<T>>;
}

impl<T> TransposeOption<T> for Option<Option<T>> {
    fn transpose_option(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(Some(value)) => Some(Some(value)),
        }
    }
}
