//! What the server itself says a query reads.
//!
//! Names are resolved by whoever will run the query: the server. The query is made a temporary view, in a transaction that
//! is rolled back, with each placeholder replaced by a call of a temporary function of the key column's type. Of that view
//! the catalog then tells:
//!
//! * `pg_depend`: every column read, in subqueries, joins and views underneath as well;
//! * the stored tree (`pg_rewrite.ev_action`): every relation, also those of the server, which no dependency is recorded
//!   for; every function behind calls, operators and aggregates; whole rows, row locks, samples, `CURRENT_DATE`;
//! * `pg_get_viewdef`: the query with all names resolved, from which [`crate::derive::blocks`] reads how rows are reached.
//!
//! Nobody else sees the view: it is never committed.

use crate::canonical::parameter_type;
use crate::derive::KEY_FUNCTION;
use crate::derive::placeholders::{Scanned, replaced};
use crate::derive::times::Types;
use crate::setup::name;
use candor_core::ViewQuery;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;
use tokio_postgres::error::Error;

/// `regclass` and its like (`regproc`, `regprocedure`, `regoper`, `regoperator`, `regtype`, `regrole`, `regnamespace`,
/// `regconfig`, `regdictionary`, `regcollation`), and arrays of them.
const NAMES: [u32; 22] = [
    2205, 24, 2202, 2203, 2204, 2206, 4096, 4089, 3734, 3769, 4191, 2210, 1008, 2207, 2208, 2209, 2211, 4097,
    4090, 3735, 3770, 4192,
];

/// Numbers below are of what the server brings along.
const FIRST_OF_USERS: u32 = 16_384;

const VIEW: &str = "candor_view";

/// What the server says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The query with all names resolved.
    pub(crate) sql: String,
    /// What it calls, by number.
    pub(crate) calls: Calls,
    /// The relations it reads itself.
    pub(crate) direct: BTreeSet<u32>,
    /// The relations it reads, views and what they read included.
    pub(crate) relations: BTreeSet<u32>,
    /// The columns it reads, by number.
    pub(crate) columns: BTreeMap<u32, BTreeSet<i32>>,
    /// Views of the database it reads, with their own SQL.
    pub(crate) views: BTreeMap<u32, String>,
    /// Whether it takes rows as a whole, so that all columns count.
    pub(crate) has_whole_rows: bool,
    /// Whether there are literals of dates or times.
    pub(crate) has_times: bool,
    pub(crate) functions: Vec<Function>,
    /// What else it does that no log can tell of.
    pub(crate) oddities: Vec<Oddity>,
}

/// What a query calls, by the numbers in its tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    functions: BTreeSet<u32>,
    operators: BTreeSet<u32>,
}

/// A function the query calls, by name, operator or aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) volatility: Volatility,
    pub(crate) is_aggregate: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

/// Something in the tree that is refused.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oddity {
    RowLock,
    Sample,
    /// `CURRENT_DATE`, `CURRENT_USER` and the like.
    SessionValue,
    /// `ctid`, `xmin` and the like.
    SystemColumn,
    /// Text becomes a date or time, which may be `now` or `today`.
    TimeFromText,
    /// A number becomes the name that something has now.
    NameFromNumber,
}

/// Makes the temporary view, with these names for its columns. An error is the server's opinion of the query.
pub(crate) async fn define(
    client: &Client,
    query: &ViewQuery,
    scanned: &Scanned,
    columns: &[Box<str>],
) -> Result<(), Error> {
    for (place, column) in query.key.iter().enumerate() {
        let of_type = parameter_type(column.kind);
        let number = place + 1;
        client
            .batch_execute(&format!(
                "CREATE FUNCTION pg_temp.{KEY_FUNCTION}{number}() RETURNS {of_type} LANGUAGE sql IMMUTABLE \
                 AS 'SELECT NULL::{of_type}'"
            ))
            .await?;
    }
    let sql = replaced(&query.sql, &scanned.placeholders, key_function);
    // Called as the declared text calls them: where that gives no name, the server makes one up from what stands there.
    let columns = columns.iter().map(|column| name(column)).collect::<Vec<_>>().join(", ");
    // As a prepared statement, so that it is one statement.
    client.execute(&format!("CREATE TEMPORARY VIEW {VIEW}({columns}) AS {sql}"), &[]).await.map(drop)
}

