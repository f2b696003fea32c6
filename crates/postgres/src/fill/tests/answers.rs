//! What a fill answers, and on what it says the answer depends.

use super::world::{View, World, registration};
use candor_core::KeyType::{Bool, Date, Int2, Int4, Int8, Text, Uuid};
use candor_core::{Facet, KeyType, Tag};

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[tokio::test]
async fn a_row_is_an_object_no_row_is_absent_and_rows_are_an_array() {
    let world = World::new(
        "answers",
        "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a\"b'), (2, NULL)",
    );
    let one = View::one("SELECT id, name FROM t WHERE id = $1", &[Int8]);
    assert_eq!(world.answers(one.clone(), &[&["1"]]).await, some(&[r#"{"id":1,"name":"a\"b"}"#]));
    assert_eq!(world.answers(one.clone(), &[&["9"]]).await, [None]);
    let many = View::many("SELECT name, id FROM t WHERE id >= $1 ORDER BY id DESC; -- by id", &[Int4]);
    assert_eq!(
        world.answers(many.clone(), &[&["1"]]).await,
        some(&[r#"[{"name":null,"id":2},{"name":"a\"b","id":1}]"#])
    );
    assert_eq!(world.answers(many, &[&["3"]]).await, some(&["[]"]));
    assert_eq!(
        world.answers(one, &[&["2"], &["9"], &["1"], &["2"]]).await,
        [
            Some(r#"{"id":2,"name":null}"#.to_owned()),
            None,
            Some(r#"{"id":1,"name":"a\"b"}"#.to_owned()),
            Some(r#"{"id":2,"name":null}"#.to_owned()),
        ]
    );
}

#[tokio::test]
async fn values_are_spelled_alike_whatever_the_settings_of_the_role() {
    let world = World::new(
        "spelling",
        "ALTER DATABASE spelling SET timezone = 'Asia/Tokyo'; ALTER DATABASE spelling SET datestyle = 'German';
         ALTER DATABASE spelling SET bytea_output = 'escape'; ALTER DATABASE spelling SET extra_float_digits = 0;
         ALTER DATABASE spelling SET intervalstyle = 'iso_8601'",
    );
    let sql = "SELECT 9007199254740993::int8 AS a, 'NaN'::float8 AS b, '-Infinity'::numeric AS c, 0.1::float8 + 0.2 AS d,
        '2026-11-21 10:00+09'::timestamptz AS e, '\\x00ff'::bytea AS f, '1 day 2 hours'::interval AS g, '{\"k\": [1]}'::jsonb AS h,
        ARRAY[1, NULL] AS i, true AS j, 1.10::numeric AS k WHERE $1 = 1";
    let wanted = r#"{"a":9007199254740993,"b":"NaN","c":"-Infinity","d":0.30000000000000004,"e":"2026-11-21T01:00:00+00:00","f":"\\x00ff","g":"1 day 02:00:00","h":{"k": [1]},"i":[1,null],"j":true,"k":1.10}"#;
    let view = View::one(sql, &[Int4]);
    assert_eq!(world.answers(view.clone(), &[&["1"]]).await, some(&[wanted]));
    let pooled = World::with(
        "spelling_pooled",
        "ALTER DATABASE spelling_pooled SET timezone = 'Asia/Tokyo'",
        |options| {
            options.pooler = true;
        },
    );
    assert_eq!(pooled.answers(view, &[&["1"]]).await, some(&[wanted]));
}

#[tokio::test]
async fn keys_of_every_type_find_their_rows_alone_and_together() {
    let world = World::new(
        "key_types",
        r#"CREATE TABLE t (a int2, b int4, c int8, d text, e uuid, f bool, g date, n int);
           INSERT INTO t VALUES (-1, 2, 9223372036854775807, 'x{"\,NULL}', '0f8fad5b-d9cb-469f-a165-70867728950e', true, '2028-02-29', 1),
                                (1, 2, 3, 'NULL', '0f8fad5b-d9cb-469f-a165-70867728950f', false, '2026-01-01', 2),
                                (1, 2, 3, '', '0f8fad5b-d9cb-469f-a165-70867728950f', false, '0001-01-01', 3)"#,
    );
    let kinds: [KeyType; 7] = [Int2, Int4, Int8, Text, Uuid, Bool, Date];
    let sql =
        "SELECT n FROM t WHERE a = $1 AND b = $2 AND c = $3 AND d = $4 AND e = $5 AND f = $6 AND g = $7";
    let first: &[&str] = &[
        "-1",
        "2",
        "9223372036854775807",
        r#"x{"\,NULL}"#,
        "0F8FAD5B-d9cb-469f-a165-70867728950E",
        "t",
        "2028-02-29",
    ];
    let second: &[&str] =
        &["1", "2", "3", "NULL", "0f8fad5b-d9cb-469f-a165-70867728950f", "false", "2026-01-01"];
    let third: &[&str] = &["1", "2", "3", "", "0f8fad5b-d9cb-469f-a165-70867728950f", "f", "0001-01-01"];
    let view = View::one(sql, &kinds);
    for (key, n) in [(first, 1), (second, 2), (third, 3)] {
        assert_eq!(world.answers(view.clone(), &[key]).await, some(&[&format!("{{\"n\":{n}}}")]));
    }
    assert_eq!(
        world.answers(view, &[third, first, second]).await,
        some(&["{\"n\":3}", "{\"n\":1}", "{\"n\":2}"])
    );
}

#[tokio::test]
async fn odd_names_and_texts_that_look_like_placeholders_stay_what_they_are() {
    let world = World::new(
        "names",
        r#"CREATE TABLE "Odd $1" ("candor_row" int, "sel""ect" text, a$1 int); INSERT INTO "Odd $1" VALUES (1, '$1', 5)"#,
    );
    let sql = r#"SELECT "candor_row", "sel""ect", a$1, '$2' AS "$2", $x$ $1 $x$ AS d /* $3 */ -- $4
        FROM "Odd $1" AS candor_key WHERE "candor_row" = $1 -- $1"#;
    let wanted = r#"{"candor_row":1,"sel\"ect":"$1","a$1":5,"$2":"$2","d":" $1 "}"#;
    let view = View::one(sql, &[Int4]);
    assert_eq!(world.answers(view.clone(), &[&["1"]]).await, some(&[wanted]));
    assert_eq!(world.answers(view, &[&["1"], &["1"]]).await, some(&[wanted, wanted]));
    let view = View::one("SELECT 1 WHERE $2 = 1", &[Int4]);
    assert!(world.refusal(view, &[&["1"]]).await.contains("`$2` asks for key column 2, but the view has 1"));
}

#[tokio::test]
async fn many_keys_keep_the_order_of_rows_and_limits_may_be_keys() {
    let world = World::new(
        "orders",
        "CREATE TABLE t (g int, n int); INSERT INTO t SELECT g, (n * 7919) % 1000 FROM generate_series(1, 5) g, generate_series(1, 99) n;
         CREATE INDEX ON t (g); ANALYZE t",
    );
    let view = View::many("SELECT n FROM t WHERE g = $1 ORDER BY n DESC LIMIT $2", &[Int4, Int8]);
    let single = world.answers(view.clone(), &[&["3", "50"]]).await;
    let both = world.answers(view, &[&["9", "50"], &["3", "50"], &["3", "2"]]).await;
    assert_eq!((&both[0], &both[1]), (&Some("[]".to_owned()), &single[0]));
    let numbers: Vec<u32> = single[0]
        .as_ref()
        .unwrap()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .collect();
    assert_eq!(numbers.len(), 50);
    assert!(numbers.is_sorted_by(|a, b| a >= b), "{numbers:?}");
}

#[tokio::test]
async fn an_answer_is_tagged_by_its_key_and_by_what_it_met() {
    let world = World::new(
        "mets",
        "CREATE TABLE t (id bool, other int); INSERT INTO t VALUES (true, 5), (true, NULL), (true, 6)",
    );
    let met = ["SELECT DISTINCT other::text FROM t WHERE id = $1"];
    let view = View { met: &met, ..View::many("SELECT other FROM t WHERE id = $1", &[Bool]) };
    let row = |value: &str| Tag::row("public.met", Facet::WHOLE, "id", value);
    let of_key = |text: &str| Tag::row("public.t", Facet::WHOLE, "id", text);
    let sorted = |mut tags: Vec<Tag>| {
        tags.sort_unstable();
        tags
    };
    let tags =
        |fill: crate::fill::RawFill| fill.answers.into_iter().map(|answer| answer.tags).collect::<Vec<_>>();
    let met_true = sorted(vec![Tag(7), of_key("t"), row("5"), row("6")]);
    let met_false = sorted(vec![Tag(7), of_key("f")]);
    assert_eq!(tags(world.fill(view.clone(), &[&["true"]]).await.unwrap()), std::slice::from_ref(&met_true));
    assert_eq!(tags(world.fill(view, &[&["false"], &["true"]]).await.unwrap()), [met_false, met_true]);
}

#[tokio::test]
async fn more_values_met_than_are_kept_stand_for_the_whole_table() {
    let world = World::new("mets_many", "");
    let met = ["SELECT n::text FROM generate_series(1, $1) AS s(n) -- all"];
    let view = View { met: &met, ..View::one("SELECT $1 AS a", &[Int4]) };
    let fill = world.fill(view, &[&["256"], &["257"]]).await.unwrap();
    let whole = Tag::table("public.met", Facet::WHOLE);
    assert_eq!(fill.answers[0].tags.len(), 258);
    assert!(!fill.answers[0].tags.contains(&whole));
    let mut wanted = vec![Tag(7), whole, registration("public.t", Some("id")).row_tag("257")];
    wanted.sort_unstable();
    assert_eq!(fill.answers[1].tags, wanted);
}

#[tokio::test]
async fn what_can_be_asked_for_one_key_can_be_asked_for_many() {
    let world = World::new("aggregates", "");
    let view = View::one("SELECT max($1) AS m, count(*) FILTER (WHERE $1 > 1) AS n", &[Int4]);
    assert_eq!(world.answers(view.clone(), &[&["2"]]).await, some(&[r#"{"m":2,"n":1}"#]));
    let fill = world.fill(view, &[&["2"], &["1"]]).await.unwrap();
    assert_eq!(super::world::texts(&fill), some(&[r#"{"m":2,"n":1}"#, r#"{"m":1,"n":0}"#]));
    assert_eq!(fill.answers[1].tags.len(), 2);
    // A view without key columns has one answer.
    let view = View::one("SELECT 5 AS n", &[]);
    assert_eq!(world.answers(view, &[&[], &[]]).await, some(&[r#"{"n":5}"#, r#"{"n":5}"#]));
    assert_eq!(world.pool.figures().idle, 1);
}
