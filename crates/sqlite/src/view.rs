//! A prepared view: what a fill needs to know.

use crate::facets::Registration;
use crate::watch::Plan;
use candor_core::port::{SourceError, ViewHandle};
use candor_core::{Derived, Tag, ViewQuery};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;

/// A view, held against the schema of one era.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// The schema version for which this is true; a fill under another compiles anew.
    pub(crate) era: u32,
    /// For each parameter of the statement, in its order, the key column it takes.
    pub(crate) slots: Vec<usize>,
    /// The result's columns as JSON strings.
    pub(crate) names: Vec<Box<str>>,
    /// Tags of every entry.
    pub(crate) fixed: Vec<Tag>,
    /// Tags from the key: what is tagged, and by which key column.
    pub(crate) by_key: Vec<(Registration, usize)>,
    /// Tags from values met.
    pub(crate) met: Vec<Met>,
    /// Everything the log must know to tag changes for this view.
    pub(crate) registrations: Vec<Registration>,
    /// Whether answers rest on the change log.
    pub(crate) is_logged: bool,
    /// Refused whatever the change log watches.
    pub(crate) is_refused_anyway: bool,
    /// What the change log must watch for this view.
    pub(crate) needs: Plan,
    /// What is told to whoever prepared the view.
    pub(crate) derived: Derived,
}

/// A query for the values by which a view reaches the rows of another table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    /// `SELECT DISTINCT` one column.
    pub(crate) sql: String,
    /// As in [`Compiled::slots`].
    pub(crate) slots: Vec<usize>,
    /// What the values tag.
    pub(crate) tagged: Registration,
    /// For the table tag, when there are too many.
    pub(crate) table: Registration,
}

/// More met values than this, and the entry depends on the whole table.
pub(crate) const MET_MAX: usize = 256;

/// The views prepared so far. A handle is a place in this list.
#[derive(Debug, Default)]
pub(crate) struct Views {
    list: RwLock<Vec<Arc<View>>>,
}

#[derive(Debug)]
pub(crate) struct View {
    pub(crate) query: ViewQuery,
    compiled: Mutex<Arc<Compiled>>,
}

impl Views {
    /// Keeps a view; the same declaration keeps its handle.
    pub(crate) fn keep(&self, query: &ViewQuery, compiled: Arc<Compiled>) -> ViewHandle {
        let mut list = self.list.write();
        let place = match list.iter().position(|view| view.query == *query) {
            Some(place) => {
                list[place].replace(compiled);
                place
            }
            None => {
                list.push(Arc::new(View { query: query.clone(), compiled: Mutex::new(compiled) }));
                list.len() - 1
            }
        };
        ViewHandle(place as u32)
    }

    pub(crate) fn at(&self, handle: ViewHandle) -> Result<Arc<View>, SourceError> {
        self.list.read().get(handle.0 as usize).cloned().ok_or_else(|| {
            SourceError::contract(format!("no view was prepared under the handle {}", handle.0))
        })
    }
}

impl View {
    pub(crate) fn compiled(&self) -> Arc<Compiled> {
        self.compiled.lock().clone()
    }

    pub(crate) fn replace(&self, compiled: Arc<Compiled>) {
        *self.compiled.lock() = compiled;
    }
}
