//! Reads the catalog for a set of relations, in a handful of queries that work from PostgreSQL 13 on.

use crate::canonical::canon;
use crate::catalog::{Catalog, Column, Holder, Kind, Old, Publication, Relation, StoredView, quote};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;
use tokio_postgres::error::Error;

/// Types of the server whose text is the name of something, or holds one.
const SHOWS_NAMES: [&str; 12] = [
    "regclass",
    "regproc",
    "regprocedure",
    "regoper",
    "regoperator",
    "regtype",
    "regrole",
    "regnamespace",
    "regconfig",
    "regdictionary",
    "regcollation",
    "aclitem",
];

/// What is known of one table as a place where rows are kept.
#[derive(Clone, Debug, Default)]
struct Place {
    schema: String,
    name: String,
    kind: String,
    persistence: String,
    has_row_security: bool,
    is_system: bool,
    is_readable: bool,
    identity: String,
    columns: Vec<(i32, Column)>,
    indexes: Vec<Index>,
}

#[derive(Clone, Debug)]
struct Index {
    name: String,
    columns: Vec<String>,
    is_primary: bool,
    is_identity: bool,
    /// Unique over columns that are never NULL, at once, with no condition and no expression.
    is_fit: bool,
}

/// The catalog, and the names of columns by relation and number.
pub(crate) type Read = (Catalog, BTreeMap<(u32, i32), String>);

/// Reads everything about these relations. `views` have their SQL already.
pub(crate) async fn read(
    client: &Client,
    publication: &str,
    relations: &BTreeSet<u32>,
    views: &BTreeMap<u32, String>,
) -> Result<Read, Error> {
    let bases: Vec<u32> = relations.iter().copied().collect();
    let family = family(client, &bases).await?;
    let everyone: BTreeSet<u32> =
        family.iter().flat_map(|kin| [kin.of, kin.other]).chain(bases.iter().copied()).collect();
    let mut places = places(client, &everyone.iter().copied().collect::<Vec<_>>()).await?;
    let (mut catalog, published) = read_publication(client, publication).await?;
    let mut names = BTreeMap::new();
    for oid in bases {
        let Some(place) = places.remove(&oid) else { continue };
        places.insert(oid, place.clone());
        names.extend(place.columns.iter().map(|(number, column)| ((oid, *number), column.name.clone())));
        if let Some(sql) = views.get(&oid) {
            let columns = place.columns.into_iter().map(|(_, column)| column.name).collect();
            let view = StoredView { columns, sql: sql.clone() };
            catalog.views.insert((place.schema, place.name), view);
            continue;
        }
        let kin = |wanted: Way| {
            let of = move |kin: &&Kin| kin.of == oid && kin.way == wanted;
            family.iter().filter(of).map(|kin| kin.other).collect::<Vec<u32>>()
        };
        let partitions: Vec<u32> = kin(Way::Partition);
        let holds = |oid: &u32| places.get(oid).filter(|place| place.kind != "p").map(holder);
        let holders = if partitions.is_empty() {
            holds(&oid).into_iter().collect()
        } else {
            partitions.iter().filter_map(holds).collect()
        };
        // The topmost of a table and those it is a partition of that the publication names.
        let lineage: Vec<u32> = kin(Way::Above).into_iter().rev().chain([oid]).collect();
        let logged = lineage.iter().position(|above| published.contains(above));
        let full_name = |at: usize| {
            let above = lineage.get(at).and_then(|above| places.get(above));
            above.map(|above| format!("{}.{}", above.schema, above.name))
        };
        let logged_as = logged.and_then(full_name);
        let unnamed_root = logged.filter(|at| *at > 0).and_then(|_| full_name(0));
        let unique = place
            .indexes
            .iter()
            .filter(|index| index.is_fit)
            .filter_map(|index| match index.columns.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            })
            .collect();
        catalog.relations.insert(
            oid,
            Relation {
                oid,
                kind: place.kind(),
                schema: place.schema,
                name: place.name,
                has_row_security: place.has_row_security,
                is_readable: place.is_readable,
                columns: place.columns.into_iter().map(|(_, column)| column).collect(),
                heirs: kin(Way::Heir),
                logged_as,
                unnamed_root,
                holders,
                unique,
            },
        );
    }
    Ok((catalog, names))
}

