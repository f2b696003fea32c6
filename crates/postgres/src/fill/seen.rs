//! What a statement saw: its snapshot, a position above it, and the server that answered.

use super::visible::Visible;
use crate::catalog::coverage::look_sql;
use crate::identity::{Identity, TIMELINE_SQL, started_sql, timeline_of};
use crate::lsn::Lsn;
use candor_core::{Position, Snapshot};
use tokio_postgres::{Row, SimpleQueryRow};

/// What a statement saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The snapshot. Of a standby, only what lies below `xmin`: a standby's snapshot lists no transaction in progress
    /// and would call them visible, so its upper end is lowered to its lower one.
    pub(crate) snapshot: Visible,
    /// No visible transaction is logged above.
    pub(crate) upper: Lsn,
    /// Every transaction whose commit ends at or below is visible. Only a standby knows: it makes commits visible in the
    /// order of the log. On a primary the snapshot decides.
    pub(crate) certain: Option<Lsn>,
    /// Whether the server was a standby.
    pub(crate) in_recovery: bool,
    /// The log the positions count in.
    pub(crate) identity: Identity,
}

/// How many columns [`sql`] has.
pub(super) const COLUMNS: usize = 5;

/// The columns of a statement that say what it saw: the snapshot, the upper position, whether it is a standby, the
/// timeline and the start. The position is read while the statement runs, so after its snapshot was taken.
///
/// A standby applies a commit a moment before it says that it did, so what it has *received* bounds what it shows; a standby
/// that was never streamed to (it reads an archive) can only say what it applied.
pub(super) fn sql() -> [String; COLUMNS] {
    [
        "pg_current_snapshot()::text".into(),
        "CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
         ELSE pg_current_wal_insert_lsn() END::text"
            .into(),
        "pg_is_in_recovery()".into(),
        TIMELINE_SQL.into(),
        started_sql().into(),
    ]
}

impl Visible {
    /// As the ledger judges it.
    pub(crate) fn into_snapshot(self, upper: Position, certain: u64) -> Snapshot {
        let Self { xmin, xmax, in_progress } = self;
        Snapshot { upper, certain, xmin, xmax, in_progress }
    }
}

/// Asked before a standby's snapshot is taken.
pub(super) const REPLAYED_SQL: &str = "SELECT pg_last_wal_replay_lsn()::text";

/// Asked after a standby's answer, in the same session: the mark that a primary left in its log, the timeline that arrives
/// from there, the fingerprint of the publication; and then, since a standby shows a commit a moment before it says so, how
/// far it is. By then a standby that receives has replayed whatever it found on its own disk. Roles that may not read
/// statistics are not told of the timeline.
pub(super) fn history_sql(publication: &str) -> String {
    format!(
        "SELECT pg_sequence_last_value(to_regclass('candor.mark'))::text, \
         (SELECT received_tli FROM pg_stat_wal_receiver)::text, l.coverage FROM ({}) l; \
         SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text",
        look_sql(publication)
    )
}

/// Whose history a standby shares, as far as it can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct History {
    /// The mark it shows; `None` where there is none.
    pub(crate) mark: Option<i64>,
    /// The timeline it receives; `None` if it receives nothing, or the role may not know.
    pub(crate) timeline: Option<u32>,
    /// The fingerprint of the publication, as the standby shows it.
    pub(crate) coverage: String,
    /// Nothing that was shown is logged above.
    pub(crate) upper: Lsn,
}

impl History {
    /// Reads what [`history_sql`] answers.
    pub(super) fn of_rows(rows: &[SimpleQueryRow]) -> Option<Self> {
        let [history, place, ..] = rows else { return None };
        let text = |at: usize| history.get(at);
        Some(Self {
            mark: text(0).and_then(|text| text.parse().ok()),
            timeline: text(1).and_then(|text| text.parse().ok()),
            coverage: text(2)?.to_owned(),
            upper: place.get(0)?.parse().ok()?,
        })
    }
}

/// The columns of [`sql`], read.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) snapshot: Visible,
    pub(super) upper: Lsn,
    pub(super) in_recovery: bool,
    pub(super) timeline: u32,
    pub(super) started_micros: i64,
}

impl Told {
    /// Reads them from a place in a row.
    pub(super) fn of_row(row: &Row, at: usize) -> Result<Self, String> {
        let text = |place: usize| {
            let found: Result<Option<String>, _> = row.try_get(at + place);
            found
                .map_err(|error| error.to_string())?
                .ok_or("the server does not know its position".to_owned())
        };
        let wrong = |error: tokio_postgres::Error| error.to_string();
        let mut told = Self {
            snapshot: Visible::parse(&text(0)?)?,
            upper: text(1)?.parse()?,
            in_recovery: row.try_get(at + 2).map_err(wrong)?,
            timeline: timeline_of(&text(3)?)?,
            started_micros: row.try_get(at + 4).map_err(wrong)?,
        };
        if told.in_recovery {
            told.snapshot.xmax = told.snapshot.xmin;
            told.snapshot.in_progress = Box::default();
        }
        Ok(told)
    }

    pub(super) fn seen(self, certain: Option<Lsn>, identity: Identity) -> Seen {
        let Self { snapshot, upper, in_recovery, .. } = self;
        Seen { snapshot, upper, certain: certain.filter(|_| in_recovery), in_recovery, identity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_read_as_postgres_prints_them() {
        let parsed = Visible::parse("10:20:10,14").unwrap();
        assert_eq!((parsed.xmin, parsed.xmax, &*parsed.in_progress), (10, 20, [10, 14].as_slice()));
        assert_eq!(Visible::parse("7:7:").unwrap().in_progress.len(), 0);
        assert_eq!(Visible::parse("18446744073709551614:18446744073709551615:").unwrap().xmax, u64::MAX);
        for text in ["", "1", "1:2", "1:2:x", "2:1:", "5:7:4", "5:7:7", "5:7:5:"] {
            assert!(Visible::parse(text).is_err(), "{text}");
        }
    }
}
