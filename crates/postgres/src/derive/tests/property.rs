//! The property everything here is for: if one row changes and the answer for a key with it, then the tags of that change
//! and the tags of the entry have one in common.
//!
//! Views are taken from a list and made up at random; rows change one at a time, in tables so small that most conditions
//! are near to being met. The change is tagged as the log tags it, from the images of the row before and after.

mod made_up;
mod random;

use super::{Bench, refusals_of, view, ways};
use crate::canonical::key_text;
use crate::view::{Compiled, Registration};
use candor_core::{KeyType, KeyValue, Tag};
use made_up::made_up;
use random::Random;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Statement;

const TABLES: [&str; 3] = ["a", "b", "c"];
const COLUMNS: [&str; 4] = ["id", "x", "y", "z"];
const KEYS: std::ops::Range<i64> = 0..4;
/// The second key column of a view is what is missing to this in the first, so that they differ.
const SUM: i64 = 3;
/// Views made up, then rows changed, so many times each.
const VIEWS: usize = 60;
const CHANGES: usize = 50;

/// Shapes in which mistakes are easy.
const KNOWN: [&str; 43] = [
    "SELECT x, y FROM a WHERE id = $1",
    "SELECT count(*) FROM a WHERE x = $1",
    "SELECT count(*) FROM a LEFT JOIN b ON b.x = a.x AND b.y = 1 WHERE a.id = $1",
    "SELECT a.id FROM a LEFT JOIN b ON b.x = a.x WHERE a.y = $1 AND b.id IS NULL",
    "SELECT a.id FROM a LEFT JOIN b ON b.x = a.x WHERE a.y = $1 AND coalesce(b.z, 0) = 0",
    "SELECT a.id FROM a LEFT JOIN b ON b.x = a.x LEFT JOIN c ON c.x = b.y WHERE b.z = $1",
    "SELECT a.id, c.z FROM a LEFT JOIN (b JOIN c ON c.x = b.y) ON b.x = a.x WHERE a.id = $1",
    "SELECT a.id, b.id AS other FROM a RIGHT JOIN b ON b.x = a.x AND a.y = $1",
    "SELECT a.id, b.id AS other FROM a FULL JOIN b ON b.x = a.x WHERE a.y = $1 OR b.y = $1",
    "SELECT x, a.y, b.z FROM a FULL JOIN b USING (x) WHERE a.y = $1",
    "SELECT s.x FROM (SELECT x, y FROM a ORDER BY x, y, id LIMIT 2) s WHERE s.y = $1",
    "SELECT s.id FROM (SELECT id, x, row_number() OVER (ORDER BY id) AS n FROM a) s WHERE s.x = $1 AND s.n < 3",
    "SELECT s.x FROM (SELECT DISTINCT ON (y) y, x FROM a ORDER BY y, x, id) s WHERE s.x = $1",
    "SELECT s.m FROM (SELECT max(y) AS m FROM a WHERE x = 1) s, b WHERE b.id = $1",
    "SELECT b.id FROM b LEFT JOIN LATERAL (SELECT max(a.y) AS m FROM a WHERE a.x = b.x) s ON true WHERE b.y = $1",
    "SELECT b.id, s.y FROM b, LATERAL (SELECT a.y, a.z FROM a JOIN c ON c.x = a.x WHERE a.id = b.z ORDER BY 1, 2 LIMIT 1) s \
     WHERE s.z = b.y AND b.x = $1",
    "SELECT id FROM a WHERE x = $1 AND NOT EXISTS (SELECT FROM b WHERE b.x = a.y AND b.z = 1)",
    "SELECT id FROM a WHERE x = $1 AND y NOT IN (SELECT z FROM b)",
    "SELECT id FROM a WHERE y IN (SELECT z FROM b WHERE x = $1 ORDER BY z, id LIMIT 1)",
    "SELECT id FROM a WHERE x IN ($1, 2) OR EXISTS (SELECT FROM b WHERE b.id = a.y AND b.x = $1)",
    "WITH s AS (SELECT x, y FROM a) SELECT l.x, r.y FROM s l JOIN s r ON r.x = l.y WHERE l.x = $1",
    "SELECT x FROM a WHERE id = $1 UNION ALL SELECT b.y FROM b JOIN a ON a.id = b.x WHERE b.z = $1",
    "SELECT s.x, s.n FROM (SELECT x, count(*) AS n FROM a GROUP BY GROUPING SETS ((x), ())) s \
     WHERE s.x IS NOT DISTINCT FROM nullif($1, 0)",
    "SELECT a.id FROM a JOIN b ON b.x = a.x AND b.y > 1 WHERE a.id IN ($1) GROUP BY a.id HAVING count(*) > 1",
    "SELECT b.id, s.n FROM b, LATERAL (SELECT count(*) AS n FROM a WHERE a.x = b.x AND a.x = $1) s",
    "SELECT a.id FROM a LEFT JOIN (b JOIN c ON c.x = b.y) ON b.x = a.x WHERE a.id = $1 AND b.z IS NULL",
    "SELECT id FROM a WHERE NOT EXISTS (SELECT FROM b WHERE b.x = a.x AND b.x = $1)",
    "SELECT id FROM a WHERE x NOT IN (SELECT z FROM b WHERE z = $1)",
    "SELECT a.id, b.id AS other FROM a LEFT JOIN b ON b.x = a.x AND a.y = $1",
    "SELECT b.id, s.n FROM b, LATERAL (SELECT count(*) AS n FROM a WHERE a.x = b.x AND a.x = $1 \
     GROUP BY GROUPING SETS ((a.y), ())) s",
    "SELECT count(*) AS n, (SELECT sum(z) FROM b WHERE b.x = $2) AS s FROM a WHERE a.x = $1 AND a.x = $2",
    "SELECT count(*) AS n FROM a WHERE a.x = $1 AND a.x = $2 HAVING EXISTS (SELECT FROM b WHERE b.y = $2)",
    "SELECT count(*) AS n, (SELECT 1 FROM b WHERE b.x = $2 UNION SELECT 2 ORDER BY 1 LIMIT 1) AS s FROM a \
     WHERE a.x = $1 AND a.x = $2",
    "SELECT a.id, c.id AS other FROM a LEFT JOIN c ON c.x = a.x AND c.y = $1 AND c.y = $2 \
     AND c.z = (SELECT max(b.z) FROM b WHERE b.y = $2 UNION SELECT 3 ORDER BY 1 LIMIT 1)",
    "SELECT b.id, s.n FROM b, LATERAL (SELECT row_number() OVER w AS n FROM a WHERE a.x = b.x AND a.x = $1 \
     WINDOW w AS (ORDER BY count(*))) s",
    "SELECT b.id, s.n FROM b, LATERAL (SELECT DISTINCT ON (count(*)) 1 AS n FROM a WHERE a.x = b.x AND a.x = $1) s",
    "WITH d AS (SELECT y, s.z FROM (SELECT y, z FROM a WHERE x = $1) s FULL JOIN generate_series(0, 3) g(y) USING (y)) \
     SELECT d.y, d.z, b.z AS more FROM d JOIN b ON b.y = d.y",
    "SELECT y, (SELECT max(b.z) FROM b WHERE b.y = d.y) AS m FROM (SELECT y, a.z FROM a \
     FULL JOIN generate_series(0, 3) g(y) USING (y)) d WHERE d.z = $1 OR d.z IS NULL",
    "SELECT a.id, c.z FROM a LEFT JOIN (SELECT $1::int8 AS k, b.x FROM b) s ON s.x = a.x JOIN c ON c.id = a.z \
     WHERE a.id = $1 AND (s.k IS NULL OR a.x = 3)",
    "SELECT b.id, s.n FROM b, LATERAL (SELECT (SELECT count(a.y) FROM c WHERE c.id = 1) AS n FROM a \
     WHERE a.x = b.x AND a.x = $1) s",
    "SELECT b.id, s.n FROM b, LATERAL (SELECT (SELECT count(c.y) FROM c WHERE c.x = a.x) AS n FROM a \
     WHERE a.x = b.x AND a.x = $1) s",
    "SELECT sum((SELECT max(b.z) FROM b WHERE b.x = a.y)) AS s FROM a WHERE a.x = $1",
    "SELECT c.id, (SELECT count(a.z + (SELECT max(b.z) FROM b WHERE b.x = $2)) FROM a WHERE a.x = $1 AND a.x = $2) AS n \
     FROM c WHERE c.x = $2",
];