/// A call of the function that stands for a placeholder.
pub(super) fn key_function(number: usize) -> String {
    format!("pg_temp.{KEY_FUNCTION}{number}()")
}

/// Reads what is known of the temporary view. From here on the search path is `pg_catalog` alone; left out, temporary tables
/// would come before it.
pub(crate) async fn ask(client: &Client) -> Result<Told, Error> {
    client.batch_execute("SET LOCAL search_path = pg_catalog, pg_temp").await?;
    let rows = client
        .query(
            "WITH RECURSIVE reached(oid, sort) AS ( \
               SELECT ('pg_temp.' || $1)::regclass::oid, 0 \
               UNION \
               SELECT c.oid, 1 FROM reached \
               JOIN pg_rewrite r ON r.ev_class = reached.oid AND r.ev_type = '1' \
               JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
                AND d.refclassid = 'pg_class'::regclass \
               JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'v' AND c.oid <> r.ev_class) \
             SELECT r.ev_class, reached.sort, r.ev_action::text, pg_get_viewdef(r.ev_class), \
               ARRAY(SELECT d.refobjid FROM pg_depend d WHERE d.classid = 'pg_rewrite'::regclass \
                 AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class \
                 ORDER BY d.refobjid, d.refobjsubid), \
               ARRAY(SELECT d.refobjsubid FROM pg_depend d WHERE d.classid = 'pg_rewrite'::regclass \
                 AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class \
                 ORDER BY d.refobjid, d.refobjsubid) \
             FROM reached JOIN pg_rewrite r ON r.ev_class = reached.oid AND r.ev_type = '1' ORDER BY 2",
            &[&VIEW],
        )
        .await?;
    let mut told = Told::default();
    let mut types = Types::default();
    for row in rows {
        let (view, is_inner): (u32, bool) = (row.get(0), row.get::<_, i32>(1) == 1);
        let tree: &str = row.get(2);
        let sql: String = row.get(3);
        let (columns, numbers): (Vec<u32>, Vec<i32>) = (row.get(4), row.get(5));
        let read: BTreeSet<u32> =
            numbers_after(tree, ":relid ").filter(|oid| *oid > 0 && *oid != view).collect();
        if is_inner {
            told.views.insert(view, sql);
        } else {
            told.sql = sql;
            told.direct.clone_from(&read);
        }
        told.calls.extend(Calls::of(tree));
        told.relations.extend(read);
        for (relation, column) in columns.into_iter().zip(numbers) {
            let known = told.columns.entry(relation).or_default();
            if column != 0 {
                known.insert(column);
            }
        }
        told.has_whole_rows |= tree.contains(":varattno 0 ");
        types.note(tree);
        told.oddities.extend(oddities(tree));
    }
    let (has_times, has_times_from_text) = types.have_times(client).await?;
    told.has_times = has_times;
    told.oddities.extend(has_times_from_text.then_some(Oddity::TimeFromText));
    told.oddities.sort_unstable();
    told.oddities.dedup();
    told.functions = read_functions(client, &told.calls).await?;
    Ok(told)
}

impl Calls {
    /// What a stored tree calls.
    pub(super) fn of(tree: &str) -> Self {
        let fields = [":funcid ", ":opfuncid ", ":aggfnoid ", ":winfnoid "];
        // The second: of rows that are compared with rows.
        let operators = numbers_after(tree, ":opno ").chain(lists_after(tree, ":opnos (o ").flatten());
        Self {
            functions: fields.into_iter().flat_map(|field| numbers_after(tree, field)).collect(),
            operators: operators.collect(),
        }
    }

    fn extend(&mut self, more: Self) {
        self.functions.extend(more.functions);
        self.operators.extend(more.operators);
    }

    /// Whether all that is not the server's own is among those.
    pub(super) fn are_among(&self, known: &Self) -> bool {
        let all = |ours: &BTreeSet<u32>, theirs: &BTreeSet<u32>| {
            ours.iter().all(|oid| *oid < FIRST_OF_USERS || theirs.contains(oid))
        };
        all(&self.functions, &known.functions) && all(&self.operators, &known.operators)
    }
}

