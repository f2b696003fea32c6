//! A fingerprint of everything whose change voids what was derived, or what the log covers, without a word in the log.
//!
//! A table that leaves the publication is silent from then on. A column that gets another type has all its values written
//! anew, and none of that is logged. So fences ask for the fingerprint in their own statement: while it is the same, the log
//! tells of the same tables in the same way.
//!
//! What changes it: the publication and its options; the tables in it, their names, replica identity, row security,
//! partitions and children; any change of their columns, known by the transaction that made it; the database's views with
//! their names and columns, functions, operators, casts, types, collations, and how words are looked for, for a view of ours
//! may read through them. What does not: data, TRUNCATE (the log tells it), VACUUM, ANALYZE, indexes, and whatever is done to
//! tables that are not published or temporary. A replica identity that ends because its index is dropped is not seen here; the
//! log describes each table anew before its next change.
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
//!   UNLOGGED, or be detached, and back, whatever another publication names, for that may let it go meanwhile; of these the
//!   table's row counts, and so TRUNCATE, VACUUM FULL, CLUSTER and GRANT of such a table end what is kept.
//! * A partition that is detached CONCURRENTLY leaves in two steps, and after the first its rows are gone for whoever reads the
//!   root, although it still hangs there: of what hangs on what, who wrote it last counts too.
//! * TRUNCATE of a partition is not logged for a publication that tells of its root, whichever others name the partition. So of
//!   partitions the table's row always counts.

use crate::setup::literal;

/// SQL for a look at all that: one row with `coverage`, the fingerprint (empty if there is no such publication), and `unseen`,
/// what a transaction that is not visible yet is about to change: [`PUBLICATION`], [`ANSWERS`], both or 0.
///
/// **The publication**: such a transaction may have logged its commit already and wait for a synchronous standby. For the log it
/// is in force, so that a table it took out is silent, and others who write to that table may be visible first. No fingerprint
/// shows that, for catalogs are read under a snapshot; but whoever updates or deletes a row leaves his number in it (`xmax`)
/// at once.
///
/// **Answers**: a change of anything else holds off those who write to the table, so no row of theirs is missing in the log; but
/// it changes answers itself, and the log has no word of that. Its commit may be logged at or below a position that somebody
/// is given once it is visible: so while it is under way no position is vouched for. What is only added, and changes no row
/// that was there, is not seen here: a table that is not published and becomes the heir of one that has others already.
///
/// Every commit makes this question necessary once, so it is one pass over each catalog, for the fingerprint and for unseen
/// changes alike; and each catalog's rows have the columns in the order in which they are used, which spares the server a
/// node for each. What it costs is in `docs/benchmarks.md`: it grows with the published tables and their columns, and less with
/// the others.
pub(crate) fn look_sql(publication: &str) -> String {
    let of_publication = OF_PUBLICATION.iter().map(|rows| rows.sql(PUBLICATION));
    let through = THROUGH.iter().map(|rows| rows.sql(ANSWERS));
    let rows: Vec<String> = of_publication.chain(through).chain([relations_sql()]).collect();
    let sql = format!(
        "SELECT coalesce(l.coverage, '') AS coverage, coalesce(l.unseen, 0) AS unseen FROM (VALUES (1)) one LEFT JOIN ( \
           SELECT pg_catalog.concat_ws('/', p.oid, x.counted, x.written) AS coverage, x.unseen \
           FROM pg_catalog.pg_publication p, LATERAL ( \
             SELECT count(x.mark) AS counted, sum(pg_catalog.hashtextextended(x.writer::text, x.mark)) AS written, \
               bit_or(CASE WHEN {UNSEEN_SQL} THEN x.what END) FILTER (WHERE x.xmax <> '0'::xid) AS unseen \
             FROM ({}) x(mark, writer, xmax, what)) x \
           WHERE p.pubname = {}) l ON true",
        rows.join(" UNION ALL "),
        literal(publication)
    );
    #[cfg(candor_sabotage)]
    let sql = sabotaged(&sql);
    sql
}

/// The publication is about to change.
pub(crate) const PUBLICATION: i32 = 1;
/// Something else is, that answers depend on.
pub(crate) const ANSWERS: i32 = 2;

/// Rows of a catalog, each with a number of its own, who wrote it last, and who is about to change it.
struct Rows {
    /// SQL for the number.
    mark: &'static str,
    /// What the catalog is called in `mark` and `from`.
    name: &'static str,
    from: &'static str,
}

impl Rows {
    const fn new(mark: &'static str, name: &'static str, from: &'static str) -> Self {
        Self { mark, name, from }
    }

    fn sql(&self, what: i32) -> String {
        let Self { mark, name, from } = self;
        format!("SELECT {mark}, {name}.xmin, {name}.xmax, {what} FROM {from}")
    }
}

/// What the publication `p` holds.
const OF_PUBLICATION: [Rows; 4] = [
    Rows::new("p.oid::int8", "p", "(SELECT p.oid, p.xmin, p.xmax) p"),
    Rows::new("r.prrelid::int8", "r", "pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid"),
    Rows::new(
        "d.objid::int8",
        "d",
        "pg_catalog.pg_depend d \
         WHERE d.refclassid = 'pg_catalog.pg_publication'::pg_catalog.regclass AND d.refobjid = p.oid",
    ),
    Rows::new("(i.inhrelid::int8 << 32) + i.inhparent::int8", "i", "pg_catalog.pg_inherits i"),
];

