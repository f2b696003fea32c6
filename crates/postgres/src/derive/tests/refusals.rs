//! What is refused, and what it says.

use super::*;
use KeyType::Int8;

#[test]
fn what_cannot_be_kept_is_refused_with_a_mend() {
    let bench = Bench::new(&format!(
        "{SHOP}
         CREATE UNLOGGED TABLE fast (id int PRIMARY KEY);
         CREATE MATERIALIZED VIEW stored AS SELECT 1 AS id;
         CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
         CREATE TABLE keyless (id int);
         CREATE FUNCTION looks() RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM public.genre';
         CREATE FUNCTION public.same(int, int) RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT $1 = $2';
         CREATE OPERATOR public.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = public.same);
         CREATE TYPE public.filing AS (at int, what regclass[]);
         CREATE DOMAIN public.place AS regclass; CREATE DOMAIN public.places AS public.place[];
         CREATE TABLE filed (id int PRIMARY KEY, what regclass, whose regrole[], one genre, number oid,
           filings public.filing[], places public.places);
         CREATE TYPE public.stamp AS (who text, at timestamptz); CREATE DOMAIN public.stamps AS public.stamp[];
         CREATE TYPE public.slot AS RANGE (SUBTYPE = timestamp); CREATE TYPE public.mood AS ENUM ('glad', 'sad');
         CREATE TABLE stay (id int8 PRIMARY KEY, room int8, during daterange, slot public.slot, stamp public.stamp, note text,
           mood public.mood, doc xml, opens timetz);
         CREATE VIEW inner_clock AS SELECT track_id, now() AS at FROM track;"
    ));
    for (sql, part) in [
        ("SELECT 1 AS a; SELECT $1::int8 AS b", "multiple commands"),
        ("DELETE FROM genre WHERE genre_id = $1 RETURNING genre_id", "syntax error"),
        ("WITH x AS (DELETE FROM genre WHERE genre_id = $1 RETURNING *) SELECT * FROM x", "data-modifying"),
        ("SELECT genre_id INTO other FROM genre WHERE genre_id = $1", "gives no columns"),
        ("SELECT name FROM genre WHERE genre_id = $1 FOR UPDATE", "locks rows"),
        ("SELECT name FROM trak WHERE track_id = $1", "did you mean `track`"),
        ("SELECT nam FROM track WHERE track_id = $1", "track.name"),
        ("SELECT name\nFROM track\nWHERE track_idd = $1", "line 3, column 7"),
        ("SELECT name FROM track", "key column `k0` does not occur"),
        ("SELECT name FROM track WHERE track_id = $1 AND album_id = $2", "declare 2 key columns"),
        ("SELECT name, name FROM track WHERE track_id = $1", "two result columns are called `name`"),
        ("SELECT id FROM fast WHERE id = $1", "an unlogged table"),
        ("SELECT id FROM stored WHERE id = $1", "a materialized view"),
        ("SELECT id FROM guarded WHERE id = $1", "row-level security"),
        ("SELECT id FROM keyless WHERE id = $1", "ALTER TABLE public.keyless REPLICA IDENTITY FULL"),
        ("SELECT relname FROM pg_class WHERE oid = $1", "pg_catalog.pg_class"),
        (
            "SELECT table_name FROM information_schema.tables WHERE length(table_name) = $1",
            "belongs to the server",
        ),
        ("SELECT name, now() AS at FROM track WHERE track_id = $1", "`now`"),
        ("SELECT name FROM track WHERE track_id = $1 AND added > current_date", "CURRENT_DATE"),
        ("SELECT name FROM track WHERE track_id = $1 AND added > 'today'", "'today'"),
        ("SELECT name FROM track WHERE track_id = $1 AND added > '12:00 today'", "'12:00 today' as a date"),
        ("SELECT name FROM track WHERE track_id = $1 AND added > 'to'\n'day'", "'today'"),
        ("SELECT name FROM track WHERE track_id = $1 AND added > E'\\x74oday'", "letters as numbers"),
        ("SELECT name FROM track WHERE track_id = $1 AND added > U&'\\0074oday'", "letters as numbers"),
        (
            "SELECT id FROM stay WHERE room = $1 AND during && daterange '[today,tomorrow)'",
            "means the present",
        ),
        (
            "SELECT id FROM stay WHERE room = $1 AND during = ANY ('{\"[today,)\"}'::daterange[])",
            "means the present",
        ),
        ("SELECT id FROM stay WHERE room = $1 AND slot && '(today,]'::public.slot", "means the present"),
        ("SELECT id FROM stay WHERE room = $1 AND stamp = '(x,today)'::public.stamp", "means the present"),
        (
            "SELECT id FROM stay WHERE room = $1 AND '{\"(x,now)\"}'::public.stamps = '{}'",
            "means the present",
        ),
        ("SELECT id FROM stay WHERE room = $1 AND stamp = note::public.stamp", "may be `now`"),
        (
            "SELECT id, x.d FROM stay, XMLTABLE('/r' PASSING doc COLUMNS d date PATH 'd') x WHERE room = $1",
            "may be `now`",
        ),
        (
            "SELECT id FROM stay WHERE room = $1 AND timestamptz_in('now', 0, -1) > upper(during)",
            "`timestamptz_in`",
        ),
        ("SELECT opens AT TIME ZONE 'America/New_York' AS t FROM stay WHERE room = $1", "`timezone`"),
        ("SELECT name FROM track WHERE track_id = $1 AND added > name::timestamptz", "may be `now`"),
        ("SELECT name FROM track WHERE track_id = $1 ORDER BY random()", "`random`"),
        ("SELECT name FROM track WHERE track_id = $1 AND looks() > 0", "`public.looks`"),
        ("SELECT name FROM track WHERE track_id = $1 AND track_id OPERATOR(public.===) 1", "`public.same`"),
        ("SELECT at FROM inner_clock WHERE track_id = $1", "`now`"),
        ("SELECT name FROM track TABLESAMPLE system (10) WHERE track_id = $1", "TABLESAMPLE"),
        ("SELECT ctid::text AS c FROM track WHERE track_id = $1", "ctid"),
        ("SELECT what FROM filed WHERE id = $1", "filed.what` (regclass) shows names"),
        ("SELECT whose[1]::text AS whose FROM filed WHERE id = $1", "filed.whose` (regrole[]) shows names"),
        ("SELECT one FROM filed WHERE id = $1", "filed.one` (public.genre) shows names"),
        ("SELECT filings FROM filed WHERE id = $1", "filed.filings` (public.filing[]) shows names"),
        ("SELECT places FROM filed WHERE id = $1", "filed.places` (public.places) shows names"),
        ("SELECT number::regclass::text AS c FROM filed WHERE id = $1", "shown as a name"),
        ("SELECT tableoid::regclass AS c FROM filed WHERE id = $1", "shown as a name"),
        ("SELECT id::regclass AS c FROM filed WHERE id = $1", "shown as a name"),
        (
            "SELECT to_json(filed) AS everything FROM filed WHERE id = $1",
            "filed.what` (regclass) shows names",
        ),
    ] {
        let refused = refusals_of(&bench.compile(&view(&[Int8], sql)));
        assert!(refused.iter().any(|text| text.contains(part)), "{sql}: {refused:?}");
    }
    // Settings of the session that are held still are no reason.
    for sql in [
        "SELECT concat(name, '!') AS c, to_json(name) AS j FROM track WHERE track_id = $1",
        "SELECT json_agg(t.name) AS names FROM track t WHERE album_id = $1",
        "SELECT name FROM track WHERE track_id = $1 AND added > '2026-01-01'",
        "SELECT name FROM track WHERE track_id = $1 AND name <> 'today'",
        "SELECT name FROM track WHERE track_id = $1 AND added > '2026-01-01' AND name <> 'Buy now'",
        "SELECT name FROM track WHERE track_id = $1 AND added > '2026-01-01' AND name NOT IN ('now playing', E'now\\n or never')",
        "SELECT id FROM stay WHERE room = $1 AND mood = 'glad' AND note = 'now' AND mood = note::public.mood",
        "SELECT id FROM stay WHERE room = $1 AND during && '[2026-01-01,infinity)' AND note <> '(now or never, as it was)'",
        "SELECT id FROM filed WHERE id = $1",
        "SELECT number FROM filed WHERE id = $1 AND tableoid = 'filed'::regclass",
    ] {
        assert_eq!(refusals_of(&bench.compile(&view(&[Int8], sql))), [""; 0], "{sql}");
    }
    // A clock needs no log.
    let mut query = view(&[Int8], "SELECT id, now() AS at FROM guarded WHERE id = $1");
    query.proof = ProofKind::Clock;
    let compiled = bench.compile(&query);
    assert_eq!(refusals_of(&compiled), [""; 0]);
    assert!(!compiled.is_logged && compiled.fixed.is_empty() && compiled.registrations.is_empty());
    query.sql = "DELETE FROM genre WHERE genre_id = $1 RETURNING 1 AS a".into();
    assert!(!refusals_of(&bench.compile(&query)).is_empty());
}

