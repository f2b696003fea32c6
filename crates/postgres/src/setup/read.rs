//! Reading the facts. A role that may only log in sees all of them.
//!
//! Columns that only some versions have are asked for through `to_jsonb(row) ->> 'column'`, which is null where they are
//! unknown.

use crate::fault;
use crate::lsn::Lsn;
use crate::setup::MARK;
use crate::setup::facts::{
    Facts, Key, Listed, Prepared, Publication, Relation, Role, Server, Slot, Table, Triggers,
};
use candor_core::port::SourceError;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

/// How long all questions together may take. They read the catalog alone, in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

const SERVER: &str = "
SELECT current_setting('server_version_num')::int4, current_setting('server_version'), current_setting('wal_level'),
       current_setting('max_replication_slots')::int4, (SELECT count(*) FROM pg_replication_slots)::int4,
       current_setting('max_wal_senders')::int4, (SELECT count(*) FROM pg_stat_replication)::int4,
       (SELECT setting::int8 FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
       current_setting('idle_replication_slot_timeout', true), pg_is_in_recovery(),
       pg_encoding_to_char(d.encoding)::text, d.datname::text
FROM pg_database d WHERE d.datname = current_database()";

/// Amazon's services give membership in `rds_replication` where others give the attribute.
const ROLE: &str = "
SELECT r.rolname::text, r.rolsuper,
       r.rolsuper OR r.rolreplication OR EXISTS (SELECT FROM pg_roles g
         WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER')),
       has_database_privilege(current_database(), 'CREATE')
FROM pg_roles r WHERE r.rolname = current_user";

const SLOT: &str = "
SELECT s.plugin::text, s.database::text, s.temporary, s.active_pid, s.wal_status, s.safe_wal_size,
       s.restart_lsn::text, s.confirmed_flush_lsn::text,
       greatest(0, (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)
         - s.restart_lsn)::int8,
       coalesce(to_jsonb(s) ->> 'invalidation_reason',
         CASE WHEN to_jsonb(s) ->> 'conflicting' = 'true' THEN 'it conflicts with recovery' END),
       coalesce(to_jsonb(s) ->> 'two_phase', 'false') = 'true'
FROM pg_replication_slots s WHERE s.slot_name = $1";

const PUBLICATION: &str = "
SELECT p.oid, coalesce(obj_description(p.oid, 'pg_publication') = $2, false), pg_has_role(p.pubowner, 'USAGE'),
       p.puballtables, p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, p.pubviaroot
FROM pg_publication p WHERE p.pubname = $1";

const LISTED: &str = "
SELECT n.nspname::text, c.relname::text,
       to_jsonb(pr) ->> 'prqual' IS NOT NULL OR to_jsonb(pr) ->> 'prattrs' IS NOT NULL
FROM pg_publication_rel pr JOIN pg_class c ON c.oid = pr.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE pr.prpubid = $1";

/// From 15 on.
const SCHEMAS: &str = "
SELECT n.nspname::text FROM pg_publication_namespace pn JOIN pg_namespace n ON n.oid = pn.pnnspid
WHERE pn.pnpubid = $1";

/// The tables asked for, each followed by everything below it.
const RELATIONS: &str = "
WITH RECURSIVE asked AS (
  SELECT c.oid, n.nspname || '.' || c.relname AS root FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname || '.' || c.relname = ANY ($1) AND c.relkind NOT IN ('i', 'I', 'S', 't', 'c')
), tree AS (
  SELECT root, oid, true AS is_root FROM asked
  UNION SELECT t.root, i.inhrelid, false FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
)
SELECT t.root, t.is_root, c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       c.relreplident::text, pg_has_role(c.relowner, 'USAGE'),
       EXISTS (SELECT FROM pg_publication p WHERE p.pubname <> $2 AND (p.puballtables OR EXISTS (
         SELECT FROM pg_publication_rel pr WHERE pr.prpubid = p.oid AND pr.prrelid = c.oid))),
       has_schema_privilege(n.oid, 'USAGE')
         AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
FROM tree t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY t.root, t.is_root DESC, 4, 5";

/// What Postgres accepts as a replica identity.
const KEYS: &str = "
SELECT i.indrelid, c.relname::text, i.indisprimary, i.indisreplident,
       array_agg(a.attname::text ORDER BY k.nth)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, nth)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = ANY ($1) AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.nth <= i.indnkeyatts
GROUP BY i.indrelid, i.indexrelid, c.relname, i.indisprimary, i.indisreplident
HAVING bool_and(a.attnotnull)";

const TRIGGERS: &str = "
SELECT n.oid IS NOT NULL, coalesce(obj_description(n.oid, 'pg_namespace') = $1, false),
       EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
         AND NOT (d.classid = 'pg_proc'::regclass AND d.objid IS NOT DISTINCT FROM f.oid)
         AND NOT (d.classid = 'pg_class'::regclass AND d.objid IS NOT DISTINCT FROM s.oid)),
       f.prosrc, s.oid IS NOT NULL, coalesce(obj_description(s.oid, 'pg_class') = $1, false)
