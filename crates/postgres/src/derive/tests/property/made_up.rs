//! Queries made up at random: joins of every kind over tables, subqueries and common table expressions, with conditions
//! that mention the key, one another, and further subqueries.

use super::random::Random;
use super::{COLUMNS, TABLES};

/// A query with `$1`, and perhaps `$2`.
pub(super) fn made_up(random: &mut Random) -> String {
    let mut maker = Maker { random, names: 0, expressions: Vec::new() };
    let sql = maker.query();
    // Every placeholder must occur.
    if sql.contains("$1") { sql } else { maker.with_key(sql) }
}

struct Maker<'a> {
    random: &'a mut Random,
    names: usize,
    expressions: Vec<String>,
}

impl Maker<'_> {
    fn query(&mut self) -> String {
        if self.random.below(4) == 0 {
            let body = self.columns_of_something(&[]);
            self.expressions.push(format!("w{}", self.names));
            let name = self.expressions[0].clone();
            let select = self.select();
            return format!("WITH {name} AS ({body}) {select}");
        }
        self.select()
    }

    fn key(&mut self) -> &'static str {
        ["$1", "$1", "$1", "$2"][self.random.below(4)]
    }

    fn with_key(&mut self, sql: String) -> String {
        let column = self.random.one_of(&["x", "y"]);
        format!("SELECT q.* FROM ({sql}) AS q, a AS last WHERE last.{column} = $1")
    }

    fn select(&mut self) -> String {
        let (from, names) = self.from();
        let mut wanted: Vec<String> =
            (0..1 + self.random.below(2)).map(|_| self.condition(&names, 2)).collect();
        if self.random.below(3) > 0 {
            let column = self.column(&names);
            wanted.push(format!("{column} = {}", self.key()));
        }
        let wanted = wanted.join(" AND ");
        let (first, second) = (self.column(&names), self.column(&names));
        match self.random.below(11) {
            0 => format!("SELECT count(*) AS n, max({second}) AS m FROM {from} WHERE {wanted}"),
            // Answers without rows.
            8 => {
                let alone = self.alone();
                format!("SELECT count({second}) AS n, {alone} AS m FROM {from} WHERE {wanted}")
            }
            9 => {
                let (alone, inner) = (self.alone(), self.scalar(&names));
                format!("SELECT sum({inner}) AS n FROM {from} WHERE {wanted} HAVING {alone} IS NOT NULL")
            }
            10 => {
                let alone = self.alone();
                let sets = format!("GROUPING SETS (({first}), ())");
                format!(
                    "SELECT {first} AS p, {alone} AS q, count(*) AS n FROM {from} WHERE {wanted} GROUP BY {sets}"
                )
            }
            1 => format!("SELECT {first} AS p, count(*) AS n FROM {from} WHERE {wanted} GROUP BY {first}"),
            2 => {
                format!("SELECT {first} AS p, {second} AS q FROM {from} WHERE {wanted} ORDER BY 1, 2 LIMIT 2")
            }
            3 => {
                let inner = self.scalar(&names);
                format!("SELECT {first} AS p, {inner} AS q FROM {from} WHERE {wanted}")
            }
            _ => format!("SELECT {first} AS p, {second} AS q FROM {from} WHERE {wanted}"),
        }
    }

    /// FROM, and the names in it.
    fn from(&mut self) -> (String, Vec<String>) {
        let (mut from, name) = self.item(&[]);
        let mut names = vec![name];
        for _ in 0..self.random.below(3) {
            let kind =
                *self.random.one_of(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let may_see = matches!(kind, "JOIN" | "LEFT JOIN");
            let (item, name) = self.item(if may_see { &names } else { &[] });
            if kind == "LEFT JOIN" && self.random.below(4) == 0 {
                // A join on the right side.
                let (other, second) = self.item(&[]);
                let inside = format!(
                    "{} = {}",
                    self.column(std::slice::from_ref(&name)),
                    self.column(std::slice::from_ref(&second))
                );
                let outside =
                    format!("{} = {}", self.column(&names), self.column(std::slice::from_ref(&name)));
                from = format!("{from} LEFT JOIN ({item} JOIN {other} ON {inside}) ON {outside}");
                names.extend([name, second]);
                continue;
            }
            let mut on = format!("{} = {}", self.column(&names), self.column(std::slice::from_ref(&name)));
            names.push(name);
            if kind != "FULL JOIN" && self.random.below(3) == 0 {
                on = format!("{on} AND {}", self.condition(&names, 1));
            }
            from = format!("{from} {kind} {item} ON {on}");
        }
        (from, names)
    }

    /// Something in FROM; it may mention what stands before.
    fn item(&mut self, before: &[String]) -> (String, String) {
        self.names += 1;
        let name = format!("t{}", self.names);
        let item = match self.random.below(6) {
            0 => {
                let body = self.columns_of_something(&[]);
                format!("({body}) AS {name}")
            }
            1 if !before.is_empty() => {
                let body = self.columns_of_something(before);
                format!("LATERAL ({body}) AS {name}")
            }
            2 if !self.expressions.is_empty() => format!("{} AS {name}", self.expressions[0]),
            _ => format!("{} AS {name}", self.random.one_of(&TABLES)),
        };
        (item, name)
    }

    /// A subquery with the columns every table has.
    fn columns_of_something(&mut self, before: &[String]) -> String {
        self.names += 1;
        let name = format!("t{}", self.names);
        let table = *self.random.one_of(&TABLES);
        let mut seen = before.to_vec();
        seen.push(name.clone());
        let mut wanted = self.condition(&seen, 1);
        if self.random.below(2) == 0 {
            let other = if before.is_empty() { self.key().to_owned() } else { self.column(before) };
            wanted = format!("{wanted} AND {} = {other}", self.column(std::slice::from_ref(&name)));
        }
        let mut columns = COLUMNS.map(|column| format!("{name}.{column}"));
        let from = match self.random.below(6) {
            0 | 1 => {
                let other = *self.random.one_of(&TABLES);
                let joined =
                    format!("{} = {}", self.column(std::slice::from_ref(&name)), self.column(&["o".into()]));
                format!(
                    "{table} AS {name} {} {other} AS o ON {joined}",
                    self.random.one_of(&["JOIN", "LEFT JOIN"])
                )
            }
            2 => {
                // A merged column.
                let merged = 1 + self.random.below(3);
                columns[merged] = COLUMNS[merged].to_owned();
                let kind =
                    *self.random.one_of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "FULL JOIN"]);
                format!(
                    "{table} AS {name} {kind} generate_series(0, 3) AS g({0}) USING ({0})",
                    COLUMNS[merged]
                )
            }
            _ => format!("{table} AS {name}"),
        };
        if self.random.below(8) == 0 {
            columns[1 + self.random.below(3)] = format!("{}::int8", self.key());
        }
        let [_, x, y, z] = &columns;
        let named = COLUMNS.iter().zip(&columns).map(|(name, column)| format!("{column} AS {name}"));
        let all = named.collect::<Vec<_>>().join(", ");
        match self.random.below(10) {
            0 => format!("SELECT {all} FROM {from} WHERE {wanted} ORDER BY 1, 2, 3, 4 LIMIT 1"),
            1 => format!("SELECT DISTINCT {all} FROM {from} WHERE {wanted}"),
            2 => format!(
                "SELECT DISTINCT ON ({name}.x) {all} FROM {from} WHERE {wanted} ORDER BY {name}.x, 1, 2, 3, 4"
            ),
            3 => format!(
                "SELECT min({name}.id) AS id, {x} AS x, max({name}.y) AS y, {z} AS z FROM {from} WHERE {wanted} \
                          GROUP BY 2, 4"
            ),
            4 => format!(
                "SELECT {name}.id, rank() OVER (ORDER BY {name}.y) AS x, {y} AS y, {z} AS z FROM {from} \
                          WHERE {wanted}"
            ),
            5 => format!(
                "SELECT max({name}.id) AS id, min({name}.x) AS x, max({name}.y) AS y, count(*) AS z FROM {from} \
                          WHERE {wanted}"
            ),
            6 => format!(
                "SELECT 1 AS id, row_number() OVER w AS x, 2 AS y, {} AS z FROM {from} WHERE {wanted} \
                          WINDOW w AS (ORDER BY count(*))",
                self.alone()
            ),
            _ => format!("SELECT {all} FROM {from} WHERE {wanted}"),
        }
    }

    /// A subquery that mentions nothing around it.
    fn alone(&mut self) -> String {
        self.names += 1;
        let name = format!("t{}", self.names);
        let table = *self.random.one_of(&TABLES);
        let (what, by) = (self.column(std::slice::from_ref(&name)), self.column(std::slice::from_ref(&name)));
        let select = format!("SELECT max({what}) FROM {table} AS {name} WHERE {by} = {}", self.key());
        let more = if self.random.below(3) == 0 { " UNION ALL SELECT NULL ORDER BY 1 LIMIT 1" } else { "" };
        format!("({select}{more})")
    }

    fn scalar(&mut self, names: &[String]) -> String {
        self.names += 1;
        let name = format!("t{}", self.names);
        let table = *self.random.one_of(&TABLES);
        let (inner, outer) = (self.column(std::slice::from_ref(&name)), self.column(names));
        let what = *self.random.one_of(&["count(*)", "max(COL)", "min(COL)"]);
        let what = what.replace("COL", &self.column(std::slice::from_ref(&name)));
        format!("(SELECT {what} FROM {table} AS {name} WHERE {inner} = {outer})")
    }

    fn condition(&mut self, names: &[String], depth: usize) -> String {
        let column = self.column(names);
        let choices = if depth == 0 { 6 } else { 13 };
        match self.random.below(choices) {
            0 | 1 => format!("{column} = {}", self.column(names)),
            2 => format!("{column} = {}", self.key()),
            3 => format!("{column} < 3"),
            4 => format!("{column} IS {}NULL", self.random.one_of(&["", "NOT "])),
            5 => format!("{column} IN ($1, {})", self.key()),
            6 => format!("({} OR {})", self.condition(names, depth - 1), self.condition(names, depth - 1)),
            7 => format!("coalesce({column}, 0) = {}", self.column(names)),
            8 => format!("{} = {}", self.scalar(names), self.column(names)),
            kind => {
                self.names += 1;
                let name = format!("t{}", self.names);
                let table = *self.random.one_of(&TABLES);
                let mut seen = names.to_vec();
                seen.push(name.clone());
                let inner = self.column(std::slice::from_ref(&name));
                let first = format!("{} = {}", self.column(std::slice::from_ref(&name)), self.column(&seen));
                let second = self.condition(&seen, depth - 1);
                let limit = if self.random.below(3) == 0 { " ORDER BY 1 LIMIT 1" } else { "" };
                let body = format!("SELECT {inner} FROM {table} AS {name} WHERE {first} AND {second}{limit}");
                match kind {
                    9 => format!("EXISTS ({body})"),
                    10 => format!("NOT EXISTS ({body})"),
                    11 => format!("{column} IN ({body})"),
                    _ => format!("{column} NOT IN ({body})"),
                }
            }
        }
    }

    fn column(&mut self, names: &[String]) -> String {
        let name = self.random.one_of(names).clone();
        format!("{name}.{}", self.random.one_of(&COLUMNS))
    }
}