type Row = [Option<i64>; 4];

struct Probe {
    sql: String,
    compiled: Compiled,
}

/// What is asked after every change, for all views and keys at once.
struct Questions {
    answers: Statement,
    met: Option<Statement>,
}

struct World {
    bench: Bench,
    rows: BTreeMap<(usize, i64), Row>,
    random: Random,
}

#[test]
fn an_answer_that_changes_shares_a_tag_with_the_change() {
    let rounds = std::env::var("CANDOR_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    let mut sql = String::new();
    for table in TABLES {
        sql.push_str(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, x int, y bigint, z smallint);
             ALTER TABLE {table} REPLICA IDENTITY FULL;"
        ));
    }
    sql.push_str("CREATE PUBLICATION candor FOR ALL TABLES");
    let mut world = World { bench: Bench::new(&sql), rows: BTreeMap::new(), random: Random(0x5eed) };
    // Compiling plans would take longer than running them.
    world.execute("SET jit = off");
    let (mut changed, mut narrow, mut all) = (0, 0, 0);
    for round in 0..rounds {
        let mut probes: Vec<Probe> =
            KNOWN.iter().filter(|_| round == 0).map(|sql| world.probe(sql)).collect();
        while probes.len() < VIEWS {
            let sql = made_up(&mut world.random);
            let probe = world.probe(&sql);
            probes.push(probe);
        }
        let ways: Vec<String> = probes.iter().flat_map(|probe| ways(&probe.compiled)).collect();
        all += ways.len();
        narrow += ways.iter().filter(|way| !way.ends_with(": any")).count();
        changed += world.round(&probes);
    }
    // Else nothing was shown.
    assert!(changed > 100 * rounds, "only {changed} answers changed");
    assert!(narrow * 3 > all, "only {narrow} of {all} ways are narrow");
}

