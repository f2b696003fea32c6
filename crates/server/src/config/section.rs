//! A typed reader over a table with spans.
//!
//! Each question (`duration`, `text`, …) returns what it found or notes a complaint and returns `None`, so that one run
//! finds everything that is wrong. A section remembers what it was asked for; what is left at [`Section::finish`] is
//! unknown, and is compared with what was asked to say what was probably meant.

use super::complaint::{Complaint, Complaints};
use super::expand::{Environment, expand};
use super::origin::{Origin, Span};
use super::suggest::{listed, nearest};
use candor_core::duration;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// What all sections of a file share: its text, the environment, and what is wrong so far.
pub(crate) struct Reader<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) environment: &'a Environment<'a>,
    complaints: RefCell<Complaints>,
}

/// One table of the file.
pub(crate) struct Section<'a> {
    pub(crate) reader: &'a Reader<'a>,
    /// As a person would write it: `[view.user]`, `limit`.
    title: String,
    /// Where it is named.
    pub(crate) span: Span,
    table: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
    faulty: RefCell<Vec<&'static str>>,
}

/// A string of the file and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(origin: &'a Origin, environment: &'a Environment<'a>, complaints: Complaints) -> Self {
        Self { origin, environment, complaints: RefCell::new(complaints) }
    }

    /// Notes a complaint.
    pub(crate) fn complain(&self, span: Span, message: impl Into<String>, mend: impl Into<String>) {
        self.note(|| self.origin.complaint(span, message, mend));
    }

    /// Notes a sentence of the form `what is wrong; what to write instead`, as the core's parsers make them.
    pub(crate) fn complain_sentence(&self, span: Span, sentence: &str) {
        // The last semicolon: text from the file stands in the first half.
        let (message, mend) = sentence.rsplit_once("; ").unwrap_or((sentence, ""));
        self.complain(span, message, mend);
    }

    /// Notes a complaint that costs something to put into words.
    pub(crate) fn note(&self, complaint: impl FnOnce() -> Complaint) {
        self.complaints.borrow_mut().add(complaint);
    }

    /// The file itself, as a section.
    pub(crate) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section::new(self, "the file".to_owned(), 0..0, table)
    }

    pub(crate) fn into_complaints(self) -> Complaints {
        self.complaints.into_inner()
    }
}

impl<'a> Section<'a> {
    fn new(reader: &'a Reader<'a>, title: String, span: Span, table: &'a DeTable<'a>) -> Self {
        Self { reader, title, span, table, asked: RefCell::default(), faulty: RefCell::default() }
    }

    /// Where the field's value stands, or the section's name if the field is absent.
    pub(crate) fn span_of(&self, field: &str) -> Span {
        self.table.get(field).map_or_else(|| self.span.clone(), |value| value.span())
    }

    /// Whether the field was there and could not be read.
    pub(crate) fn is_faulty(&self, field: &str) -> bool {
        self.faulty.borrow().contains(&field)
    }

