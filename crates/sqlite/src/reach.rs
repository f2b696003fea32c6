//! How changes of each table reach an entry: by a key column, by a value met while answering, or by any row.
//!
//! A row of table `t` matters to an entry only if it takes part in a combination of rows that meets all conditions. So:
//!
//! * If the conditions force `t.c` to equal a key column, only rows with that value matter: tag by **key**.
//! * If they force `t.c` to equal `x.d` for a table `x` that is itself reached by key or by value, only rows with one of
//!   the values of `x.d` matter: tag by the values **met**. They are asked for in the fill's own transaction, over the
//!   tables through which `x` is reached, so a row that is not there yet has its tag too. When the values change, one of
//!   those tables changed, and the entry is tagged with those.
//! * Otherwise any row matters: tag by **table**.
//!
//! Conditions of a LEFT JOIN hold only for its right table, and are used only there. Equality must be canonical: both
//! columns compare byte by byte and convert alike, else two equal values could have two tags.

use crate::image::{lower, quote_name};
use crate::joins::{Condition, Joins, Side};
use crate::schema::{Affinity, Column, Table};
use candor_core::{KeyColumn, KeyType};
use std::collections::{BTreeMap, BTreeSet};

/// How changes of a table reach an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Key { column: String, parameter: usize },
    Met { column: String, from: String, sql: String },
    Table { why: String },
}

/// What is known of one item while the others are worked out.
#[derive(Clone, Debug)]
struct Reached {
    reach: Reach,
    /// The items through which it is reached, itself included.
    through: BTreeSet<usize>,
}

/// Works out every item. The second part says which equalities could not be used, and why.
pub(crate) fn of(joins: &Joins<'_>, key: &[KeyColumn], sigil: char) -> (Vec<Reach>, Vec<String>) {
    let mut unused = Vec::new();
    let work = Work { joins, key, sigil, usable: usable(joins, key, &mut unused) };
    let mut reached: BTreeMap<usize, Reached> = BTreeMap::new();
    for item in 0..joins.items.len() {
        if let Some((column, parameter)) = work.by_key(item) {
            let reach = Reach::Key { column, parameter };
            reached.insert(item, Reached { reach, through: [item].into() });
        }
    }
    // Each round reaches tables joined to those of the round before.
    loop {
        let next = (0..joins.items.len())
            .filter(|item| !reached.contains_key(item))
            .find_map(|item| work.by_value(item, &reached).map(|found| (item, found)));
        match next {
            Some((item, found)) => drop(reached.insert(item, found)),
            None => break,
        }
    }
    let why = |item: usize| Reach::Table {
        why: if joins.items[item].table.has_expression_index() {
            "it has a unique index on an expression, so that rows displaced by REPLACE cannot be named".into()
        } else {
            "no usable equality ties it to a key column or to another table".into()
        },
    };
    let all = (0..joins.items.len())
        .map(|item| reached.remove(&item).map_or_else(|| why(item), |found| found.reach))
        .collect();
    (all, unused)
}

/// Whether tags of a key column of this type and of this table column are the same for equal values.
pub(crate) fn fits(kind: KeyType, table: &Table, column: &Column) -> Result<(), String> {
    let name = format!("`{}.{}`", table.name, column.name);
    if !column.is_binary {
        return Err(format!("{name} does not compare byte by byte (COLLATE)"));
    }
    let fits = match kind {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 | KeyType::Bool => column.affinity == Affinity::Number,
        KeyType::Text => matches!(column.affinity, Affinity::Text | Affinity::None),
        // Neither looks like a number, so a numeric column stores and compares them as text.
        KeyType::Uuid | KeyType::Date => column.affinity != Affinity::Real,
    };
    if fits { Ok(()) } else { Err(format!("{name} does not hold values of type {}", kind.name())) }
}

fn is_joinable(a: &Column, b: &Column) -> bool {
    let canonical =
        |column: &Column| column.is_binary && matches!(column.affinity, Affinity::Number | Affinity::Text);
    canonical(a) && canonical(b) && a.affinity == b.affinity
}

/// An equality that is known to be canonical.
struct Usable<'a> {
    sides: &'a [Side; 2],
    only_for: Option<usize>,
}

fn usable<'a>(joins: &'a Joins<'_>, key: &[KeyColumn], unused: &mut Vec<String>) -> Vec<Usable<'a>> {
    let column = |item: usize, name: &str| joins.items[item].table.column(name);
    let mut usable = Vec::new();
    for equality in &joins.equalities {
        let refused = match &equality.sides {
            [Side::Column(a, left), Side::Column(b, right)] => match (column(*a, left), column(*b, right)) {
                (Some(left), Some(right)) if is_joinable(left, right) => None,
                _ => Some(format!(
                    "{} and {} do not compare canonically (type or collation)",
                    joins.column_sql(*a, left),
                    joins.column_sql(*b, right)
                )),
            },
            [Side::Column(item, name), Side::Key(place)] | [Side::Key(place), Side::Column(item, name)] => {
                match (column(*item, name), key.get(*place)) {
                    (Some(column), Some(key)) => fits(key.kind, joins.items[*item].table, column).err(),
                    _ => Some(format!("{} is the row number", joins.column_sql(*item, name))),
                }
            }
            [Side::Key(_), Side::Key(_)] => continue,
        };
        match refused {
            None => usable.push(Usable { sides: &equality.sides, only_for: equality.only_for }),
            Some(why) => unused.push(why),
        }
    }
    usable
}

