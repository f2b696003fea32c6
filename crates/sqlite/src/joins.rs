//! The top level of a query, read as tables that are joined by conditions.
//!
//! ```text
//! FROM a JOIN b ON b.x = a.id LEFT JOIN c ON c.y = b.z WHERE a.id = $1
//!
//! items       a, b, c (left)
//! conditions  b.x = a.id    everywhere
//!             c.y = b.z     only for c: rows of a and b appear whether or not it holds
//!             a.id = $1     everywhere
//! ```
//!
//! Whatever is not understood is left out. That is sound: a condition only ever *narrows* what an entry depends on.

use crate::image::{lower, quote_name};
use crate::schema::{Schema, Table};
use sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, Select, SetExpr, Statement, TableFactor,
    Value, Visit, Visitor,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// The top level of a query.
#[derive(Debug)]
pub(crate) struct Joins<'a> {
    pub(crate) items: Vec<Item<'a>>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) equalities: Vec<Equality>,
}

/// A table in FROM.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) table: &'a Table,
    /// The name by which the query calls it.
    pub(crate) called: String,
    /// Whether it stands to the right of a LEFT JOIN.
    pub(crate) is_left: bool,
}

/// A condition that must hold.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) sql: String,
    /// The item of a LEFT JOIN for which alone it holds; `None` if it holds everywhere.
    pub(crate) only_for: Option<usize>,
    /// The items it reads.
    pub(crate) reads: BTreeSet<usize>,
}

/// A condition that sets two sides equal.
#[derive(Clone, Debug)]
pub(crate) struct Equality {
    pub(crate) sides: [Side; 2],
    pub(crate) only_for: Option<usize>,
}

/// A side of an equality.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The item and the column, in lower case.
    Column(usize, String),
    /// Index of the key column.
    Key(usize),
}

