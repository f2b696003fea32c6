//! Fills: values, bounds, locks, and callers that go away.

use crate::world::{SHOP, World, by_id, connect, int, track, view};
use candor_core::port::{Fault, Source, ViewHandle};
use candor_core::{KeyType, KeyValue, ProofKind, Rows, Stamp, ViewQuery};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn every_type_has_its_json() {
    let world = World::new();
    let handle = world
        .view(by_id("SELECT $1 AS i, 1.0 AS r, 9e999 AS inf, 'é\"' AS t, x'00ff' AS b, NULL AS n, -0.0 AS z, count(*) AS \"a \"\"b\" FROM track"))
        .await;
    assert_eq!(
        world.fill(handle, int(-5)).await.value.unwrap(),
        r#"{"i":-5,"r":1.0,"inf":null,"t":"é\"","b":"AP8=","n":null,"z":0.0,"a \"b":3}"#
    );
}

#[tokio::test]
async fn one_and_many() {
    let world = World::new();
    let one = by_id("SELECT id FROM track WHERE album_id = $1");
    let many = ViewQuery { rows: Rows::Many, name: "many".into(), ..one.clone() };
    let handles = world.views(&[one, many]).await;
    let error = world.try_fill(handles[0], int(2)).await.unwrap_err();
    assert_eq!(error.fault, Fault::Contract);
    assert!(error.message.contains("`one`") && error.message.contains("more than one row"), "{error}");
    assert_eq!(world.fill(handles[0], int(9)).await.value, None);
    assert_eq!(world.fill(handles[1], int(2)).await.value.unwrap(), r#"[{"id":2},{"id":3}]"#);
    assert_eq!(world.fill(handles[1], int(9)).await.value.unwrap(), "[]");
    assert!(world.try_fill(ViewHandle(99), int(9)).await.is_err());
    assert!(world.try_fill(handles[0], vec![]).await.is_err());
}

#[tokio::test]
async fn all_keys_of_a_fill_are_read_in_one_transaction() {
    let world = World::new();
    let handle = world.view(track()).await;
    let keys: Arc<[Box<[KeyValue]>]> = (1..=4).map(|id| int(id).into_boxed_slice()).collect();
    let fill = world.sqlite.fill(handle, keys).await.unwrap();
    assert_eq!(fill.answers.len(), 4);
    assert!(fill.answers[3].value.is_none());
    assert_eq!(fill.stamp, Stamp::Sequence(world.fence().await));
}

#[tokio::test]
async fn an_answer_has_bounds() {
    let world = World::with(SHOP, |options| {
        options.rows_max = 2;
        options.bytes_max = 40;
    });
    let handles = world
        .views(&[
            view("many", &[("n", KeyType::Int8)], "SELECT id FROM track WHERE id > $1"),
            view("long", &[("n", KeyType::Int8)], "SELECT hex(zeroblob(100)) AS x FROM track WHERE id = $1"),
        ])
        .await;
    assert!(world.try_fill(handles[0], int(0)).await.unwrap_err().message.contains("more than 2 rows"));
    assert!(world.try_fill(handles[0], int(1)).await.is_ok());
    assert!(world.try_fill(handles[1], int(1)).await.unwrap_err().message.contains("more than 40 bytes"));
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    let world = World::new();
    let handle = world.view(track()).await;
    world.write("UPDATE track SET name = CAST(x'ff' AS TEXT) WHERE id = 1");
    let error = world.try_fill(handle, int(1)).await.unwrap_err();
    assert_eq!(error.fault, Fault::Contract);
    assert!(error.message.contains("UTF-8"), "{error}");
}

#[tokio::test]
async fn keys_of_every_type_find_their_rows() {
    let world = World::with(
        "CREATE TABLE t (i INTEGER, s TEXT, u UUID, d DATE, b BOOLEAN, n TEXT);
         INSERT INTO t VALUES (1, 'a', '0f8fad5b-d9cb-469f-a165-70867728950e', '2026-11-21', 1, 'found');",
        |_| {},
    );
    let views: Vec<ViewQuery> = [
        ("i", KeyType::Int2),
        ("s", KeyType::Text),
        ("u", KeyType::Uuid),
        ("d", KeyType::Date),
        ("b", KeyType::Bool),
    ]
    .iter()
    .map(|(column, kind)| {
        let sql = format!("SELECT n FROM t WHERE {column} = $1");
        ViewQuery { rows: Rows::One, ..view(column, &[(column, *kind)], &sql) }
    })
    .collect();
    let handles = world.views(&views).await;
    let text = |text: &str| KeyValue::Text(text.into());
    let keys = [
        KeyValue::Int(1),
        text("a"),
        text("0f8fad5b-d9cb-469f-a165-70867728950e"),
        text("2026-11-21"),
        KeyValue::Bool(true),
    ];
    for (turn, (handle, key)) in handles.into_iter().zip(keys).enumerate() {
        let got = world.fill(handle, vec![key.clone()]).await;
        assert_eq!(got.value.as_deref().map(|value| value.contains("found")), Some(true), "{key:?}");
        assert!(world.reaches(&got, &format!("UPDATE t SET n = 'found {turn}'")).await, "{key:?}");
    }
}

#[tokio::test]
async fn a_database_in_utf16_reads_alike() {
    let schema = "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT); INSERT INTO t VALUES ('ключ', 'значение')";
    let world = World::with(schema, |_| {});
    let handle = world.view(view("t", &[("k", KeyType::Text)], "SELECT v FROM t WHERE k = $1")).await;
    let got = world.fill(handle, vec![KeyValue::Text("ключ".into())]).await;
    assert_eq!(got.value.as_deref(), Some(r#"[{"v":"значение"}]"#));
    assert!(world.reaches(&got, "UPDATE t SET v = 'x' WHERE k = 'ключ'").await);
}

#[tokio::test]
async fn an_exclusive_lock_of_another_program_makes_fills_and_fences_slow() {
    let world = World::with(SHOP, |options| options.busy_timeout = Duration::from_millis(20));
    world.sqlite.setup(&[track()]).await.unwrap();
    let mut script = std::process::Command::new("python3");
    script.arg("-c").arg(
        "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1],isolation_level=None)\n\
         c.execute('pragma journal_mode=delete')\nc.execute('begin exclusive')\nprint('locked',flush=True)\nsys.stdin.readline()",
    );
    script.arg(&world.path).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    // The mode can only change while nobody else has the file open.
    let World { dir: _dir, path, writer, sqlite } = world;
    drop((writer, sqlite));
    let mut child = script.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "locked\n");
    let mut options = candor_sqlite::SqliteOptions::new(&path);
    options.busy_timeout = Duration::from_millis(20);
    let sqlite = candor_sqlite::Sqlite::open(options).unwrap();
    let error = candor_core::port::Log::fence(&sqlite).await.unwrap_err();
    assert_eq!(error.fault, Fault::Slow, "{error}");
    let error = sqlite.prepare(&track()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Slow, "{error}");
    drop(child.stdin.take());
    child.wait().unwrap();
    let derived = sqlite.prepare(&track()).await.unwrap();
    let fill = sqlite.fill(derived.handle.unwrap(), [int(1).into_boxed_slice()].into()).await.unwrap();
    assert!(fill.answers[0].value.is_some());
}

const ENDLESS: &str =
    "WITH n (i) AS (VALUES ($1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n, track";

#[tokio::test]
async fn a_fill_nobody_waits_for_is_stopped_and_the_next_is_not() {
    let world = World::with(SHOP, |options| options.readers = 1);
    let handles = world.views(&[by_id(ENDLESS), track()]).await;
    for _ in 0..5 {
        let endless = world.try_fill(handles[0], int(1));
        assert!(tokio::time::timeout(Duration::from_millis(30), endless).await.is_err());
        let next = tokio::time::timeout(Duration::from_secs(10), world.fill(handles[1], int(1))).await;
        assert!(next.expect("the only reader is free again").value.is_some());
    }
}

#[tokio::test]
async fn a_full_queue_is_slow_at_once() {
    let world = World::with(SHOP, |options| {
        options.readers = 1;
        options.fill_queue = 1;
    });
    let handles = world.views(&[by_id(ENDLESS)]).await;
    let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(world.try_fill(handles[0], int(1)))).collect();
    let mut refused = 0;
    for fill in &mut waiting {
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_millis(20), fill).await {
            assert_eq!(error.fault, Fault::Slow);
            refused += 1;
        }
    }
    assert_eq!(refused, 2, "one runs, one waits");
}

#[tokio::test]
async fn views_that_rest_on_the_clock_need_no_setup() {
    let world = World::new();
    let clock =
        ViewQuery { proof: ProofKind::Clock, ..by_id("SELECT id, random() AS r FROM track WHERE id = $1") };
    let derived = world.prepare(&clock).await;
    assert!(!derived.is_refused(), "{:?}", derived.findings);
    let got = world.fill(derived.handle.unwrap(), int(1)).await;
    assert!(got.value.is_some() && got.tags.is_empty());
}

#[tokio::test]
async fn a_fill_never_writes() {
    let world = World::new();
    let insert = by_id("INSERT INTO track (id, name) VALUES ($1, 'x') RETURNING id");
    assert!(world.prepare(&insert).await.is_refused());
    assert_eq!(
        connect(&world.path).query_row("SELECT count(*) FROM track", [], |row| row.get::<_, i64>(0)),
        Ok(3)
    );
}