FROM (SELECT) AS one LEFT JOIN pg_namespace n ON n.nspname = 'candor'
LEFT JOIN pg_proc f ON f.pronamespace = n.oid AND f.proname = 'ddl' AND f.pronargs = 0
LEFT JOIN pg_class s ON s.relnamespace = n.oid AND s.relname = 'mark' AND s.relkind = 'S'";

const EVENTS: &str = "
SELECT evtname::text, evtenabled = 'A' FROM pg_event_trigger WHERE evtname IN ('candor_ddl', 'candor_drop')";

const PREPARED: &str = "
SELECT gid, owner::text, extract(epoch FROM clock_timestamp() - prepared)::int8
FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared, gid LIMIT 5";

/// Reads everything that setup and check look at. `tables` are `schema.table`, for partitions the root.
pub(crate) async fn facts(
    client: &Client,
    slot: &str,
    publication: &str,
    tables: &[String],
) -> Result<Facts, SourceError> {
    let doing = "looking at the server's setup";
    match tokio::time::timeout(PATIENCE, read(client, slot, publication, tables)).await {
        Ok(read) => read.map_err(|error| fault::of(doing, &error)),
        Err(_) => Err(SourceError::slow(format!(
            "{doing}: no answer within {} s; the server is overloaded or not reachable any more",
            PATIENCE.as_secs()
        ))),
    }
}

async fn read(
    client: &Client,
    slot: &str,
    publication: &str,
    tables: &[String],
) -> Result<Facts, tokio_postgres::Error> {
    let server = server(&client.query_typed_one(SERVER, &[]).await?)?;
    let role = client.query_typed_one(ROLE, &[]).await?;
    let found = client.query_typed_opt(SLOT, &[(&slot, Type::TEXT)]).await?;
    Ok(Facts {
        role: Role {
            name: role.try_get(0)?,
            is_superuser: role.try_get(1)?,
            may_replicate: role.try_get(2)?,
            may_create: role.try_get(3)?,
        },
        slot_name: slot.to_owned(),
        slot: found.as_ref().map(self::slot).transpose()?,
        publication_name: publication.to_owned(),
        publication: self::publication(client, publication, server.version).await?,
        tables: relations(client, publication, tables).await?,
        triggers: triggers(client).await?,
        prepared: prepared(client).await?,
        server,
    })
}

fn server(row: &Row) -> Result<Server, tokio_postgres::Error> {
    // In megabytes; -1 is without limit.
    let keep: Option<i64> = row.try_get(7)?;
    let idle: Option<String> = row.try_get(8)?;
    Ok(Server {
        version: row.try_get(0)?,
        version_text: row.try_get(1)?,
        wal_level: row.try_get(2)?,
        slots_max: row.try_get(3)?,
        slots_used: row.try_get(4)?,
        senders_max: row.try_get(5)?,
        senders_used: row.try_get(6)?,
        keep_bytes_max: keep
            .and_then(|megabytes| u64::try_from(megabytes).ok())
            .map(|megabytes| megabytes << 20),
        idle_slot_timeout: idle.filter(|text| text != "0"),
        is_in_recovery: row.try_get(9)?,
        encoding: row.try_get(10)?,
        database: row.try_get(11)?,
    })
}

fn slot(row: &Row) -> Result<Slot, tokio_postgres::Error> {
    let position = |column| -> Result<Option<Lsn>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<&str>>(column)?.and_then(|text| text.parse().ok()))
    };
    Ok(Slot {
        plugin: row.try_get(0)?,
        database: row.try_get(1)?,
        is_temporary: row.try_get(2)?,
        active_pid: row.try_get(3)?,
        wal_status: row.try_get(4)?,
        safe_bytes: row.try_get(5)?,
        restart: position(6)?,
        confirmed: position(7)?,
        retained_bytes: row.try_get::<_, Option<i64>>(8)?.and_then(|bytes| u64::try_from(bytes).ok()),
        invalidation: row.try_get(9)?,
        is_two_phase: row.try_get(10)?,
    })
}

