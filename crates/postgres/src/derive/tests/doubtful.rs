//! Shapes in which something seems certain and is not: equalities that hold for no row although there is an answer, names
//! that are not the column's they look like, NULLs in place of a key.

use super::*;
use KeyType::Int8;

const ABC: &str = "
    CREATE TABLE a (id int PRIMARY KEY, x int, y bigint, z smallint);
    CREATE TABLE b (id int PRIMARY KEY, x int, y bigint, z smallint);
    CREATE TABLE c (id int PRIMARY KEY, x int, y bigint, z smallint);
    ALTER TABLE a REPLICA IDENTITY FULL; ALTER TABLE b REPLICA IDENTITY FULL; ALTER TABLE c REPLICA IDENTITY FULL;
    CREATE VIEW days AS SELECT y, s.z FROM (SELECT y, z FROM a WHERE x = 1) s FULL JOIN generate_series(1, 7) g(y) USING (y);
    CREATE PUBLICATION candor FOR ALL TABLES";

fn each_is_reached(of: &[(&str, &str)]) {
    let bench = Bench::new(ABC);
    let found = of.iter().map(|(sql, _)| {
        let key: &[KeyType] = if sql.contains("$2") { &[Int8, Int8] } else { &[Int8] };
        (*sql, bench.ways(&view(key, sql)).join("; "))
    });
    let wrong: Vec<_> = found
        .zip(of)
        .filter(|((_, found), (_, expected))| found != expected)
        .map(|(found, _)| found)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn where_of_an_aggregate_does_not_hold_in_what_is_answered_without_rows() {
    each_is_reached(&[
        // Where $1 is not $2 no row of `a` is found, and `b` is read all the same.
        (
            "SELECT count(*) AS n, (SELECT sum(z) FROM b WHERE b.x = $2) AS s FROM a WHERE a.x = $1 AND a.x = $2",
            "a.x = $1; b.x = $2",
        ),
        (
            "SELECT count(*) AS n FROM a WHERE a.x = $1 AND a.x = $2 HAVING EXISTS (SELECT FROM b WHERE b.x = $2)",
            "a.x = $1; b.x = $2",
        ),
        (
            "SELECT count(*) AS n FROM a WHERE a.x = $1 AND a.x = $2 \
             GROUP BY GROUPING SETS ((a.y), ()) HAVING (SELECT max(z) FROM b WHERE b.x = $2) > 1",
            "a.x = $1; b.x = $2",
        ),
        (
            "SELECT DISTINCT ON ((SELECT max(z) FROM b WHERE b.x = $2)) count(*) AS n FROM a WHERE a.x = $1 AND a.x = $2",
            "a.x = $1; b.x = $2",
        ),
        (
            "SELECT count(*) AS n, (SELECT 1 FROM b WHERE b.x = $2 UNION ALL SELECT 2 LIMIT 1) AS s \
             FROM a WHERE a.x = $1 AND a.x = $2",
            "a.x = $1; b.x = $2",
        ),
        (
            "SELECT c.id, s.n FROM c, LATERAL (SELECT count(*) AS n, (SELECT max(z) FROM b WHERE b.x = $2) AS m \
             FROM a WHERE a.x = $1 AND a.x = $2) s WHERE c.id = $2",
            "a.x = $1; b.x = $2; c.id = $2",
        ),
        (
            "SELECT percentile_disc((SELECT 0.5 * max(z) FROM b WHERE b.x = $2)) WITHIN GROUP (ORDER BY a.z) AS p \
             FROM a WHERE a.x = $1 AND a.x = $2",
            "a.x = $1; b.x = $2",
        ),
        // What an aggregate takes in is worked out row by row, and where there are groups there are rows.
        (
            "SELECT sum((SELECT max(b.z) FROM b WHERE b.x = a.y)) AS s FROM a WHERE a.x = $1",
            "a.x = $1; b.x = a.y",
        ),
        (
            "SELECT a.y, (SELECT max(b.z) FROM b WHERE b.x = a.y) AS m FROM a WHERE a.x = $1 GROUP BY a.y",
            "a.x = $1; b.x = a.y",
        ),
    ]);
}

#[test]
fn what_stands_apart_stays_apart_when_it_is_a_union() {
    each_is_reached(&[(
        "SELECT a.id FROM a LEFT JOIN c ON c.x = a.x AND c.y = $1 AND c.y = $2 \
         AND c.z = (SELECT b.z FROM b WHERE b.y = $2 UNION SELECT 3)",
        "a: any; b.y = $2; c.y = $1",
    )]);
}

#[test]
fn an_aggregate_is_seen_wherever_it_stands() {
    each_is_reached(&[
        (
            "SELECT b.id, s.n FROM b, LATERAL (SELECT row_number() OVER w AS n FROM a WHERE a.x = b.x AND a.x = $1 \
             WINDOW w AS (ORDER BY count(*))) s",
            "a.x = $1; b: any",
        ),
        (
            "SELECT b.id, s.n FROM b, LATERAL (SELECT DISTINCT ON (count(*)) 1 AS n FROM a WHERE a.x = b.x AND a.x = $1) s",
            "a.x = $1; b: any",
        ),
        // In a subquery, but over the columns of the query around it, which answers without rows.
        (
            "SELECT b.id, s.n FROM b, LATERAL (SELECT (SELECT count(a.y) FROM c WHERE c.id = 1) AS n FROM a \
             WHERE a.x = b.x AND a.x = $1) s",
            "a.x = $1; b: any; c: any",
        ),
        (
            "SELECT b.id, s.n FROM b, LATERAL (SELECT (SELECT count(a) FROM c WHERE c.id = 1) AS n FROM a \
             WHERE a.x = b.x AND a.x = $1) s",
            "a.x = $1; b: any; c: any",
        ),
        (
            "SELECT b.id, s.n FROM b, LATERAL (SELECT (SELECT count(a::text) FROM c WHERE c.id = 1) AS n FROM a \
             WHERE a.x = b.x AND a.x = $1) s",
            "a.x = $1; b: any; c: any",
        ),
        (
            "SELECT b.id, s.n FROM b, LATERAL (SELECT (SELECT count(ROW(a)) FROM c WHERE c.id = 1) AS n FROM a \
             WHERE a.x = b.x AND a.x = $1) s",
            "a: any; b: any; c: any",
        ),
        (
            "SELECT b.id, s.n FROM b, LATERAL (SELECT (SELECT json_agg(to_json(a)) FROM c WHERE c.id = 1) AS n FROM a \
             WHERE a.x = b.x AND a.x = $1) s",
            "a.x = $1; b: any; c: any",
        ),
        (
            "SELECT b.id, s.n FROM b, LATERAL (SELECT (SELECT count(c.y) FROM c WHERE c.x = a.x) AS n FROM a \
             WHERE a.x = b.x AND a.x = $1) s",
            "a.x = $1; b.x = $1; c.x = $1",
        ),
    ]);
}

#[test]
fn a_merged_column_is_nobodys() {
    each_is_reached(&[
        // Days without a row of `a` are there, too.
        (
            "WITH d AS (SELECT y, s.z FROM (SELECT y, z FROM a WHERE x = $1) s \
             FULL JOIN generate_series(1, 7) g(y) USING (y)) SELECT d.y, d.z, b.z AS more FROM d JOIN b ON b.y = d.y",
            "a.x = $1; b: any",
        ),
        ("SELECT d.y, b.z FROM days d JOIN b ON b.y = d.y WHERE b.id > $1", "a: any; b: any"),
        (
            "SELECT x, (SELECT max(b.z) FROM b WHERE b.y = x) AS m FROM a FULL JOIN generate_series(1, 7) g(x) USING (x) \
             WHERE x = $1",
            "a: any; b: any",
        ),
        // The side that is always there is whose it is.
        ("SELECT x, a.z FROM a LEFT JOIN generate_series(1, 7) g(x) USING (x) WHERE x = $1", "a.x = $1"),
        ("SELECT x FROM generate_series(1, 7) g(x) LEFT JOIN a USING (x) WHERE x = $1", "a: any"),
        (
            "SELECT c.id FROM ((a JOIN b ON a.id = b.x) AS j(p, x, r, s, t, u, v, w) JOIN c USING (x)) WHERE c.y = $1",
            "a: any; b: any; c.y = $1",
        ),
    ]);
}

#[test]
fn a_key_under_a_name_may_be_null_beyond_an_outer_join() {
    let bench = Bench::new(ABC);
    let compiled = bench.compile(&view(
        &[Int8],
        "SELECT a.id, c.z FROM a LEFT JOIN (SELECT $1::int8 AS k, b.x FROM b) s ON s.x = a.x JOIN c ON c.id = a.z \
         WHERE a.id = $1 AND (s.k IS NULL OR a.x = 3)",
    ));
    assert_eq!(ways(&compiled), ["a.id = $1", "b.x = a.x", "c.id = a.z"]);
    for met in &compiled.met {
        assert!(!met.sql.contains("IS NULL"), "a row of `a` without one of `b` is left out: {}", met.sql);
    }
}

#[test]
fn values_are_not_asked_for_by_an_operator_that_the_view_does_not_call() {
    let bench = Bench::new(
        "CREATE TABLE post (code varchar(8) PRIMARY KEY, author int);
         CREATE TABLE author (id int PRIMARY KEY, name text);
         ALTER TABLE post REPLICA IDENTITY FULL;
         CREATE PUBLICATION candor FOR ALL TABLES",
    );
    let sql =
        "SELECT a.name FROM post p JOIN author a ON a.id = p.author WHERE p.code OPERATOR(pg_catalog.=) $1";
    let query = view(&[KeyType::Text], sql);
    assert!(bench.ways(&query).contains(&"author.id = p.author".to_owned()), "{:?}", bench.ways(&query));
    // It fits better than the server's own, which compares texts.
    bench.cluster.psql(
        "CREATE FUNCTION never(varchar, text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT false';
         CREATE OPERATOR = (LEFTARG = varchar, RIGHTARG = text, FUNCTION = never)",
    );
    assert!(bench.ways(&query).contains(&"author: any".to_owned()), "{:?}", bench.compile(&query).met);
}
