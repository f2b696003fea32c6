//! How rows reach an entry, for the shapes of queries that people write.

use super::*;
use KeyType::{Int4, Int8, Text};

#[test]
fn each_table_is_reached_as_narrowly_as_is_certain() {
    let bench = Bench::new(SHOP);
    for (sql, expected) in [
        ("SELECT * FROM track WHERE track_id = $1", "track.track_id = $1"),
        ("SELECT name FROM track t WHERE $1 = t.track_id", "track.track_id = $1"),
        // Many rows by a column that is no key.
        ("SELECT name FROM track WHERE album_id = $1 ORDER BY name LIMIT 3", "track.album_id = $1"),
        // Four tables joined.
        (
            "SELECT i.*, l.quantity, t.name FROM invoice i JOIN invoice_line l USING (invoice_id) \
             JOIN track t ON t.track_id = l.track_id JOIN genre g ON g.genre_id = t.genre_id WHERE i.invoice_id = $1",
            "genre.genre_id = t.genre_id; invoice.invoice_id = $1; invoice_line.invoice_id = $1; track.track_id = l.track_id",
        ),
        // Aggregates.
        (
            "SELECT g.name, count(t.track_id) AS n FROM genre g LEFT JOIN track t ON t.genre_id = g.genre_id \
             WHERE g.genre_id = $1 GROUP BY g.genre_id",
            "genre.genre_id = $1; track.genre_id = $1",
        ),
        ("SELECT count(*) FROM track WHERE album_id = $1", "track.album_id = $1"),
        // What is said of the right side of a LEFT JOIN narrows only that.
        (
            "SELECT a.title FROM album a LEFT JOIN track t ON t.album_id = a.album_id AND t.genre_id = $1",
            "album: any; track.genre_id = $1",
        ),
        (
            "SELECT a.title FROM album a LEFT JOIN track t ON a.album_id = $1 AND t.album_id = a.album_id",
            "album: any; track.album_id = $1",
        ),
        (
            "SELECT t.name FROM track t RIGHT JOIN album a ON t.album_id = a.album_id WHERE a.album_id = $1",
            "album.album_id = $1; track.album_id = $1",
        ),
        (
            "SELECT t.name FROM album a FULL JOIN track t ON t.album_id = a.album_id WHERE a.album_id = $1",
            "album.album_id = $1; track: any",
        ),
        (
            "SELECT t.name FROM album a FULL JOIN track t USING (album_id) WHERE album_id = $1",
            "album: any; track: any",
        ),
        // Common table expressions and subqueries.
        (
            "WITH x AS (SELECT * FROM track WHERE track_id = $1) SELECT x.name, a.title FROM x JOIN album a USING (album_id)",
            "album.album_id = track.album_id; track.track_id = $1",
        ),
        (
            "WITH x AS (SELECT track_id AS k, name FROM track) SELECT name FROM x WHERE k = $1",
            "track.track_id = $1",
        ),
        (
            "SELECT s.name FROM (SELECT * FROM track ORDER BY name LIMIT 5) s WHERE s.track_id = $1",
            "track: any",
        ),
        (
            "SELECT s.name FROM (SELECT name, album_id, row_number() OVER () AS n FROM track) s WHERE s.album_id = $1",
            "track: any",
        ),
        (
            "SELECT s.n FROM (SELECT album_id, count(*) AS n FROM track GROUP BY album_id) s WHERE s.album_id = $1",
            "track.album_id = $1",
        ),
        (
            "SELECT s.n FROM (SELECT album_id, count(*) AS n FROM track GROUP BY ROLLUP (album_id)) s \
             WHERE s.album_id = $1",
            "track: any",
        ),
        (
            "SELECT a.title FROM album a WHERE a.album_id = $1 AND EXISTS (SELECT FROM track t WHERE t.album_id = a.album_id)",
            "album.album_id = $1; track.album_id = $1",
        ),
        (
            "SELECT a.title FROM album a WHERE a.album_id = $1 \
             AND NOT EXISTS (SELECT FROM track t WHERE t.album_id = a.album_id)",
            "album.album_id = $1; track.album_id = $1",
        ),
        (
            "SELECT a.title FROM album a WHERE NOT EXISTS (SELECT FROM track t WHERE t.album_id = a.album_id AND t.track_id = $1)",
            "album: any; track.track_id = $1",
        ),
        (
            "SELECT title FROM album WHERE album_id IN (SELECT album_id FROM track WHERE track_id = $1)",
            "album.album_id = track.album_id; track.track_id = $1",
        ),
        (
            "SELECT title FROM album WHERE album_id IN (SELECT album_id FROM track WHERE genre_id = 3 LIMIT 2) AND album_id = $1",
            "album.album_id = $1; track: any",
        ),
        (
            "SELECT title FROM album WHERE album_id = $1 AND artist_id NOT IN (SELECT artist_id FROM artist)",
            "album.album_id = $1; artist: any",
        ),
        (
            "SELECT title, (SELECT count(*) FROM track t WHERE t.album_id = a.album_id) FROM album a WHERE a.album_id = $1",
            "album.album_id = $1; track.album_id = $1",
        ),
        (
            "SELECT a.title, x.name FROM album a CROSS JOIN LATERAL (SELECT name FROM track t \
             WHERE t.album_id = a.album_id ORDER BY name LIMIT 1) x WHERE a.album_id = $1",
            "album.album_id = $1; track.album_id = $1",
        ),
        // Twice the same table; a part nobody uses; parts combined.
        (
            "SELECT a.name FROM track a JOIN track b ON b.album_id = a.album_id WHERE b.track_id = $1",
            "track.album_id = b.album_id; track.track_id = $1",
        ),
        (
            "WITH x AS (SELECT * FROM genre) SELECT name FROM track WHERE track_id = $1",
            "genre: any; track.track_id = $1",
        ),
        (
            "SELECT name FROM track WHERE track_id = $1 UNION SELECT name FROM genre WHERE genre_id = $1",
            "genre.genre_id = $1; track.track_id = $1",
        ),
        (
            "SELECT * FROM (SELECT track_id AS id FROM track UNION SELECT genre_id FROM genre) u WHERE u.id = $1",
            "genre: any; track: any",
        ),
        (
            "WITH RECURSIVE r AS (SELECT track_id, album_id FROM track WHERE track_id = $1 UNION \
             SELECT t.track_id, t.album_id FROM track t JOIN r ON r.album_id = t.album_id) SELECT * FROM r",
            "track: any",
        ),
        // A view of the database.
        (
            "SELECT title FROM lines WHERE invoice = $1",
            "invoice_line.invoice_id = $1; track.track_id = l.track_id",
        ),
        // What does not narrow.
        ("SELECT name FROM track WHERE track_id = $1 OR genre_id = 1", "track: any"),
        ("SELECT name FROM track WHERE track_id > $1", "track: any"),
        ("SELECT name FROM track WHERE price = $1", "track: any"),
        ("SELECT name FROM track WHERE abs(track_id) = $1", "track: any"),
        ("SELECT name, $1::int8 AS k FROM genre", "genre: any"),
    ] {
        let query = view(&[Int8], sql);
        assert_eq!(bench.ways(&query).join("; "), expected, "{sql}");
    }
    for (key, sql, expected) in [
        (
            &[Int4, Int8][..],
            "SELECT name FROM track WHERE track_id IN ($1, $2)",
            "track.track_id = $1; track.track_id = $2",
        ),
        (&[Text], "SELECT track_id FROM track WHERE name = ANY (ARRAY[$1])", "track.name = $1"),
        (
            &[Text, Text],
            "SELECT track_id FROM track WHERE name IN ($1, $2)",
            "track.name = $1; track.name = $2",
        ),
        (&[Text], "SELECT name FROM track WHERE code = $1", "track: any"),
        (&[Text], "SELECT name FROM track WHERE name::varchar(2) = $1", "track: any"),
        (&[Int8, Text], "SELECT name FROM track WHERE track_id = $1 AND name = $2", "track.track_id = $1"),
    ] {
        assert_eq!(bench.ways(&view(key, sql)).join("; "), expected, "{sql}");
    }
}