/// What views may read through, besides relations. Functions and types of temporary schemas are somebody's for a while.
const THROUGH: [Rows; 10] = [
    Rows::new("n.oid::int8", "n", "pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(toast_)?temp_'"),
    Rows::new(
        "f.oid::int8",
        "f",
        "pg_catalog.pg_proc f WHERE f.oid >= 16384 \
           AND NOT pg_catalog.pg_is_other_temp_schema(f.pronamespace) \
           AND f.pronamespace <> pg_catalog.pg_my_temp_schema()",
    ),
    Rows::new("e.oid::int8", "e", "pg_catalog.pg_enum e WHERE e.oid >= 16384"),
    Rows::new(
        "y.oid::int8",
        "y",
        "pg_catalog.pg_type y WHERE y.oid >= 16384 AND y.typrelid = 0 AND NOT (y.typtype = 'b' AND y.typcategory = 'A') \
           AND NOT pg_catalog.pg_is_other_temp_schema(y.typnamespace) \
           AND y.typnamespace <> pg_catalog.pg_my_temp_schema()",
    ),
    Rows::new("o.oid::int8", "o", "pg_catalog.pg_operator o WHERE o.oid >= 16384"),
    Rows::new("k.oid::int8", "k", "pg_catalog.pg_cast k WHERE k.oid >= 16384"),
    Rows::new("l.oid::int8", "l", "pg_catalog.pg_collation l WHERE l.oid >= 16384"),
    Rows::new("g.oid::int8", "g", "pg_catalog.pg_ts_config g WHERE g.oid >= 16384"),
    Rows::new("t.oid::int8", "t", "pg_catalog.pg_ts_dict t WHERE t.oid >= 16384"),
    Rows::new("m.mapcfg::int8", "m", "pg_catalog.pg_ts_config_map m WHERE m.mapcfg >= 16384"),
];

/// Relations: published tables, partitions, stored views and composite types, with their columns, their row types, and what
/// stored views do. Of other tables only who is about to change them: one may be about to become a partition. UNLOGGED tables
/// are none of a publication that does not name them.
fn relations_sql() -> String {
    format!(
        "SELECT y.mark, y.writer, y.xmax, {ANSWERS} FROM ( \
           SELECT c.oid, c.relname, c.relnamespace, c.reltype, c.relkind, c.relpersistence, c.relreplident, \
             c.relrowsecurity, c.relforcerowsecurity, c.relispartition, c.relhassubclass, c.xmin, c.xmax, \
             c.oid IN (SELECT r.prrelid FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid) AS is_named, \
             c.relnamespace IN ( \
               SELECT s.refobjid FROM pg_catalog.pg_depend d \
                 JOIN pg_catalog.pg_depend s ON s.classid = d.classid AND s.objid = d.objid \
               WHERE d.refclassid = 'pg_catalog.pg_publication'::pg_catalog.regclass AND d.refobjid = p.oid \
                 AND d.classid <> 'pg_catalog.pg_publication_rel'::pg_catalog.regclass \
                 AND s.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass) AS is_of_schema \
           FROM pg_catalog.pg_class c \
           WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'c') AND c.relpersistence <> 't' OFFSET 0) c, \
         LATERAL (SELECT c.relkind IN ('v', 'c') OR c.relispartition OR c.is_named \
           OR c.relpersistence = 'p' AND (c.is_of_schema OR p.puballtables)) k(counts), \
         LATERAL ( \
           SELECT CASE WHEN k.counts THEN pg_catalog.hashtextextended(pg_catalog.concat_ws('/', c.relname, \
                 c.relnamespace, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity, c.relforcerowsecurity, \
                 c.relispartition, c.relhassubclass), c.oid::int8) END, \
               CASE WHEN c.is_named AND NOT c.relispartition THEN '0'::xid ELSE c.xmin END, c.xmax \
           UNION ALL SELECT (a.attrelid::int8 << 16) + a.attnum::int8, a.xmin, a.xmax FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = CASE WHEN k.counts THEN c.oid END AND a.attnum > 0 \
           UNION ALL SELECT t.oid::int8, t.xmin, t.xmax FROM pg_catalog.pg_type t \
             WHERE t.oid = CASE WHEN k.counts THEN c.reltype END \
           UNION ALL SELECT v.oid::int8, v.xmin, v.xmax FROM pg_catalog.pg_rewrite v \
             WHERE v.ev_class = CASE WHEN c.relkind = 'v' THEN c.oid END) y(mark, writer, xmax) \
         WHERE k.counts OR c.xmax <> '0'::xid"
    )
}

/// Whether the transaction of that number is not visible yet and may be some day. Those below the snapshot's `xmin` rolled
/// back, or only locked the row.
const UNSEEN_SQL: &str = "\
    (SELECT CASE \
        WHEN o.id < o.least THEN false \
        WHEN o.id >= o.next THEN true \
        ELSE pg_catalog.pg_xact_status(o.id::text::xid8) IS DISTINCT FROM 'aborted' END \
      FROM (SELECT s.least, s.next, \
          ((x.xmax::text::int8 - s.next + 2147483648) & 4294967295) - 2147483648 + s.next AS id \
        FROM (SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::int8 AS least, \
            pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 AS next OFFSET 0) s OFFSET 0) o)";

/// Without the transactions that wrote last, or without what views read through.
#[cfg(candor_sabotage)]
fn sabotaged(sql: &str) -> String {
    use candor_core::sabotage::{Sabotage, is};
    if is(Sabotage::FingerprintOfLooks) {
        return sql.replace("x.writer::text", "''").replace("d.objid::int8", "0::int8");
    }
    if is(Sabotage::FingerprintOfTables) {
        let through = THROUGH.iter().map(|rows| rows.sql(ANSWERS));
        let nothing = |sql: String, rows: String| sql.replace(&rows, "SELECT 0::int8, '0'::xid, '0'::xid, 0");
        return through.fold(sql.to_owned(), nothing).replace("c.relkind IN ('v', 'c') OR ", "");
    }
    sql.to_owned()
}
