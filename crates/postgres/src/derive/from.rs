//! What stands in FROM: tables, views, expressions, subqueries, functions, and how they are joined.
//!
//! Everything that stands there is taken into the frame, known or not: what a name without a table means depends on what
//! else is there. The server leaves the table out where a query has one thing alone in FROM, and where a column is merged
//! (FULL JOIN with USING) and so is nobody's.

use crate::derive::blocks::{Columns, ITEMS_MAX, Item, Reader, Role, Side};
use crate::derive::regions::Region;
use crate::derive::syntax::{called, last_ident, names};
use sqlparser::ast::{
    Ident, Join, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor, TableWithJoins,
};

impl Reader<'_> {
    /// Joins associate to the left: the last one decides how all before it are held.
    pub(super) fn join_tree(
        &mut self,
        first: &TableFactor,
        joins: &[Join],
        region: usize,
    ) -> Result<Columns, String> {
        let Some((last, before)) = joins.split_last() else { return self.factor(first, region) };
        let (constraint, is_left_kept, is_right_kept) = match &last.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::CrossJoin(constraint) => (constraint, true, true),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (constraint, true, false),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                (constraint, false, true)
            }
            JoinOperator::FullOuter(constraint) => (constraint, false, false),
            _ => return Err("it has an unusual join".into()),
        };
        let nullable = Region { parent: Some(region), nullable: true, ..Region::default() };
        let left_region = if is_left_kept { region } else { self.joins.regions.add(nullable) };
        let right_region = if is_right_kept { region } else { self.joins.regions.add(nullable) };
        let left = self.join_tree(first, before, left_region)?;
        let right = self.factor(&last.relation, right_region)?;
        // Where the condition holds; nowhere for a FULL JOIN, which shows every row anyway.
        let stated = match (is_left_kept, is_right_kept) {
            (true, true) => Some(region),
            (true, false) => Some(right_region),
            (false, true) => Some(left_region),
            (false, false) => None,
        };
        let mut merged = left.clone();
        merged.extend(right.iter().cloned());
        match constraint {
            JoinConstraint::On(expr) => match stated {
                Some(stated) if is_left_kept && is_right_kept => self.conditions(expr, stated)?,
                Some(stated) => self.conditions_of_outer_join(expr, stated)?,
                None => self.subqueries_of(expr, region, Role::Alone)?,
            },
            JoinConstraint::Using(columns) => {
                for name in columns.iter().filter_map(last_ident) {
                    let (ours, theirs) = (certain(&left, &name.value), certain(&right, &name.value));
                    if let (Some(ours), Some(theirs), Some(stated)) = (&ours, &theirs, stated) {
                        self.equal(ours.clone(), theirs.clone(), stated);
                    }
                    // The merged column stands for the side that is always there.
                    let whole = match (is_left_kept, is_right_kept) {
                        (true, _) => ours,
                        (false, true) => theirs,
                        (false, false) => None,
                    };
                    merged.retain(|(column, _)| *column != name.value);
                    merged.push((name.value.clone(), whole));
                }
            }
            JoinConstraint::None => {}
            JoinConstraint::Natural => return Err("it has a NATURAL join".into()),
        }
        Ok(merged)
    }

    fn factor(&mut self, factor: &TableFactor, region: usize) -> Result<Columns, String> {
        match factor {
            TableFactor::Table { name, alias, args: None, sample: None, .. } => {
                let columns = self.named(name, alias.as_ref(), region)?;
                Ok(self.enter(called(factor).or_else(|| last_ident(name)), alias.as_ref(), columns))
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let columns = self.query(subquery, region, Role::From)?;
                Ok(self.enter(alias.as_ref().map(|alias| &alias.name), alias.as_ref(), columns))
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let TableWithJoins { relation, joins } = &**table_with_joins;
                let columns = self.join_tree(relation, joins, region)?;
                // Under a name of its own its columns have other names, in an order that is not known here.
                let Some(alias) = alias else { return Ok(columns) };
                Ok(self.enter(Some(&alias.name), None, Columns::new()))
            }
            // Functions and the like read nothing but their arguments.
            other => {
                self.subqueries_of(other, region, Role::Alone)?;
                Ok(self.enter(called(other), None, Columns::new()))
            }
        }
    }

    /// Takes something into the frame, under the names its alias gives.
    fn enter(&mut self, called: Option<&Ident>, alias: Option<&TableAlias>, mut columns: Columns) -> Columns {
        for (column, name) in columns.iter_mut().zip(alias.map(names).unwrap_or_default()) {
            column.0 = name;
        }
        if let Some(frame) = self.frames.last_mut() {
            // Nothing can mention what has no name.
            let called = called.map_or_else(String::new, |called| called.value.clone());
            frame.push((called, columns.clone()));
        }
        columns
    }

    /// A table, a view or a common table expression.
    fn named(
        &mut self,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        region: usize,
    ) -> Result<Columns, String> {
        let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        match parts.as_slice() {
            [name] => {
                let place = self.expressions.iter().rposition(|known| known.name == name.value);
                match place {
                    Some(place) => self.expression(place, region),
                    // A table of the server itself, or an expression that stands further down.
                    None => Err(format!("`{}` is used before it is defined", name.value)),
                }
            }
            [schema, table] => {
                let known = self.known.catalog;
                if let Some(relation) = known.relation(&schema.value, &table.value) {
                    if self.joins.items.len() == ITEMS_MAX {
                        return Err("it reads too many tables".into());
                    }
                    let item = self.joins.items.len();
                    let shown = alias.map_or(&table.value, |alias| &alias.name.value).clone();
                    self.joins.items.push(Item { relation, shown, region });
                    self.seen.insert(self.place(table));
                    let columns = relation.columns.iter();
                    return Ok(columns
                        .map(|column| (column.name.clone(), Some(Side::Column(item, column.name.clone()))))
                        .collect());
                }
                match known.views.get(&(schema.value.clone(), table.value.clone())) {
                    Some(view) => self.view(&view.sql, &view.columns, region),
                    None => Ok(Columns::new()),
                }
            }
            _ => Ok(Columns::new()),
        }
    }
}

/// The one column of that name, if there is no doubt.
fn certain(columns: &Columns, name: &str) -> Option<Side> {
    let mut found = columns.iter().filter(|(column, _)| column == name);
    match (found.next(), found.next()) {
        (Some((_, side)), None) => side.clone(),
        _ => None,
    }
}