impl<'a> Joins<'a> {
    /// Reads the top level, or says what stands in the way.
    pub(crate) fn read(statement: &Statement, schema: &'a Schema) -> Result<Self, String> {
        let select = plain_select(statement)?;
        let mut joins = Joins { items: Vec::new(), conditions: Vec::new(), equalities: Vec::new() };
        let mut constraints: Vec<(JoinConstraint, usize, bool)> = Vec::new();
        for from in &select.from {
            joins.add_item(&from.relation, false, schema)?;
            for join in &from.joins {
                let (constraint, is_left) = match &join.join_operator {
                    JoinOperator::Join(constraint)
                    | JoinOperator::Inner(constraint)
                    | JoinOperator::CrossJoin(constraint) => (constraint, false),
                    JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                        (constraint, true)
                    }
                    _ => return Err("it has a RIGHT, FULL or unusual join".into()),
                };
                joins.add_item(&join.relation, is_left, schema)?;
                constraints.push((constraint.clone(), joins.items.len() - 1, is_left));
            }
        }
        for (place, item) in joins.items.iter().enumerate() {
            if joins.items[..place].iter().any(|other| other.called == item.called) {
                return Err(format!("`{}` names two tables in FROM", item.called));
            }
        }
        for (constraint, place, is_left) in &constraints {
            let only_for = is_left.then_some(*place);
            match constraint {
                JoinConstraint::On(expr) => joins.add_conditions(expr, only_for),
                JoinConstraint::Using(columns) => {
                    for column in columns {
                        if let Some(name) = column.0.last().and_then(|part| part.as_ident()) {
                            joins.add_using(&lower(&name.value), *place, only_for);
                        }
                    }
                }
                // The columns of a natural join are not worked out; leaving them out is sound.
                JoinConstraint::Natural | JoinConstraint::None => {}
            }
        }
        if let Some(expr) = &select.selection {
            joins.add_conditions(expr, None);
        }
        Ok(joins)
    }

    /// A column as SQL.
    pub(crate) fn column_sql(&self, item: usize, column: &str) -> String {
        format!("{}.{}", quote_name(&self.items[item].called), quote_name(column))
    }

    fn add_item(&mut self, factor: &TableFactor, is_left: bool, schema: &'a Schema) -> Result<(), String> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else {
            return Err("FROM holds more than tables: a subquery, a function or nested joins".into());
        };
        let parts: Vec<String> =
            name.0.iter().filter_map(|part| part.as_ident()).map(|part| lower(&part.value)).collect();
        let table = match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [table] | ["main", table] => schema.table(table),
            _ => None,
        };
        let Some(table) = table else { return Err(format!("`{name}` is not a table of this database")) };
        if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return Err("an alias renames columns".into());
        }
        let called = alias.as_ref().map_or_else(|| lower(&table.name), |alias| lower(&alias.name.value));
        self.items.push(Item { table, called, is_left });
        Ok(())
    }

    fn add_conditions(&mut self, expr: &Expr, only_for: Option<usize>) {
        match expr {
            Expr::Nested(inner) => self.add_conditions(inner, only_for),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.add_conditions(left, only_for);
                self.add_conditions(right, only_for);
            }
            _ => {
                if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = expr
                    && let (Some(left), Some(right)) = (self.side(left), self.side(right))
                {
                    self.equalities.push(Equality { sides: [left, right], only_for });
                }
                if let Some(reads) = self.reads(expr) {
                    self.conditions.push(Condition { sql: expr.to_string(), only_for, reads });
                }
            }
        }
    }

    /// `USING (column)`; only where exactly one earlier table has the column, so that there is no doubt which is meant.
    fn add_using(&mut self, column: &str, place: usize, only_for: Option<usize>) {
        let earlier: Vec<usize> =
            (0..place).filter(|other| self.items[*other].table.column(column).is_some()).collect();
        if let [other] = earlier.as_slice() {
            let (left, right) = (self.column_sql(*other, column), self.column_sql(place, column));
            self.conditions.push(Condition {
                sql: format!("{left} = {right}"),
                only_for,
                reads: [*other, place].into(),
            });
            self.equalities.push(Equality {
                sides: [Side::Column(*other, column.into()), Side::Column(place, column.into())],
                only_for,
            });
        }
    }

    fn side(&self, expr: &Expr) -> Option<Side> {
        match expr {
            Expr::Nested(inner) => self.side(inner),
            Expr::Identifier(name) => self.resolve(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(parts) => self.resolve(parts),
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) => {
                    let number: usize = name.strip_prefix(['$', '?'])?.parse().ok()?;
                    Some(Side::Key(number.checked_sub(1)?))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The column a name means, if there is no doubt.
    fn resolve(&self, parts: &[Ident]) -> Option<Side> {
        let (called, column) = match parts {
            [column] => (None, column),
            [called, column] => (Some(lower(&called.value)), column),
            [schema, called, column] if lower(&schema.value) == "main" => {
                (Some(lower(&called.value)), column)
            }
            _ => return None,
        };
        let column = lower(&column.value);
        let mut meant = self.items.iter().enumerate().filter(|(_, item)| {
            called.as_ref().is_none_or(|called| *called == item.called)
                && (item.table.column(&column).is_some()
                    || (called.is_some() && item.table.reach(&column).is_some()))
        });
        let (place, item) = meant.next()?;
        if meant.next().is_some() {
            return None;
        }
        Some(Side::Column(place, lower(item.table.reach(&column)?)))
    }

    /// The items an expression reads; `None` if that is not certain.
    fn reads(&self, expr: &Expr) -> Option<BTreeSet<usize>> {
        let mut reader = Reads { joins: self, found: BTreeSet::new(), certain: true };
        let _: ControlFlow<()> = expr.visit(&mut reader);
        reader.certain.then_some(reader.found)
    }
}

struct Reads<'a> {
    joins: &'a Joins<'a>,
    found: BTreeSet<usize>,
    certain: bool,
}

impl Visitor for Reads<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &sqlparser::ast::Query) -> ControlFlow<()> {
        self.certain = false;
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let side = match expr {
            Expr::Identifier(name) => self.joins.resolve(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(parts) => self.joins.resolve(parts),
            _ => return ControlFlow::Continue(()),
        };
        match side {
            Some(Side::Column(item, _)) => {
                self.found.insert(item);
            }
            _ => self.certain = false,
        }
        ControlFlow::Continue(())
    }
}

fn plain_select(statement: &Statement) -> Result<&Select, String> {
    let Statement::Query(query) = statement else { return Err("it is not a SELECT".into()) };
    if query.with.is_some() {
        return Err("it has a common table expression".into());
    }
    match &*query.body {
        SetExpr::Select(select) => Ok(select),
        _ => Err("it combines several SELECTs".into()),
    }
}