/// Functions by number, those behind operators, and those behind aggregates.
async fn read_functions(client: &Client, calls: &Calls) -> Result<Vec<Function>, Error> {
    let functions: Vec<u32> = calls.functions.iter().copied().collect();
    let operators: Vec<u32> = calls.operators.iter().copied().collect();
    let rows = client
        .query(
            "WITH asked(oid) AS ( \
               SELECT unnest($1::oid[]) \
               UNION SELECT oprcode::oid FROM pg_operator WHERE oid = ANY($2::oid[]) \
               UNION SELECT unnest(ARRAY[aggtransfn::oid, aggfinalfn::oid]) FROM pg_aggregate \
                 WHERE aggfnoid::oid = ANY($1::oid[])) \
             SELECT n.nspname::text, p.proname::text, p.provolatile::text, p.prokind = 'a' \
             FROM asked JOIN pg_proc p ON p.oid = asked.oid JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE NOT (p.pronamespace = pg_my_temp_schema() AND starts_with(p.proname::text, $3)) \
             ORDER BY 1, 2, 3",
            &[&functions, &operators, &KEY_FUNCTION],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Function {
            schema: row.get(0),
            name: row.get(1),
            volatility: match row.get(2) {
                "i" => Volatility::Immutable,
                "s" => Volatility::Stable,
                _ => Volatility::Volatile,
            },
            is_aggregate: row.get(3),
        })
        .collect())
}

fn oddities(tree: &str) -> Vec<Oddity> {
    let mut found = Vec::new();
    let mut note = |is_there: bool, oddity| {
        if is_there {
            found.push(oddity);
        }
    };
    note(tree.contains("{ROWMARKCLAUSE "), Oddity::RowLock);
    note(tree.contains("{TABLESAMPLECLAUSE "), Oddity::Sample);
    note(tree.contains("{SQLVALUEFUNCTION "), Oddity::SessionValue);
    // `tableoid` (-6) tells the partition, which rows do not change.
    note(numbers_after_minus(tree).any(|number| number != 6), Oddity::SystemColumn);
    let to_name = |field| numbers_after(tree, field).any(|oid| NAMES.contains(&oid));
    note(to_name(":resulttype ") || to_name(":funcresulttype "), Oddity::NameFromNumber);
    found
}

/// The numbers that follow a field's name. Names given by users cannot look like one: spaces in them are escaped.
pub(super) fn numbers_after<'a>(tree: &'a str, field: &'a str) -> impl Iterator<Item = u32> + 'a {
    tree.match_indices(field).filter_map(move |(at, _)| {
        let rest = &tree[at + field.len()..];
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

/// The numbers in the lists that follow a field's name and the beginning of a list.
pub(super) fn lists_after<'a>(
    tree: &'a str,
    field: &'a str,
) -> impl Iterator<Item = impl Iterator<Item = u32> + 'a> + 'a {
    tree.match_indices(field).map(move |(at, _)| {
        let list = tree[at + field.len()..].split(')').next().unwrap_or_default();
        list.split_whitespace().filter_map(|number| number.parse().ok())
    })
}

fn numbers_after_minus(tree: &str) -> impl Iterator<Item = u32> + '_ {
    numbers_after(tree, ":varattno -")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_tells_its_numbers_and_oddities() {
        let tree = "({QUERY :rtable ({RTE :relid 16418 :x}) {VAR :varno 1 :varattno -1 :v} {COERCEVIAIO :arg {} \
                    :resulttype 1082 :r} :rowMarks ({ROWMARKCLAUSE :rti 1}) :relid 5})";
        assert_eq!(numbers_after(tree, ":relid ").collect::<Vec<_>>(), [16418, 5]);
        assert_eq!(oddities(tree), [Oddity::RowLock, Oddity::SystemColumn]);
        let rows = "{ROWCOMPAREEXPR :rctype 1 :opnos (o 97 521) :opfamilies (o 1976)}";
        assert_eq!(lists_after(rows, ":opnos (o ").flatten().collect::<Vec<_>>(), [97, 521]);
        assert_eq!(oddities("{RELABELTYPE :arg {VAR } :resulttype 2205 :r}"), [Oddity::NameFromNumber]);
        assert_eq!(oddities("{VAR :varno 1 :varattno -6 } {VAR :varattno 0 } :resulttype 1082"), []);
    }
}
