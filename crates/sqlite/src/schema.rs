//! The live schema, as far as tags and triggers depend on it.

use crate::image::lower;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Everything in the main database.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    /// `PRAGMA schema_version`: the era.
    pub(crate) version: u32,
    /// By name in lower case.
    pub(crate) tables: BTreeMap<String, Table>,
}

/// A table, or what looks like one in a query.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) columns: Vec<Column>,
    /// Sets of columns of which no two rows agree.
    pub(crate) uniques: Vec<Unique>,
    /// A name under which SQL reaches the row number; none for WITHOUT ROWID tables.
    pub(crate) rowid: Option<String>,
    /// The text of the definition.
    pub(crate) sql: String,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Table,
    View,
    /// A virtual table, or a shadow table that belongs to one.
    Virtual,
}

#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) affinity: Affinity,
    /// Compared byte by byte.
    pub(crate) is_binary: bool,
    pub(crate) is_generated: bool,
    /// The SQL of the default that replaces NULL in a NOT NULL column under REPLACE.
    pub(crate) default_for_null: Option<String>,
    /// Place in the primary key, from one; zero for none.
    pub(crate) in_key: u32,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Affinity {
    /// INTEGER and NUMERIC: they store and compare alike.
    Number,
    Text,
    Real,
    /// No conversion at all.
    None,
}

/// A set of columns of which no two rows agree.
#[derive(Clone, Debug)]
pub(crate) struct Unique {
    /// Column and collation.
    pub(crate) columns: Vec<(String, String)>,
    /// Whether an expression or a generated column takes part, so that `columns` is not all.
    pub(crate) has_expression: bool,
    /// Whether it stands for the primary key.
    pub(crate) is_primary: bool,
}

impl Schema {
    /// Reads it. Call inside a transaction, so that all of it belongs together.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let version: i64 = connection.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        let mut names = connection.prepare(
            "SELECT l.name, l.type, l.wr, l.strict, coalesce(m.sql, '') FROM pragma_table_list AS l \
             LEFT JOIN sqlite_master AS m ON m.name = l.name AND m.type IN ('table', 'view') \
             WHERE l.schema = 'main' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        )?;
        let rows = names.query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, bool>(2)?,
                row.get::<_, bool>(3)?,
                row.get::<_, String>(4)?,
            ))
        })?;
        let mut tables = BTreeMap::new();
        for row in rows {
            let (name, kind, without_rowid, strict, sql) = row?;
            let kind = match kind.as_str() {
                "table" => Kind::Table,
                "view" => Kind::View,
                _ => Kind::Virtual,
            };
            let columns = columns(connection, &name, kind, strict)?;
            let uniques =
                if kind == Kind::Table { uniques(connection, &name, &columns)? } else { Vec::new() };
            let mut table = Table { name, kind, columns, uniques, rowid: None, sql };
            if kind == Kind::Table && !without_rowid {
                table.add_rowid();
            }
            tables.insert(lower(&table.name), table);
        }
        Ok(Self { version: version as u32, tables })
    }

    /// By name, in any case.
    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(&lower(name))
    }
}

impl Table {
    /// By name, in any case.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The name under which triggers and queries reach a column that SQLite calls `name`; also the row number.
    pub(crate) fn reach(&self, name: &str) -> Option<&str> {
        match self.column(name) {
            Some(column) => Some(&column.name),
            None if is_rowid(name) => self.rowid.as_deref(),
            None => None,
        }
    }

    /// The columns that tell one row from every other.
    pub(crate) fn identity(&self) -> Vec<&str> {
        match &self.rowid {
            Some(rowid) => vec![rowid],
            None => {
                self.columns.iter().filter(|column| column.in_key > 0).map(|column| &*column.name).collect()
            }
        }
    }

    /// Whether rows that REPLACE displaces can be found by comparing columns.
    pub(crate) fn has_expression_index(&self) -> bool {
        self.uniques.iter().any(|unique| unique.has_expression)
    }

    /// The row number is unique too. An INTEGER PRIMARY KEY is another name for it.
    fn add_rowid(&mut self) {
        let alias = self.integer_primary_key().map(str::to_owned);
        let hidden = || ["rowid", "_rowid_", "oid"].into_iter().find(|name| self.column(name).is_none());
        self.rowid = alias.or_else(|| hidden().map(str::to_owned));
        if let Some(rowid) = self.rowid.clone() {
            self.uniques.insert(
                0,
                Unique { columns: vec![(rowid, "BINARY".into())], has_expression: false, is_primary: true },
            );
        }
    }

    /// SQLite lists no index for a primary key that is the row number itself.
    fn integer_primary_key(&self) -> Option<&str> {
        let mut key = self.columns.iter().filter(|column| column.in_key > 0);
        let (first, second) = (key.next()?, key.next());
        let listed = self.uniques.iter().any(|unique| {
            matches!(&*unique.columns, [(name, _)] if *name == first.name) && unique.is_primary
        });
        (second.is_none() && !listed && first.affinity == Affinity::Number).then_some(&*first.name)
    }
}

/// The names of the row number.
pub(crate) fn is_rowid(name: &str) -> bool {
    ["rowid", "_rowid_", "oid"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn columns(connection: &Connection, table: &str, kind: Kind, strict: bool) -> rusqlite::Result<Vec<Column>> {
    let mut info = connection
        .prepare("SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)")?;
    let rows = info.query_map([table], |row| {
        let name: String = row.get(0)?;
        let declared: String = row.get(1)?;
        let not_null: bool = row.get(2)?;
        let default: Option<String> = row.get(3)?;
        let hidden: u32 = row.get(5)?;
        Ok(Column {
            name,
            affinity: affinity(&declared, strict),
            is_binary: false,
            is_generated: hidden >= 2,
            default_for_null: default.filter(|_| not_null),
            in_key: row.get(4)?,
        })
    })?;
    let mut columns = rows.collect::<rusqlite::Result<Vec<Column>>>()?;
    if kind == Kind::Table {
        for column in &mut columns {
            let (_, collation, ..) = connection.column_metadata(Some("main"), table, &*column.name)?;
            column.is_binary = collation.is_none_or(|name| name.to_bytes().eq_ignore_ascii_case(b"binary"));
        }
    }
    Ok(columns)
}

fn uniques(connection: &Connection, table: &str, columns: &[Column]) -> rusqlite::Result<Vec<Unique>> {
    let mut indexes = connection
        .prepare("SELECT name, origin FROM pragma_index_list(?1) WHERE \"unique\" ORDER BY name")?;
    let names = indexes
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    let mut info =
        connection.prepare("SELECT cid, name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
    let mut uniques = Vec::new();
    for (name, origin) in names {
        let mut unique = Unique { columns: Vec::new(), has_expression: false, is_primary: origin == "pk" };
        let mut rows = info.query([&name])?;
        while let Some(row) = rows.next()? {
            let column: Option<String> = row.get(1)?;
            let generated = column
                .as_ref()
                .is_none_or(|name| columns.iter().any(|column| column.name == *name && column.is_generated));
            match column {
                Some(column) if !generated => unique.columns.push((column, row.get(2)?)),
                _ => unique.has_expression = true,
            }
        }
        uniques.push(unique);
    }
    Ok(uniques)
}

/// The rules of <https://sqlite.org/datatype3.html#determination_of_column_affinity>.
fn affinity(declared: &str, strict: bool) -> Affinity {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    if has("INT") {
        Affinity::Number
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Affinity::Text
    } else if declared.is_empty() || has("BLOB") || (strict && declared == "ANY") {
        Affinity::None
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Affinity::Real
    } else {
        Affinity::Number
    }
}
