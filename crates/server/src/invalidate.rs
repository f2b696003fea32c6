//! The names under which applications invalidate: `#prices`, `users`, `users:id=42`.

use candor_core::{Dependency, Derived, Facet, Tag, TaggedBy, ViewQuery};

/// What an application says has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagName {
    /// `#name`: an application tag.
    Application(Box<str>),
    /// `table`: any row. In lower case.
    Table(Box<str>),
    /// `table:column=value`: the rows whose column has this value. Names in lower case.
    Row {
        /// The table.
        table: Box<str>,
        /// The column.
        column: Box<str>,
        /// The value's canonical text.
        value: Box<str>,
    },
}

impl TagName {
    /// Reads one of the three forms.
    ///
    /// # Errors
    ///
    /// A sentence that names the text and shows the forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refusal = || Err(format!("`{text}` is not a tag; write #tag, table or table:column=value"));
        if let Some(name) = text.strip_prefix('#') {
            return if name.is_empty() { refusal() } else { Ok(Self::Application(name.into())) };
        }
        let named = |name: &str| (!name.is_empty()).then(|| Box::<str>::from(name.to_lowercase()));
        let Some((table, row)) = text.split_once(':') else {
            return match named(text).filter(|name| !name.contains('=')) {
                Some(table) => Ok(Self::Table(table)),
                None => refusal(),
            };
        };
        match (named(table), row.split_once('=').map(|(column, value)| (named(column), value))) {
            (Some(table), Some((Some(column), value))) => {
                Ok(Self::Row { table, column, value: value.into() })
            }
            _ => refusal(),
        }
    }

    /// Whether this names any row of the table.
    pub(crate) fn is_table(&self, table: &str) -> bool {
        matches!(self, Self::Table(named) if is_meant(named, table))
    }

    /// The tags that entries of this view can have and that this names.
    pub(crate) fn tags(&self, query: &ViewQuery, derived: &Derived) -> Vec<Tag> {
        let declared = query.invalidated_by.as_deref().unwrap_or_default();
        match self {
            Self::Application(name) => {
                let is_declared = declared
                    .iter()
                    .any(|dependency| matches!(dependency, Dependency::Application(known) if known == name));
                if is_declared { vec![Tag::application(name)] } else { Vec::new() }
            }
            Self::Table(table) => {
                let facets = facets(table, declared, derived, None);
                facets.into_iter().map(|(table, facet)| Tag::table(&table, facet)).collect()
            }
            Self::Row { table, column, value } => {
                let rows = facets(table, declared, derived, Some(column)).into_iter();
                let rows = rows.map(|(table, facet)| Tag::row(&table, facet, column, value));
                // Entries that depend on the whole table depend on this row, too.
                let tables = facets(table, &[], derived, None).into_iter();
                let whole = declared.iter().any(
                    |dependency| matches!(dependency, Dependency::Table(known) if known.to_lowercase() == **table),
                );
                let whole = whole.then(|| Tag::table(table, Facet::WHOLE));
                rows.chain(tables.map(|(table, facet)| Tag::table(&table, facet))).chain(whole).collect()
            }
        }
    }
}

/// Whether somebody who says `named` means this table. One that is known with its schema is also meant without it: an
/// application that names too much costs a load, one that names too little is not heard.
fn is_meant(named: &str, table: &str) -> bool {
    let bare = || table.rsplit_once('.').is_some_and(|(_, bare)| bare == named);
    named == table || bare()
}

/// The tables that are meant, with the column sets by which entries of the view depend on them: by rows of `column`, or
/// as a whole.
fn facets(
    table: &str,
    declared: &[Dependency],
    derived: &Derived,
    column: Option<&str>,
) -> Vec<(Box<str>, Facet)> {
    let mut facets = Vec::new();
    for read in derived.reads.iter().filter(|read| is_meant(table, &read.table)) {
        let fits = read.tagged_by.iter().any(|way| match (way, column) {
            (TaggedBy::Key { column: by, .. } | TaggedBy::Met { column: by, .. }, Some(column)) => {
                **by == *column
            }
            // A read by met values depends on the whole table once it meets too many.
            (TaggedBy::Met { .. } | TaggedBy::Table { .. }, None) => true,
            _ => false,
        });
        if fits {
            // A table that is declared and not read is depended on in all its columns.
            let columns = Facet::of(read.columns.iter().map(|column| &**column));
            facets.extend([columns, Facet::WHOLE].map(|facet| (read.table.clone(), facet)));
        }
    }
    // What no log watches is only declared.
    let is_declared = declared.iter().any(|dependency| match (dependency, column) {
        (Dependency::Row { table: known, column: by, .. }, Some(column)) => {
            known.to_lowercase() == table && by.to_lowercase() == column
        }
        (Dependency::Row { table: known, .. } | Dependency::Table(known), None) => {
            known.to_lowercase() == table
        }
        _ => false,
    });
    if is_declared {
        facets.push((table.into(), Facet::WHOLE));
    }
    facets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_meant_with_its_schema_and_without() {
        assert!(is_meant("users", "users") && is_meant("users", "public.users"));
        assert!(is_meant("public.users", "public.users") && !is_meant("sales.users", "public.users"));
        assert!(!is_meant("sers", "public.users") && !is_meant("public", "public.users"));
    }

    #[test]
    fn tags_read_in_three_forms() {
        let row =
            |value: &str| TagName::Row { table: "users".into(), column: "id".into(), value: value.into() };
        assert_eq!(TagName::parse("#prices"), Ok(TagName::Application("prices".into())));
        assert_eq!(TagName::parse("Users"), Ok(TagName::Table("users".into())));
        assert_eq!(TagName::parse("users:ID=42"), Ok(row("42")));
        assert_eq!(TagName::parse("users:id=a=b:c"), Ok(row("a=b:c")));
        assert_eq!(TagName::parse("users:id="), Ok(row("")));
        for text in ["", "#", ":", "users:", "users:id", ":id=1", "users:=1", "users=1"] {
            assert!(TagName::parse(text).unwrap_err().contains("table:column=value"), "{text}");
        }
    }
}