/// The relation a name means to the role, if any.
pub(crate) async fn named(client: &Client, names: &[String]) -> Result<BTreeMap<String, u32>, Error> {
    let rows = client
        .query(
            "SELECT name, to_regclass(quote_ident(name))::oid FROM unnest($1::text[]) AS asked(name) \
             WHERE to_regclass(quote_ident(name)) IS NOT NULL",
            &[&names],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// How one table stands to another.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Way {
    /// It is a partition of the other; ordered upward.
    Above,
    /// The other is a partition of it, at any depth.
    Partition,
    /// The other inherits from it otherwise.
    Heir,
}

#[derive(Clone, Debug)]
struct Kin {
    of: u32,
    other: u32,
    way: Way,
}

async fn family(client: &Client, bases: &[u32]) -> Result<Vec<Kin>, Error> {
    let rows = client
        .query(
            "WITH RECURSIVE above(base, oid, depth) AS ( \
               SELECT c.oid, c.oid, 0 FROM pg_class c WHERE c.oid = ANY($1::oid[]) \
               UNION ALL \
               SELECT above.base, i.inhparent, above.depth + 1 FROM above \
               JOIN pg_class c ON c.oid = above.oid AND c.relispartition \
               JOIN pg_inherits i ON i.inhrelid = above.oid), \
             below(base, oid) AS ( \
               SELECT c.oid, c.oid FROM pg_class c WHERE c.oid = ANY($1::oid[]) \
               UNION \
               SELECT below.base, i.inhrelid FROM below JOIN pg_inherits i ON i.inhparent = below.oid) \
             SELECT base, oid, 'above', depth FROM above WHERE depth > 0 \
             UNION ALL \
             SELECT base, c.oid, CASE WHEN c.relispartition THEN 'partition' ELSE 'heir' END, 0 \
             FROM below JOIN pg_class c ON c.oid = below.oid WHERE c.oid <> base AND c.relkind IN ('r', 'p', 'f') \
             ORDER BY 1, 4, 2",
            &[&bases],
        )
        .await?;
    let way = |name: &str| match name {
        "above" => Way::Above,
        "partition" => Way::Partition,
        _ => Way::Heir,
    };
    Ok(rows.iter().map(|row| Kin { of: row.get(0), other: row.get(1), way: way(row.get(2)) }).collect())
}

async fn places(client: &Client, oids: &[u32]) -> Result<BTreeMap<u32, Place>, Error> {
    let mut places: BTreeMap<u32, Place> = BTreeMap::new();
    let relations = client
        .query(
            "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, \
               c.relrowsecurity OR c.relforcerowsecurity, \
               c.oid < 16384 OR n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast'), \
               c.relreplident::text, has_any_column_privilege(c.oid, 'SELECT') \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY($1::oid[])",
            &[&oids],
        )
        .await?;
    for row in relations {
        let place = Place {
            schema: row.get(1),
            name: row.get(2),
            kind: row.get(3),
            persistence: row.get(4),
            has_row_security: row.get(5),
            is_system: row.get(6),
            identity: row.get(7),
            is_readable: row.get::<_, Option<bool>>(8).unwrap_or(false),
            ..Place::default()
        };
        places.insert(row.get(0), place);
    }
    let columns = client
        .query(
            "SELECT a.attrelid, a.attnum::int4, a.attname::text, a.atttypid, format_type(a.atttypid, a.atttypmod), \
               coalesce(l.collisdeterministic, true), a.attgenerated <> '', \
               EXISTS (WITH RECURSIVE parts(oid) AS ( \
                   SELECT a.atttypid \
                   UNION \
                   SELECT inner_part.oid FROM parts JOIN pg_type t ON t.oid = parts.oid \
                   CROSS JOIN LATERAL ( \
                     SELECT t.typelem WHERE t.typcategory = 'A' \
                     UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd' \
                     UNION ALL SELECT p.atttypid FROM pg_attribute p \
                       WHERE t.typtype = 'c' AND p.attrelid = t.typrelid AND p.attnum > 0 AND NOT p.attisdropped \
                     UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid) AS inner_part(oid)) \
                 SELECT FROM parts JOIN pg_type e ON e.oid = parts.oid \
                 WHERE e.typname = ANY($2::text[]) \
                   OR EXISTS (SELECT FROM pg_class o WHERE o.oid = e.typrelid AND o.relkind <> 'c')) \
             FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation \
             WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2",
            &[&oids, &SHOWS_NAMES.as_slice()],
        )
        .await?;
    for row in columns {
        let column = Column {
            name: row.get(2),
            canon: canon(row.get(3), row.get(5)),
            type_name: row.get(4),
            is_generated: row.get(6),
            shows_names: row.get(7),
        };
        if let Some(place) = places.get_mut(&row.get(0)) {
            place.columns.push((row.get(1), column));
        }
    }
    let indexes = client
        .query(
            "SELECT i.indrelid, c.relname::text, i.indisprimary, i.indisreplident, \
               i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
                 AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid \
                   AND a.attnum = ANY(keys.list) AND NOT a.attnotnull), \
               ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid \
                 AND a.attnum = ANY(keys.list) ORDER BY a.attnum) \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid, \
               LATERAL (SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1]) AS keys(list) \
             WHERE i.indrelid = ANY($1::oid[]) AND i.indislive ORDER BY i.indrelid, c.relname",
            &[&oids],
        )
        .await?;
    for row in indexes {
        let index = Index {
            name: row.get(1),
            is_primary: row.get(2),
            is_identity: row.get(3),
            is_fit: row.get(4),
            columns: row.get(5),
        };
        if let Some(place) = places.get_mut(&row.get(0)) {
            place.indexes.push(index);
        }
    }
    Ok(places)
}

