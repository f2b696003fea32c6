//! Small questions to a syntax tree: which queries are inside it, which tables it names, how a SELECT treats its rows.

use sqlparser::ast::{
    Cte, Distinct, Expr, GroupByExpr, Ident, ObjectName, Query, Select, SetExpr, Statement, TableAlias,
    Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::rc::Rc;

/// Whether a text is one query that neither writes nor locks, as far as Candor can read it.
pub(super) fn only_reads(sql: &str) -> bool {
    struct Writes(bool);
    impl Visitor for Writes {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let reads = matches!(
                &*query.body,
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::SetOperation { .. } | SetExpr::Values(_)
            );
            self.0 |= !reads || !query.locks.is_empty();
            ControlFlow::Continue(())
        }
        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
            self.0 |= select.into.is_some();
            ControlFlow::Continue(())
        }
    }
    let mut writes = Writes(false);
    parse(sql).is_some_and(|query| {
        let _: ControlFlow<()> = query.visit(&mut writes);
        !writes.0
    })
}

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
        let _: ControlFlow<()> = select.projection.visit(&mut functions);
        let _: ControlFlow<()> = select.having.visit(&mut functions);
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
        let _: ControlFlow<()> = order.visit(&mut functions);
        self.closed |= functions.has_window;
        self.collapses |= functions.has_aggregate;
    }
}

struct Functions<'a> {
    aggregates: &'a BTreeSet<String>,
    has_window: bool,
    has_aggregate: bool,
    depth: usize,
}

impl<'a> Functions<'a> {
    fn new(aggregates: &'a BTreeSet<String>) -> Self {
        Self { aggregates, has_window: false, has_aggregate: false, depth: 0 }
    }
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
            // An aggregate inside a subquery may belong to the query around it: taken for both.
            let name = last_ident(&function.name);
            self.has_aggregate |= name.is_some_and(|name| self.aggregates.contains(&name.value));
        }
        ControlFlow::Continue(())
    }
}

/// The tables named with their schemas, wherever they stand.
pub(super) fn tables(of: &impl Visit) -> Vec<(Ident, Ident)> {
    struct Tables(Vec<(Ident, Ident)>);
    impl Visitor for Tables {
        type Break = ();
        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
            let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
            if let [schema, table] = parts.as_slice() {
                self.0.push(((*schema).clone(), (*table).clone()));
            }
            ControlFlow::Continue(())
        }
    }
    let mut tables = Tables(Vec::new());
    let _: ControlFlow<()> = of.visit(&mut tables);
    tables.0
}

/// The queries directly inside something, not those inside them.
pub(super) fn subqueries(of: &impl Visit) -> Vec<Query> {
    struct Inner {
        depth: usize,
        found: Vec<Query>,
    }
    impl Visitor for Inner {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if self.depth == 0 {
                self.found.push(query.clone());
            }
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
    }
    let mut inner = Inner { depth: 0, found: Vec::new() };
    let _: ControlFlow<()> = of.visit(&mut inner);
    inner.found
}

pub(super) fn parse(sql: &str) -> Option<Rc<Query>> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).ok()?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Some(Rc::new(*query)),
        _ => None,
    }
}

pub(super) fn reads_itself(cte: &Cte) -> bool {
    struct Names<'a>(&'a str, bool);
    impl Visitor for Names<'_> {
        type Break = ();
        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
            self.1 |= name.0.len() == 1 && last_ident(name).is_some_and(|ident| ident.value == self.0);
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(&cte.alias.name.value, false);
    let _: ControlFlow<()> = cte.query.visit(&mut names);
    names.1
}

pub(super) fn names(alias: &TableAlias) -> Vec<String> {
    alias.columns.iter().map(|column| column.name.value.clone()).collect()
}

pub(super) fn column_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, |part| part.value.clone()),
        _ => String::new(),
    }
}

pub(super) fn last_ident(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}
