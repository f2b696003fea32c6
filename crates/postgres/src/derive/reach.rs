//! How changes of each table reach an entry: by key columns, by a value met while answering, or by any row.
//!
//! A row of table `t` matters to an entry only if it takes part in a combination of rows that meets all conditions that
//! hold for it ([`crate::derive::regions`]). So:
//!
//! * If they force `t.c` to equal a key column, only rows with that value matter: tag by **key**.
//! * If they force `t.c` to equal `x.d` for a table `x` that is itself reached by key or by value, only rows with one of
//!   the values of `x.d` matter: tag by the values **met**. They are asked for in the fill's own statement, over the tables
//!   through which `x` is reached, so a row that is not there yet has its tag too. When the values change, one of those
//!   tables changed, and the entry is tagged with those.
//! * Otherwise any row matters: tag by **table**.
//!
//! Two more things must be given. Equality must be canonical ([`crate::canonical`]), else equal values could have two tags.
//! And the log must tell the old value of `t.c`, else a row that moves away or dies would not be recognised.
//!
//! What holds for the rows inside a closed region is not what holds outside, so each such set of rows is worked out by
//! itself, with only the conditions that are let in.

use crate::canonical::{Canon, canon_of_key, fits_canon};
use crate::derive::blocks::{Joins, Side};
use crate::derive::conditions::{Condition, Says, table_as};
use candor_core::KeyColumn;
use std::collections::{BTreeMap, BTreeSet};

/// How changes of a table reach an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Key { column: String, parameters: Vec<usize> },
    Met { column: String, from: String, sql: String },
    Table { why: String, mend: Option<String> },
}

impl Reach {
    /// Any row, because nothing better is known.
    pub(crate) fn any(why: impl Into<String>) -> Self {
        Self::Table { why: why.into(), mend: None }
    }
}

/// What is known of one item while the others are worked out.
#[derive(Clone, Debug)]
struct Reached {
    reach: Reach,
    /// The items through which it is reached, itself included.
    through: BTreeSet<usize>,
}

/// Works out every item. The second part says which equalities could not be used, and why.
pub(crate) fn of(joins: &Joins<'_>, key: &[KeyColumn]) -> (Vec<Reach>, Vec<String>) {
    let (usable, unused) = usable(joins, key);
    let mut worked: BTreeMap<Vec<usize>, Vec<Reach>> = BTreeMap::new();
    let mut all = Vec::new();
    for (place, item) in joins.items.iter().enumerate() {
        let closed = joins.regions.closed_around(item.region);
        let reaches = worked.entry(closed.clone()).or_insert_with(|| {
            let let_in = |condition: &&Condition| {
                let reads: Vec<usize> =
                    condition.reads.iter().map(|read| joins.items[*read].region).collect();
                !closed.iter().any(|closed| joins.regions.is_kept_out(*closed, condition.region, &reads))
            };
            Work { joins, key, conditions: usable.iter().copied().filter(|c| let_in(c)).collect() }.all()
        });
        all.push(reaches.get(place).cloned().unwrap_or_else(|| Reach::any("it could not be worked out")));
    }
    (all, unused)
}

/// The conditions that can be used: filters, and equalities that are canonical.
fn usable<'a>(joins: &'a Joins<'_>, key: &[KeyColumn]) -> (Vec<&'a Condition>, Vec<String>) {
    let described = |side: &Side| match side {
        Side::Column(item, column) => {
            let item = &joins.items[*item];
            let of_type = item.relation.column(column).map_or("unknown", |column| &column.type_name);
            (
                format!("{}.{column} ({of_type})", item.shown),
                item.relation.column(column).and_then(|c| c.canon),
            )
        }
        Side::Key(place) => {
            let kind = key.get(*place).map(|key| key.kind);
            let of_type = kind.map_or("unknown", candor_core::KeyType::name);
            (format!("${} ({of_type})", place + 1), kind.map(canon_of_key))
        }
    };
    let mut unused = Vec::new();
    let mut usable = Vec::new();
    for condition in &joins.conditions {
        let sides: Vec<Side> = match &condition.says {
            Says::Equal([Side::Key(_), Side::Key(_)]) => continue,
            Says::Equal([a, b]) => vec![a.clone(), b.clone()],
            Says::OneOf(side, places) => {
                std::iter::once(side.clone()).chain(places.iter().map(|place| Side::Key(*place))).collect()
            }
            Says::Filter(_) => Vec::new(),
        };
        let known: Vec<(String, Option<_>)> = sides.iter().map(described).collect();
        match known.first() {
            Some((first, canon)) => match known.iter().find(|(_, other)| !fits_canon(*canon, *other)) {
                None => usable.push(condition),
                Some((other, _)) => unused.push(format!(
                    "{first} and {other} do not compare as equal text (only int2, int4, int8, text, varchar, uuid, bool \
                     and date do, each with its like)"
                )),
            },
            None => usable.push(condition),
        }
    }
    (usable, unused)
}