#[test]
fn a_log_that_leaves_something_out_is_refused() {
    let bench = Bench::new(SHOP);
    let query = view(&[Int8], "SELECT name FROM genre WHERE genre_id = $1");
    for (statement, part) in [
        ("ALTER PUBLICATION candor SET (publish = 'insert, update, delete')", "leaves out truncate"),
        ("DROP PUBLICATION candor", "no publication `candor`"),
        ("CREATE PUBLICATION candor FOR TABLE track", "run `candor setup`"),
        ("ALTER PUBLICATION candor SET TABLE genre WHERE (genre_id > 1)", "only some rows"),
        ("ALTER PUBLICATION candor SET TABLE genre (genre_id)", "only some columns"),
    ] {
        bench.cluster.psql(statement);
        let refused = refusals_of(&bench.compile(&query));
        assert!(refused.iter().any(|text| text.contains(part)), "{statement}: {refused:?}");
    }
    bench.cluster.psql("ALTER PUBLICATION candor SET TABLE genre");
    assert_eq!(bench.ways(&query), ["genre.genre_id = $1"]);
}

#[test]
fn a_role_with_little_is_told_what_it_lacks() {
    let bench = Bench::new(SHOP);
    bench.cluster.psql(
        "CREATE ROLE reader LOGIN; GRANT SELECT (genre_id, name) ON genre TO reader;
                        ALTER ROLE reader SET default_transaction_read_only = on",
    );
    let url = bench.cluster.url("postgres").replace("postgres@", "reader@");
    let client = bench.runtime.block_on(connect(&url));
    let ask = |sql: &str| bench.runtime.block_on(compile(&client, "candor", &view(&[Int8], sql))).unwrap();
    assert_eq!(ways(&ask("SELECT name FROM genre WHERE genre_id = $1")), ["genre.genre_id = $1"]);
    assert!(
        refusals_of(&ask("SELECT name FROM track WHERE track_id = $1"))[0]
            .contains("GRANT SELECT ON public.track TO reader")
    );
    bench.cluster.psql("REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC");
    assert!(refusals_of(&ask("SELECT name FROM genre WHERE genre_id = $1"))[0].contains("GRANT TEMPORARY"));
    // A clock does without, if the text is certainly one that reads.
    let clock = |sql: &str| {
        let mut query = view(&[Int8], sql);
        query.proof = ProofKind::Clock;
        refusals_of(&bench.runtime.block_on(compile(&client, "candor", &query)).unwrap()).len()
    };
    assert_eq!(clock("SELECT name FROM genre WHERE genre_id = $1"), 0);
    for writes in [
        "DELETE FROM genre WHERE genre_id = $1 RETURNING name",
        "WITH gone AS (DELETE FROM genre WHERE genre_id = $1 RETURNING name) SELECT name FROM gone",
        "SELECT name FROM genre WHERE genre_id = $1 FOR UPDATE",
    ] {
        assert_eq!(clock(writes), 1, "{writes}");
    }
}

