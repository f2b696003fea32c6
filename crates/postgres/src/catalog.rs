//! The part of the server's catalog that a view rests on: its tables, what the log tells of them, and under which name.
//!
//! The nouns are here; [`read`] fills them from the server, and tests make them by hand.

pub(crate) mod coverage;
pub(crate) mod read;

use crate::canonical::Canon;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that was looked up for one view, in one snapshot of the catalog.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    /// Relations that hold rows, by their number.
    pub(crate) relations: BTreeMap<u32, Relation>,
    /// Views that the view reads, by schema and name.
    pub(crate) views: BTreeMap<(String, String), StoredView>,
    pub(crate) publication: Option<Publication>,
    /// The role that asked.
    pub(crate) role: String,
    /// `wal_level`, where the log does not tell which rows changed.
    pub(crate) poor_wal_level: Option<String>,
}

/// A view of the database.
#[derive(Clone, Debug)]
pub(crate) struct StoredView {
    pub(crate) columns: Vec<String>,
    /// Its SELECT, as the server writes it.
    pub(crate) sql: String,
}

/// What holds rows: a table, a partitioned table, and whatever else the server calls a relation.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) has_row_security: bool,
    /// Whether the role may read at least one of its columns.
    pub(crate) is_readable: bool,
    /// Its columns in order, without those that were dropped.
    pub(crate) columns: Vec<Column>,
    /// Tables that inherit from it, other than partitions.
    pub(crate) heirs: Vec<u32>,
    /// The name under which the publication tells its changes; `None` if it does not.
    pub(crate) logged_as: Option<String>,
    /// The root that it is a partition of, where the publication names something below.
    pub(crate) unnamed_root: Option<String>,
    /// The tables that hold its rows: itself, or its partitions.
    pub(crate) holders: Vec<Holder>,
    /// Columns that alone tell one row from every other.
    pub(crate) unique: BTreeSet<String>,
}

/// What kind of relation it is, as far as it matters here.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Table,
    Partitioned,
    /// Something whose changes are in no log, with its name.
    Unlogged(&'static str),
    /// A table of the server itself.
    System,
}

#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// As SQL writes it.
    pub(crate) type_name: String,
    /// `None` if equal values may differ in text.
    pub(crate) canon: Option<Canon>,
    /// Generated columns are not in the log.
    pub(crate) is_generated: bool,
    /// Whether its text shows names that live elsewhere: of a table, a function, a role, or of another table's columns.
    pub(crate) shows_names: bool,
}

/// A table that holds rows, and what the log tells of a row that was.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    /// As SQL names it.
    pub(crate) sql_name: String,
    pub(crate) old: Old,
    /// Indexes that could serve as replica identity: name and columns.
    pub(crate) indexes: Vec<(String, BTreeSet<String>)>,
}

/// The columns of a row that the log tells as they were (`REPLICA IDENTITY`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    All,
    Columns(BTreeSet<String>),
    /// No identity at all: the server refuses UPDATE and DELETE on a published table like that.
    Nothing,
}

/// The publication as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publication {
    /// Operations it leaves out, of insert, update, delete and truncate.
    pub(crate) leaves_out: Vec<String>,
    /// Tables of which it tells only some rows or some columns.
    pub(crate) partial: BTreeMap<u32, &'static str>,
    /// Whether changes of partitions are told under the name of the partitioned table.
    pub(crate) via_root: bool,
}

impl Catalog {
    /// Makes of it what it is after a setup that lacks nothing.
    pub(crate) fn set_up(&mut self) {
        self.publication = Some(Publication { via_root: true, ..Publication::default() });
        self.poor_wal_level = None;
        for relation in self.relations.values_mut() {
            if matches!(relation.kind, Kind::Table | Kind::Partitioned) && relation.logged_as.is_none() {
                relation.logged_as = Some(relation.full_name());
            }
            for holder in &mut relation.holders {
                holder.old = Old::All;
            }
        }
    }