    /// Whether the field is there at all.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.table.contains_key(field)
    }

    /// Notes a complaint about a field's value.
    pub(crate) fn complain(&self, field: &'static str, message: impl Into<String>, mend: impl Into<String>) {
        self.faulty.borrow_mut().push(field);
        self.reader.complain(self.span_of(field), message, mend);
    }

    /// Notes a complaint about a part of a field's value.
    pub(crate) fn complain_at(&self, field: &'static str, span: Span, message: String, mend: String) {
        self.faulty.borrow_mut().push(field);
        self.reader.complain(span, message, mend);
    }

    /// Complains if the field is absent.
    pub(crate) fn require(&self, field: &'static str, mend: &str) {
        if !self.has(field) {
            self.faulty.borrow_mut().push(field);
            self.reader.complain(self.span.clone(), format!("{} has no `{field}`", self.title), mend);
        }
    }

    /// A field that is known and cannot be given, with the reason.
    pub(crate) fn refuse(&self, field: &'static str, message: &str, mend: &str) {
        if let Some((_, span)) = self.value(field) {
            self.faulty.borrow_mut().push(field);
            self.reader.complain(span, message, mend);
        }
    }

    /// A string as it stands.
    pub(crate) fn text(&self, field: &'static str) -> Option<Text<'a>> {
        let (value, span) = self.value(field)?;
        match value.as_str() {
            Some(text) => Some(Text { text, span }),
            None => self.wrong_type(field, value, "text", "put it in quotes"),
        }
    }

    /// A string with the environment's values filled in.
    pub(crate) fn expanded(&self, field: &'static str) -> Option<(String, Span)> {
        let Text { text, span } = self.text(field)?;
        match expand(text, self.reader.environment) {
            Ok(expanded) => Some((expanded, span)),
            Err(error) => {
                self.faulty.borrow_mut().push(field);
                let part = match self.reader.origin.beginning(&span, text) {
                    Some(start) => start + error.range.start..start + error.range.end,
                    None => span,
                };
                self.reader.complain(part, error.message, error.mend);
                None
            }
        }
    }

    /// A string that `parse` understands; its error is a sentence `what is wrong; what to write instead`.
    pub(crate) fn parsed<T>(
        &self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Text { text, span } = self.text(field)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(sentence) => {
                self.faulty.borrow_mut().push(field);
                self.reader.complain_sentence(span, &sentence);
                None
            }
        }
    }

    /// A duration. Zero is refused: nowhere in a configuration does it mean anything but a slip, except where
    /// [`Self::parsed`] is used instead.
    pub(crate) fn duration(&self, field: &'static str) -> Option<Duration> {
        let length = self.parsed(field, duration::parse)?;
        if length.is_zero() {
            self.complain(field, format!("`{field}` is zero"), "give it a length, such as 1s");
            return None;
        }
        Some(length)
    }

    /// A whole number within `range`.
    pub(crate) fn whole(&self, field: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let (value, _) = self.value(field)?;
        let Some(integer) = value.as_integer() else {
            return self.wrong_type(field, value, "a whole number", "write a whole number without quotes");
        };
        let (low, high) = (range.start(), range.end());
        let mend = format!("write a whole number from {low} to {high}");
        // The parser has checked the digits, so only the size can be wrong.
        match u64::from_str_radix(integer.as_str().trim_start_matches('+'), integer.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let fault = if integer.as_str().starts_with('-') {
                    "is negative".to_owned()
                } else {
                    format!("is not between {low} and {high}")
                };
                self.complain(field, format!("`{field}` {fault}"), mend);
                None
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, field: &'static str) -> Option<bool> {
        let (value, _) = self.value(field)?;
        value
            .as_bool()
            .or_else(|| self.wrong_type(field, value, "true or false", "write true or false without quotes"))
    }

    /// A list of strings. One that is not a string is complained about and left out.
    pub(crate) fn texts(&self, field: &'static str) -> Option<Vec<Text<'a>>> {
        let (value, _) = self.value(field)?;
        let Some(list) = value.as_array() else {
            return self.wrong_type(field, value, "a list of strings", "write a list: [\"…\", \"…\"]");
        };
        let texts = list.iter().filter_map(|item| match item.get_ref().as_str() {
            Some(text) => Some(Text { text, span: item.span() }),
            None => {
                self.faulty.borrow_mut().push(field);
                let kind = kind_of(item.get_ref());
                self.reader.complain(
                    item.span(),
                    format!("`{field}` is a list of strings, but this is {kind}"),
                    "put it in quotes",
                );
                None
            }
        });
        Some(texts.collect())
    }

    /// A table inside this one, as a section of its own.
    pub(crate) fn table(&self, field: &'static str) -> Option<Section<'a>> {
        let (value, _) = self.value(field)?;
        let Some(table) = value.as_table() else {
            return self.wrong_type(
                field,
                value,
                "a table",
                &format!("write a section [{field}] or {field} = {{ … }}"),
            );
        };
        let span = self.table.get_key_value(field).map_or(0..0, |(key, _)| key.span());
        Some(Section::new(self.reader, format!("`{field}`"), span, table))
    }

    /// The sections `[group.NAME]` with their names, in the order of the file.
    pub(crate) fn named(&self, group: &'static str) -> Vec<(Text<'a>, Section<'a>)> {
        let Some((value, _)) = self.value(group) else { return Vec::new() };
        let Some(table) = value.as_table() else {
            let mend = format!("write one section [{group}.NAME] for each");
            let _: Option<()> = self.wrong_type(group, value, "a group of sections", &mend);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (key, value) in table.iter() {
            let name = Text { text: key.get_ref(), span: key.span() };
            match value.get_ref().as_table() {
                Some(inner) => {
                    let title = format!("[{group}.{}]", name.text);
                    sections.push((name.clone(), Section::new(self.reader, title, name.span, inner)));
                }
                None => self.reader.complain(
                    value.span(),
                    format!("`{group}.{}` is {}, not a section", name.text, kind_of(value.get_ref())),
                    format!("write a section [{group}.NAME] with its fields below"),
                ),
            }
        }
        sections.sort_by_key(|(name, _)| name.span.start);
        sections
    }

    /// The sections `[[group]]`, in the order of the file.
    pub(crate) fn repeated(&self, group: &'static str) -> Vec<Section<'a>> {
        let Some((value, _)) = self.value(group) else { return Vec::new() };
        let tables: Option<Vec<Section<'a>>> = value.as_array().and_then(|list| {
            let section = |item: &'a toml::Spanned<DeValue<'a>>| {
                let table = item.get_ref().as_table()?;
                Some(Section::new(self.reader, format!("[[{group}]]"), item.span(), table))
            };
            list.iter().map(section).collect()
        });
        tables.unwrap_or_else(|| {
            let mend = format!("write one section [[{group}]] for each");
            let _: Option<()> = self.wrong_type(group, value, "a list of sections", &mend);
            Vec::new()
        })
    }

    /// Complains about every field that nobody asked for.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.iter().filter(|(key, _)| !asked.contains(&&**key.get_ref())) {
            self.reader.note(|| {
                let mend = match nearest(key.get_ref(), asked.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("the fields here are {}", listed(asked.iter().copied())),
                };
                let message = format!("{} has no field `{}`", self.title, key.get_ref());
                self.reader.origin.complaint(key.span(), message, mend)
            });
        }
    }

    fn value(&self, field: &'static str) -> Option<(&'a DeValue<'a>, Span)> {
        self.asked.borrow_mut().push(field);
        self.table.get(field).map(|value| (value.get_ref(), value.span()))
    }

    fn wrong_type<T>(&self, field: &'static str, value: &DeValue<'_>, wanted: &str, mend: &str) -> Option<T> {
        self.complain(field, format!("`{field}` is {wanted}, but this is {}", kind_of(value)), mend);
        None
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
