//! A prepared view: what a fill needs to know, and what the log must tell for it.

use candor_core::{Derived, Facet, Tag, ViewQuery};
use std::collections::BTreeSet;

/// A view, held against the schema of one moment.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// The declaration.
    pub(crate) query: ViewQuery,
    /// Tags of every entry: of applications, of whole tables, and for every table reached by rows its reset tag
    /// ([`reset_tag`]).
    pub(crate) fixed: Vec<Tag>,
    /// Tags from the key: what is tagged, and by which key column.
    pub(crate) by_key: Vec<(Registration, usize)>,
    /// Tags from values met.
    pub(crate) met: Vec<Met>,
    /// Everything the log must know to tag changes for this view.
    pub(crate) registrations: Vec<Registration>,
    /// Whether answers rest on the log.
    pub(crate) is_logged: bool,
    /// What is told to whoever prepared the view.
    pub(crate) derived: Derived,
}

/// One way in which a view depends on a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    /// `schema.table` as the log names it; for partitions the root.
    pub(crate) table: String,
    /// The columns read, by their exact names; `None` for the whole table.
    pub(crate) columns: Option<BTreeSet<String>>,
    /// The column whose value names rows; `None` for any row.
    pub(crate) by: Option<String>,
}

/// A query for the values by which a view reaches the rows of another table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    /// `SELECT DISTINCT` one column as text, with the view's own `$n`. Asked in the fill's own statement.
    pub(crate) sql: String,
    /// What the values tag.
    pub(crate) tagged: Registration,
    /// For the table tag, when there are too many.
    pub(crate) table: Registration,
}

/// More met values than this, and the entry depends on the whole table.
pub(crate) const MET_MAX: usize = 256;

impl Registration {
    pub(crate) fn facet(&self) -> Facet {
        match &self.columns {
            Some(columns) => Facet::of(columns.iter().map(String::as_str)),
            None => Facet::WHOLE,
        }
    }

    /// The tag of the rows whose column has this value, in the text form of the log.
    pub(crate) fn row_tag(&self, text: &str) -> Tag {
        Tag::row(&self.table, self.facet(), self.by.as_deref().unwrap_or_default(), text)
    }
}

/// The tag of everything that depends on single rows of a table: given when the rows cannot be named one by one
/// (TRUNCATE, a transaction of millions).
pub(crate) fn reset_tag(table: &str) -> Tag {
    Tag::row(table, Facet::WHOLE, "", "")
}