#[test]
fn columns_and_old_values_decide_what_is_registered() {
    let bench = Bench::new(SHOP);
    let columns = |sql: &str| bench.compile(&view(&[Int8], sql)).registrations[0].columns.clone();
    let set = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(columns("SELECT t.name FROM track t WHERE track_id = $1"), set(&["name", "track_id"]));
    assert_eq!(columns("SELECT count(*), $1::int8 AS k FROM track"), set(&[]));
    assert_eq!(columns("SELECT to_json(t) AS j FROM track t WHERE track_id = $1"), None, "a whole row");
    assert_eq!(
        columns("SELECT 1 AS x FROM genre NATURAL JOIN track WHERE genre_id = $1"),
        set(&["genre_id", "name"])
    );

    // The log does not tell which album a row of `album` had.
    let compiled = bench.compile(&view(&[Int8], "SELECT title FROM album WHERE artist_id = $1"));
    assert_eq!(ways(&compiled), ["album: any"]);
    assert_eq!(compiled.derived.findings[0].mend, "ALTER TABLE public.album REPLICA IDENTITY FULL");
    bench.cluster.psql("CREATE UNIQUE INDEX by_artist ON album (album_id, artist_id); ALTER TABLE album ALTER artist_id SET NOT NULL");
    let compiled = bench.compile(&view(&[Int8], "SELECT title FROM album WHERE artist_id = $1"));
    let mend = &compiled.derived.findings[0].mend;
    assert_eq!(mend, "ALTER TABLE public.album REPLICA IDENTITY USING INDEX by_artist");
    bench.cluster.psql(mend);
    assert_eq!(
        bench.ways(&view(&[Int8], "SELECT title FROM album WHERE artist_id = $1")),
        ["album.artist_id = $1"]
    );
}