/// A column whose old value the log does not tell, and the mend.
type Lack = (String, String);

struct Work<'a> {
    joins: &'a Joins<'a>,
    key: &'a [KeyColumn],
    conditions: Vec<&'a Condition>,
}

impl Work<'_> {
    fn all(&self) -> Vec<Reach> {
        let items = 0..self.joins.items.len();
        let mut reached: BTreeMap<usize, Reached> = BTreeMap::new();
        let mut lacking: BTreeMap<usize, Lack> = BTreeMap::new();
        for item in items.clone() {
            match self.by_key(item) {
                Some(Ok((column, parameters))) => {
                    let reach = Reach::Key { column, parameters };
                    reached.insert(item, Reached { reach, through: [item].into() });
                }
                Some(Err(lack)) => drop(lacking.insert(item, lack)),
                None => {}
            }
        }
        // Each round reaches tables joined to those of the round before.
        while let Some((item, found)) = items
            .clone()
            .filter(|item| !reached.contains_key(item))
            .find_map(|item| self.by_value(item, &reached, &mut lacking).map(|found| (item, found)))
        {
            reached.insert(item, found);
        }
        items
            .map(|item| match (reached.remove(&item), lacking.remove(&item)) {
                (Some(found), _) => found.reach,
                (None, Some((column, mend))) => Reach::Table {
                    why: format!(
                        "the log does not tell the old value of `{column}` when a row moves or is deleted"
                    ),
                    mend: Some(mend),
                },
                (None, None) => Reach::any("no usable equality ties it to a key column or to another table"),
            })
            .collect()
    }

    fn holds(&self, condition: &Condition, item: usize) -> bool {
        self.joins.regions.holds(condition.region, self.joins.items[item].region)
    }

    /// The column of an item that equals key columns, and which; or a column that would, if the log told its old value.
    fn by_key(&self, item: usize) -> Option<Result<(String, Vec<usize>), Lack>> {
        let relation = self.joins.items[item].relation;
        let mut found: Vec<(bool, usize, String, Vec<usize>)> = Vec::new();
        let single = (0..self.key.len()).map(|place| (Side::Key(place), vec![place]));
        let several = self.conditions.iter().filter_map(|condition| match &condition.says {
            Says::OneOf(side, places) if self.holds(condition, item) => Some((side.clone(), places.clone())),
            _ => None,
        });
        for (start, places) in single.chain(several) {
            for side in self.equal_to(&start, item) {
                if let Side::Column(of, name) = side
                    && of == item
                    && relation.column(&name).is_some_and(|column| !column.is_generated)
                {
                    found.push((!relation.unique.contains(&name), places.len(), name, places.clone()));
                }
            }
        }
        // A column that is unique by itself names the fewest rows.
        found.sort();
        self.told(item, found.into_iter().map(|(_, _, name, places)| (name, places)))
    }

    /// The first candidate whose old value the log tells; else what would make it tell the first one's.
    fn told<T>(
        &self,
        item: usize,
        candidates: impl Iterator<Item = (String, T)>,
    ) -> Option<Result<(String, T), Lack>> {
        let mut lack = None;
        for (column, rest) in candidates {
            match self.joins.items[item].relation.tells_old(&column) {
                Ok(()) => return Some(Ok((column, rest))),
                Err(mend) => drop(lack.get_or_insert((column, mend))),
            }
        }
        lack.map(Err)
    }

    /// Everything forced to equal `start` wherever a row of `item` takes part.
    fn equal_to(&self, start: &Side, item: usize) -> BTreeSet<Side> {
        let mut equal = BTreeSet::from([start.clone()]);
        loop {
            let before = equal.len();
            for condition in self.conditions.iter().filter(|condition| self.holds(condition, item)) {
                if let Says::Equal([a, b]) = &condition.says
                    && (equal.contains(a) || equal.contains(b))
                {
                    equal.extend([a.clone(), b.clone()]);
                }
            }
            if equal.len() == before {
                return equal;
            }
        }
    }

    /// A column of an item that equals a column of an item already reached.
    fn by_value(
        &self,
        item: usize,
        reached: &BTreeMap<usize, Reached>,
        lacking: &mut BTreeMap<usize, Lack>,
    ) -> Option<Reached> {
        let relation = self.joins.items[item].relation;
        let mut found: Vec<(bool, String, usize, String)> = Vec::new();
        for condition in self.conditions.iter().filter(|condition| self.holds(condition, item)) {
            let Says::Equal([a, b]) = &condition.says else { continue };
            for (ours, theirs) in [(a, b), (b, a)] {
                if let (Side::Column(of, column), Side::Column(other, from)) = (ours, theirs)
                    && *of == item
                    && other != of
                    && reached.contains_key(other)
                    && relation.column(column).is_some_and(|column| !column.is_generated)
                {
                    found.push((!relation.unique.contains(column), column.clone(), *other, from.clone()));
                }
            }
        }
        found.sort();
        let candidates = found.into_iter().map(|(_, column, other, from)| (column, (other, from)));
        match self.told(item, candidates)? {
            Ok((column, (other, from))) => {
                let mut through = reached.get(&other)?.through.clone();
                let sql = self.values(item, other, &from, &through, reached);
                through.insert(item);
                let from = format!("{}.{from}", self.joins.items[other].shown);
                Some(Reached { reach: Reach::Met { column, from, sql }, through })
            }
            Err(lack) => {
                lacking.entry(item).or_insert(lack);
                None
            }
        }
    }

    /// The query for the values of a column, over the items through which it is reached. Everything is joined inner:
    /// where an outer join finds no row the value is NULL, which equals nothing.
    fn values(
        &self,
        target: usize,
        item: usize,
        column: &str,
        through: &BTreeSet<usize>,
        reached: &BTreeMap<usize, Reached>,
    ) -> String {
        let is_bool =
            self.joins.items[item].relation.column(column).and_then(|found| found.canon) == Some(Canon::Bool);
        let column = Joins::column_sql(item, column);
        // A cast writes `true` where the log writes `t`.
        let text = if is_bool { format!("left({column}::text, 1)") } else { format!("{column}::text") };
        let mut wanted = BTreeSet::from([format!("{column} IS NOT NULL")]);
        for condition in &self.conditions {
            let holds = self.holds(condition, target) || through.iter().any(|at| self.holds(condition, *at));
            if !holds || condition.reads.is_empty() || !condition.reads.is_subset(through) {
                continue;
            }
            match &condition.says {
                Says::Equal([a, b]) => drop(wanted.insert(format!("{} = {}", sql(a), sql(b)))),
                Says::OneOf(side, places) => drop(wanted.insert(one_of(&sql(side), places))),
                // What WHERE says of the right side of a LEFT JOIN may be true of rows that were not found.
                Says::Filter(filter) => {
                    let sees_nulls = |read: &usize| {
                        self.joins.regions.may_see_nulls(condition.region, self.joins.items[*read].region)
                    };
                    if !condition.reads.iter().any(sees_nulls) {
                        wanted.insert(filter.clone());
                    }
                }
            }
        }
        for place in through {
            if let Some(Reached { reach: Reach::Key { column, parameters }, .. }) = reached.get(place) {
                wanted.insert(one_of(&Joins::column_sql(*place, column), parameters));
            }
        }
        let from: Vec<String> = through
            .iter()
            .map(|place| table_as(&self.joins.items[*place].relation.sql_name(), *place))
            .collect();
        let wanted: Vec<String> = wanted.into_iter().collect();
        format!("SELECT DISTINCT {text} FROM {} WHERE {}", from.join(", "), wanted.join(" AND "))
    }
}

fn sql(side: &Side) -> String {
    match side {
        Side::Column(item, column) => Joins::column_sql(*item, column),
        Side::Key(place) => format!("${}", place + 1),
    }
}

fn one_of(column: &str, places: &[usize]) -> String {
    let keys: Vec<String> = places.iter().map(|place| format!("${}", place + 1)).collect();
    match keys.as_slice() {
        [only] => format!("{column} = {only}"),
        several => format!("{column} IN ({})", several.join(", ")),
    }
}
