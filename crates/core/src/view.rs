//! Views as they are declared, and what a source finds when it holds a declaration against its live schema.

use crate::key::{KeyType, KeyValue};
use crate::port::ViewHandle;
use crate::receipt::ProofKind;

/// A named, keyed read of a source, as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewQuery {
    /// The name.
    pub name: Box<str>,
    /// The key columns in order; the first is `$1` in the SQL.
    pub key: Vec<KeyColumn>,
    /// One `SELECT`.
    pub sql: Box<str>,
    /// How many rows an answer has.
    pub rows: Rows,
    /// What invalidates an entry; `None` to derive it from the SQL.
    pub invalidated_by: Option<Vec<Dependency>>,
    /// `Clock` for views that are knowingly not followed in the log.
    pub proof: ProofKind,
}

/// A key column of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name, for messages and JSON.
    pub name: Box<str>,
    /// Its type.
    pub kind: KeyType,
}

/// How many rows an answer has.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One row as an object, or absent. More than one row is the contract's fault.
    One,
    /// Any number of rows as an array; never absent.
    Many,
}

/// A declared dependency.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// `table.column=$n`: rows whose column has the value of the n-th key column (counted from zero here).
    Row {
        /// The table.
        table: Box<str>,
        /// The column.
        column: Box<str>,
        /// Index of the key column.
        parameter: usize,
    },
    /// `table`: any row.
    Table(Box<str>),
    /// `#name`: an application tag.
    Application(Box<str>),
}

/// What a source found when it prepared a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The handle for fills; `None` if the view was refused.
    pub handle: Option<ViewHandle>,
    /// The result's columns in order.
    pub columns: Vec<Box<str>>,
    /// Every table the view reads, and how a change there reaches an entry.
    pub reads: Vec<TableRead>,
    /// The best proof there can be.
    pub proof: ProofKind,
    /// What is refused, and what is worth knowing.
    pub findings: Vec<Finding>,
}

/// A table a view reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRead {
    /// The table.
    pub table: Box<str>,
    /// The columns it reads of it, ascending. A change that touches none of them does not invalidate.
    pub columns: Vec<Box<str>>,
    /// How its changes reach an entry.
    pub tagged_by: Vec<TaggedBy>,
}

/// How changes of a table reach an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaggedBy {
    /// Rows whose `column` equals a key column.
    Key {
        /// The table's column.
        column: Box<str>,
        /// Index of the key column.
        parameter: usize,
    },
    /// Rows whose `column` equals a value met while answering.
    Met {
        /// The table's column.
        column: Box<str>,
        /// The expression that met it, e.g. `l.TrackId`.
        from: Box<str>,
    },
    /// Any row.
    Table {
        /// Why nothing narrower is possible.
        why: Box<str>,
    },
}

/// Something worth saying about a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the view can be used.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

/// How bad a finding is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The view works and promises less than it could.
    Warning,
    /// The view is refused.
    Refused,
}

impl Derived {
    /// Whether anything was refused.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Refused)
    }
}

impl Dependency {
    /// Reads `table.column=$1`, `table`, `#application-tag`.
    ///
    /// # Errors
    ///
    /// A sentence that names the text and shows the accepted forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refusal = || format!("`{text}` is not a dependency; write table.column=$1, table or #tag");
        if let Some(name) = text.strip_prefix('#') {
            return if name.is_empty() { Err(refusal()) } else { Ok(Self::Application(name.into())) };
        }
        let is_name = |part: &str| !part.is_empty() && !part.contains(['=', '$', ' ', '"', '\'']);
        let Some((left, right)) = text.split_once('=') else {
            return if is_name(text) && !text.contains('.') {
                Ok(Self::Table(text.into()))
            } else {
                Err(refusal())
            };
        };
        let parameter = right
            .trim()
            .strip_prefix('$')
            .and_then(|number| number.parse::<usize>().ok())
            .and_then(|n| n.checked_sub(1));
        match (left.trim().split_once('.'), parameter) {
            (Some((table, column)), Some(parameter)) if is_name(table) && is_name(column) => {
                Ok(Self::Row { table: table.into(), column: column.into(), parameter })
            }
            _ => Err(refusal()),
        }
    }
}

impl ViewQuery {
    /// Reads the parts of a key, in order, into canonical values.
    ///
    /// # Errors
    ///
    /// A sentence that names the column and what is wrong.
    pub fn parse_key<'a>(
        &self,
        parts: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<Box<[KeyValue]>, String> {
        let (given, wanted) = (parts.len(), self.key.len());
        if given != wanted {
            let names: Vec<&str> = self.key.iter().map(|column| &*column.name).collect();
            return Err(format!(
                "view `{}` has {wanted} key column(s) ({}), but {given} were given",
                self.name,
                names.join(", ")
            ));
        }
        let mut values = Vec::with_capacity(wanted);
        for (part, column) in parts.zip(&self.key) {
            let value = column.kind.parse(part);
            values.push(value.map_err(|error| format!("key column `{}`: {error}", column.name))?);
        }
        Ok(values.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_read_in_three_forms() {
        let row = Dependency::Row { table: "users".into(), column: "id".into(), parameter: 0 };
        assert_eq!(Dependency::parse("users.id=$1"), Ok(row.clone()));
        assert_eq!(Dependency::parse("users.id = $1"), Ok(row));
        assert_eq!(Dependency::parse("genres"), Ok(Dependency::Table("genres".into())));
        assert_eq!(Dependency::parse("#prices"), Ok(Dependency::Application("prices".into())));
        for text in [
            "",
            "#",
            "users.id",
            "users.id=",
            "users.id=1",
            "users.id=$0",
            "users=$1",
            "a b",
            "users.id=$1=$2",
        ] {
            assert!(Dependency::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_of_the_wrong_length_or_type_names_the_column() {
        let column = |name: &str| KeyColumn { name: name.into(), kind: KeyType::Int8 };
        let view = ViewQuery {
            name: "seat".into(),
            key: vec![column("row"), column("number")],
            sql: "".into(),
            rows: Rows::One,
            invalidated_by: None,
            proof: ProofKind::Log,
        };
        assert_eq!(view.parse_key(["1", "2"].into_iter()).unwrap().len(), 2);
        assert!(view.parse_key(["1"].into_iter()).unwrap_err().contains("row, number"));
        assert!(view.parse_key(["1", "x"].into_iter()).unwrap_err().contains("`number`"));
    }
}