#[test]
fn partitions_are_read_under_the_name_the_log_gives_them() {
    let bench = Bench::new(
        "CREATE TABLE event (id int, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
         CREATE TABLE event_a PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
         CREATE TABLE event_b PARTITION OF event FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
         CREATE TABLE base (id int PRIMARY KEY, x int); CREATE TABLE heir () INHERITS (base);
         ALTER TABLE heir ADD PRIMARY KEY (id);
         CREATE PUBLICATION candor FOR ALL TABLES WITH (publish_via_partition_root = true)",
    );
    assert_eq!(bench.ways(&view(&[Int8], "SELECT note FROM event WHERE id = $1")), ["event.id = $1"]);
    assert_eq!(bench.ways(&view(&[Int8], "SELECT note FROM event_a WHERE id = $1")), ["event.id = $1"]);
    assert_eq!(bench.ways(&view(&[Int8], "SELECT x FROM base WHERE id = $1")), ["base: any", "heir: any"]);
    bench.cluster.psql("ALTER TABLE event_b REPLICA IDENTITY NOTHING");
    let compiled = bench.compile(&view(&[Int8], "SELECT note FROM event WHERE id = $1"));
    assert!(refusals_of(&compiled)[0].contains("event_b"), "{:?}", compiled.derived.findings);
    bench.cluster.psql("ALTER TABLE event_b REPLICA IDENTITY FULL; ALTER PUBLICATION candor SET (publish_via_partition_root = false)");
    let compiled = bench.compile(&view(&[Int8], "SELECT note FROM event WHERE id = $1"));
    assert!(refusals_of(&compiled)[0].contains("publish_via_partition_root = true"));
    let part = view(&[Int8], "SELECT note FROM event_a WHERE id = $1");
    assert_eq!(bench.ways(&part), ["event_a.id = $1"]);
    // Whoever adds the root touches no row of the catalog, so nobody could see it coming.
    bench.cluster.psql(
        "DROP PUBLICATION candor; \
         CREATE PUBLICATION candor FOR TABLE event_a WITH (publish_via_partition_root = true)",
    );
    let refused = refusals_of(&bench.compile(&part));
    assert!(refused[0].contains("published without its root `public.event`"), "{refused:?}");
    bench.cluster.psql("ALTER PUBLICATION candor SET (publish_via_partition_root = false)");
    assert_eq!(bench.ways(&part), ["event_a.id = $1"]);
}

