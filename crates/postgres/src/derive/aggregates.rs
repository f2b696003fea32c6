//! Aggregates: they make a query answer where there are no rows, so that its conditions hold neither around it nor in all of
//! what it answers.
//!
//! Which functions are aggregates the server says, and where they stand only the text does. So one that the text does not
//! name is a reason to read nothing from it.

use crate::derive::syntax::{called, last_ident};
use sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, Select,
    TableFactor, Visit, Visitor,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::rc::Rc;

/// What a SELECT does to conditions.
#[derive(Copy, Clone, Debug)]
pub(super) struct Shape {
    /// It chooses among its rows.
    pub(super) closed: bool,
    /// It answers even where there are no rows.
    pub(super) collapses: bool,
}

impl Shape {
    pub(super) fn of(select: &Select, is_limited: bool, aggregates: &BTreeSet<String>) -> Self {
        let mut functions = Functions::new(aggregates);
        functions.look_at(&select.projection);
        functions.look_at(&select.having);
        // They may hold functions that stand nowhere else.
        functions.look_at(&select.distinct);
        functions.look_at(&select.named_window);
        let (is_grouped, has_sets) = match &select.group_by {
            GroupByExpr::All(_) => (true, true),
            GroupByExpr::Expressions(by, with) => {
                let set = |expr: &Expr| {
                    matches!(expr, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_))
                        || matches!(expr, Expr::Tuple(parts) if parts.is_empty())
                };
                (!by.is_empty(), !with.is_empty() || by.iter().any(set))
            }
        };
        let chooses = matches!(&select.distinct, Some(Distinct::On(_)));
        Self {
            closed: is_limited || chooses || functions.has_window || !select.named_window.is_empty(),
            collapses: has_sets || (!is_grouped && (functions.has_aggregate || select.having.is_some())),
        }
    }

    /// ORDER BY may hold functions that stand nowhere else.
    pub(super) fn order(&mut self, order: &impl Visit, aggregates: &BTreeSet<String>) {
        let mut functions = Functions::new(aggregates);
        functions.look_at(order);
        self.closed |= functions.has_window;
        self.collapses |= functions.has_aggregate;
    }
}

struct Functions<'a> {
    aggregates: &'a BTreeSet<String>,
    /// What the subqueries have in FROM.
    inner: BTreeSet<String>,
    has_window: bool,
    has_aggregate: bool,
    depth: usize,
}

impl<'a> Functions<'a> {
    fn new(aggregates: &'a BTreeSet<String>) -> Self {
        Self { aggregates, inner: BTreeSet::new(), has_window: false, has_aggregate: false, depth: 0 }
    }

    fn look_at(&mut self, of: &impl Visit) {
        self.inner = mentioned(of).items;
        let _: ControlFlow<()> = of.visit(self);
    }

    /// An aggregate inside a subquery is the subquery's if it takes in a column from there, or no column at all. Else it may
    /// be the outer query's, and is taken for both.
    fn may_be_outer(&self, function: &Function) -> bool {
        let mentioned = mentioned(function);
        let is_inner = !mentioned.has_query && !mentioned.tables.is_disjoint(&self.inner);
        !is_inner && !is_of_nothing(function)
    }
}

/// `count(*)`, `count(1)`.
fn is_of_nothing(function: &Function) -> bool {
    let is_constant = |arg: &FunctionArg| {
        matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Wildcard | FunctionArgExpr::Expr(Expr::Value(_))))
    };
    let FunctionArguments::List(list) = &function.args else { return false };
    list.args.iter().all(is_constant)
        && list.clauses.is_empty()
        && function.filter.is_none()
        && function.within_group.is_empty()
}

impl Visitor for Functions<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.has_window |= function.over.is_some() && self.depth == 0;
            self.has_aggregate |=
                is_aggregate(function, self.aggregates) && (self.depth == 0 || self.may_be_outer(function));
        }
        ControlFlow::Continue(())
    }
}

/// What something mentions, subqueries included.
#[derive(Default)]
struct Mentioned {
    /// What stands in FROM.
    items: BTreeSet<String>,
    /// Where columns are said to be from.
    tables: BTreeSet<String>,
    has_query: bool,
}

impl Visitor for Mentioned {
    type Break = ();
    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.has_query = true;
        ControlFlow::Continue(())
    }
    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let own = match factor {
            TableFactor::Table { name, .. } => last_ident(name),
            _ => None,
        };
        self.items.extend(called(factor).or(own).map(|name| name.value.clone()));
        ControlFlow::Continue(())
    }
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr {
            self.tables.extend(parts.first().map(|table| table.value.clone()));
        }
        ControlFlow::Continue(())
    }
}

fn mentioned(of: &impl Visit) -> Mentioned {
    let mut mentioned = Mentioned::default();
    let _: ControlFlow<()> = of.visit(&mut mentioned);
    mentioned
}

/// Aggregates that the server does not write by the names it has for them, but as the standard does, from PostgreSQL 16 on.
const STANDARD: [&str; 2] = ["json_arrayagg", "json_objectagg"];

fn is_standard(name: &str) -> bool {
    STANDARD.iter().any(|standard| standard.eq_ignore_ascii_case(name))
}

fn is_aggregate(function: &Function, aggregates: &BTreeSet<String>) -> bool {
    last_ident(&function.name)
        .is_some_and(|name| aggregates.contains(&name.value) || is_standard(&name.value))
}

/// An aggregate that occurs and that the texts do not name, so that it cannot be told which query answers without rows.
pub(super) fn hidden_aggregate<'a>(texts: &[Rc<Query>], aggregates: &'a BTreeSet<String>) -> Option<&'a str> {
    struct Named(BTreeSet<String>);
    impl Visitor for Named {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Function(function) = expr
                && let Some(name) = last_ident(&function.name)
            {
                self.0.insert(name.value.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let mut named = Named(BTreeSet::new());
    for text in texts {
        let _: ControlFlow<()> = text.visit(&mut named);
    }
    let has_standard = named.0.iter().any(|name| is_standard(name));
    let stands_for = |name: &str| has_standard && (name.starts_with("json_") || name.starts_with("jsonb_"));
    aggregates.iter().map(String::as_str).find(|name| !named.0.contains(*name) && !stands_for(name))
}

/// The queries directly inside something, and whether an aggregate takes each of them in row by row.
pub(super) fn subqueries(of: &impl Visit, aggregates: &BTreeSet<String>) -> Vec<(Query, bool)> {
    struct Inner<'a> {
        aggregates: &'a BTreeSet<String>,
        depth: usize,
        counting: usize,
        found: Vec<(Query, bool)>,
    }
    impl Inner<'_> {
        fn counts(&self, expr: &Expr) -> bool {
            // What stands before WITHIN GROUP is worked out once, and what a window function takes in, afterwards.
            matches!(expr, Expr::Function(function) if self.depth == 0 && function.over.is_none()
                && function.within_group.is_empty() && is_aggregate(function, self.aggregates))
        }
    }
    impl Visitor for Inner<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if self.depth == 0 {
                self.found.push((query.clone(), self.counting > 0));
            }
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.counting += usize::from(self.counts(expr));
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.counting -= usize::from(self.counts(expr));
            ControlFlow::Continue(())
        }
    }
    let mut inner = Inner { aggregates, depth: 0, counting: 0, found: Vec::new() };
    let _: ControlFlow<()> = of.visit(&mut inner);
    inner.found
}
