//! A fingerprint of everything whose change voids what was derived, or what the log covers.
//!
//! A table that leaves the publication is silent from then on, and no message says so. So each fence asks for the
//! fingerprint in its own statement: while it is the same, the log tells of the same tables in the same way.
//! What changes it: the publication and its options, the tables in it, their names, replica identity, row security,
//! partitions, and every change of their columns, a rewrite by USING too, of which no row is in the log. What does not: data,
//! TRUNCATE, VACUUM, new indexes. The database's views, functions and enumerations count too: a view of ours may read through
//! them.

/// SQL for the fingerprint of a publication, as an expression of type `text`; NULL if there is no such publication.
/// `publication` is SQL for its name: `$3`, or a quoted literal. It is one scan of the tables published, 0.1 to 0.3 ms for
/// some dozens of them.
pub(crate) fn coverage_sql(publication: &str) -> String {
    format!(
        "(SELECT md5(p.oid::text || p.xmin::text || coalesce((\
           SELECT string_agg(concat_ws('/', c.oid, c.relname, (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = c.relnamespace), c.relkind, c.relpersistence, \
             c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.relispartition, \
             (SELECT string_agg(i.inhrelid::text, ',' ORDER BY i.inhrelid) FROM pg_catalog.pg_inherits i \
              WHERE i.inhparent = c.oid), \
             (SELECT string_agg(concat_ws('.', a.attnum, a.attname, a.atttypid, a.attcollation, a.attgenerated, a.xmin), ',' \
               ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
             (SELECT string_agg(i.indexrelid::text, ',' ORDER BY i.indexrelid) FROM pg_catalog.pg_index i \
              WHERE i.indrelid = c.oid AND (i.indisreplident OR i.indisprimary))), ';' ORDER BY c.oid) \
           FROM pg_catalog.pg_class c WHERE c.oid IN ( \
             SELECT t.relid FROM pg_catalog.pg_get_publication_tables(p.pubname::text) t \
             UNION ALL SELECT k.relid FROM pg_catalog.pg_get_publication_tables(p.pubname::text) t, \
               LATERAL pg_catalog.pg_partition_tree(t.relid) k)), '') \
         || coalesce((SELECT md5(string_agg(concat_ws('/', r.oid, r.xmin), ',' ORDER BY r.oid)) \
           FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class \
           WHERE r.oid >= 16384 AND v.relkind = 'v' AND v.relpersistence <> 't'), '') \
         || coalesce((SELECT md5(string_agg(concat_ws('/', f.oid, f.xmin), ',' ORDER BY f.oid)) \
           FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace \
           WHERE f.oid >= 16384 AND NOT starts_with(n.nspname::text, 'pg_temp_')), '') \
         || coalesce((SELECT md5(string_agg(concat_ws('/', e.oid, e.xmin), ',' ORDER BY e.oid)) \
           FROM pg_catalog.pg_enum e WHERE e.oid >= 16384), '') \
         || coalesce((SELECT string_agg(concat_ws('/', r.prrelid, r.xmin), ',' ORDER BY r.prrelid) \
           FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid), '')) \
         FROM pg_catalog.pg_publication p WHERE p.pubname = {publication})"
    )
}