#[test]
fn the_fingerprint_follows_what_the_log_covers_and_nothing_else() {
    let bench = Bench::new(SHOP);
    let sql = format!("SELECT l.coverage FROM ({}) l", crate::catalog::coverage::look_sql("candor"));
    let ask = || -> String { bench.runtime.block_on(bench.client.query_one(&sql, &[])).unwrap().get(0) };
    let quiet = |statement: &str| {
        let last = ask();
        assert_ne!(last, "");
        bench.cluster.psql(statement);
        assert_eq!(ask(), last, "{statement}");
    };
    let noisy = |statement: &str| {
        let last = ask();
        bench.cluster.psql(statement);
        assert_ne!(ask(), last, "{statement}");
    };
    quiet("INSERT INTO genre SELECT g, 'x' FROM generate_series(1, 1000) g");
    quiet("VACUUM ANALYZE genre");
    quiet("CREATE INDEX ON genre (name)");
    // Of these two only one is in the log; a table that is published without its name may be written in between.
    noisy("TRUNCATE genre");
    noisy("BEGIN; ALTER TABLE genre SET UNLOGGED; ALTER TABLE genre SET LOGGED; COMMIT");
    noisy("ALTER TABLE genre REPLICA IDENTITY FULL");
    noisy("ALTER TABLE genre ALTER genre_id TYPE int USING genre_id + 1");
    noisy("ALTER TABLE genre RENAME COLUMN name TO called");
    noisy("ALTER TABLE genre DROP COLUMN called");
    noisy("ALTER TABLE genre ENABLE ROW LEVEL SECURITY");
    noisy("CREATE TABLE more (id int PRIMARY KEY)");
    noisy("CREATE VIEW few AS SELECT * FROM genre WHERE genre_id < 3");
    noisy("CREATE OR REPLACE VIEW few AS SELECT * FROM genre WHERE genre_id < 4");
    noisy("CREATE FUNCTION one() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'");
    noisy("CREATE OR REPLACE FUNCTION one() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2'");
    noisy("CREATE TYPE mood AS ENUM ('glad', 'sad')");
    noisy("ALTER TYPE mood RENAME VALUE 'sad' TO 'gloomy'");
    noisy("CREATE DOMAIN few_words AS text");
    noisy("ALTER DOMAIN few_words RENAME TO words");
    noisy("CREATE DOMAIN many_words AS text[]");
    noisy("ALTER DOMAIN many_words SET NOT NULL");
    noisy("CREATE TYPE pair AS (a int, b int)");
    noisy("ALTER TYPE pair RENAME ATTRIBUTE b TO c");
    noisy("CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)");
    noisy("CREATE CAST (bigint AS boolean) WITH INOUT");
    noisy("CREATE COLLATION plain (LOCALE = 'C')");
    noisy("CREATE TEXT SEARCH CONFIGURATION terse (PARSER = default)");
    noisy("ALTER TEXT SEARCH CONFIGURATION terse ADD MAPPING FOR word WITH simple");
    noisy("CREATE TEXT SEARCH DICTIONARY brief (TEMPLATE = simple)");
    quiet("CREATE FUNCTION pg_temp.two() RETURNS int LANGUAGE sql AS 'SELECT 2'");
    quiet(
        "CREATE UNLOGGED TABLE staged (id int); TRUNCATE staged; ALTER TABLE staged ADD name text; DROP TABLE staged",
    );
    quiet("CREATE TEMPORARY TABLE passing (id int); ALTER TABLE passing ADD COLUMN name text");
    noisy("CREATE TABLE rare () INHERITS (genre)");
    noisy("ALTER TABLE rare NO INHERIT genre");
    noisy("CREATE SCHEMA attic; ALTER TABLE rare SET SCHEMA attic");
    noisy("ALTER SCHEMA attic RENAME TO cellar");
    noisy("ALTER PUBLICATION candor SET (publish = 'insert')");
    noisy("DROP PUBLICATION candor; CREATE PUBLICATION candor FOR TABLE genre, track");
    quiet("TRUNCATE genre");
    quiet("ALTER TABLE more ADD COLUMN name text; CREATE TABLE other (id int); DROP TABLE other");
    noisy("ALTER PUBLICATION candor ADD TABLES IN SCHEMA cellar");
    noisy("CREATE TABLE cellar.wine (id int)");
    noisy("ALTER TABLE cellar.wine ADD COLUMN year int");
    quiet("CREATE UNLOGGED TABLE cellar.staged (id int); ALTER TABLE cellar.staged ADD name text");
    noisy("ALTER TABLE cellar.staged SET LOGGED");
    quiet("ALTER TABLE more DROP COLUMN name");
    noisy("ALTER PUBLICATION candor DROP TABLES IN SCHEMA cellar");
    quiet("ALTER TABLE cellar.wine DROP COLUMN year");
    assert!(bench.cluster.try_psql("ALTER TABLE genre SET UNLOGGED").is_err(), "the server forbids it");
    noisy("ALTER PUBLICATION candor DROP TABLE track");
    noisy("ALTER PUBLICATION candor SET TABLE genre WHERE (genre_id > 3)");
    noisy("DROP PUBLICATION candor");
    assert_eq!(ask(), "");
}
