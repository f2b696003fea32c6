//! A fingerprint of everything whose change voids what was derived, or what the log covers, without a word in the log.
//!
//! A table that leaves the publication is silent from then on. A column that gets another type has all its values written
//! anew, and none of that is logged. So each fence and each fill asks for the fingerprint in its own statement: while it is
//! the same, the log tells of the same tables in the same way.
//!
//! What changes it: the publication and its options; the tables in it, their names, replica identity, row security,
//! partitions and children; any change of their columns, known by the transaction that made it; the database's views with
//! their names and columns, functions, operators, casts, types, collations, and how words are looked for, for a view of ours may
//! read through them. What does not: data, TRUNCATE (the log tells it),
//! VACUUM, ANALYZE, indexes. A replica identity that ends because its index is dropped is not seen here; the log describes
//! each table anew before its next change.
//!
//! **There and back.** What one transaction takes away, writes to and puts back looks the same before and after, and the log
//! tells nothing of what was written, or tells it under a name that means nothing to us. So nothing here is compared by how
//! it looks alone; the transaction that wrote it last counts:
//!
//! * A schema that leaves the publication and comes back hangs on it anew (`pg_depend`, where servers without schemas in
//!   publications have nothing to show).
//! * A table that is renamed or moved, and back, had its row type renamed or moved with it; a schema its own row written.
//!   The type, because the table's row is written by TRUNCATE too, which the log tells of.
//! * A table that the publication holds without naming it (FOR ALL TABLES, a schema, the partitions of a root) may be made
//!   UNLOGGED, or be detached, and back, whatever another publication names, for that may let it go meanwhile; of these the table's row counts, and so TRUNCATE, VACUUM FULL, CLUSTER and GRANT of
//!   such a table end what is kept.
//! * A partition that is detached CONCURRENTLY leaves in two steps, and after the first its rows are gone for whoever reads the
//!   root, although it still hangs there: of what hangs on what, who wrote it last counts too.
//! * TRUNCATE of a partition is not logged for a publication that tells of its root, whichever others name the partition. So of
//!   partitions the table's row always counts.

