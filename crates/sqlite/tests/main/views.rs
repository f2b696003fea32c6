//! Preparing views: what is derived, and what is refused with its mend.

use crate::world::{World, by_id, int, refusals, track, view};
use candor_core::{Dependency, KeyType, ProofKind, Severity, TaggedBy, ViewQuery};

/// `table by what` for every table, e.g. `track by key id=$1`.
async fn derived(world: &World, query: &ViewQuery) -> Vec<String> {
    let derived = world.prepare(query).await;
    derived
        .reads
        .iter()
        .flat_map(|read| {
            read.tagged_by.iter().map(|by| match by {
                TaggedBy::Key { column, parameter } => {
                    format!("{} key {column}=${}", read.table, parameter + 1)
                }
                TaggedBy::Met { column, from } => format!("{} met {column}={from}", read.table),
                TaggedBy::Table { .. } => format!("{} table", read.table),
            })
        })
        .collect()
}

#[tokio::test]
async fn dependencies_are_as_narrow_as_the_sql_allows() {
    let world = World::new();
    for (sql, expected) in [
        ("SELECT name FROM track WHERE id = $1", vec!["track key id=$1"]),
        ("SELECT name FROM main.track AS t WHERE ($1 = T.ID) AND name > 'a'", vec!["track key id=$1"]),
        ("SELECT name FROM track WHERE rowid = $1 AND track.rowid = $1", vec!["track key id=$1"]),
        (
            "SELECT t.name, al.title, ar.name AS artist, g.name AS genre FROM track t LEFT JOIN album al ON al.id = t.album_id LEFT JOIN artist ar ON ar.id = al.artist_id LEFT JOIN genre g ON g.id = t.genre_id WHERE t.id = $1",
            vec![
                "album met id=t.album_id",
                "artist met id=al.artist_id",
                "genre met id=t.genre_id",
                "track key id=$1",
            ],
        ),
        ("SELECT * FROM (SELECT 1), track WHERE track.id = $1", vec!["track table"]),
        (
            "SELECT t.name, p.cents FROM price p JOIN track t ON t.id = p.track_id WHERE p.track_id = $1",
            vec!["price key track_id=$1", "track key id=$1"],
        ),
        (
            "SELECT title, track.name FROM track, album WHERE album.id = album_id AND track.id = $1",
            vec!["album met id=track.album_id", "track key id=$1"],
        ),
        (
            "SELECT t.name FROM track t JOIN price p ON p.track_id = t.id WHERE t.album_id = $1",
            vec!["price met track_id=t.id", "track key album_id=$1"],
        ),
        ("SELECT count(*) AS n, $1 AS k FROM track", vec!["track table"]),
        ("SELECT name FROM track WHERE id = $1 OR id = 2", vec!["track table"]),
        ("SELECT name FROM track WHERE +id = $1", vec!["track table"]),
        (
            "SELECT name FROM track WHERE id IN (SELECT track_id FROM price WHERE cents = $1)",
            vec!["price table", "track table"],
        ),
        (
            "SELECT a.name, b.name AS other FROM track a JOIN track b ON b.id = a.id + 1 WHERE a.id = $1",
            vec!["track table"],
        ),
        (
            "SELECT name FROM track WHERE id = $1 UNION ALL SELECT name FROM genre",
            vec!["genre table", "track table"],
        ),
        ("WITH x AS (SELECT * FROM track WHERE id = $1) SELECT name FROM x", vec!["track table"]),
        ("SELECT t.name FROM track t LEFT JOIN album a ON t.id = $1", vec!["album table", "track table"]),
        ("SELECT t.name, j.value FROM track t, json_each('[1]') j WHERE t.id = $1", vec!["track table"]),
    ] {
        let mut query = by_id(sql);
        query.rows = candor_core::Rows::Many;
        assert_eq!(derived(&world, &query).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_join_of_four_tables_is_reached_by_rows_that_were_not_there() {
    let world = World::new();
    let query = by_id(
        "SELECT t.name, al.title, ar.name AS artist, g.name AS genre FROM track t LEFT JOIN album al ON al.id = t.album_id LEFT JOIN artist ar ON ar.id = al.artist_id LEFT JOIN genre g ON g.id = t.genre_id WHERE t.id = $1",
    );
    let handle = world.view(query).await;
    world.write("PRAGMA foreign_keys = OFF");
    world.write("INSERT INTO track (id, name, album_id, genre_id) VALUES (10, 'Lonely', 20, 30)");
    for (sql, reached) in [
        ("INSERT INTO album VALUES (20, 'Late', 40)", true),
        ("INSERT INTO album VALUES (21, 'Other', 41)", false),
        ("INSERT INTO artist VALUES (40, 'Later')", true),
        ("INSERT INTO artist VALUES (41, 'Other')", false),
        ("INSERT INTO genre VALUES (30, 'Latest')", true),
        ("UPDATE artist SET name = 'x' WHERE id = 40", true),
        ("UPDATE artist SET name = 'x' WHERE id = 1", false),
        ("UPDATE track SET milliseconds = 5 WHERE id = 10", false),
        ("UPDATE album SET artist_id = 1 WHERE id = 20", true),
        ("UPDATE artist SET name = 'y' WHERE id = 1", true),
        ("DELETE FROM genre WHERE id = 30", true),
    ] {
        let got = world.fill(handle, int(10)).await;
        assert_eq!(world.reaches(&got, sql).await, reached, "{sql}");
    }
    assert_eq!(
        world.fill(handle, int(10)).await.value.unwrap(),
        r#"{"name":"Lonely","title":"Late","artist":"y","genre":null}"#
    );
}

#[tokio::test]
async fn columns_and_tables_that_only_using_reads_are_read() {
    let world = World::with(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, x INTEGER, k INTEGER); CREATE TABLE b (n INTEGER, k INTEGER);
         CREATE VIEW v AS SELECT a.x FROM a JOIN b USING (k);
         INSERT INTO a VALUES (1, 1, 7); INSERT INTO b VALUES (1, 7)",
        |_| {},
    );
    let query = |sql: &str| view(sql, &[("k", KeyType::Int8)], sql);
    let queries = [
        query("SELECT a.x FROM a JOIN b USING (k) WHERE a.id = $1"),
        query("SELECT a.x FROM a NATURAL JOIN b WHERE a.id = $1"),
        query("SELECT a.x FROM (a JOIN b USING (k)) WHERE a.id = $1"),
        query("SELECT x FROM v WHERE x = $1"),
        query("SELECT x FROM a WHERE id = $1 AND EXISTS (SELECT 1 FROM a AS o JOIN b USING (k))"),
    ];
    let handles = world.views(&queries).await;
    for (handle, query) in handles.into_iter().zip(queries) {
        for sql in [
            "UPDATE b SET k = k + 1",
            "UPDATE b SET k = k - 1",
            "UPDATE a SET k = k + 1",
            "UPDATE a SET k = k - 1",
        ] {
            let got = world.fill(handle, int(1)).await;
            assert!(world.reaches(&got, sql).await, "{} {sql}", query.sql);
        }
    }
}

#[tokio::test]
async fn values_that_sqlite_calls_equal_meet_however_they_are_written() {
    let world = World::with(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT); CREATE TABLE c (q TEXT, v); CREATE TABLE d (n INTEGER, w);
         CREATE VIEW v AS SELECT id, t FROM a;
         INSERT INTO a VALUES (1, 'A' || char(0) || 'x'), (2, '01'), (3, '01')",
        |_| {},
    );
    let queries = [
        by_id("SELECT count(c.v) AS n FROM a LEFT JOIN c ON c.q = a.t WHERE a.id = $1"),
        by_id("SELECT count(d.w) AS n FROM a LEFT JOIN d ON d.n = a.t WHERE a.id = $1"),
        by_id("SELECT count(*) AS n FROM a JOIN v ON v.t = a.t WHERE a.id = $1"),
    ];
    let handles = world.views(&queries).await;
    for (handle, id, sql) in [
        (handles[0], 1, "INSERT INTO c VALUES ('A' || char(0) || 'x', 1)"),
        (handles[1], 2, "INSERT INTO d VALUES (1, 1)"),
        (handles[2], 2, "DELETE FROM a WHERE id = 3"),
    ] {
        let got = world.fill(handle, int(id)).await;
        assert!(world.reaches(&got, sql).await, "{sql}");
        assert_ne!(world.fill(handle, int(id)).await.value, got.value, "{sql}");
    }
}

#[tokio::test]
async fn too_many_met_values_mean_the_whole_table() {
    let world = World::new();
    let query = view(
        "prices",
        &[("album", KeyType::Int8)],
        "SELECT p.cents FROM track t JOIN price p ON p.track_id = t.id WHERE t.album_id = $1",
    );
    let handle = world.view(query).await;
    world.write("WITH n (i) AS (VALUES (1000) UNION ALL SELECT i + 1 FROM n WHERE i < 1300) INSERT INTO track (id, name, album_id) SELECT i, 'x', 5 FROM n");
    let got = world.fill(handle, int(5)).await;
    assert!(got.tags.len() < 5, "{}", got.tags.len());
    assert!(world.reaches(&got, "INSERT INTO price VALUES (1299, 'EUR', 1)").await);
    assert!(
        !world.reaches(&world.fill(handle, int(2)).await, "INSERT INTO price VALUES (1298, 'EUR', 1)").await
    );
}

#[tokio::test]
async fn bad_sql_is_refused_with_a_mend() {
    let world = World::new();
    world.write("CREATE VIRTUAL TABLE words USING fts5 (word); CREATE VIEW dated AS SELECT id, date('now') AS d FROM track; CREATE TABLE hidden (rowid TEXT, x)");
    for (sql, part) in [
        ("SELEC 1", "SQLite cannot prepare"),
        ("SELECT id FROM track WHERE id = $1; SELECT 2", "several statements"),
        ("DELETE FROM track WHERE id = $1", "not a SELECT"),
        ("UPDATE track SET name = 'x' WHERE id = $1 RETURNING id", "not a SELECT"),
        ("PRAGMA table_info(track)", "PRAGMA"),
        ("EXPLAIN SELECT id FROM track WHERE id = $1", "not a SELECT"),
        ("ATTACH 'x' AS y", "not a SELECT"),
        ("SELECT id FROM trak WHERE id = $1", "did you mean `track`"),
        ("SELECT t.nam FROM track t WHERE id = $1", "did you mean `name`"),
        ("SELECT id FROM track WHERE id = $2", "asks for key column 2"),
        ("SELECT id FROM track", "does not occur in the SQL"),
        ("SELECT id FROM track WHERE id = ?", "without a number"),
        ("SELECT id FROM track WHERE id = :id", "not a placeholder"),
        ("SELECT id FROM track WHERE id = $1 OR id = ?1", "mixes"),
        ("SELECT t.id, a.id FROM track t, album a WHERE t.id = $1", "two result columns are called `id`"),
        ("SELECT random() AS r FROM track WHERE id = $1", "`random`"),
        ("SELECT datetime('now') AS d FROM track WHERE id = $1", "present time"),
        ("SELECT CURRENT_TIMESTAMP AS d FROM track WHERE id = $1", "current_timestamp"),
        ("SELECT d FROM dated WHERE id = $1", "present time"),
        ("SELECT word FROM words WHERE rowid = $1", "not an ordinary table"),
        ("SELECT name FROM sqlite_master WHERE rowid = $1", "not an ordinary table"),
        ("SELECT x FROM hidden WHERE _rowid_ = $1", "row number"),
        ("SELECT name FROM pragma_table_info('track') WHERE cid = $1", "not an ordinary table"),
    ] {
        let derived = world.prepare(&by_id(sql)).await;
        let refused = refusals(&derived).join(" | ");
        assert!(refused.contains(part), "{sql}: {refused:?}");
        assert_eq!(derived.handle, None);
    }
    world.view(track()).await;
    let log = by_id("SELECT op FROM candor_changes WHERE seq = $1");
    assert!(world.prepare(&log).await.is_refused());
}

#[tokio::test]
async fn columns_that_do_not_compare_canonically_fall_back_with_a_warning() {
    let world = World::with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, nocase TEXT COLLATE NOCASE, plain, real REAL, label TEXT)",
        |_| {},
    );
    for (column, kind) in [
        ("nocase", KeyType::Text),
        ("plain", KeyType::Int8),
        ("real", KeyType::Int8),
        ("label", KeyType::Int8),
        ("id", KeyType::Text),
    ] {
        let query = view("v", &[("k", kind)], &format!("SELECT id FROM t WHERE {column} = $1"));
        assert_eq!(derived(&world, &query).await, ["t table"], "{column}");
        let findings = world.prepare(&query).await.findings;
        assert!(
            findings.iter().any(|finding| finding.severity == Severity::Warning
                && finding.message.contains("does not narrow")),
            "{findings:?}"
        );
    }
}