    /// By exact name.
    pub(crate) fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.relations.values().find(|relation| relation.schema == schema && relation.name == name)
    }
}

impl Relation {
    /// By exact name.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// `schema.table`, as the log names it.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// As SQL names it.
    pub(crate) fn sql_name(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    /// Whether the log tells the old value of a column when a row moves or dies; if not, what must be done.
    pub(crate) fn tells_old(&self, column: &str) -> Result<(), String> {
        let lacking: Vec<&Holder> = self.holders.iter().filter(|holder| !holder.tells_old(column)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let mends: Vec<String> = lacking.iter().take(3).map(|holder| holder.mend(column)).collect();
        let more = if lacking.len() > 3 {
            format!("; and so for {} more partitions", lacking.len() - 3)
        } else {
            String::new()
        };
        Err(format!("{}{more}", mends.join("; ")))
    }
}

impl Holder {
    fn tells_old(&self, column: &str) -> bool {
        match &self.old {
            Old::All => true,
            Old::Columns(columns) => columns.contains(column),
            Old::Nothing => false,
        }
    }

    /// The statement that makes the log tell the old value.
    fn mend(&self, column: &str) -> String {
        let kept: BTreeSet<&String> = match &self.old {
            Old::Columns(columns) => columns.iter().collect(),
            Old::All | Old::Nothing => BTreeSet::new(),
        };
        // An index that would take away what is told now is no mend.
        let fitting = self
            .indexes
            .iter()
            .find(|(_, columns)| columns.contains(column) && kept.iter().all(|kept| columns.contains(*kept)));
        match fitting {
            Some((index, _)) => {
                format!("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", self.sql_name, quote(index))
            }
            None => format!("ALTER TABLE {} REPLICA IDENTITY FULL", self.sql_name),
        }
    }
}

/// A name as SQL writes it, quoted only where it must be.
pub(crate) fn quote(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
        && !is_reserved(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Words that PostgreSQL does not take for a name everywhere.
fn is_reserved(name: &str) -> bool {
    const RESERVED: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean \
        both case cast char character check coalesce collate collation column concurrently constraint create \
        cross current_catalog current_date current_role current_schema current_time current_timestamp \
        current_user dec decimal default deferrable desc distinct do else end except exists extract false \
        fetch float for foreign freeze from full grant greatest group grouping having ilike in initially \
        inner inout int integer intersect interval into is isnull join lateral leading least left like limit \
        localtime localtimestamp national natural nchar none normalize not notnull null nullif numeric \
        offset on only or order out outer overlaps overlay placing position precision primary real \
        references returning right row select session_user setof similar smallint some substring symmetric \
        table tablesample then time timestamp to trailing treat trim true union unique user using values \
        varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists \
        xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";
    RESERVED.split(' ').any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(old: Old, indexes: &[(&str, &[&str])]) -> Holder {
        let indexes = indexes
            .iter()
            .map(|(name, columns)| ((*name).to_owned(), columns.iter().map(|c| (*c).to_owned()).collect()))
            .collect();
        Holder { sql_name: "public.t".into(), old, indexes }
    }

    #[test]
    fn the_mend_names_an_index_only_if_it_tells_no_less_than_before() {
        let id = || Old::Columns(["id".to_owned()].into());
        assert_eq!(holder(id(), &[]).mend("a"), "ALTER TABLE public.t REPLICA IDENTITY FULL");
        assert_eq!(
            holder(id(), &[("only_a", &["a"])]).mend("a"),
            "ALTER TABLE public.t REPLICA IDENTITY FULL"
        );
        assert_eq!(
            holder(id(), &[("Both", &["a", "id"])]).mend("a"),
            "ALTER TABLE public.t REPLICA IDENTITY USING INDEX \"Both\""
        );
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (name, quoted) in
            [("track", "track"), ("Track", "\"Track\""), ("order", "\"order\""), ("a\"b", "\"a\"\"b\"")]
        {
            assert_eq!(quote(name), quoted);
        }
    }
}