/// SQL for the fingerprint of a publication, as an expression of type `text`; NULL if there is no such publication.
/// `publication` is SQL for its name: `$3`, or a quoted literal. It costs some 0.1 ms for a dozen tables: a look at
/// `pg_class`, one index scan of `pg_attribute` for each table, and scans of what users defined themselves.
pub(crate) fn coverage_sql(publication: &str) -> String {
    let sql = format!(
        "(SELECT pg_catalog.concat_ws('/', p.oid, p.xmin, \
           (SELECT sum(pg_catalog.hashint8extended(r.prrelid::int8, r.xmin::text::int8)) \
            FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid), \
           (SELECT sum(pg_catalog.hashint8extended(d.objid::int8, d.xmin::text::int8)) FROM pg_catalog.pg_depend d \
            WHERE d.refclassid = 'pg_catalog.pg_publication'::pg_catalog.regclass AND d.refobjid = p.oid), \
           (SELECT sum(pg_catalog.hashint8extended(n.oid::int8, n.xmin::text::int8)) FROM pg_catalog.pg_namespace n \
            WHERE n.nspname !~ '^pg_(toast_)?temp_'), \
           (SELECT sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('/', i.inhrelid, i.inhparent, i.xmin), 0)) \
            FROM pg_catalog.pg_inherits i), \
           (SELECT sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('/', r.oid, r.xmin, v.xmin, \
                (SELECT sum(pg_catalog.hashint8extended(a.xmin::text::int8, a.attnum)) \
                 FROM pg_catalog.pg_attribute a WHERE a.attrelid = v.oid AND a.attnum > 0)), 0)) \
            FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class \
            WHERE r.oid >= 16384 AND v.relkind = 'v' AND v.relpersistence <> 't'), \
           (SELECT sum(pg_catalog.hashint8extended(f.oid::int8, f.xmin::text::int8)) FROM pg_catalog.pg_proc f \
              JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace \
            WHERE f.oid >= 16384 AND n.nspname !~ '^pg_temp_'), \
           (SELECT sum(pg_catalog.hashint8extended(e.oid::int8, e.xmin::text::int8)) FROM pg_catalog.pg_enum e \
            WHERE e.oid >= 16384), \
           (SELECT sum(pg_catalog.hashint8extended(b.attrelid::int8 + b.attnum, b.xmin::text::int8)) \
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute b ON b.attrelid = c.oid \
            WHERE c.relkind = 'c' AND c.oid >= 16384), \
           (SELECT sum(pg_catalog.hashint8extended(y.oid::int8, y.xmin::text::int8)) FROM pg_catalog.pg_type y \
              JOIN pg_catalog.pg_namespace n ON n.oid = y.typnamespace \
            WHERE y.oid >= 16384 AND y.typrelid = 0 AND y.typcategory <> 'A' AND n.nspname !~ '^pg_temp_'), \
           (SELECT sum(pg_catalog.hashint8extended(o.oid::int8, o.written)) FROM ( \
              SELECT oid, xmin::text::int8 FROM pg_catalog.pg_operator WHERE oid >= 16384 \
              UNION ALL SELECT oid, xmin::text::int8 FROM pg_catalog.pg_cast WHERE oid >= 16384 \
              UNION ALL SELECT oid, xmin::text::int8 FROM pg_catalog.pg_collation WHERE oid >= 16384 \
              UNION ALL SELECT oid, xmin::text::int8 FROM pg_catalog.pg_ts_config WHERE oid >= 16384 \
              UNION ALL SELECT oid, xmin::text::int8 FROM pg_catalog.pg_ts_dict WHERE oid >= 16384 \
              UNION ALL SELECT mapcfg, xmin::text::int8 FROM pg_catalog.pg_ts_config_map WHERE mapcfg >= 16384 \
            ) o(oid, written)), \
           t.*) \
         FROM pg_catalog.pg_publication p, LATERAL ( \
           SELECT count(*), sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('/', c.relname, c.relnamespace, \
               c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity, c.relforcerowsecurity, \
               c.relispartition, c.relhassubclass, \
               CASE WHEN c.relispartition \
                 OR NOT EXISTS (SELECT FROM pg_catalog.pg_publication_rel r \
                   WHERE r.prrelid = c.oid AND r.prpubid = p.oid) \
                 THEN c.xmin::text END, \
               (SELECT y.xmin FROM pg_catalog.pg_type y WHERE y.oid = c.reltype)), c.oid::int8)), sum(a.sum) \
           FROM pg_catalog.pg_class c, LATERAL ( \
             SELECT sum(pg_catalog.hashint8extended(a.xmin::text::int8, a.attnum)) \
             FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) a(sum) \
           WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND (c.relispartition OR c.oid IN ( \
             SELECT m.relid FROM pg_catalog.pg_get_publication_tables(p.pubname::text) m))) t \
         WHERE p.pubname = {publication})"
    );
    #[cfg(candor_sabotage)]
    let sql = sabotaged(&sql);
    sql
}

/// Without the transactions that wrote last, or without what views read through.
#[cfg(candor_sabotage)]
fn sabotaged(sql: &str) -> String {
    use candor_core::sabotage::{Sabotage, is};
    let writers = [
        ("r.prrelid::int8, r.xmin::text::int8", "r.prrelid::int8, 0"),
        ("d.objid::int8, d.xmin::text::int8", "0, 0"),
        ("n.xmin::text::int8", "0"),
        ("c.xmin::text END", "NULL END"),
        ("SELECT y.xmin FROM", "SELECT 0 FROM"),
        ("a.xmin::text::int8", "0"),
        ("i.inhparent, i.xmin", "i.inhparent"),
    ];
    let through = [
        ("'/', r.oid, r.xmin, v.xmin, ", "'/', r.oid, "),
        (
            "a.xmin::text::int8, a.attnum)) FROM pg_catalog.pg_attribute a WHERE a.attrelid = v.oid",
            "0, 0)) FROM pg_catalog.pg_attribute a WHERE a.attrelid = v.oid",
        ),
        ("o.oid::int8, o.written", "0, 0"),
        ("f.xmin::text::int8", "0"),
        ("e.xmin::text::int8", "0"),
        ("b.xmin::text::int8", "0"),
    ];
    let left_out: &[(&str, &str)] = match () {
        () if is(Sabotage::FingerprintOfLooks) => &writers,
        () if is(Sabotage::FingerprintOfTables) => &through,
        () => &[],
    };
    left_out.iter().fold(sql.to_owned(), |sql, (part, instead)| sql.replace(part, instead))
}

