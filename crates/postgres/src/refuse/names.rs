//! Columns whose text shows names that live elsewhere.
//!
//! A column of type `regclass` holds a number and shows the name that a table has now; one of another table's row type shows that
//! table's columns. Somebody renames them, and no row of ours changes. (Parts of a composite type and values of an
//! enumeration are few, and so part of the fingerprint.)

use super::refused;
use crate::catalog::Catalog;
use crate::derive::server::Told;
use candor_core::Finding;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use std::collections::BTreeMap;

/// The columns of this kind that a view reads.
pub(crate) fn names_from_elsewhere(
    told: &Told,
    catalog: &Catalog,
    names: &BTreeMap<(u32, i32), String>,
) -> Vec<Finding> {
    #[cfg(candor_sabotage)]
    if is(Sabotage::NamesFromElsewhereAllowed) {
        return Vec::new();
    }
    let read = |oid: u32, column: &str| {
        let is_it = |number: &i32| names.get(&(oid, *number)).is_some_and(|name| name == column);
        told.has_whole_rows || told.columns.get(&oid).is_some_and(|numbers| numbers.iter().any(is_it))
    };
    let relations = catalog.relations.values().filter(|relation| told.relations.contains(&relation.oid));
    relations
        .flat_map(|relation| {
            let showing = relation.columns.iter().filter(|column| column.shows_names);
            let showing = showing.filter(|column| read(relation.oid, &column.name));
            showing.map(|column| {
                refused(
                    format!(
                        "`{}.{}` ({}) shows names that live elsewhere, and may change without a change of the row",
                        relation.full_name(),
                        column.name,
                        column.type_name
                    ),
                    "keep as text what is to be shown, or declare proof = \"clock\"",
                )
            })
        })
        .collect()
}