#[test]
fn declared_dependencies_are_checked_against_what_is_read() {
    let bench = Bench::new(SHOP);
    let sql =
        "SELECT t.name, g.name AS genre FROM track t JOIN genre g USING (genre_id) WHERE t.track_id = $1";
    let declare = |dependencies: &[&str]| bench.compile(&declaring(view(&[Int8], sql), dependencies));
    let compiled = declare(&["track.track_id=$1", "genre", "#prices"]);
    assert_eq!(refusals_of(&compiled), [""; 0]);
    assert_eq!(ways(&compiled), ["genre: any", "track.track_id = $1"]);
    assert!(compiled.fixed.contains(&candor_core::Tag::application("prices")));
    assert!(compiled.derived.findings.is_empty(), "{:?}", compiled.derived.findings);
    for (dependencies, part) in [
        (&["track.track_id=$1"][..], "does not mention it"),
        (&["track.track_id=$2", "genre"], "lower the number"),
        (&["trak", "genre", "track"], "did you mean `track`"),
        (&["track.nam=$1", "genre"], "did you mean `name`"),
        (&["track.name=$1", "genre"], "do not agree in text"),
        (&["album.artist_id=$1", "track", "genre"], "REPLICA IDENTITY FULL"),
    ] {
        let refused = refusals_of(&declare(dependencies));
        assert!(refused.iter().any(|text| text.contains(part)), "{dependencies:?}: {refused:?}");
    }
    let compiled = declare(&["track.track_id=$1", "genre.genre_id=$1"]);
    let unconfirmed =
        compiled.derived.findings.iter().any(|finding| finding.message.contains("not confirmed"));
    assert!(unconfirmed, "{:?}", compiled.derived.findings);
}
