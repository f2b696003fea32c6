//! `[view.NAME]`: a view and its contract.

use super::origin::Span;
use super::section::{Section, Text};
use super::source::Sources;
use super::sql::placeholders;
use super::suggest::{listed, nearest};
use candor_core::{
    Contract, Dependency, KeyColumn, KeyType, Level, OnFeedDown, OnSourceDown, ProofKind, Refresh, Rows,
    ViewQuery, duration,
};
use std::collections::BTreeSet;

/// Columns of a key. More is a query, not a key.
pub(crate) const KEY_COLUMNS_MAX: usize = 16;

/// A declared view.
#[derive(Clone, Debug)]
pub struct ViewDeclaration {
    /// Its name.
    pub name: Box<str>,
    /// The name of its source, which is declared.
    pub source: Box<str>,
    /// What is asked of the source.
    pub query: ViewQuery,
    /// What is promised.
    pub contract: Contract,
    /// The index of the key column that is filled from authentication and never from the request; `None` for views
    /// that are the same for everybody. Source: `private = "<column>"`.
    pub private: Option<usize>,
    spans: Vec<(&'static str, Span)>,
}

impl ViewDeclaration {
    /// Where a field of the view stands, or the view's name if the field is absent: for complaints that a source raises
    /// when it holds the view against its live schema.
    pub fn span(&self, field: &str) -> Span {
        let found = self.spans.iter().find(|(name, _)| *name == field).or(self.spans.first());
        found.map_or(0..0, |(_, span)| span.clone())
    }
}

/// The fields whose spans are kept.
const FIELDS: [&str; 15] = [
    "owner",
    "source",
    "key",
    "sql",
    "rows",
    "invalidated_by",
    "proof",
    "private",
    "consistency",
    "ttl",
    "absent_ttl",
    "refresh",
    "on_source_down",
    "on_feed_down",
    "timeout",
];

/// Reads one view. `None` if it is too broken to be made; the complaints are noted either way.
pub(super) fn read(name: &Text<'_>, section: Section<'_>, sources: &Sources<'_>) -> Option<ViewDeclaration> {
    super::check_name(name, section.reader);
    section.require("owner", "say who answers for it: owner = \"team\"");
    section.require("source", "name one of the sources: source = \"…\"");
    section.require("key", "list the key columns: key = [\"id:int8\"], or key = [] for a view without a key");
    section.require("sql", "write one SELECT: sql = \"SELECT … WHERE id = $1\"");
    let owner = section.text("owner");
    let source = section.text("source");
    if let Some(source) = &source {
        sources.require(source, &section);
    }
    let key = section.texts("key").map(|columns| read_key(&section, columns));
    let sql = section.text("sql");
    let rows = section.parsed("rows", |text| match text {
        "one" => Ok(Rows::One),
        "many" => Ok(Rows::Many),
        _ => Err(format!(
            "`{text}` is not a number of rows; write one (an object or absent) or many (an array)"
        )),
    });
    let proof = section.parsed("proof", |text| match text {
        "log" => Ok(ProofKind::Log),
        "clock" => Ok(ProofKind::Clock),
        _ => Err(format!("`{text}` is not a kind of proof; write log or clock")),
    });
    let proof = proof.unwrap_or(ProofKind::Log);
    let invalidated_by = section.texts("invalidated_by");
    let private = section.text("private");
    let contract = read_contract(&section, name, owner.as_ref(), proof);

    // What follows compares fields with the key, so it is only worth doing if the key could be read.
    let key = key.filter(|_| !section.is_faulty("key"));
    if let (Some(key), Some(sql)) = (&key, &sql) {
        check_placeholders(&section, sql, key);
    }
    let invalidated_by = invalidated_by.map(|list| read_dependencies(&section, &list, key.as_deref()));
    let private = private.and_then(|column| find_private(&section, &column, key.as_deref()?));
    let spans = std::iter::once(("", name.span.clone()))
        .chain(
            FIELDS
                .into_iter()
                .filter(|field| section.has(field))
                .map(|field| (field, section.span_of(field))),
        )
        .collect();
    section.finish();
    Some(ViewDeclaration {
        name: name.text.into(),
        source: source?.text.into(),
        query: ViewQuery {
            name: name.text.into(),
            key: key?,
            sql: sql?.text.into(),
            rows: rows.unwrap_or(Rows::One),
            invalidated_by,
            proof,
        },
        contract,
        private,
        spans,
    })
}

fn read_key(section: &Section<'_>, columns: Vec<Text<'_>>) -> Vec<KeyColumn> {
    let mut key: Vec<KeyColumn> = Vec::new();
    if columns.len() > KEY_COLUMNS_MAX {
        section.complain("key", format!("a key has at most {KEY_COLUMNS_MAX} columns"), "leave some out");
        return key;
    }
    for column in columns {
        let complain = |message: String, mend: String| {
            // Marks the field as faulty, so that nothing is compared with half a key.
            section.complain_at("key", column.span.clone(), message, mend);
        };
        let Some((name, kind)) = column.text.split_once(':') else {
            complain(
                format!("`{}` has no type", column.text),
                format!("write \"{}:int8\" or another type", column.text),
            );
            continue;
        };
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            complain(format!("`{name}` cannot be the name of a key column"), "write \"id:int8\"".into());
        } else if key.iter().any(|known| *known.name == *name) {
            complain(format!("the key column `{name}` is declared twice"), "give each its own name".into());
        }
        match KeyType::named(kind) {
            Some(kind) => key.push(KeyColumn { name: name.into(), kind }),
            None => complain(format!("`{kind}` is not a type of key column"), meant_type(kind)),
        }
    }
    key
}

