//! The publication: which tables the log is read for.

use crate::setup::facts::{Facts, Publication, Table};
use crate::setup::quote::{in_comment, literal, name};
use crate::setup::{MARK, Needs, SetupOptions};

/// Everything a cache must hear of, under the name that views use.
const PARAMETERS: &str = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";

/// The statements that make the publication hold what is needed.
pub(crate) fn statements(facts: &Facts, needs: &Needs, options: SetupOptions) -> Vec<String> {
    let (mut wanted, mut statements) = (Vec::new(), Vec::new());
    for key in needs.tables.keys() {
        match facts.tables.get(key).and_then(Option::as_ref) {
            None => statements.push(format!("-- {} does not exist", in_comment(&name(key)))),
            Some(table) => match why_left_out(table, options) {
                Some(why) => statements.push(format!("-- left out: {}", in_comment(&why))),
                None => wanted.push((key.as_str(), table)),
            },
        }
    }
    match &facts.publication {
        None if wanted.is_empty() => {}
        None => statements.extend(create(&facts.publication_name, &wanted)),
        Some(found) => statements.extend(alter(&facts.publication_name, found, &wanted, needs)),
    }
    statements
}

/// The mend for a publication that publishes too little of everything.
pub(crate) fn set_parameters(publication: &str) -> String {
    format!("ALTER PUBLICATION {} SET ({PARAMETERS})", name(publication))
}

fn why_left_out(table: &Table, options: SetupOptions) -> Option<String> {
    table.why_not().or_else(|| {
        (!options.replica_identity && !table.is_publishable()).then(|| {
            format!(
                "{} has no usable replica identity, and none may be set: published, its UPDATE and DELETE would fail",
                table.root.sql()
            )
        })
    })
}

fn create(publication: &str, wanted: &[(&str, &Table)]) -> Vec<String> {
    let publication = name(publication);
    vec![
        format!("CREATE PUBLICATION {publication} FOR TABLE {} WITH ({PARAMETERS})", list(wanted)),
        format!("COMMENT ON PUBLICATION {publication} IS {}", literal(MARK)),
    ]
}

fn alter(publication: &str, found: &Publication, wanted: &[(&str, &Table)], needs: &Needs) -> Vec<String> {
    let (quoted, mut statements) = (name(publication), Vec::new());
    if !(found.is_complete && found.is_via_root) {
        if found.is_ours {
            statements.push(set_parameters(publication));
        } else {
            statements.push(format!(
                "-- publication {quoted} is not Candor's and publishes too little; others may rest on that. Name \
                 another one in candor.toml, or run: {}",
                set_parameters(publication)
            ));
        }
    }
    let filtered: Vec<&str> =
        wanted.iter().map(|(key, _)| *key).filter(|key| !found.is_for_all && found.filters(key)).collect();
    if !filtered.is_empty() && found.is_ours {
        // All at once, so that no change falls between dropping a table and adding it without its filter.
        statements.push(format!("ALTER PUBLICATION {quoted} SET TABLE {}", list(wanted)));
        return statements;
    }
    for key in filtered {
        statements.push(format!(
            "-- publication {quoted} is not Candor's and withholds rows or columns of {}: name another one in \
             candor.toml",
            in_comment(&name(key))
        ));
    }
    let missing: Vec<String> = wanted.iter().flat_map(|(_, table)| found.lacks(table)).collect();
    if !missing.is_empty() {
        statements.push(format!("ALTER PUBLICATION {quoted} ADD TABLE {}", missing.join(", ")));
    }
    if found.is_ours && !found.is_for_all {
        let is_below = |listed: &str| {
            wanted.iter().any(|(_, table)| table.parts.iter().any(|part| part.key() == listed))
        };
        let dropped: Vec<String> = found
            .listed
            .iter()
            .filter(|(key, _)| !needs.tables.contains_key(*key) && !is_below(key))
            .map(|(_, listed)| format!("{}.{}", name(&listed.schema), name(&listed.table)))
            .collect();
        if !dropped.is_empty() {
            statements.push(format!("ALTER PUBLICATION {quoted} DROP TABLE {}", dropped.join(", ")));
        }
    }
    statements
}

fn list(tables: &[(&str, &Table)]) -> String {
    tables.iter().map(|(_, table)| table.root.sql()).collect::<Vec<_>>().join(", ")
}