struct Work<'a> {
    joins: &'a Joins<'a>,
    key: &'a [KeyColumn],
    /// How the view writes placeholders, `$` or `?`. The two do not mix.
    sigil: char,
    usable: Vec<Usable<'a>>,
}

impl Work<'_> {
    /// The column of an item that equals a key column, and which.
    fn by_key(&self, item: usize) -> Option<(String, usize)> {
        if self.joins.items[item].table.has_expression_index() {
            return None;
        }
        let mut found: Vec<(bool, usize, String)> = Vec::new();
        for place in 0..self.key.len() {
            for side in self.equal_to(&Side::Key(place), item) {
                let Side::Column(of, name) = side else { continue };
                let table = self.joins.items[item].table;
                let Some(column) = table.column(&name).filter(|_| of == item) else { continue };
                if fits(self.key[place].kind, table, column).is_ok() {
                    found.push((!is_unique(table, &name), place, name));
                }
            }
        }
        // A column that is unique by itself names the fewest rows.
        found.sort();
        found.into_iter().next().map(|(_, place, name)| (name, place))
    }

    /// Everything forced to equal `start` wherever a row of `item` takes part.
    fn equal_to(&self, start: &Side, item: usize) -> BTreeSet<Side> {
        let mut equal = BTreeSet::from([start.clone()]);
        loop {
            let before = equal.len();
            for usable in self.usable.iter().filter(|usable| usable.only_for.is_none_or(|only| only == item))
            {
                let [a, b] = usable.sides;
                if equal.contains(a) || equal.contains(b) {
                    equal.extend([a.clone(), b.clone()]);
                }
            }
            if equal.len() == before {
                return equal;
            }
        }
    }

    /// A column of an item that equals a column of an item already reached.
    fn by_value(&self, item: usize, reached: &BTreeMap<usize, Reached>) -> Option<Reached> {
        let table = self.joins.items[item].table;
        if table.has_expression_index() {
            return None;
        }
        let pairs =
            self.usable.iter().filter(|usable| usable.only_for.is_none_or(|only| only == item)).flat_map(
                |usable| {
                    let [a, b] = usable.sides;
                    [(a, b), (b, a)]
                },
            );
        let mut found: Vec<(bool, &String, usize, &String)> = pairs
            .filter_map(|(ours, theirs)| match (ours, theirs) {
                (Side::Column(of, column), Side::Column(other, from)) if *of == item && other != of => {
                    reached.contains_key(other).then(|| (!is_unique(table, column), column, *other, from))
                }
                _ => None,
            })
            .collect();
        found.sort();
        let (_, column, other, from) = found.into_iter().next()?;
        let mut through = reached.get(&other)?.through.clone();
        let sql = self.values(other, from, &through, reached);
        through.insert(item);
        let from = self.joins.column_sql(other, from).replace('"', "");
        Some(Reached { reach: Reach::Met { column: column.clone(), from, sql }, through })
    }

    /// The query for the values of a column, over the items through which it is reached. Everything is joined inner:
    /// where a LEFT JOIN finds no row the value is NULL, which equals nothing.
    fn values(
        &self,
        item: usize,
        column: &str,
        through: &BTreeSet<usize>,
        reached: &BTreeMap<usize, Reached>,
    ) -> String {
        let holds = |condition: &&Condition| {
            let inside = condition.reads.is_subset(through);
            let plain = condition.reads.iter().all(|read| !self.joins.items[*read].is_left);
            // What WHERE says of the right table of a LEFT JOIN may be true of rows that were not found.
            inside && condition.only_for.map_or(plain, |only| through.contains(&only))
        };
        let mut conditions: BTreeSet<String> = self
            .joins
            .conditions
            .iter()
            .filter(holds)
            .map(|condition| format!("({})", condition.sql))
            .collect();
        for place in through {
            if let Some(Reached { reach: Reach::Key { column, parameter }, .. }) = reached.get(place) {
                conditions.insert(format!(
                    "({} = {}{})",
                    self.joins.column_sql(*place, column),
                    self.sigil,
                    parameter + 1
                ));
            }
        }
        let from: Vec<String> = through
            .iter()
            .map(|place| {
                let item = &self.joins.items[*place];
                format!("{} AS {}", quote_name(&item.table.name), quote_name(&item.called))
            })
            .collect();
        let conditions: Vec<String> = conditions.into_iter().collect();
        format!(
            "SELECT DISTINCT {} FROM {} WHERE {}",
            self.joins.column_sql(item, column),
            from.join(", "),
            if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") }
        )
    }
}

/// Whether the column alone tells one row from every other.
fn is_unique(table: &Table, name: &str) -> bool {
    table.uniques.iter().any(|unique| {
        !unique.has_expression && matches!(&*unique.columns, [(only, _)] if lower(only) == name)
    })
}
