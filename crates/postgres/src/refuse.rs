//! What is refused, each with its mend.

mod names;
mod near;

pub(crate) use names::names_from_elsewhere;

use crate::catalog::{Catalog, Kind, Old, Relation};
use crate::derive::can_name;
use crate::derive::placeholders::Scanned;
use crate::derive::reach::Reach;
use crate::derive::server::{Function, Oddity, Told, Volatility};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{Dependency, Finding, Severity, ViewQuery};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, Error, ErrorPosition, SqlState};

/// Built-in functions that the server calls stable because they depend on settings of the session (time zone, style of
/// dates, language), not on the time or on tables. Connections of ours hold those settings still. So do all comparisons and
/// additions of `timestamptz`, which are known by their names. Not so `timezone`: of a `timetz` it depends on today's
/// daylight saving time.
const SETTLED: [&str; 39] = [
    "anytextcat",
    "array_to_json",
    "array_to_string",
    "concat",
    "concat_ws",
    "date",
    "date_part",
    "date_trunc",
    "format",
    "generate_series",
    "json_agg_transfn",
    "json_build_array",
    "json_build_object",
    "json_object",
    "json_object_agg_transfn",
    "json_object_agg_strict_transfn",
    "json_object_agg_unique_strict_transfn",
    "json_object_agg_unique_transfn",
    "json_agg_strict_transfn",
    "jsonb_agg_finalfn",
    "jsonb_agg_strict_transfn",
    "jsonb_agg_transfn",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg_finalfn",
    "jsonb_object_agg_strict_transfn",
    "jsonb_object_agg_transfn",
    "jsonb_object_agg_unique_strict_transfn",
    "jsonb_object_agg_unique_transfn",
    "quote_literal",
    "row_to_json",
    "textanycat",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "to_char",
    "to_json",
    "to_jsonb",
];

const CLOCK: &str = "leave it out, pass it in the key, or declare proof = \"clock\"";

pub(crate) fn refused(message: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { severity: Severity::Refused, message: message.into(), mend: mend.into() }
}

/// The server does not like the SQL: where, and which names are near.
pub(crate) async fn unprepared(client: &Client, query: &ViewQuery, error: &Error) -> Result<Finding, Error> {
    let Some(db) = error.as_db_error() else {
        return Ok(refused(error.to_string(), "write one SELECT that PostgreSQL accepts"));
    };
    let place = position(&query.sql, db);
    let message = format!("PostgreSQL refuses the SQL: {}{place} ({})", db.message(), db.code().code());
    let mend = match db.hint() {
        Some(hint) => hint.to_owned(),
        None if *db.code() == SqlState::UNDEFINED_TABLE => near::tables(client, db.message()).await?,
        None if *db.code() == SqlState::UNDEFINED_COLUMN => {
            near::columns(client, &query.sql, db.message()).await?
        }
        None if *db.code() == SqlState::INDETERMINATE_DATATYPE => "give it a type, such as $1::text".into(),
        None => "write one SELECT that PostgreSQL accepts".into(),
    };
    Ok(refused(message, mend))
}

/// The line and the column, where the server says where.
fn position(sql: &str, db: &DbError) -> String {
    let Some(ErrorPosition::Original(at)) = db.position() else { return String::new() };
    let before: String = sql.chars().take((*at as usize).saturating_sub(1)).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    if sql.contains('\n') { format!(", line {line}, column {column}") } else { format!(", column {column}") }
}

