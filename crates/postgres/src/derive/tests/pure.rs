//! Texts as the server could write them, against a catalog made by hand.

use crate::canonical::canon;
use crate::catalog::{Catalog, Column, Holder, Kind, Old, Relation};
use crate::derive::blocks::{Joins, Known};
use crate::derive::reach::{self, Reach};
use candor_core::{KeyColumn, KeyType};
use std::collections::BTreeSet;
use tokio_postgres::types::Type;

const KEY: &str = "pg_temp.candor_key_1()";

fn table(oid: u32, name: &str, old: Old) -> Relation {
    let column = |name: &str, of: Type| Column {
        name: name.into(),
        type_name: of.name().into(),
        canon: canon(of.oid(), true),
        is_generated: name == "made",
        shows_names: false,
    };
    Relation {
        oid,
        schema: "public".into(),
        name: name.into(),
        kind: Kind::Table,
        has_row_security: false,
        is_readable: true,
        columns: vec![
            column("id", Type::INT4),
            column("x", Type::INT8),
            column("flag", Type::BOOL),
            column("made", Type::INT4),
        ],
        heirs: Vec::new(),
        logged_as: Some(format!("public.{name}")),
        unnamed_root: None,
        holders: vec![Holder { sql_name: format!("public.{name}"), old, indexes: Vec::new() }],
        unique: ["id".to_owned()].into(),
    }
}

/// How `a` and `b` are reached; the reason why nothing is, if it cannot be read at all.
fn reached(sql: &str) -> Result<Vec<String>, String> {
    let mut catalog = Catalog::default();
    catalog.relations.insert(1, table(1, "a", Old::All));
    catalog.relations.insert(2, table(2, "b", Old::Columns(["id".to_owned()].into())));
    let key = [KeyColumn { name: "k".into(), kind: KeyType::Int8 }];
    // The server names those that occur.
    let aggregates: BTreeSet<String> = [
        ("count(", "count"),
        ("hidden", "hidden"),
        ("JSON_ARRAYAGG", "json_agg_strict"),
        ("JSON_OBJECTAGG", "jsonb_object_agg_unique"),
    ]
    .into_iter()
    .filter(|(written, _)| sql.contains(written))
    .map(|(_, name)| name.to_owned())
    .collect();
    let sql = sql.replace("$1", KEY);
    let joins = Joins::read(&sql, Known { catalog: &catalog, key: &key, aggregates: &aggregates })?;
    let (reaches, _) = reach::of(&joins, &key);
    let mut ways: Vec<String> = joins.unread.iter().map(|(_, table)| format!("{table} unread")).collect();
    ways.extend(joins.items.iter().zip(reaches).map(|(item, reach)| match reach {
        Reach::Key { column, .. } => format!("{}.{column} = $1", item.shown),
        Reach::Met { column, sql, .. } => format!("{}.{column} in {sql}", item.shown),
        Reach::Table { mend, .. } => format!("{}: {}", item.shown, mend.unwrap_or_else(|| "any".into())),
    }));
    Ok(ways)
}

#[test]
fn only_what_is_certain_narrows() {
    for (sql, expected) in [
        ("SELECT a.x FROM public.a WHERE (a.id = $1)", "a.id = $1"),
        ("SELECT x FROM public.a WHERE (id = $1)", "a.id = $1"),
        ("SELECT a.x FROM public.a WHERE ((a.id)::bigint = $1)", "a.id = $1"),
        ("SELECT a.x FROM public.a WHERE (a.id OPERATOR(public.=) $1)", "a: any"),
        ("SELECT a.x FROM public.a WHERE (a.made = $1)", "a: any"),
        ("SELECT a.x FROM public.a WHERE (a.id = shop.candor_key_1())", "a: any"),
        ("SELECT b.x FROM public.b WHERE (b.x = $1)", "b: ALTER TABLE public.b REPLICA IDENTITY FULL"),
        // Two tables have it: not certain which is meant.
        ("SELECT 1 AS n FROM public.a, public.b WHERE (id = $1)", "a: any; b: any"),
        (
            "SELECT 1 AS n FROM public.a WHERE NOT EXISTS (SELECT 1 FROM public.b WHERE b.id = a.id AND b.id = $1)",
            "a: any; b.id = $1",
        ),
        (
            "SELECT 1 AS n FROM public.a JOIN public.b ON b.id = a.x WHERE a.flag = true AND a.id = $1",
            "a.id = $1; b.id in SELECT DISTINCT i0.x::text FROM public.a AS i0 WHERE (i0.flag = true) AND i0.id = $1 \
             AND i0.x IS NOT NULL",
        ),
        (
            "WITH w AS (SELECT a.id FROM public.a) SELECT b.x FROM public.b WHERE (b.id = $1)",
            "a unread; b.id = $1",
        ),
        // Columns under other names, as the server gives them when USING would be ambiguous.
        ("SELECT q.k FROM public.a q(k, l) WHERE (q.k = $1)", "q.id = $1"),
    ] {
        assert_eq!(reached(sql).map(|ways| ways.join("; ")).as_deref(), Ok(expected), "{sql}");
    }
}

/// PostgreSQL writes these from version 16 on, and none of their names is that of the function behind.
#[test]
fn aggregates_of_the_standard_answer_without_rows() {
    for aggregate in [
        "JSON_ARRAYAGG(a.x)",
        "JSON_ARRAYAGG(a.x RETURNING jsonb)",
        "JSON_ARRAYAGG(a.x ORDER BY a.x NULL ON NULL RETURNING json)",
        "JSON_OBJECTAGG(a.id : a.x RETURNING json)",
        "JSON_OBJECTAGG(a.id : a.x ABSENT ON NULL WITH UNIQUE KEYS RETURNING jsonb)",
    ] {
        let sql = format!(
            "SELECT b.x FROM public.b, LATERAL (SELECT {aggregate} AS n FROM public.a WHERE a.id = b.id AND a.id = $1) s"
        );
        match reached(&sql) {
            Ok(ways) => assert_eq!(ways.join("; "), "b: any; a.id = $1", "{aggregate}"),
            Err(why) => assert!(why.contains("beyond what Candor reads"), "{aggregate}: {why}"),
        }
    }
    assert!(reached("SELECT JSON_ARRAYAGG(a.x) AS n FROM public.a WHERE a.id = $1").is_ok());
    assert_eq!(
        reached("SELECT a.x AS hidden FROM public.a WHERE a.id = $1"),
        Err("its text does not show where the aggregate `hidden` stands".into())
    );
}

#[test]
fn what_cannot_be_read_is_not_guessed() {
    for (sql, why) in [
        ("SELECT 1 FROM", "beyond what Candor reads"),
        (
            "WITH RECURSIVE v AS (SELECT w.id FROM w), w AS (SELECT a.id FROM public.a) SELECT v.id FROM v",
            "before it is defined",
        ),
        ("SELECT a.x FROM public.a NATURAL JOIN public.b", "NATURAL"),
        ("DELETE FROM public.a", "beyond what Candor reads"),
    ] {
        let said = reached(sql).unwrap_err();
        assert!(said.contains(why), "{sql}: {said}");
    }
    let many: Vec<String> = (0..70).map(|n| format!("public.a a{n}")).collect();
    assert!(reached(&format!("SELECT 1 FROM {}", many.join(", "))).unwrap_err().contains("too many"));
}
