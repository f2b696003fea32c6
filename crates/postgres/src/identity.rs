//! Which log a connection's positions count in, and how a server is asked for it.

use candor_core::LogId;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use tokio_postgres::Row;
use xxhash_rust::xxh3::Xxh3;

/// What tells one log from every other whose positions must not be compared with it. A crash may lose commits that were
/// seen and give their numbers to others, so the time of the server's start belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// `system_identifier` of the cluster.
    pub(crate) system: u64,
    /// The timeline written to.
    pub(crate) timeline: u32,
    /// When it started and last recovered, in microseconds since 1970, mixed.
    pub(crate) started_micros: i64,
    /// The database.
    pub(crate) database: String,
}

/// The timeline, as SQL. A promoted standby writes to its new timeline long before its control file says so; the names
/// of its log files follow at once. On a standby only the control file tells, and only up to its last restart point.
pub(crate) const TIMELINE_SQL: &str = "CASE WHEN pg_is_in_recovery() \
     THEN (SELECT timeline_id FROM pg_control_checkpoint())::text \
     ELSE 'x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END";

/// The server's start and the end of its last crash recovery, in microseconds and mixed into one number, as SQL. When one
/// backend is killed the server recovers without starting anew and may lose commits that were seen; only the statistics
/// that it resets then tell of it. `extract` is exact (numeric) from Postgres 14 on, and before it rounds to the same
/// microsecond.
const STARTED_SQL: &str = "(round(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 \
     # coalesce((SELECT round(extract(epoch FROM stats_reset) * 1000000)::int8 FROM pg_stat_archiver), 0))";

pub(crate) fn started_sql() -> &'static str {
    #[cfg(candor_sabotage)]
    if is(Sabotage::RecoveryForgotten) {
        return "round(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8";
    }
    STARTED_SQL
}

impl Identity {
    /// Asks for everything and for whether the server is in recovery. Any role may ask, unless somebody revoked the
    /// functions of the control file.
    pub(crate) fn sql() -> String {
        let started = started_sql();
        format!(
            "SELECT (SELECT system_identifier FROM pg_control_system()), {TIMELINE_SQL}, {started}, \
             current_database()::text, pg_is_in_recovery()"
        )
    }

    /// Reads the answer.
    pub(crate) fn of_row(row: &Row) -> Result<(Self, bool), String> {
        let wrong = |error: tokio_postgres::Error| error.to_string();
        let system: i64 = row.try_get(0).map_err(wrong)?;
        let timeline: String = row.try_get(1).map_err(wrong)?;
        let identity = Self {
            system: system.cast_unsigned(),
            timeline: timeline_of(&timeline)?,
            started_micros: row.try_get(2).map_err(wrong)?,
            database: row.try_get(3).map_err(wrong)?,
        };
        Ok((identity, row.try_get(4).map_err(wrong)?))
    }

    /// The log's identity for everybody else.
    pub(crate) fn log(&self) -> LogId {
        #[cfg(candor_sabotage)]
        if is(Sabotage::OneLogForAll) {
            return LogId(77);
        }
        let mut hash = Xxh3::new();
        hash.update(b"postgres");
        hash.update(&self.system.to_le_bytes());
        hash.update(&self.timeline.to_le_bytes());
        hash.update(&self.started_micros.to_le_bytes());
        hash.update(self.database.as_bytes());
        LogId(hash.digest())
    }
}

/// Reads what [`TIMELINE_SQL`] answers: hexadecimal digits after an `x`, else decimal ones.
pub(crate) fn timeline_of(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix('x') {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("`{text}` is not a timeline"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timelines_read_from_file_names_and_from_the_control_file() {
        assert_eq!(timeline_of("x0000000A"), Ok(10));
        assert_eq!(timeline_of("10"), Ok(10));
        assert!(timeline_of("x").is_err() && timeline_of("-1").is_err());
    }

    #[test]
    fn every_part_of_an_identity_makes_another_log() {
        let one = Identity { system: 1, timeline: 1, started_micros: 1, database: "d".into() };
        for other in [
            Identity { system: 2, ..one.clone() },
            Identity { timeline: 2, ..one.clone() },
            Identity { started_micros: 2, ..one.clone() },
            Identity { database: "e".into(), ..one.clone() },
        ] {
            assert_ne!(one.log(), other.log(), "{other:?}");
        }
    }
}
