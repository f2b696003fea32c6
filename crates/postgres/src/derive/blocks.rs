//! A query, read as tables in regions that are joined by conditions.
//!
//! The text is the server's own (`pg_get_viewdef` under a search path of `pg_catalog` alone), so names leave no doubt:
//! tables carry their schemas, columns their tables, `*` is written out, NATURAL is USING, and an operator or a function
//! without a schema is the built-in one. Subqueries in FROM, common table expressions and views of the database are read
//! where they are used, each use with tables of its own.
//!
//! Whatever is not understood is left out. That is sound: a condition only ever *narrows* what an entry depends on. A
//! table that was not met while reading is reported as [`Joins::unread`].

use crate::catalog::{Catalog, Relation, quote};
use crate::derive::aggregates::{Shape, hidden_aggregate, subqueries};
use crate::derive::conditions::Condition;
use crate::derive::regions::{Region, Regions};
use crate::derive::syntax::{column_name, names, parse, reads_itself, tables};
use candor_core::KeyColumn;
use sqlparser::ast::{Ident, Query, Select, SelectItem, SetExpr, Visit};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Beyond so many uses of tables nothing is narrowed.
pub(super) const ITEMS_MAX: usize = 64;

/// Subqueries inside each other beyond this are not read.
const DEPTH_MAX: usize = 24;

/// What a query is made of.
#[derive(Debug, Default)]
pub(crate) struct Joins<'a> {
    pub(crate) items: Vec<Item<'a>>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) regions: Regions,
    /// Tables that stand in the text and were not read as an item, by schema and name.
    pub(crate) unread: BTreeSet<(String, String)>,
}

/// One use of a table.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) relation: &'a Relation,
    /// What the query calls it, for messages.
    pub(crate) shown: String,
    pub(crate) region: usize,
}

/// A side of an equality.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The item and the column.
    Column(usize, String),
    /// Index of the key column.
    Key(usize),
}

/// What is known apart from the text.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) key: &'a [KeyColumn],
    /// Names of the aggregate functions that occur.
    pub(crate) aggregates: &'a BTreeSet<String>,
}

/// The columns of something in FROM, in order, and what each certainly is.
pub(crate) type Columns = Vec<(String, Option<Side>)>;

/// How a subquery stands in the query around it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// In FROM.
    From,
    /// As a condition that must hold: EXISTS, IN.
    Matching,
    /// Anywhere else: its answer may matter when it is empty, too.
    Apart,
    /// Where even the conditions around it do not certainly hold.
    Alone,
}

#[derive(Clone, Debug)]
pub(super) struct Expression {
    pub(super) name: String,
    columns: Vec<String>,
    query: Rc<Query>,
    /// How many frames its text can see.
    frames: usize,
    is_recursive: bool,
}

pub(crate) struct Reader<'a> {
    pub(crate) known: Known<'a>,
    pub(crate) joins: Joins<'a>,
    /// What stands in FROM, the innermost query last.
    pub(crate) frames: Vec<Vec<(String, Columns)>>,
    pub(super) expressions: Vec<Expression>,
    /// Places of tables in the text that were read, by text.
    pub(super) seen: BTreeSet<(usize, u64, u64)>,
    /// The text being read, and how many there are.
    text: usize,
    texts: Vec<Rc<Query>>,
    depth: usize,
}

impl<'a> Joins<'a> {
    /// Reads a query as the server writes it, or says what stands in the way.
    pub(crate) fn read(sql: &str, known: Known<'a>) -> Result<Self, String> {
        let mut reader = Reader {
            known,
            joins: Joins::default(),
            frames: Vec::new(),
            expressions: Vec::new(),
            seen: BTreeSet::new(),
            text: 0,
            texts: Vec::new(),
            depth: 0,
        };
        let query = parse(sql).ok_or("the SQL is beyond what Candor reads")?;
        reader.texts.push(Rc::clone(&query));
        let root = reader.joins.regions.add(Region::default());
        reader.query(&query, root, Role::From)?;
        if let Some(name) = hidden_aggregate(&reader.texts, known.aggregates) {
            return Err(format!("its text does not show where the aggregate `{name}` stands"));
        }
        reader.look_for_unread();
        Ok(reader.joins)
    }

