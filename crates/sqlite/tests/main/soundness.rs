//! The test that matters most: *an entry that no change reached still has the answer the database would give.*
//!
//! A fixed set of views with every shape of join, random keys, and random writes by another connection: conflicts
//! resolved in every way, keys that move, values of odd types, transactions and savepoints that are rolled back. After
//! each transaction every entry is either reached by a change or equal to a fresh fill, in its value and in its tags.

use crate::world::{Got, World, is_reached, view};
use candor_core::{KeyType, KeyValue, ViewQuery};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SCHEMA: &str = "
CREATE TABLE a (id INTEGER PRIMARY KEY, x INTEGER, t TEXT, u INTEGER UNIQUE);
CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INTEGER REFERENCES a (id) ON DELETE CASCADE ON UPDATE SET NULL,
    k TEXT UNIQUE COLLATE NOCASE, n INTEGER NOT NULL DEFAULT 1);
CREATE TABLE c (p INTEGER, q TEXT, v, PRIMARY KEY (p, q)) WITHOUT ROWID;
CREATE TABLE d (n INT, m TEXT, w, UNIQUE (n, m));
CREATE TABLE e (id INTEGER PRIMARY KEY, f TEXT, g INTEGER);
CREATE UNIQUE INDEX e_f ON e (lower(f));
CREATE VIEW av AS SELECT a.id AS id, a.x AS x, b.n AS n FROM a LEFT JOIN b ON b.a_id = a.id;
INSERT INTO a VALUES (1, 1, 'a', 1), (2, 1, 'b', 2), (3, 2, 'a', NULL);
INSERT INTO b VALUES (1, 1, 'a', 1), (2, 1, 'b', 2), (3, 2, 'c', 3);
INSERT INTO c VALUES (1, 'a', 1), (2, 'a', 2), (1, 'b', 3);
INSERT INTO d VALUES (1, 'a', 1), (2, 'b', 2);
INSERT INTO e VALUES (1, 'a', 1), (2, 'b', 2);
";

const BY_INT: [&str; 39] = [
    "SELECT a.t, av.x FROM a JOIN av ON av.x = a.x WHERE a.id = $1 ORDER BY 1, 2",
    "SELECT a.id AS i, c.v FROM a LEFT JOIN c ON c.q = a.t WHERE a.x = $1 ORDER BY 1, 2",
    "SELECT a.id AS i, d.w FROM a JOIN d ON d.n = a.t WHERE a.x = $1 ORDER BY 1, 2",
    "SELECT a.x FROM a JOIN b USING (id) WHERE a.x = $1 ORDER BY a.id",
    "SELECT a.x, count(*) AS n FROM a LEFT JOIN e USING (id) WHERE a.x = $1 GROUP BY a.id ORDER BY a.id",
    "SELECT count(*) AS n, $1 AS k FROM b NATURAL JOIN d",
    "SELECT a.x FROM a JOIN av USING (id) WHERE a.id = $1",
    "SELECT * FROM b WHERE id = $1",
    "SELECT * FROM a WHERE id = $1",
    "SELECT x FROM a WHERE u = $1",
    "SELECT t FROM a WHERE $1 = x ORDER BY id",
    "SELECT count(*) AS n FROM a WHERE x = $1",
    "SELECT count(*) AS n, $1 AS k FROM a",
    "SELECT n, m, w FROM d WHERE n = $1 ORDER BY n, m",
    "SELECT rowid, w FROM d WHERE n = $1 ORDER BY rowid",
    "SELECT v FROM c WHERE p = $1 ORDER BY q",
    "SELECT f, g FROM e WHERE id = $1",
    "SELECT a.t, b.n FROM a JOIN b ON b.a_id = a.id WHERE a.id = $1 ORDER BY b.id",
    "SELECT a.t, b.n FROM b JOIN a ON b.a_id = a.id WHERE a.id = $1 ORDER BY b.id",
    "SELECT a.t, b.n FROM b, a WHERE b.id = $1 AND a.id = b.a_id",
    "SELECT a.t, b.n FROM a LEFT JOIN b ON b.a_id = a.id WHERE a.id = $1 ORDER BY b.id",
    "SELECT a.t, b.n FROM a LEFT JOIN b ON b.a_id = a.id AND b.n > 1 WHERE a.x = $1 ORDER BY a.id, b.id",
    "SELECT a.id AS i FROM a LEFT JOIN b ON b.a_id = a.id WHERE b.id IS NULL AND a.x = $1 ORDER BY a.id",
    "SELECT a.id AS i, b.id AS j FROM a LEFT JOIN b ON a.id = $1 AND b.a_id = a.id ORDER BY a.id, b.id",
    "SELECT a.id AS i, b.id AS j FROM a LEFT JOIN b ON b.n = $1 ORDER BY a.id, b.id",
    "SELECT a.id AS i, b.id AS j FROM a LEFT JOIN b ON b.a_id = a.id WHERE b.n = $1 ORDER BY a.id, b.id",
    "SELECT b.id AS i, c.v, a.t FROM b JOIN a ON a.id = b.a_id LEFT JOIN c ON c.p = a.x AND c.q = a.t WHERE b.id = $1 ORDER BY c.v",
    "SELECT a.id AS i, b.id AS j, c.v, d.w FROM a LEFT JOIN b ON b.a_id = a.id LEFT JOIN c ON c.p = b.n LEFT JOIN d ON d.n = c.p AND d.m = c.q WHERE a.id = $1 ORDER BY 1, 2, 3, 4",
    "SELECT a.id AS i, c.v FROM a LEFT JOIN b ON b.a_id = a.id JOIN c ON c.p = b.n WHERE a.x = $1 ORDER BY 1, 2",
    "SELECT sum(b.n) AS s, max(quote(c.v)) AS m FROM a, b, c WHERE a.id = b.a_id AND c.p = a.x AND a.x = $1",
    "SELECT a.t, (SELECT count(*) FROM b WHERE b.a_id = a.id) AS n FROM a WHERE a.id = $1",
    "SELECT a.t FROM a WHERE a.id = $1 AND EXISTS (SELECT 1 FROM c WHERE c.p = a.x)",
    "SELECT t FROM a WHERE id = $1 UNION SELECT k FROM b WHERE id = $1 ORDER BY 1",
    "SELECT x, n FROM av WHERE id = $1 ORDER BY x, n",
    "SELECT av.n, a.t FROM a JOIN av ON av.id = a.id WHERE a.id = $1 ORDER BY 1, 2",
    "SELECT one.t, two.id AS j FROM a AS one JOIN a AS two ON two.x = one.x WHERE one.id = $1 ORDER BY 2",
    "WITH w AS (SELECT * FROM b WHERE a_id = $1) SELECT count(*) AS n, max(k) AS k FROM w",
    "SELECT id FROM a WHERE id = $1 OR x = $1 ORDER BY id",
    "SELECT DISTINCT a.x, row_number() OVER (ORDER BY b.id) AS r FROM a JOIN b USING (id) WHERE a.x = $1 ORDER BY r LIMIT 3",
];