/// What is wrong with the statement as such.
pub(crate) fn shape(query: &ViewQuery, scanned: &Scanned, columns: &[Box<str>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let used: BTreeSet<usize> = scanned.placeholders.iter().map(|found| found.number).collect();
    let wanted = query.key.len();
    for number in used.iter().filter(|number| **number == 0 || **number > wanted) {
        findings.push(refused(
            format!("`${number}` asks for key column {number}, but the view has {wanted}"),
            format!("declare {number} key columns, or lower the number"),
        ));
    }
    for (place, column) in query.key.iter().enumerate() {
        if !used.contains(&(place + 1)) {
            findings.push(refused(
                format!("key column `{}` does not occur in the SQL", column.name),
                format!("use ${} in the SQL, or drop the key column", place + 1),
            ));
        }
    }
    if columns.is_empty() {
        findings.push(refused("the SQL gives no columns", "write one SELECT with at least one column"));
    }
    for (place, name) in columns.iter().enumerate() {
        if columns[..place].contains(name) {
            findings.push(refused(
                format!("two result columns are called `{name}`"),
                "give one of them an alias with AS",
            ));
        }
    }
    findings
}

/// The role may not make temporary views, so nobody can say what the view reads.
pub(crate) fn no_temporary(error: &Error) -> Finding {
    let said = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
    refused(
        format!(
            "the server cannot be asked what the view reads, because the role may not use temporary views: {said}"
        ),
        "GRANT TEMPORARY ON DATABASE … TO the role (they are rolled back), or declare proof = \"clock\"",
    )
}

/// What no view may do, whatever it promises.
pub(crate) fn writes(told: &Told) -> Vec<Finding> {
    if told.oddities.contains(&Oddity::RowLock) {
        vec![refused("the SQL locks rows (FOR UPDATE, FOR SHARE)", "leave the lock out: a fill only reads")]
    } else {
        Vec::new()
    }
}

/// What the log cannot prove.
pub(crate) fn unprovable(publication: &str, told: &Told, catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for oddity in &told.oddities {
        let message = match oddity {
            Oddity::RowLock => continue,
            Oddity::Sample => "TABLESAMPLE gives other rows each time",
            Oddity::SessionValue => {
                "CURRENT_DATE, CURRENT_USER and the like depend on when and by whom they are asked"
            }
            Oddity::SystemColumn => "system columns such as ctid and xmin are not in the log",
            Oddity::TimeFromText => "text that becomes a date or time may be `now` or `today`",
            #[cfg(candor_sabotage)]
            Oddity::NameFromNumber if is(Sabotage::NamesFromElsewhereAllowed) => continue,
            Oddity::NameFromNumber => {
                let message = "a number that is shown as a name (such as `::regclass`) changes with the name";
                findings.push(refused(message, "give the number, or declare proof = \"clock\""));
                continue;
            }
        };
        findings.push(refused(message, CLOCK));
    }
    let mut seen = BTreeSet::new();
    for function in &told.functions {
        if let Some(why) = varies(function)
            && seen.insert((&function.schema, &function.name))
        {
            findings.push(refused(why, CLOCK));
        }
    }
    for oid in &told.relations {
        match catalog.relations.get(oid) {
            Some(relation) => {
                findings.extend(untold(publication, catalog, relation, told.direct.contains(oid)));
                let heirs = relation.heirs.iter().filter_map(|heir| catalog.relations.get(heir));
                findings.extend(heirs.flat_map(|heir| untold(publication, catalog, heir, false)));
            }
            None if told.views.contains_key(oid) => {}
            None => findings.push(refused("it reads something the catalog does not show", CLOCK)),
        }
    }
    findings
}

/// Why a function may give another result for the same rows.
fn varies(function: &Function) -> Option<String> {
    #[cfg(candor_sabotage)]
    if is(Sabotage::VolatileAllowed) {
        return None;
    }
    let is_built_in = function.schema == "pg_catalog";
    let name =
        if is_built_in { function.name.clone() } else { format!("{}.{}", function.schema, function.name) };
    match function.volatility {
        Volatility::Immutable => None,
        Volatility::Volatile => Some(format!("`{name}` may give another result each time (VOLATILE)")),
        // No built-in aggregate asks for the time.
        Volatility::Stable if is_built_in && (function.is_aggregate || is_settled(&function.name)) => None,
        Volatility::Stable => Some(format!(
            "`{name}` depends on more than its arguments, such as the time or a setting (STABLE)"
        )),
    }
}

/// What reads text (`timestamptz_in`) may find `now` in it.
fn is_settled(name: &str) -> bool {
    let is_of_timestamptz = name.starts_with("timestamptz_") || name.ends_with("_timestamptz");
    SETTLED.contains(&name) || (is_of_timestamptz && !name.ends_with("_in"))
}

/// Why the log does not tell of a table.
fn untold(publication: &str, catalog: &Catalog, relation: &Relation, is_direct: bool) -> Vec<Finding> {
    let name = relation.full_name();
    let setup = "run `candor setup`";
    match relation.kind {
        Kind::System => {
            return vec![refused(
                format!("`{name}` belongs to the server itself, and its changes are not in the log"),
                "read an ordinary table, or declare proof = \"clock\"",
            )];
        }
        #[cfg(candor_sabotage)]
        Kind::Unlogged(_) if is(Sabotage::UnloggedAllowed) => {}
        Kind::Unlogged(what) => {
            return vec![refused(
                format!("`{name}` is {what}, so its changes are not in the log"),
                "read an ordinary table, or declare proof = \"clock\"",
            )];
        }
        Kind::Table | Kind::Partitioned => {}
    }
    let mut findings = Vec::new();
    let has_row_security = relation.has_row_security;
    #[cfg(candor_sabotage)]
    let has_row_security = has_row_security && !is(Sabotage::RowSecurityAllowed);
    if has_row_security {
        findings.push(refused(
            format!("`{name}` has row-level security, so what is read depends on who asks and on policies"),
            "read it through a table without policies, or declare proof = \"clock\"",
        ));
    }
    if is_direct && !relation.is_readable {
        findings.push(refused(
            format!("role {} may not read `{name}`", crate::catalog::quote(&catalog.role)),
            format!("GRANT SELECT ON {} TO {}", relation.sql_name(), crate::catalog::quote(&catalog.role)),
        ));
    }
    if let Some(level) = &catalog.poor_wal_level {
        // The first of what setup needs. What else is missing would only hide it.
        findings.push(refused(
            format!(
                "wal_level is `{level}`: the log does not tell which rows changed; first ALTER SYSTEM SET wal_level = logical, \
                 and restart the server"
            ),
            setup,
        ));
        return findings;
    }
    let Some(found) = &catalog.publication else {
        findings
            .push(refused(format!("there is no publication `{publication}`, so no log of changes"), setup));
        return findings;
    };
    #[cfg(candor_sabotage)]
    let found = if is(Sabotage::PartialAllowed) { &Default::default() } else { found };
    if !found.leaves_out.is_empty() {
        findings.push(refused(
            format!("the publication `{publication}` leaves out {}", found.leaves_out.join(", ")),
            format!(
                "ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')",
                crate::catalog::quote(publication)
            ),
        ));
    }
    if let Some(what) = found.partial.get(&relation.oid) {
        findings.push(refused(
            format!("the publication `{publication}` tells only some {what} of `{name}`"),
            format!(
                "ALTER PUBLICATION {0} DROP TABLE {1}; ALTER PUBLICATION {0} ADD TABLE {1}",
                crate::catalog::quote(publication),
                relation.sql_name()
            ),
        ));
    }
    if relation.logged_as.is_none() {
        let via_root = relation.kind == Kind::Partitioned && !found.via_root;
        findings.push(if via_root {
            refused(
                format!("the publication `{publication}` tells changes of `{name}` under the names of its partitions"),
                format!(
                    "ALTER PUBLICATION {} SET (publish_via_partition_root = true)",
                    crate::catalog::quote(publication)
                ),
            )
        } else {
            refused(format!("`{name}` is not in the publication `{publication}`, so its changes are not told"), setup)
        });
    }
    if let (true, Some(root)) = (found.via_root, &relation.unnamed_root) {
        findings.push(refused(
            format!(
                "`{name}` is published without its root `{root}`: once somebody adds that, changes are told under its name, and \
                 a moment before anybody can see it"
            ),
            format!("ALTER PUBLICATION {} ADD TABLE {root}", crate::catalog::quote(publication)),
        ));
    }
    if let Some(holder) = relation.holders.iter().find(|holder| holder.old == Old::Nothing) {
        findings.push(refused(
            format!(
                "`{}` has no replica identity: while it is published, the server refuses to UPDATE or DELETE its rows",
                holder.sql_name
            ),
            format!("give it a primary key, or ALTER TABLE {} REPLICA IDENTITY FULL", holder.sql_name),
        ));
    }
    findings
}

/// A declared dependency as a way to reach rows; `Ok(None)` for an application tag.
pub(crate) fn dependency(
    query: &ViewQuery,
    catalog: &Catalog,
    declared: &BTreeMap<String, u32>,
    dependency: &Dependency,
) -> Result<Option<(String, Reach)>, Finding> {
    let named = |name: &str| -> Result<(&Relation, String), Finding> {
        let known = declared.get(name).and_then(|oid| catalog.relations.get(oid));
        let read = || catalog.relations.values().find(|relation| relation.name == name);
        let Some(relation) = known.or_else(read) else {
            let known = catalog.relations.values().map(|relation| relation.name.as_str());
            return Err(refused(
                format!("invalidated_by names `{name}`, but there is no such table"),
                near::suggest(&near::near(name, known)),
            ));
        };
        match &relation.logged_as {
            Some(logged) => Ok((relation, logged.clone())),
            None => Err(refused(
                format!("invalidated_by names `{name}`, of whose changes the log does not tell"),
                "run `candor setup`, or name the tables whose rows change",
            )),
        }
    };
    match dependency {
        Dependency::Application(_) => Ok(None),
        Dependency::Table(name) => {
            let (_, logged) = named(name)?;
            Ok(Some((logged, Reach::any("declared"))))
        }
        Dependency::Row { table, column, parameter } => {
            let (relation, logged) = named(table)?;
            let Some(key) = query.key.get(*parameter) else {
                let has = query.key.len();
                return Err(refused(
                    format!("invalidated_by names ${}, but the view has {has} key columns", parameter + 1),
                    "lower the number",
                ));
            };
            if relation.column(column).is_none() {
                let columns = relation.columns.iter().map(|column| column.name.as_str());
                return Err(refused(
                    format!("invalidated_by names `{table}.{column}`, but there is no such column"),
                    near::suggest(&near::near(column, columns)),
                ));
            }
            can_name(relation, column, key.kind).map_err(|(why, mend)| {
                refused(why, mend.unwrap_or_else(|| format!("declare \"{table}\" without a column")))
            })?;
            let reach = Reach::Key { column: column.to_string(), parameters: vec![*parameter] };
            Ok(Some((logged, reach)))
        }
    }
}
