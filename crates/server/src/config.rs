//! Reading `candor.toml` into declarations.
//!
//! ```text
//! file ─► Origin (text, ≤ 1 MiB, UTF-8) ─► Document (TOML with spans) ─► Section (typed questions) ─► Config
//!                                                   └────────── Complaints: all of them, with places ──────────┘
//! ```
//!
//! The file is where promises are made, so it is read strictly: an unknown field, a wrong type or a contradiction is an
//! error with file, line, column and the mend, and one run reports everything that is wrong. Nothing is half read: a
//! file with one complaint gives no configuration.
//!
//! No secret that passes through here is shown by `Debug`, and complaints mask the lines they show.
//!
//! Here only what the file itself can tell is checked. Whether the source can keep a contract is found out by holding
//! the declarations against the live source; [`Config::complaint`] then points into this file again.

mod audit;
mod complaint;
mod document;
mod expand;
mod origin;
pub(crate) mod section;
mod server;
mod size;
mod source;
mod sql;
mod suggest;
mod tier;
mod view;

pub use audit::AuditSettings;
pub use complaint::{Complaint, Complaints};
pub(crate) use document::Document;
pub use expand::{Environment, process_environment};
pub use origin::{Origin, Place, Span};
pub use server::{AuthSettings, RequestLimits, ServerSettings};
pub use source::{FeedSettings, LimitSettings, PoolSettings, SourceDeclaration, SourceKind};
pub(crate) use suggest::nearest;
pub use tier::L1Settings;
pub(crate) use view::KEY_COLUMNS_MAX;
pub use view::ViewDeclaration;

use section::{Reader, Text};
use std::path::Path;

/// Everything a configuration file declares. Made only from files without a fault.
#[derive(Clone, Debug)]
pub struct Config {
    /// The sources, in the order of the file.
    pub sources: Vec<SourceDeclaration>,
    /// The views, in the order of the file.
    pub views: Vec<ViewDeclaration>,
    /// The tier in memory.
    pub l1: L1Settings,
    /// The doors.
    pub server: ServerSettings,
    /// How often served answers are held against the source.
    pub audit: AuditSettings,
    origin: Origin,
}

impl Config {
    /// Reads a file. Relative paths in it start at its directory.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; all is the author's to mend.
    pub fn read(file: &Path, environment: &Environment<'_>) -> Result<Self, Complaints> {
        Self::parse(Origin::read(file)?, environment)
    }

    /// Reads a text that is in memory already.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; all is the author's to mend.
    pub fn parse(origin: Origin, environment: &Environment<'_>) -> Result<Self, Complaints> {
        let Document { root, complaints } = Document::parse(&origin)?;
        let reader = Reader::new(&origin, environment, complaints);
        let (sources, views, l1, server, audit) = read_sections(&reader, &root);
        let complaints = reader.into_complaints();
        complaints.verdict(()).map(|()| Self { sources, views, l1, server, audit, origin: origin.clone() })
    }

    /// A complaint about a part of the file, for what is only found out later.
    pub fn complaint(&self, span: Span, message: impl Into<String>, mend: impl Into<String>) -> Complaint {
        self.origin.complaint(span, message, mend)
    }

    /// The place of a span's beginning.
    pub fn place(&self, span: &Span) -> Place {
        self.origin.place(span.start)
    }

    /// The file, as it was named.
    pub fn file(&self) -> &Path {
        self.origin.file()
    }

    /// The declared source of that name.
    pub fn source(&self, name: &str) -> Option<&SourceDeclaration> {
        self.sources.iter().find(|source| *source.name == *name)
    }
}

type Sections = (Vec<SourceDeclaration>, Vec<ViewDeclaration>, L1Settings, ServerSettings, AuditSettings);

fn read_sections<'a>(reader: &'a Reader<'a>, table: &'a toml::de::DeTable<'a>) -> Sections {
    let root = reader.root(table);
    let sources = source::read(&root);
    let views: Vec<ViewDeclaration> = root
        .named("view")
        .into_iter()
        .filter_map(|(name, section)| view::read(&name, section, &sources))
        .collect();
    let l1 = tier::read(&root);
    let (server, is_authenticating) = match root.table("server") {
        Some(section) => {
            let is_authenticating = section.has("auth");
            (server::read(section), is_authenticating)
        }
        None => (ServerSettings::default(), false),
    };
    for view in views.iter().filter(|view| view.private.is_some() && !is_authenticating) {
        reader.complain(
            view.span("private"),
            format!(
                "nobody could read the private view `{}`: [server] has no auth, so no read has a subject",
                view.name
            ),
            "add auth = { tokens_file = \"tokens.toml\" } to [server], or drop private",
        );
    }
    let names: Vec<&str> = views.iter().map(|view| &*view.name).collect();
    let audit = audit::read(&root, &names);
    root.finish();
    (sources.sound, views, l1, server, audit)
}

/// Names of sources and views stand in paths (`/v1/views/user/42`), commands (`user:42`) and metrics.
fn check_name(name: &Text<'_>, reader: &Reader<'_>) {
    let is_sound = !name.text.is_empty()
        && name.text.len() <= 64
        && name.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !is_sound {
        reader.complain(
            name.span.clone(),
            format!("`{}` cannot be a name", name.text),
            "use at most 64 letters, digits, hyphens and underscores",
        );
    }
}

#[cfg(test)]
mod tests;