const BY_TEXT: [&str; 9] = [
    "SELECT * FROM a WHERE t = $1 ORDER BY id",
    "SELECT id, n FROM b WHERE k = $1",
    "SELECT id, n FROM b WHERE k = $1 COLLATE BINARY",
    "SELECT p, v FROM c WHERE q = $1 ORDER BY p",
    "SELECT c.v, d.w FROM d JOIN c ON c.q = d.m AND c.p = d.n WHERE d.m = $1 ORDER BY 1, 2",
    "SELECT a.id AS i, b.id AS j FROM a JOIN b ON b.k = a.t WHERE a.t = $1 ORDER BY 1, 2",
    "SELECT a.id AS i, c.v FROM a LEFT JOIN c ON c.q = a.t WHERE a.t = $1 ORDER BY 1, 2",
    "SELECT a.id AS i, d.w FROM a JOIN d ON d.w = a.t WHERE a.t = $1 ORDER BY 1, 2",
    "SELECT w FROM d WHERE w = $1 ORDER BY rowid",
];

fn views() -> Vec<ViewQuery> {
    let ints = BY_INT.iter().map(|sql| view(sql, &[("k", KeyType::Int8)], sql));
    let texts = BY_TEXT.iter().map(|sql| view(sql, &[("k", KeyType::Text)], sql));
    let two = "SELECT v, (SELECT $2) AS echo FROM c WHERE p = $1 AND q = $2";
    let both = view(two, &[("p", KeyType::Int8), ("q", KeyType::Text)], two);
    let truth = view("truth", &[("k", KeyType::Bool)], "SELECT id FROM a WHERE x = $1 ORDER BY id");
    ints.chain(texts).chain([both, truth]).collect()
}

fn keys(view: &ViewQuery) -> Vec<Vec<KeyValue>> {
    let mut keys = vec![Vec::new()];
    for column in &view.key {
        let values: Vec<KeyValue> = match column.kind {
            KeyType::Int8 => (0..4).map(KeyValue::Int).collect(),
            KeyType::Bool => [true, false].map(KeyValue::Bool).into(),
            _ => ["a", "A", "1"].map(|text| KeyValue::Text(text.into())).into(),
        };
        keys = keys
            .iter()
            .flat_map(|key| values.iter().map(|value| [key.as_slice(), std::slice::from_ref(value)].concat()))
            .collect();
    }
    keys
}

