//! The model of a publication that somebody changes without telling anybody: what the log leaves out, and since when.
//!
//! The source has two tables. A change takes one of them out of the publication, another puts it back; each is a
//! transaction like any other, with a place in the log from which on it is in force, and visible later. A row that is
//! written while its table is out is never told, whenever its transaction commits; what else that transaction wrote is. The
//! log itself goes on, and so does its position.
//!
//! Of one change at a time there is a pending one: whoever else changes the publication waits for it. Taking a table out
//! deletes a row of the catalog, which bears the deleter's mark at once; putting it back adds one, and leaves no mark.

/// Rows of the table that is taken out of the publication now and then.
pub fn may_be_silent(row: u32) -> bool {
    row.is_multiple_of(3)
}

/// The name of a row's table.
pub fn table_of(row: u32) -> &'static str {
    if may_be_silent(row) { "stock" } else { "item" }
}

/// Everybody who changed the publication, in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Publication {
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    xid: u64,
    silences: bool,
    /// Where its commit was logged.
    end: Option<u64>,
    visible: bool,
}

/// What a statement finds in the catalogs, under its snapshot.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The fingerprint: how often the publication was changed, so that there and back is not the same.
    pub fingerprint: usize,
    /// A table is missing in it.
    pub is_silent: bool,
    /// It bears the mark of somebody who is not visible.
    pub is_pending: bool,
}

impl Publication {
    /// This transaction is about to change it. False while another one is, and where there is nothing to change.
    pub(super) fn begin(&mut self, xid: u64, silences: bool) -> bool {
        let is_possible =
            self.changes.last().is_none_or(|last| last.visible) && self.coverage().is_silent != silences;
        if is_possible {
            self.changes.push(Change { xid, silences, end: None, visible: false });
        }
        is_possible
    }

    /// A commit was logged: from here on the change is in force, if it is one.
    pub(super) fn logged(&mut self, xid: u64, end: u64) {
        if let Some(change) = self.pending(xid) {
            change.end = Some(end);
        }
    }

    /// A commit became visible.
    pub(super) fn show(&mut self, xid: u64) {
        if let Some(change) = self.pending(xid) {
            change.visible = true;
        }
    }

    /// A transaction was given up.
    pub(super) fn abort(&mut self, xid: u64) {
        if self.pending(xid).is_some() {
            self.changes.pop();
        }
    }

    /// The log ends: what is logged up to there is kept, and visible to whoever comes.
    pub(super) fn end_log(&mut self, kept: u64) {
        self.changes.retain(|change| change.end.is_some_and(|end| end <= kept));
        self.changes.iter_mut().for_each(|change| change.visible = true);
    }

    /// Whether what is written now is left out, visible or not.
    pub(super) fn is_in_force(&self) -> bool {
        self.changes.iter().rev().find(|change| change.end.is_some()).is_some_and(|change| change.silences)
    }

    /// What a statement finds that looks now.
    pub(super) fn coverage(&self) -> Coverage {
        let pending = self.changes.last().filter(|last| !last.visible);
        let fingerprint = self.changes.len() - usize::from(pending.is_some());
        Coverage {
            fingerprint,
            is_silent: fingerprint > 0 && self.changes[fingerprint - 1].silences,
            is_pending: pending.is_some_and(|change| change.silences),
        }
    }

    fn pending(&mut self, xid: u64) -> Option<&mut Change> {
        self.changes.last_mut().filter(|change| change.xid == xid && !change.visible)
    }
}