impl World {
    fn probe(&self, sql: &str) -> Probe {
        let key: &[KeyType] =
            if sql.contains("$2") { &[KeyType::Int8, KeyType::Int8] } else { &[KeyType::Int8] };
        let compiled = self.bench.compile(&view(key, sql));
        assert!(refusals_of(&compiled).is_empty(), "{sql}: {:?}", refusals_of(&compiled));
        Probe { sql: sql.to_owned(), compiled }
    }

    /// Changes rows and compares; how many answers changed.
    fn round(&mut self, probes: &[Probe]) -> usize {
        let questions = Questions::of(probes, &self.bench);
        let mut changed = 0;
        let mut answers = self.answers(&questions);
        for _ in 0..CHANGES {
            let entries = self.entries(probes, &questions);
            let (table, old, new) = self.change();
            let after = self.answers(&questions);
            for (at, answer) in &after {
                if answers.get(at) == Some(answer) {
                    continue;
                }
                changed += 1;
                let probe = &probes[at.0];
                let tags = tags_of(&probe.compiled.registrations, TABLES[table], old, new);
                assert!(
                    entries[at].intersection(&tags).next().is_some(),
                    "{}\nkey {}: {:?} became {answer}\nby {} {old:?} -> {new:?}\nthough it depends on {:?}\nrows {:?}",
                    probe.sql,
                    at.1,
                    answers.get(at),
                    TABLES[table],
                    ways(&probe.compiled),
                    self.rows,
                );
            }
            answers = after;
        }
        changed
    }

    /// Changes one row.
    fn change(&mut self) -> (usize, Option<Row>, Option<Row>) {
        loop {
            let table = self.random.below(3);
            let rows: Vec<i64> = self.rows.keys().filter(|(of, _)| *of == table).map(|(_, id)| *id).collect();
            if rows.len() < 2 || (rows.len() < 4 && self.random.below(3) == 0) {
                let id = self.random.below(4) as i64;
                if rows.contains(&id) {
                    continue;
                }
                let row = [Some(id), self.random.value(), self.random.value(), self.random.value()];
                self.rows.insert((table, id), row);
                let values: Vec<String> = row.iter().map(text).collect();
                self.execute(&format!("INSERT INTO {} VALUES ({})", TABLES[table], values.join(", ")));
                return (table, None, Some(row));
            }
            let id = rows[self.random.below(rows.len())];
            let Some(old) = self.rows.remove(&(table, id)) else { continue };
            if self.random.below(4) == 0 {
                self.execute(&format!("DELETE FROM {} WHERE id = {id}", TABLES[table]));
                return (table, Some(old), None);
            }
            let mut new = old;
            let column = self.random.below(4);
            new[column] = if column == 0 { Some(self.random.below(4) as i64) } else { self.random.value() };
            let taken = new[0] != old[0] && self.rows.contains_key(&(table, new[0].unwrap()));
            if taken || new == old {
                self.rows.insert((table, id), old);
                continue;
            }
            self.rows.insert((table, new[0].unwrap()), new);
            let (column, value) = (COLUMNS[column], text(&new[column]));
            self.execute(&format!("UPDATE {} SET {column} = {value} WHERE id = {id}", TABLES[table]));
            return (table, Some(old), Some(new));
        }
    }