#[tokio::test]
async fn declared_dependencies_are_checked() {
    let world = World::new();
    let declared = |texts: &[&str]| ViewQuery {
        invalidated_by: Some(texts.iter().map(|text| Dependency::parse(text).unwrap()).collect()),
        ..by_id("SELECT t.name, a.title FROM track t JOIN album a ON a.id = t.album_id WHERE t.id = $1")
    };
    for (texts, part) in [
        (vec!["track.id=$1"], "the SQL reads `album`, but invalidated_by does not mention it"),
        (vec!["trak", "album"], "did you mean `track`"),
        (vec!["track.idd=$1", "album"], "did you mean `id`"),
        (vec!["track.id=$2", "album"], "has 1 key columns"),
        (vec!["track.name=$1", "album"], "does not hold values of type int8"),
    ] {
        let refused = refusals(&world.prepare(&declared(&texts)).await).join(" | ");
        assert!(refused.contains(part), "{texts:?}: {refused}");
    }
    let handle = world.view(declared(&["track.id=$1", "album", "genre.id=$1", "#prices"])).await;
    let got = world.fill(handle, int(1)).await;
    assert!(got.tags.contains(&candor_core::Tag::application("prices")));
    assert!(world.reaches(&got, "UPDATE album SET title = 'x' WHERE id = 2").await);
    let got = world.fill(handle, int(1)).await;
    assert!(world.reaches(&got, "UPDATE genre SET name = 'x' WHERE id = 1").await, "read as a whole");
    let unconfirmed = world.prepare(&declared(&["track.album_id=$1", "album"])).await;
    assert!(unconfirmed.findings.iter().any(|finding| finding.message.contains("not confirmed")));
}

#[tokio::test]
async fn one_declaration_has_one_handle_and_no_setup_no_handle() {
    let world = World::new();
    let derived = world.prepare(&track()).await;
    assert!(refusals(&derived)[0].contains("no change log; run `candor setup`"));
    assert_eq!(derived.reads.len(), 1, "what it would depend on is told all the same");
    let first = world.view(track()).await;
    assert_eq!(world.prepare(&track()).await.handle, Some(first));
    assert_eq!(world.prepare(&track()).await.proof, ProofKind::Log);
}