/// Who asks, whether the log tells of rows, the publication, and the tables it names.
async fn read_publication(client: &Client, name: &str) -> Result<(Catalog, BTreeSet<u32>), Error> {
    let row = client
        .query_one(
            "SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, p.oid, current_user::text, \
             nullif(current_setting('wal_level'), 'logical') \
             FROM (SELECT) AS one LEFT JOIN pg_publication p ON p.pubname = $1",
            &[&name],
        )
        .await?;
    let catalog = Catalog { role: row.get(6), poor_wal_level: row.get(7), ..Catalog::default() };
    if row.get::<_, Option<u32>>(5).is_none() {
        return Ok((catalog, BTreeSet::new()));
    }
    let leaves_out = ["insert", "update", "delete", "truncate"]
        .into_iter()
        .enumerate()
        .filter(|(place, _)| !row.get::<_, bool>(*place))
        .map(|(_, name)| name.to_owned())
        .collect();
    // The columns exist from PostgreSQL 15 on; as JSON they can be asked for anyway.
    let partial = client
        .query(
            "SELECT prrelid, to_jsonb(r) ->> 'prqual' IS NOT NULL FROM pg_publication_rel r WHERE prpubid = $1 \
             AND (to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL)",
            &[&row.get::<_, u32>(5)],
        )
        .await?;
    let published = client
        .query(
            "SELECT t.relid FROM pg_publication p, LATERAL pg_get_publication_tables(p.pubname::text) t \
             WHERE p.pubname = $1",
            &[&name],
        )
        .await?;
    let kind = |has_filter: bool| if has_filter { "rows" } else { "columns" };
    let publication = Publication {
        leaves_out,
        partial: partial.iter().map(|row| (row.get(0), kind(row.get(1)))).collect(),
        via_root: row.get(4),
    };
    let catalog = Catalog { publication: Some(publication), ..catalog };
    Ok((catalog, published.iter().map(|row| row.get(0)).collect()))
}

fn holder(place: &Place) -> Holder {
    let columns = |index: Option<&Index>| match index {
        Some(index) => Old::Columns(index.columns.iter().cloned().collect()),
        None => Old::Nothing,
    };
    Holder {
        sql_name: format!("{}.{}", quote(&place.schema), quote(&place.name)),
        // A deferrable primary key is none for the log.
        old: match place.identity.as_str() {
            "f" => Old::All,
            "i" => columns(place.indexes.iter().find(|index| index.is_identity)),
            "d" => columns(place.indexes.iter().find(|index| index.is_primary && index.is_fit)),
            _ => Old::Nothing,
        },
        indexes: place
            .indexes
            .iter()
            .filter(|index| index.is_fit)
            .map(|index| (index.name.clone(), index.columns.iter().cloned().collect()))
            .collect(),
    }
}

impl Place {
    fn kind(&self) -> Kind {
        match (self.kind.as_str(), self.persistence.as_str()) {
            _ if self.is_system => Kind::System,
            ("r" | "p", "t") => Kind::Unlogged("a temporary table"),
            ("r" | "p", "u") => Kind::Unlogged("an unlogged table"),
            ("r", _) => Kind::Table,
            ("p", _) => Kind::Partitioned,
            ("m", _) => Kind::Unlogged("a materialized view"),
            ("f", _) => Kind::Unlogged("a foreign table"),
            ("S", _) => Kind::Unlogged("a sequence"),
            ("v", _) => Kind::Unlogged("a view that cannot be looked into"),
            _ => Kind::Unlogged("no ordinary table"),
        }
    }
}
