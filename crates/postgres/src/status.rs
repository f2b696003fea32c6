//! What `candor check` wants to know of a server: what is missing, in the order in which to mend it.
//!
//! Reading is `setup::facts`; judging them is pure.

mod findings;
pub(crate) mod standby;

use crate::fault;
use crate::lsn::Lsn;
use crate::setup::{self, Facts, Needs};
use candor_core::port::SourceError;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// The state of a server, as far as Candor needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// As the server writes it.
    pub server_version: String,
    /// `logical`, or nothing can be read.
    pub wal_level: String,
    /// Whether this is a standby.
    pub is_in_recovery: bool,
    /// Who asked.
    pub role: String,
    /// The database.
    pub database: String,
    /// Where the standby is that answers fills, if one is named.
    pub standby: Option<String>,
    /// The slot, if there is one of this name.
    pub slot: Option<SlotStatus>,
    /// The tables that views rest on, by name.
    pub tables: Vec<TableStatus>,
    /// Whether event triggers tell of changes of the schema.
    pub has_event_trigger: bool,
    /// Whether `candor setup` has something to do.
    pub needs_setup: bool,
    /// What to do, the most urgent first. Empty if all is well.
    pub findings: Vec<Finding>,
}

/// The replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStatus {
    /// The name.
    pub name: String,
    /// The process of the server that reads it.
    pub active_pid: Option<i32>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// The log before this position is not kept.
    pub restart: Option<Lsn>,
    /// What Candor has acknowledged.
    pub confirmed: Option<Lsn>,
    /// Bytes of log kept on the server's disk for this slot.
    pub retained_bytes: Option<u64>,
    /// Bytes that may still be written before the slot is in danger; `None` without a limit.
    pub safe_bytes: Option<i64>,
}

/// The slot in numbers that change all the time.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotFigures {
    /// Bytes of log kept on the server's disk for it; `None` where it is lost.
    pub retained_bytes: Option<u64>,
    /// Bytes written since the position that Candor has acknowledged.
    pub unconfirmed_bytes: Option<u64>,
    /// Bytes that may still be written before it is in danger; `None` without a limit.
    pub safe_bytes: Option<u64>,
    /// Whether somebody reads it now.
    pub is_read: bool,
}

/// A table that views rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStatus {
    /// `schema.table`.
    pub table: String,
    /// Whether its changes are in the log.
    pub is_published: bool,
    /// `DEFAULT`, `NOTHING`, `FULL` or `INDEX`.
    pub replica_identity: &'static str,
    /// Whether the log tells all old values that the views need.
    pub is_identity_sufficient: bool,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a sentence.
    pub what: String,
    /// What to do: SQL where SQL does it.
    pub mend: String,
}

/// How bad a finding is, the worst first.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Views of this source cannot be proven.
    Broken,
    /// It works, and will stop working or hurt the server.
    Risk,
    /// Worth knowing.
    Note,
}

/// Looks at the server.
pub(crate) async fn read(
    client: &Client,
    slot: &str,
    publication: &str,
    needs: &Needs,
) -> Result<Status, SourceError> {
    let tables: Vec<String> = needs.tables.keys().cloned().collect();
    Ok(of(&setup::facts(client, slot, publication, &tables).await?, needs))
}

/// A slot in numbers, for metrics; `None` if there is no such slot.
pub(crate) async fn slot_figures(client: &Client, slot: &str) -> Result<Option<SlotFigures>, SourceError> {
    // `greatest` passes NULL over; the second arguments are NULL where the first are, and zero elsewhere.
    const SQL: &str = "SELECT greatest(here - restart_lsn, restart_lsn - restart_lsn)::int8, \
        greatest(here - confirmed_flush_lsn, confirmed_flush_lsn - confirmed_flush_lsn)::int8, \
        greatest(safe_wal_size, safe_wal_size - safe_wal_size)::int8, active \
        FROM pg_replication_slots, LATERAL (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
        ELSE pg_current_wal_lsn() END) now (here) WHERE slot_name = $1";
    let doing = "asking how much log the slot keeps";
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] = [(&slot, Type::TEXT)];
    let asked = client.query_typed_opt(SQL, &parameters);
    let row = tokio::time::timeout(Duration::from_secs(2), asked)
        .await
        .map_err(|_| SourceError::slow(format!("{doing}: no answer within 2 s")))?
        .map_err(|error| fault::of(doing, &error))?;
    let Some(row) = row else { return Ok(None) };
    let bytes = |column: usize| -> Result<Option<u64>, SourceError> {
        let bytes: Option<i64> = row.try_get(column).map_err(|error| fault::of(doing, &error))?;
        Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
    };
    Ok(Some(SlotFigures {
        retained_bytes: bytes(0)?,
        unconfirmed_bytes: bytes(1)?,
        safe_bytes: bytes(2)?,
        is_read: row.try_get(3).map_err(|error| fault::of(doing, &error))?,
    }))
}

/// Judges facts.
pub(crate) fn of(facts: &Facts, needs: &Needs) -> Status {
    let publication = facts.publication.as_ref();
    let tables = needs
        .tables
        .iter()
        .filter_map(|(key, need)| {
            let table = facts.tables.get(key)?.as_ref()?;
            Some(TableStatus {
                table: key.clone(),
                is_published: publication
                    .is_some_and(|publication| publication.holds(table) && !publication.filters(key)),
                replica_identity: match table.root.identity.as_str() {
                    "f" => "FULL",
                    "i" => "INDEX",
                    "n" => "NOTHING",
                    _ => "DEFAULT",
                },
                is_identity_sufficient: table.stored().all(|relation| relation.suffices(&need.identity)),
            })
        })
        .collect();
    Status {
        server_version: facts.server.version_text.clone(),
        wal_level: facts.server.wal_level.clone(),
        is_in_recovery: facts.server.is_in_recovery,
        role: facts.role.name.clone(),
        database: facts.server.database.clone(),
        standby: None,
        slot: facts.slot.as_ref().map(|slot| SlotStatus {
            name: facts.slot_name.clone(),
            active_pid: slot.active_pid,
            wal_status: slot.wal_status.clone(),
            restart: slot.restart,
            confirmed: slot.confirmed,
            retained_bytes: slot.retained_bytes,
            safe_bytes: slot.safe_bytes,
        }),
        tables,
        has_event_trigger: setup::has_event_triggers(facts),
        needs_setup: !setup::plan(facts, needs, setup::SetupOptions::default())
            .iter()
            .all(|line| setup::is_remark(line)),
        findings: findings::of(facts, needs),
    }
}
