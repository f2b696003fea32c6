//! What only the text of a query tells: the names of its common table expressions, the columns of USING and NATURAL
//! joins (SQLite's authorizer does not report those, nor a table that is read by nothing else), and whether a date
//! function depends on the time of day.

use crate::image::lower;
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Join, JoinConstraint, JoinOperator, Query, Select,
    Statement, TableFactor, Value, Visit, Visitor,
};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::Parser;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// The functions that give the time of day when asked for `now`, or for nothing.
pub(crate) const DATE_FUNCTIONS: [&str; 7] =
    ["date", "time", "datetime", "julianday", "strftime", "unixepoch", "timediff"];

/// Parses one statement; `None` if the parser cannot read it, though SQLite may.
pub(crate) fn parse(sql: &str) -> Option<Statement> {
    let mut statements = Parser::parse_sql(&SQLiteDialect {}, sql).ok()?;
    if statements.len() == 1 { statements.pop() } else { None }
}

/// What a text tells.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Names of common table expressions, in lower case.
    pub(crate) ctes: BTreeSet<String>,
    /// How often a relation is named, in lower case, wherever it stands.
    pub(crate) relations: Vec<String>,
    /// Columns in USING, in lower case.
    pub(crate) using: BTreeSet<String>,
    /// Whether there is a NATURAL join.
    pub(crate) has_natural: bool,
    /// A date function that depends, or may depend, on the time of day.
    pub(crate) clock: Option<String>,
}

/// Reads a statement through.
pub(crate) fn tell(statement: &Statement) -> Told {
    let mut told = Told::default();
    let _: ControlFlow<()> = statement.visit(&mut told);
    told
}

impl Told {
    fn joins(&mut self, joins: &[Join]) {
        for join in joins {
            match &join.join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint)
                | JoinOperator::CrossJoin(constraint) => match constraint {
                    JoinConstraint::Using(columns) => {
                        let names = columns.iter().filter_map(|name| name.0.last()?.as_ident());
                        self.using.extend(names.map(|name| lower(&name.value)));
                    }
                    JoinConstraint::Natural => self.has_natural = true,
                    JoinConstraint::On(_) | JoinConstraint::None => {}
                },
                // Not SQLite's; whatever it is, every column may take part.
                _ => self.has_natural = true,
            }
        }
    }
}

impl Visitor for Told {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        select.from.iter().for_each(|from| self.joins(&from.joins));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            self.joins(&table_with_joins.joins);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.ctes.extend(ctes.map(|cte| lower(&cte.alias.name.value)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &sqlparser::ast::ObjectName) -> ControlFlow<()> {
        if let Some(name) = relation.0.last().and_then(|part| part.as_ident()) {
            self.relations.push(lower(&name.value));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            let name = function.name.0.last().and_then(|part| part.as_ident()).map(|name| lower(&name.value));
            if let Some(name) = name.filter(|name| DATE_FUNCTIONS.contains(&name.as_str()))
                && may_be_now(&name, &function.args)
            {
                self.clock.get_or_insert(name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Only a column, or a literal other than `now`, is certainly not the time of day.
fn may_be_now(name: &str, arguments: &FunctionArguments) -> bool {
    let FunctionArguments::List(list) = arguments else { return true };
    // `strftime('%Y')` is short for `strftime('%Y', 'now')`.
    let times = match name {
        "strftime" => 1..2,
        "timediff" => 0..2,
        _ => 0..1,
    };
    let is_fixed = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => match expr {
            Expr::Identifier(name) => {
                name.quote_style.is_none() && !lower(&name.value).starts_with("current_")
            }
            Expr::CompoundIdentifier(_) => true,
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => !text.trim().eq_ignore_ascii_case("now"),
                Value::Number(..) => true,
                _ => false,
            },
            _ => false,
        },
        _ => false,
    };
    times.into_iter().any(|place| list.args.get(place).is_none_or(|argument| !is_fixed(argument)))
}

/// Whether a text that cannot be parsed may hold a join whose columns SQLite does not report.
pub(crate) fn may_hide_columns(sql: &str) -> bool {
    let upper = sql.to_ascii_uppercase();
    upper
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .any(|word| matches!(word, "USING" | "NATURAL"))
}

/// The names most like `name`, at most three.
pub(crate) fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let name = lower(name);
    let mut ranked: Vec<(usize, &str)> = known
        .map(|candidate| (strsim::levenshtein(&name, &lower(candidate)), candidate))
        .filter(|(distance, candidate)| {
            *distance <= name.len().max(candidate.len()).div_ceil(3)
                || (name.len() > 2 && lower(candidate).contains(&name))
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(sql: &str) -> Option<String> {
        tell(&parse(sql).unwrap()).clock
    }

    #[test]
    fn only_dates_of_columns_and_literals_hold_still() {
        for sql in [
            "SELECT date(created) FROM t",
            "SELECT date('2026-01-01')",
            "SELECT strftime('%Y', t.created) FROM t",
            "SELECT julianday(2460000.5)",
        ] {
            assert_eq!(clock(sql), None, "{sql}");
        }
        for sql in [
            "SELECT date()",
            "SELECT date('now')",
            "SELECT date('NOW')",
            "SELECT strftime('%Y')",
            "SELECT strftime('%Y', 'now')",
            "SELECT date($1)",
            "SELECT 1 FROM t WHERE a IN (SELECT unixepoch('n' || 'ow'))",
            "SELECT timediff('2026-01-01', 'now')",
        ] {
            assert!(clock(sql).is_some(), "{sql}");
        }
    }

    #[test]
    fn near_names_are_near() {
        assert_eq!(near("trak", ["track", "album", "genre"].into_iter()), ["track"]);
        assert_eq!(near("xyz", ["track"].into_iter()), [""; 0]);
    }
}