/// What people coming from a database's own type names mean.
fn meant_type(kind: &str) -> String {
    let known = KeyType::ALL.map(|(name, _)| name);
    let meant = match kind.to_ascii_lowercase().as_str() {
        "int" | "integer" | "bigint" | "i64" | "int64" | "serial" | "bigserial" => Some("int8"),
        "smallint" => Some("int2"),
        "string" | "varchar" | "str" => Some("text"),
        "boolean" => Some("bool"),
        other => nearest(other, known),
    };
    match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the types are {}", listed(known)),
    }
}

fn read_contract(
    section: &Section<'_>,
    name: &Text<'_>,
    owner: Option<&Text<'_>>,
    proof: ProofKind,
) -> Contract {
    let default = Contract::default();
    let critical = section.flag("critical").unwrap_or(default.critical);
    // Only strong exists for a critical view, so it need not be written down.
    let level = if critical { Level::Strong } else { default.level };
    let contract = Contract {
        view: name.text.into(),
        owner: owner.map_or("", |owner| owner.text).into(),
        level: section.parsed("consistency", Level::parse).unwrap_or(level),
        critical,
        proof,
        ttl: section.parsed("ttl", duration::parse).unwrap_or(default.ttl),
        absent_ttl: section.parsed("absent_ttl", duration::parse).unwrap_or(default.absent_ttl),
        refresh: section.parsed("refresh", Refresh::parse).unwrap_or(default.refresh),
        on_source_down: section
            .parsed("on_source_down", OnSourceDown::parse)
            .unwrap_or(default.on_source_down),
        on_feed_down: section.parsed("on_feed_down", OnFeedDown::parse).unwrap_or(default.on_feed_down),
        timeout: section.parsed("timeout", duration::parse).unwrap_or(default.timeout),
    };
    for contradiction in contract.contradictions() {
        // A field that could not be read holds its default here, and the default is nobody's contradiction.
        if !section.is_faulty(contradiction.field) && !section.is_faulty("consistency") {
            section.reader.complain_sentence(section.span_of(contradiction.field), &contradiction.message);
        }
    }
    if owner.is_some_and(|owner| owner.text.trim().is_empty()) {
        section.complain("owner", "the owner is empty", "say who answers for the view: owner = \"team\"");
    }
    if proof == ProofKind::Clock && section.has("on_feed_down") {
        section.complain(
            "on_feed_down",
            "a view with proof = \"clock\" follows no log, so nothing happens when the log is down",
            "remove on_feed_down, or write proof = \"log\"",
        );
    }
    contract
}

/// The numbers in the SQL are exactly those of the key columns.
fn check_placeholders(section: &Section<'_>, sql: &Text<'_>, key: &[KeyColumn]) {
    if sql.text.trim().is_empty() {
        return section.complain(
            "sql",
            "the SQL is empty",
            "write one SELECT: sql = \"SELECT … WHERE id = $1\"",
        );
    }
    let found = placeholders(sql.text);
    let start = section.reader.origin.beginning(&sql.span, sql.text);
    let mut told = BTreeSet::new();
    for placeholder in &found {
        let written = &sql.text[placeholder.range.clone()];
        let (message, mend) = match placeholder.number {
            Some(number) if (1..=key.len()).contains(&number) => continue,
            Some(_) => (
                format!("`{written}` has no key column; the key has {}", key.len()),
                "list a column for it in key, or use a number that has one",
            ),
            None => (
                format!("`{written}` is not a placeholder of a key column"),
                "write $1 for the first key column, $2 for the second",
            ),
        };
        // A wrong number that is used often is one mistake.
        if told.insert(written) {
            let range = placeholder.range.clone();
            let span = start.map_or(sql.span.clone(), |start| start + range.start..start + range.end);
            section.reader.complain(span, message, mend);
        }
    }
    for (index, column) in key.iter().enumerate() {
        if !found.iter().any(|placeholder| placeholder.number == Some(index + 1)) {
            section.complain(
                "sql",
                format!("the SQL does not use the key column `{}` (${})", column.name, index + 1),
                format!("use ${} in the SQL, or take `{}` out of key", index + 1, column.name),
            );
        }
    }
}

fn read_dependencies(section: &Section<'_>, list: &[Text<'_>], key: Option<&[KeyColumn]>) -> Vec<Dependency> {
    if list.is_empty() && !section.is_faulty("invalidated_by") {
        section.complain(
            "invalidated_by",
            "nothing would invalidate this view",
            "leave invalidated_by out to derive it from the SQL, or list a dependency",
        );
    }
    let mut dependencies = Vec::new();
    for item in list {
        match Dependency::parse(item.text) {
            Err(sentence) => section.reader.complain_sentence(item.span.clone(), &sentence),
            Ok(Dependency::Row { parameter, .. }) if key.is_some_and(|key| parameter >= key.len()) => {
                let columns = key.map_or(0, <[KeyColumn]>::len);
                section.reader.complain(
                    item.span.clone(),
                    format!("`${}` has no key column; the key has {columns}", parameter + 1),
                    "use the number of a key column, or depend on the whole table",
                );
            }
            Ok(dependency) => dependencies.push(dependency),
        }
    }
    dependencies
}

fn find_private(section: &Section<'_>, column: &Text<'_>, key: &[KeyColumn]) -> Option<usize> {
    let index = key.iter().position(|known| *known.name == *column.text);
    if index.is_none() {
        let names: Vec<&str> = key.iter().map(|known| &*known.name).collect();
        section.complain(
            "private",
            format!("the key has no column `{}` to hold the authenticated subject", column.text),
            format!(
                "name one of the key columns ({}), or add \"{}:text\" to key",
                listed(names),
                column.text
            ),
        );
    }
    index
}