async fn publication(
    client: &Client,
    publication: &str,
    version: i32,
) -> Result<Option<Publication>, tokio_postgres::Error> {
    let Some(row) =
        client.query_typed_opt(PUBLICATION, &[(&publication, Type::TEXT), (&MARK, Type::TEXT)]).await?
    else {
        return Ok(None);
    };
    let oid: u32 = row.try_get(0)?;
    let mut listed = BTreeMap::new();
    for row in client.query_typed(LISTED, &[(&oid, Type::OID)]).await? {
        let entry = Listed { schema: row.try_get(0)?, table: row.try_get(1)?, is_filtered: row.try_get(2)? };
        listed.insert(format!("{}.{}", entry.schema, entry.table), entry);
    }
    let mut schemas = BTreeSet::new();
    if version >= 150_000 {
        for row in client.query_typed(SCHEMAS, &[(&oid, Type::OID)]).await? {
            schemas.insert(row.try_get(0)?);
        }
    }
    Ok(Some(Publication {
        is_ours: row.try_get(1)?,
        is_owned: row.try_get(2)?,
        is_for_all: row.try_get(3)?,
        is_complete: row.try_get(4)?,
        is_via_root: row.try_get(5)?,
        schemas,
        listed,
    }))
}

async fn relations(
    client: &Client,
    publication: &str,
    tables: &[String],
) -> Result<BTreeMap<String, Option<Table>>, tokio_postgres::Error> {
    let rows =
        client.query_typed(RELATIONS, &[(&tables, Type::TEXT_ARRAY), (&publication, Type::TEXT)]).await?;
    let oids = rows.iter().map(|row| row.try_get(2)).collect::<Result<Vec<u32>, _>>()?;
    let mut keys: BTreeMap<u32, Vec<Key>> = BTreeMap::new();
    for row in client.query_typed(KEYS, &[(&oids, Type::OID_ARRAY)]).await? {
        let columns: Vec<String> = row.try_get(4)?;
        keys.entry(row.try_get(0)?).or_default().push(Key {
            index: row.try_get(1)?,
            is_primary: row.try_get(2)?,
            is_chosen: row.try_get(3)?,
            columns: columns.into_iter().collect(),
        });
    }
    let mut found: BTreeMap<String, Option<Table>> =
        tables.iter().map(|table| (table.clone(), None)).collect();
    for row in rows {
        let relation = Relation {
            schema: row.try_get(3)?,
            table: row.try_get(4)?,
            kind: row.try_get(5)?,
            persistence: row.try_get(6)?,
            identity: row.try_get(7)?,
            is_owned: row.try_get(8)?,
            is_published_elsewhere: row.try_get(9)?,
            keys: keys.get(&row.try_get(2)?).cloned().unwrap_or_default(),
        };
        let entry = found.entry(row.try_get(0)?).or_default();
        match (row.try_get(1)?, entry) {
            (true, entry) => {
                *entry = Some(Table { root: relation, parts: Vec::new(), may_select: row.try_get(10)? });
            }
            (false, Some(table)) => table.parts.push(relation),
            (false, None) => {}
        }
    }
    Ok(found)
}

async fn prepared(client: &Client) -> Result<Vec<Prepared>, tokio_postgres::Error> {
    let rows = client.query_typed(PREPARED, &[]).await?;
    let one =
        |row: &Row| Ok(Prepared { gid: row.try_get(0)?, owner: row.try_get(1)?, age_s: row.try_get(2)? });
    rows.iter().map(one).collect()
}

async fn triggers(client: &Client) -> Result<Triggers, tokio_postgres::Error> {
    let row = client.query_typed_one(TRIGGERS, &[(&MARK, Type::TEXT)]).await?;
    let mut events = BTreeMap::new();
    for row in client.query_typed(EVENTS, &[]).await? {
        events.insert(row.try_get(0)?, row.try_get(1)?);
    }
    Ok(Triggers {
        has_schema: row.try_get(0)?,
        is_schema_ours: row.try_get(1)?,
        is_schema_shared: row.try_get(2)?,
        function: row.try_get(3)?,
        events,
        has_mark: row.try_get(4)?,
        is_mark_ours: row.try_get(5)?,
    })
}