/// SQL for whether a transaction that is not visible yet has changed what the publication holds, as an expression of type
/// `boolean`. Such a transaction may have logged its commit already and wait for a synchronous standby: for the log it is in
/// force, so that a table it took out is silent, and others who write to that table may be visible first. No fingerprint
/// shows that, for catalogs are read under a snapshot; but whoever updates or deletes a row leaves his number in it (`xmax`)
/// at once. Numbers below the snapshot's `xmin` are of those who rolled back, or only locked the row.
pub(crate) fn pending_sql(publication: &str) -> String {
    unseen_sql(&format!(
        "SELECT x.xmax FROM pg_catalog.pg_publication p, LATERAL ( \
             SELECT p.xmax \
             UNION ALL SELECT r.xmax FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid \
             UNION ALL SELECT i.xmax FROM pg_catalog.pg_inherits i \
             UNION ALL SELECT d.xmax FROM pg_catalog.pg_depend d \
               WHERE d.refclassid = 'pg_catalog.pg_publication'::pg_catalog.regclass AND d.refobjid = p.oid) x \
           WHERE p.pubname = {publication}"
    ))
}

/// SQL for whether a transaction that is not visible yet has changed something else that the fingerprint looks at. Such a
/// change holds off those who write to the table, so no row of theirs is missing in the log; but it changes answers itself, and
/// the log has no word of that. Its commit may be logged at or below a position that somebody is given once it is visible: so
/// while it is under way no position is vouched for. What is only added, and changes no row that was there, is not seen here: a
/// table that becomes the heir of one that has others already.
pub(crate) fn doubted_sql(publication: &str) -> String {
    unseen_sql(&format!(
        "SELECT n.xmax FROM pg_catalog.pg_namespace n \
         UNION ALL SELECT c.xmax FROM pg_catalog.pg_class c \
           WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'c') AND c.relpersistence <> 't' \
         UNION ALL SELECT r.xmax FROM pg_catalog.pg_rewrite r WHERE r.oid >= 16384 \
         UNION ALL SELECT f.xmax FROM pg_catalog.pg_proc f WHERE f.oid >= 16384 \
         UNION ALL SELECT e.xmax FROM pg_catalog.pg_enum e WHERE e.oid >= 16384 \
         UNION ALL SELECT y.xmax FROM pg_catalog.pg_type y WHERE y.oid >= 16384 \
         UNION ALL SELECT o.xmax FROM pg_catalog.pg_operator o WHERE o.oid >= 16384 \
         UNION ALL SELECT k.xmax FROM pg_catalog.pg_cast k WHERE k.oid >= 16384 \
         UNION ALL SELECT l.xmax FROM pg_catalog.pg_collation l WHERE l.oid >= 16384 \
         UNION ALL SELECT g.xmax FROM pg_catalog.pg_ts_config g WHERE g.oid >= 16384 \
         UNION ALL SELECT m.xmax FROM pg_catalog.pg_ts_config_map m WHERE m.mapcfg >= 16384 \
         UNION ALL SELECT t.xmax FROM pg_catalog.pg_ts_dict t WHERE t.oid >= 16384 \
         UNION ALL SELECT a.xmax FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
           WHERE c.oid >= 16384 AND a.attnum > 0 AND (c.relkind IN ('v', 'c') OR c.relispartition OR c.oid IN ( \
             SELECT m.relid FROM pg_catalog.pg_publication p, \
               LATERAL pg_catalog.pg_get_publication_tables(p.pubname::text) m WHERE p.pubname = {publication}))"
    ))
}

/// SQL for whether one of these rows (`SELECT xmax …`) is being changed by a transaction that is not visible yet.
fn unseen_sql(rows: &str) -> String {
    format!(
        "(SELECT coalesce(bool_or(CASE \
           WHEN o.id < o.least THEN false \
           WHEN o.id >= o.next THEN true \
           ELSE pg_catalog.pg_xact_status(o.id::text::xid8) IS DISTINCT FROM 'aborted' END), false) \
         FROM (SELECT s.least, s.next, \
             ((x.xmax::text::int8 - s.next + 2147483648) & 4294967295) - 2147483648 + s.next AS id \
           FROM (SELECT pg_catalog.pg_snapshot_xmin(c)::text::int8 AS least, \
               pg_catalog.pg_snapshot_xmax(c)::text::int8 AS next \
             FROM pg_catalog.pg_current_snapshot() c) s, LATERAL ({rows}) x(xmax) \
           WHERE x.xmax <> '0'::xid) o)"
    )
}