/// What the writer does next.
fn statement() -> impl Strategy<Value = String> {
    let conflict = prop::sample::select(vec!["", "", " OR REPLACE", " OR REPLACE", " OR IGNORE", " OR FAIL"]);
    let table = prop::sample::select(vec![
        ("a", vec!["id", "x", "t", "u"]),
        ("b", vec!["id", "a_id", "k", "n"]),
        ("c", vec!["p", "q", "v"]),
        ("d", vec!["n", "m", "w"]),
        ("d", vec!["rowid", "n", "m", "w"]),
        ("e", vec!["id", "f", "g"]),
    ]);
    let value = || {
        prop::sample::select(vec![
            "NULL",
            "0",
            "1",
            "2",
            "3",
            "1",
            "2",
            "3",
            "'a'",
            "'A'",
            "'b'",
            "'1'",
            "'01'",
            "'a'",
            "1.0",
            "2.5",
            "x'61'",
            "'A' || char(0) || 'x'",
            "-1",
        ])
    };
    let values = (value(), value(), value(), value());
    (0..8u8, conflict, table, values, 0..4usize, 0..4usize).prop_map(
        |(kind, conflict, (table, columns), (v0, v1, v2, v3), one, two)| {
            let values = [v0, v1, v2, v3];
            let (one, two) = (columns[one % columns.len()], columns[two % columns.len()]);
            match kind {
                0..=2 => format!(
                    "INSERT{conflict} INTO {table} ({}) VALUES ({})",
                    columns.join(", "),
                    values[..columns.len()].join(", ")
                ),
                3..=4 => format!("UPDATE{conflict} {table} SET {one} = {v0} WHERE {two} = {v1}"),
                5 => {
                    format!("UPDATE{conflict} {table} SET {one} = {one} + 1, {two} = {v0} WHERE {one} = {v1}")
                }
                6 => format!("DELETE FROM {table} WHERE {one} = {v0}"),
                _ => format!(
                    "INSERT INTO {table} ({0}) VALUES ({1}) ON CONFLICT DO UPDATE SET {one} = excluded.{one}",
                    columns.join(", "),
                    values[..columns.len()].join(", ")
                ),
            }
        },
    )
}

/// Statements of one transaction, and how it ends.
fn transaction() -> impl Strategy<Value = (Vec<String>, u8)> {
    (prop::collection::vec(statement(), 1..4), 0..8u8)
}

fn run(world: &World, statements: &[String], end: u8) {
    // A write that a constraint refuses is as good a write as any.
    let write = |sql: &str| drop(world.writer.execute_batch(sql));
    write("BEGIN IMMEDIATE");
    let (last, first) = statements.split_last().unwrap();
    first.iter().for_each(|statement| write(statement));
    write("SAVEPOINT inner");
    write(last);
    match end {
        0 => write("ROLLBACK"),
        1 => write("ROLLBACK TO inner; COMMIT"),
        _ => write("RELEASE inner; COMMIT"),
    }
    if !world.writer.is_autocommit() {
        write("ROLLBACK");
    }
}

/// The rows in an order of our own: where SQL leaves the order open (1 and 1.0 are equal to ORDER BY), so does an entry.
fn rows(got: &Got) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(got.value.as_deref().unwrap()).unwrap();
    let mut rows: Vec<String> = value.as_array().unwrap().iter().map(ToString::to_string).collect();
    rows.sort_unstable();
    rows
}

async fn hold(transactions: &[(Vec<String>, u8)], foreign_keys: bool, recursive: bool) {
    let world = World::with(SCHEMA, |_| {});
    world.write(&format!(
        "PRAGMA synchronous = OFF; PRAGMA foreign_keys = {foreign_keys}; PRAGMA recursive_triggers = {recursive}"
    ));
    let views = views();
    let handles = world.views(&views).await;
    let mut follower = world.follow().await;
    let mut entries: BTreeMap<(usize, usize), Got> = BTreeMap::new();
    let mut kept = 0;
    for (statements, end) in transactions {
        run(&world, statements, *end);
        let seen = follower.catch_up(&world).await;
        for (number, (view, handle)) in views.iter().zip(&handles).enumerate() {
            for (place, key) in keys(view).into_iter().enumerate() {
                let fresh = world.fill(*handle, key.clone()).await;
                match entries.get(&(number, place)) {
                    Some(entry) if !is_reached(entry, &seen) => {
                        kept += 1;
                        assert_eq!(
                            rows(entry),
                            rows(&fresh),
                            "`{}` of {key:?} changed, and no change said so: {statements:?} → {seen:?}",
                            view.sql
                        );
                        assert_eq!(entry.tags, fresh.tags, "`{}` of {key:?}: {statements:?}", view.sql);
                    }
                    _ => drop(entries.insert((number, place), fresh)),
                }
            }
        }
    }
    assert!(transactions.len() < 3 || kept > 0, "a test in which everything is always reached shows nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn an_entry_that_no_change_reached_is_current(
        transactions in prop::collection::vec(transaction(), 1..25),
        foreign_keys in any::<bool>(),
        recursive in any::<bool>(),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
            .block_on(hold(&transactions, foreign_keys, recursive));
    }
}