    fn execute(&self, sql: &str) {
        self.bench.runtime.block_on(self.bench.client.batch_execute(sql)).unwrap();
    }

    fn answers(&self, questions: &Questions) -> BTreeMap<(usize, i64), String> {
        let rows = self.bench.runtime.block_on(self.bench.client.query(&questions.answers, &[])).unwrap();
        rows.iter().map(|row| ((row.get::<_, i32>(0) as usize, row.get(1)), row.get(2))).collect()
    }

    /// The tags a fill would give to every view and key now.
    fn entries(&self, probes: &[Probe], questions: &Questions) -> BTreeMap<(usize, i64), BTreeSet<Tag>> {
        let mut entries = BTreeMap::new();
        for (place, probe) in probes.iter().enumerate() {
            for key in KEYS {
                let mut tags: BTreeSet<Tag> = probe.compiled.fixed.iter().copied().collect();
                let text = |place: usize| KeyValue::Int(if place == 0 { key } else { SUM - key });
                let by_key = probe.compiled.by_key.iter();
                tags.extend(by_key.map(|(by, place)| by.row_tag(&key_text(&text(*place)))));
                entries.insert((place, key), tags);
            }
        }
        if let Some(met) = &questions.met {
            for row in self.bench.runtime.block_on(self.bench.client.query(met, &[])).unwrap() {
                let (place, met): (i32, i32) = (row.get(0), row.get(1));
                let met = &probes[place as usize].compiled.met[met as usize];
                let tag = met.tagged.row_tag(row.get(3));
                entries.get_mut(&(place as usize, row.get(2))).unwrap().insert(tag);
            }
        }
        entries
    }
}

impl Questions {
    fn of(probes: &[Probe], bench: &Bench) -> Self {
        let keyed = |sql: &str| sql.replace("$1", "(k.k)").replace("$2", &format!("({SUM} - k.k)"));
        let (mut answers, mut met) = (Vec::new(), Vec::new());
        for (place, probe) in probes.iter().enumerate() {
            answers.push(format!(
                "SELECT {place}, k.k, (SELECT coalesce(json_agg(v ORDER BY v::text), '[]')::text FROM ({}) AS v) \
                 FROM generate_series(0::int8, 3) AS k(k)",
                keyed(&probe.sql)
            ));
            for (number, query) in probe.compiled.met.iter().enumerate() {
                met.push(format!(
                    "SELECT {place}, {number}, k.k, v.v FROM generate_series(0::int8, 3) AS k(k), LATERAL ({}) AS v(v)",
                    keyed(&query.sql)
                ));
            }
        }
        // Planned once.
        let prepare = |parts: Vec<String>| {
            bench.runtime.block_on(bench.client.prepare(&parts.join(" UNION ALL "))).unwrap()
        };
        Self { answers: prepare(answers), met: (!met.is_empty()).then(|| prepare(met)) }
    }
}

/// What the log makes of a row that changed.
fn tags_of(registrations: &[Registration], table: &str, old: Option<Row>, new: Option<Row>) -> BTreeSet<Tag> {
    let full_name = format!("public.{table}");
    let mut tags = BTreeSet::new();
    for registration in registrations.iter().filter(|registration| registration.table == full_name) {
        let is_touched = match (&registration.columns, old, new) {
            (Some(columns), Some(old), Some(new)) => COLUMNS
                .iter()
                .zip(old)
                .zip(new)
                .any(|((name, old), new)| old != new && columns.contains(*name)),
            _ => true,
        };
        if !is_touched {
            continue;
        }
        match &registration.by {
            None => drop(tags.insert(Tag::table(&full_name, registration.facet()))),
            Some(by) => {
                let place = COLUMNS.iter().position(|name| name == by).unwrap();
                let values = [old, new].into_iter().flatten().filter_map(|row| row[place]);
                tags.extend(values.map(|value| registration.row_tag(&value.to_string())));
            }
        }
    }
    tags
}

fn text(value: &Option<i64>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}
