//! A prepared view: what a fill needs to know, and what the log must tell for it.

use crate::derive;
use crate::facets::Facets;
use crate::fill::{Bounds, FillPlan};
use crate::names::SearchPath;
use crate::pool::Conn;
use candor_core::port::{SourceError, ViewHandle};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{Derived, Facet, Severity, Tag, ViewQuery};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A view, held against the schema of one moment.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// The declaration.
    pub(crate) query: ViewQuery,
    /// An expression of type `boolean`: whether names mean what they meant.
    pub(crate) still: String,
    /// Where the role that fills looked for what is not qualified.
    pub(crate) path: SearchPath,
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

impl Compiled {
    /// Whether entries of the one are entries of the other: the same is read, and the same changes are told of it.
    fn means_the_same(&self, other: &Self) -> bool {
        (&self.path, &self.still) == (&other.path, &other.still)
            && (&self.fixed, &self.by_key, &self.met) == (&other.fixed, &other.by_key, &other.met)
            && self.registrations == other.registrations
    }
}

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

/// The views declared so far. A handle is a place in this list.
#[derive(Debug)]
pub(crate) struct Views {
    list: RwLock<Vec<Arc<View>>>,
    bounds: Bounds,
    /// Counts compilations as they begin.
    turns: AtomicU64,
}

/// A view, and how it is filled as long as the schema stays as it is.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) query: ViewQuery,
    kept: Mutex<Kept>,
}

/// What is known of a view by now.
#[derive(Debug, Default)]
struct Kept {
    /// In which the plan was made: one that was begun earlier and took longer is of an older schema.
    turn: u64,
    plan: Option<Arc<FillPlan>>,
    /// By which entries may have been filled, also while there is no plan.
    last: Option<Arc<FillPlan>>,
}

impl Views {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { list: RwLock::default(), bounds, turns: AtomicU64::new(1) }
    }

    /// Keeps a declaration; the same one keeps its handle.
    pub(crate) fn declare(&self, query: &ViewQuery) -> ViewHandle {
        let mut list = self.list.write();
        let place = list.iter().position(|view| view.query == *query).unwrap_or_else(|| {
            list.push(Arc::new(View { query: query.clone(), kept: Mutex::default() }));
            list.len() - 1
        });
        ViewHandle(place as u32)
    }

    pub(crate) fn at(&self, handle: ViewHandle) -> Result<Arc<View>, SourceError> {
        self.list.read().get(handle.0 as usize).cloned().ok_or_else(|| {
            SourceError::contract(format!("no view was prepared under the handle {}", handle.0))
        })
    }

    /// The tables that need the log, by what the views compiled so far need of them.
    pub(crate) fn all(&self) -> Vec<Arc<View>> {
        self.list.read().clone()
    }

    /// Holds every view against the schema as it is now. One that can no longer be proven keeps the log from being
    /// followed: its entries must not be judged by a log that does not tell of them.
    pub(crate) async fn compile_all(
        &self,
        conn: &mut Conn,
        path: &SearchPath,
        publication: &str,
        facets: &Facets,
    ) -> Result<(), SourceError> {
        for view in self.all() {
            self.compile(&view, conn, path, publication, facets).await?.1?;
        }
        Ok(())
    }

    /// Holds one view against the schema as it is now. The second part says whether it can be filled.
    pub(crate) async fn compile(
        &self,
        view: &View,
        conn: &mut Conn,
        path: &SearchPath,
        publication: &str,
        facets: &Facets,
    ) -> Result<(Derived, Result<Arc<FillPlan>, SourceError>), SourceError> {
        let turn = self.turns.fetch_add(1, Ordering::AcqRel);
        let compiled = derive::compile(&conn.client, path, publication, &view.query).await?;
        let derived = compiled.derived.clone();
        if let Some(first) = derived.findings.iter().find(|finding| finding.severity == Severity::Refused) {
            view.keep(turn, None, facets);
            let why = format!("view `{}`: {}; {}", view.query.name, first.message, first.mend);
            return Ok((derived, Err(SourceError::contract(why))));
        }
        // Before the plan can be used: no fill is older than the registration of its facets.
        facets.register(&compiled.registrations);
        let plan = Arc::new(FillPlan::new(Arc::new(compiled), self.bounds)?);
        view.keep(turn, Some(Arc::clone(&plan)), facets);
        Ok((derived, Ok(plan)))
    }
}

impl View {
    /// How it is filled, if it was held against the schema.
    pub(crate) fn plan(&self) -> Option<Arc<FillPlan>> {
        self.kept.lock().plan.clone()
    }

    /// Takes a plan in. One under which the view means something else than before, or nothing, ends what was told: entries of
    /// the former are proven by changes of what is not read any more. The next fence finds out, and no fill is kept until the
    /// log is followed anew.
    fn keep(&self, turn: u64, plan: Option<Arc<FillPlan>>, facets: &Facets) {
        let mut kept = self.kept.lock();
        if turn < kept.turn {
            return;
        }
        kept.turn = turn;
        let is_another = match &plan {
            Some(plan) => {
                let last = kept.last.replace(Arc::clone(plan));
                last.is_some_and(|last| !last.compiled.means_the_same(&plan.compiled))
            }
            None => kept.plan.is_some(),
        };
        #[cfg(candor_sabotage)]
        let is_another = is_another && !is(Sabotage::MeaningForgotten);
        // Before the plan can be used.
        if is_another {
            facets.means_otherwise();
        }
        kept.plan = plan;
    }
}
