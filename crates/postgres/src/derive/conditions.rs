//! The conditions of a query: equalities, which say by what rows are reached, and filters, which make the values met fewer.

use crate::canonical::{Canon, canon_of_key};
use crate::catalog::quote;
use crate::derive::KEY_FUNCTION;
use crate::derive::blocks::{Joins, Reader, Role, Side};
use crate::derive::syntax::last_ident;
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArguments, Ident, UnaryOperator, Value,
};
use std::collections::BTreeSet;

/// Something that must be true of the rows of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The region in which it is stated.
    pub(crate) region: usize,
    pub(crate) says: Says,
    /// The items it reads.
    pub(crate) reads: BTreeSet<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// Two sides are equal, so neither is NULL.
    Equal([Side; 2]),
    /// A side equals one of several key columns.
    OneOf(Side, Vec<usize>),
    /// Something else, as SQL over the items.
    Filter(String),
}

impl Reader<'_> {
    /// Takes in what must hold in a region.
    pub(crate) fn conditions(&mut self, expr: &Expr, region: usize) -> Result<(), String> {
        match expr {
            Expr::Nested(inner) => self.conditions(inner, region),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conditions(left, region)?;
                self.conditions(right, region)
            }
            Expr::Exists { subquery, negated: false } => {
                self.query(subquery, region, Role::Matching).map(drop)
            }
            Expr::InSubquery { expr: ours, subquery, negated: false } => {
                self.subqueries_of(&**ours, region, Role::Apart)?;
                let columns = self.query(subquery, region, Role::Matching)?;
                if let (Some(ours), [(_, Some(theirs))]) = (self.side(ours), columns.as_slice()) {
                    self.equal(ours, theirs.clone(), region);
                }
                Ok(())
            }
            _ => {
                self.plain(expr, region);
                self.subqueries_of(expr, region, Role::Apart)
            }
        }
    }

    /// The same for ON of an outer join, in whose subqueries nothing else certainly holds.
    pub(crate) fn conditions_of_outer_join(&mut self, expr: &Expr, region: usize) -> Result<(), String> {
        match expr {
            Expr::Nested(inner) => self.conditions_of_outer_join(inner, region),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conditions_of_outer_join(left, region)?;
                self.conditions_of_outer_join(right, region)
            }
            _ => {
                self.plain(expr, region);
                self.subqueries_of(expr, region, Role::Alone)
            }
        }
    }

    pub(crate) fn equal(&mut self, ours: Side, theirs: Side, region: usize) {
        let reads = [&ours, &theirs].into_iter().filter_map(item_of).collect();
        self.joins.conditions.push(Condition { region, says: Says::Equal([ours, theirs]), reads });
    }

    fn plain(&mut self, expr: &Expr, region: usize) {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                if let (Some(left), Some(right)) = (self.side(left), self.side(right)) {
                    return self.equal(left, right, region);
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let (Some(side), Some(keys)) = (self.side(left), self.keys(right)) {
                    let reads = item_of(&side).into_iter().collect();
                    let says = Says::OneOf(side, keys);
                    self.joins.conditions.push(Condition { region, says, reads });
                    return;
                }
            }
            _ => {}
        }
        let mut reads = BTreeSet::new();
        if let Some(sql) = self.filter(expr, &mut reads) {
            self.joins.conditions.push(Condition { region, says: Says::Filter(sql), reads });
        }
    }

    /// The column or key column an expression certainly is.
    pub(crate) fn side(&self, expr: &Expr) -> Option<Side> {
        match expr {
            Expr::Nested(inner) => self.side(inner),
            Expr::Identifier(name) => self.resolve(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(parts) => self.resolve(parts),
            Expr::Function(_) => key_of(expr).map(Side::Key),
            // A cast among types that agree in text changes nothing: it fails, or gives an equal value.
            Expr::Cast { kind: CastKind::DoubleColon, expr, data_type, format: None } => {
                let side = self.side(expr)?;
                (self.canon(&side)? == kept_by(data_type)?).then_some(side)
            }
            _ => None,
        }
    }

    pub(crate) fn canon(&self, side: &Side) -> Option<Canon> {
        match side {
            Side::Column(item, column) => self.joins.items.get(*item)?.relation.column(column)?.canon,
            Side::Key(place) => self.known.key.get(*place).map(|key| canon_of_key(key.kind)),
        }
    }

    /// `ARRAY[$1, $2]` of key columns alone.
    fn keys(&self, expr: &Expr) -> Option<Vec<usize>> {
        match expr {
            Expr::Nested(inner) => self.keys(inner),
            Expr::Cast { kind: CastKind::DoubleColon, expr, data_type, format: None } => {
                let keys = self.keys(expr)?;
                let DataType::Array(
                    sqlparser::ast::ArrayElemTypeDef::SquareBracket(element, None)
                    | sqlparser::ast::ArrayElemTypeDef::AngleBracket(element),
                ) = data_type
                else {
                    return None;
                };
                let kept = kept_by(element)?;
                keys.iter().all(|key| self.canon(&Side::Key(*key)) == Some(kept)).then_some(keys)
            }
            Expr::Array(array) => array
                .elem
                .iter()
                .map(|element| match self.side(element) {
                    Some(Side::Key(place)) => Some(place),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    fn resolve(&self, parts: &[Ident]) -> Option<Side> {
        let columns = match parts {
            [_] => match self.frames.as_slice() {
                // Only a query over one thing alone leaves its name out.
                [only] if only.len() == 1 => &only.first()?.1,
                _ => return None,
            },
            [called, _] => {
                let of =
                    |frame: &'_ Vec<(String, _)>| frame.iter().rposition(|(name, _)| *name == called.value);
                let (frame, place) = self.frames.iter().rev().find_map(|frame| Some((frame, of(frame)?)))?;
                &frame.get(place)?.1
            }
            _ => return None,
        };
        let name = &parts.last()?.value;
        let mut found = columns.iter().filter(|(column, _)| column == name);
        match (found.next(), found.next()) {
            (Some((_, side)), None) => side.clone(),
            _ => None,
        }
    }

    /// A condition as SQL over the items; only forms of which there is no doubt.
    fn filter(&self, expr: &Expr, reads: &mut BTreeSet<usize>) -> Option<String> {
        match expr {
            Expr::Nested(inner) => Some(format!("({})", self.filter(inner, reads)?)),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => match self.side(expr)? {
                Side::Column(item, column) => {
                    reads.insert(item);
                    Some(Joins::column_sql(item, &column))
                }
                // A key column under a name from FROM may be NULL there, on the far side of an outer join.
                Side::Key(_) => None,
            },
            Expr::Function(_) => key_of(expr).map(|place| format!("${}", place + 1)),
            Expr::BinaryOp { left, op, right } => {
                let sign = match op {
                    BinaryOperator::Eq
                    | BinaryOperator::NotEq
                    | BinaryOperator::Lt
                    | BinaryOperator::LtEq
                    | BinaryOperator::Gt
                    | BinaryOperator::GtEq
                    | BinaryOperator::And
                    | BinaryOperator::Or => op,
                    _ => return None,
                };
                Some(format!("({} {sign} {})", self.filter(left, reads)?, self.filter(right, reads)?))
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                Some(format!("(NOT {})", self.filter(expr, reads)?))
            }
            Expr::IsNull(inner) => Some(format!("({} IS NULL)", self.filter(inner, reads)?)),
            Expr::IsNotNull(inner) => Some(format!("({} IS NOT NULL)", self.filter(inner, reads)?)),
            Expr::Cast { kind: CastKind::DoubleColon, expr, data_type, format: None } => {
                Some(format!("({})::{data_type}", self.filter(expr, reads)?))
            }
            Expr::Value(value) => match &value.value {
                Value::Number(..) | Value::Boolean(_) | Value::Null => Some(value.value.to_string()),
                Value::SingleQuotedString(text) if !text.contains('\\') => {
                    Some(format!("'{}'", text.replace('\'', "''")))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

fn item_of(side: &Side) -> Option<usize> {
    match side {
        Side::Column(item, _) => Some(*item),
        Side::Key(_) => None,
    }
}

/// The function that stands for a placeholder, as an index of the key.
fn key_of(expr: &Expr) -> Option<usize> {
    let Expr::Function(function) = expr else { return None };
    let schema = function.name.0.first().and_then(|part| part.as_ident())?;
    let is_ours = function.name.0.len() == 2 && schema.value.starts_with("pg_temp");
    let has_no_arguments = match &function.args {
        FunctionArguments::List(list) => list.args.is_empty(),
        _ => false,
    };
    let number: usize = last_ident(&function.name)?.value.strip_prefix(KEY_FUNCTION)?.parse().ok()?;
    if is_ours && has_no_arguments { number.checked_sub(1) } else { None }
}

/// The kind of text that a cast to this type leaves as it is.
fn kept_by(data_type: &DataType) -> Option<Canon> {
    match data_type {
        DataType::SmallInt(None) | DataType::Integer(None) | DataType::BigInt(None) => Some(Canon::Int),
        // With a length it cuts.
        DataType::Text | DataType::CharacterVarying(None) | DataType::Varchar(None) => Some(Canon::Text),
        _ => None,
    }
}

/// A column of an item as SQL.
pub(crate) fn table_as(sql_name: &str, item: usize) -> String {
    format!("{sql_name} AS {}", quote(&format!("i{item}")))
}