    /// A column as SQL of ours.
    pub(crate) fn column_sql(item: usize, column: &str) -> String {
        format!("i{item}.{}", quote(column))
    }
}

impl Reader<'_> {
    /// Reads a subquery; its columns, if they can be told.
    pub(crate) fn query(&mut self, query: &Query, around: usize, role: Role) -> Result<Columns, String> {
        if self.depth == DEPTH_MAX {
            return Err("its subqueries are nested too deeply".into());
        }
        self.depth += 1;
        let outer = self.expressions.len();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let is_recursive = query.with.as_ref().is_some_and(|with| with.recursive);
            self.expressions.push(Expression {
                name: cte.alias.name.value.clone(),
                columns: names(&cte.alias),
                query: Rc::new((*cte.query).clone()),
                frames: self.frames.len(),
                is_recursive: is_recursive && reads_itself(cte),
            });
        }
        let columns = self.body(query, around, role);
        self.expressions.truncate(outer);
        self.depth -= 1;
        columns
    }

    fn body(&mut self, query: &Query, around: usize, role: Role) -> Result<Columns, String> {
        let is_limited = query.limit_clause.is_some() || query.fetch.is_some();
        match &*query.body {
            SetExpr::Select(select) => {
                let mut shape = Shape::of(select, is_limited, self.known.aggregates);
                shape.order(&query.order_by, self.known.aggregates);
                let region = self.region(around, role, shape);
                let columns = self.select(select, region, shape)?;
                self.subqueries_of(&query.order_by, region, Role::Alone)?;
                self.subqueries_of(&query.limit_clause, region, Role::Alone)?;
                Ok(if shape.collapses { Columns::new() } else { columns })
            }
            other => {
                let role = if role == Role::Alone { Role::Alone } else { Role::Apart };
                let region = self.region(around, role, Shape { closed: true, collapses: true });
                self.arms(other, region)?;
                self.subqueries_of(&query.order_by, region, Role::Alone)?;
                self.subqueries_of(&query.limit_clause, region, Role::Alone)?;
                Ok(Columns::new())
            }
        }
    }

    /// The parts of UNION and its like: each keeps its own conditions.
    fn arms(&mut self, body: &SetExpr, around: usize) -> Result<(), String> {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.arms(left, around)?;
                self.arms(right, around)
            }
            SetExpr::Query(query) => self.query(query, around, Role::Apart).map(drop),
            SetExpr::Select(select) => {
                let shape = Shape::of(select, false, self.known.aggregates);
                let region = self.region(around, Role::Apart, shape);
                self.select(select, region, shape).map(drop)
            }
            SetExpr::Values(values) => self.subqueries_of(values, around, Role::Alone),
            _ => Err("it does more than SELECT".into()),
        }
    }

    fn region(&mut self, around: usize, role: Role, shape: Shape) -> usize {
        let inner = Region { parent: Some(around), closed: shape.closed, ..Region::default() };
        match role {
            Role::From | Role::Matching if !shape.closed && !shape.collapses => around,
            Role::From | Role::Matching => {
                self.joins.regions.add(Region { outward: !shape.collapses, closed: true, ..inner })
            }
            Role::Apart => self.joins.regions.add(inner),
            Role::Alone => self.joins.regions.add(Region { alone: true, ..inner }),
        }
    }

    fn select(&mut self, select: &Select, region: usize, shape: Shape) -> Result<Columns, String> {
        self.frames.push(Vec::new());
        let read = self.select_in_frame(select, region, shape);
        self.frames.pop();
        read
    }

    fn select_in_frame(&mut self, select: &Select, region: usize, shape: Shape) -> Result<Columns, String> {
        for from in &select.from {
            self.join_tree(&from.relation, &from.joins, region)?;
        }
        if let Some(condition) = &select.selection {
            self.conditions(condition, region)?;
        }
        self.subqueries_of(&select.group_by, region, Role::Apart)?;
        self.subqueries_of_answer(&select.projection, region, shape)?;
        self.subqueries_of_answer(&select.having, region, shape)?;
        self.subqueries_of_answer(&select.distinct, region, shape)?;
        self.subqueries_of_answer(&select.named_window, region, shape)?;
        let column = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(expr) => Some((column_name(expr), self.side(expr))),
            SelectItem::ExprWithAlias { expr, alias } => Some((alias.value.clone(), self.side(expr))),
            // A star makes every place uncertain.
            _ => None,
        };
        let columns: Option<Columns> = select.projection.iter().map(column).collect();
        Ok(columns.unwrap_or_default())
    }

    /// A use of a common table expression. It sees what stood around its definition, not around its use.
    pub(super) fn expression(&mut self, place: usize, region: usize) -> Result<Columns, String> {
        let found = self.expressions[place].clone();
        let later = self.frames.split_off(found.frames.min(self.frames.len()));
        // Itself it sees only if it is recursive, and then as something unknown.
        let hidden = self.expressions.split_off(place);
        let read = if found.is_recursive {
            let nothing = Expression {
                query: parse("SELECT 1 AS n").ok_or("it has a recursion")?,
                is_recursive: false,
                ..found.clone()
            };
            self.expressions.push(nothing);
            let read = self.query(&found.query, region, Role::Apart).map(|_| Columns::new());
            self.expressions.truncate(place);
            read
        } else {
            self.query(&found.query, region, Role::From)
        };
        self.expressions.extend(hidden);
        self.frames.extend(later);
        let mut columns = read?;
        for (column, name) in columns.iter_mut().zip(found.columns) {
            column.0 = name;
        }
        Ok(columns)
    }

    pub(super) fn view(&mut self, sql: &str, columns: &[String], region: usize) -> Result<Columns, String> {
        let query = parse(sql).ok_or("it reads a view whose SQL is beyond what Candor reads")?;
        let frames = std::mem::take(&mut self.frames);
        let expressions = std::mem::take(&mut self.expressions);
        let text = std::mem::replace(&mut self.text, self.texts.len());
        self.texts.push(Rc::clone(&query));
        let read = self.query(&query, region, Role::From);
        self.text = text;
        self.frames = frames;
        self.expressions = expressions;
        let mut found = read?;
        for (column, name) in found.iter_mut().zip(columns) {
            column.0.clone_from(name);
        }
        Ok(found)
    }

    pub(crate) fn subqueries_of(&mut self, of: &impl Visit, region: usize, role: Role) -> Result<(), String> {
        for (inner, _) in subqueries(of, self.known.aggregates) {
            self.query(&inner, region, role)?;
        }
        Ok(())
    }

    /// The same for what makes the answer. A query that answers even where WHERE finds nothing runs them then, too: WHERE holds
    /// only in what its own aggregates take in, which is worked out for each row.
    fn subqueries_of_answer(&mut self, of: &impl Visit, region: usize, shape: Shape) -> Result<(), String> {
        if !shape.collapses {
            return self.subqueries_of(of, region, Role::Apart);
        }
        // Inside another query, an aggregate may be that one's.
        let are_own = self.frames.len() == 1;
        for (inner, is_counted) in subqueries(of, self.known.aggregates) {
            let role = if is_counted && are_own { Role::Apart } else { Role::Alone };
            self.query(&inner, region, role)?;
        }
        Ok(())
    }

    pub(super) fn place(&self, name: &Ident) -> (usize, u64, u64) {
        (self.text, name.span.start.line, name.span.start.column)
    }

    /// Tables in the texts that were passed over, such as those of a common table expression nobody uses.
    fn look_for_unread(&mut self) {
        for (text, query) in self.texts.iter().enumerate() {
            for (schema, table) in tables(&**query) {
                let place = (text, table.span.start.line, table.span.start.column);
                if !self.seen.contains(&place) {
                    self.joins.unread.insert((schema.value, table.value));
                }
            }
        }
    }
}
