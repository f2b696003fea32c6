//! Small questions to a syntax tree: which tables it names, what things in it are called.

use sqlparser::ast::{
    Cte, Expr, Ident, ObjectName, Query, Select, SetExpr, Statement, TableAlias, TableFactor, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
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

/// What something in FROM is called, if it says so.
pub(super) fn called(factor: &TableFactor) -> Option<&Ident> {
    let alias = match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::JsonTable { alias, .. }
        | TableFactor::XmlTable { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
        _ => None,
    };
    alias.map(|alias| &alias.name)
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
