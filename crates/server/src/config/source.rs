//! `[source.NAME]` and `[feed.NAME]`: where answers come from, how the source is protected, how its log is followed.

use super::origin::Span;
use super::section::{Section, Text};
use super::suggest::{listed, nearest};
use candor_core::duration;
use candor_postgres::ConnectOptions;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// The kinds of source there are. Those that this build cannot reach are known words all the same, so that their
/// complaint does not read like a slip of the finger.
const KINDS: [&str; 4] = ["postgres", "mysql", "sqlite", "http"];

/// What to write where a database is to be named.
const PATH: &str = "write path = \"file.db\", relative to this file";
const URL: &str = "write url = \"postgres://candor:${PASSWORD}@host/database\"";

/// A declared source.
#[derive(Clone, Debug)]
pub struct SourceDeclaration {
    /// The name views use.
    pub name: Box<str>,
    /// Where it is declared.
    pub span: Span,
    /// What it is and where.
    pub kind: SourceKind,
    /// The connections that read.
    pub pool: PoolSettings,
    /// How many fills it is asked for at once.
    pub limit: LimitSettings,
    /// How long one fill may take. Source: `timeout`, default 2 s.
    pub timeout: Duration,
    /// How its log is followed.
    pub feed: FeedSettings,
}

/// What a source is and where.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A SQLite database in a file.
    Sqlite {
        /// The file; relative paths were resolved against the configuration's directory.
        path: PathBuf,
    },
    /// A PostgreSQL database.
    Postgres {
        /// Where it is and who asks. Never shows the password.
        connect: Box<ConnectOptions>,
        /// Whether a pooler that hands out connections by the transaction is known to stand there.
        pooler: bool,
        /// A standby of it, for fills that may be answered by a copy. Source: `standby`, default none.
        standby: Option<Box<ConnectOptions>>,
    },
}

impl SourceKind {
    /// As the file writes it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgres",
        }
    }

    /// Where it is, for people: a path, or the database, its hosts and the role.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite { path } => path.display().to_string(),
            Self::Postgres { connect, .. } => connect.describe(),
        }
    }
}

/// `pool`: the connections that read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How many there may be. Default 8.
    pub connections_max: usize,
    /// How long a fill waits for one. Default 250 ms.
    pub acquire_timeout: Duration,
}

/// `limit`: what protects the source from a herd.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Fills at the source at one time. Default: as many as there are connections.
    pub in_flight_max: usize,
    /// Fills that wait for their turn; beyond, reads are refused at once. Default 256.
    pub queue_max: usize,
    /// How long a fill waits for its turn. Default 500 ms.
    pub queue_timeout: Duration,
}

/// `[feed.NAME]`: how the log of a source is followed.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// How often the log is looked at when nobody waits for it. Default 50 ms.
    pub poll: Duration,
    /// How many rows of the change table are kept for instances that lag behind. Default 100,000, which is a few
    /// megabytes and ten seconds at ten thousand changes a second. SQLite alone has one.
    pub keep_rows: u64,
    /// The replication slot. PostgreSQL alone has one. Default `candor`.
    pub slot: Box<str>,
    /// The publication. PostgreSQL alone has one. Default `candor`.
    pub publication: Box<str>,
    /// The server's own address, where the source's is a pooler's. PostgreSQL alone has one. Default: the source's.
    pub connect: Option<Box<ConnectOptions>>,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { connections_max: 8, acquire_timeout: Duration::from_millis(250) }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { in_flight_max: 8, queue_max: 256, queue_timeout: Duration::from_millis(500) }
    }
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(50),
            keep_rows: 100_000,
            slot: "candor".into(),
            publication: "candor".into(),
            connect: None,
        }
    }
}

/// The declared sources, and the names of all, those with faults included, so that one fault is not told twice.
pub(super) struct Sources<'a> {
    pub(super) sound: Vec<SourceDeclaration>,
    names: BTreeSet<&'a str>,
}

impl Sources<'_> {
    /// Complains if no source has that name.
    pub(super) fn require(&self, named: &Text<'_>, section: &Section<'_>) {
        if self.names.contains(named.text) {
            return;
        }
        section.reader.note(|| {
            let names = || self.names.iter().copied();
            let mend = match nearest(named.text, names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if self.names.is_empty() => format!("declare it: [source.{}]", named.text),
                None => format!("declare it: [source.{}]; declared are {}", named.text, listed(names())),
            };
            let message = format!("there is no source `{}`", named.text);
            section.reader.origin.complaint(named.span.clone(), message, mend)
        });
    }
}

/// Reads all sources and feeds.
pub(super) fn read<'a>(root: &Section<'a>) -> Sources<'a> {
    let declared = root.named("source");
    let mut sources =
        Sources { sound: Vec::new(), names: declared.iter().map(|(name, _)| name.text).collect() };
    sources.sound = declared.into_iter().filter_map(|(name, section)| read_source(&name, section)).collect();
    for (name, section) in root.named("feed") {
        sources.require(&name, &section);
        let source = sources.sound.iter_mut().find(|source| *source.name == *name.text);
        let feed = read_feed(section, source.as_ref().map(|source| &source.kind));
        if let Some(source) = source {
            source.feed = feed;
        }
    }
    sources
}

fn read_source(name: &Text<'_>, section: Section<'_>) -> Option<SourceDeclaration> {
    super::check_name(name, section.reader);
    section.require("kind", "write kind = \"sqlite\" or kind = \"postgres\"");
    let kind = section.text("kind")?;
    let kind = match kind.text {
        "sqlite" => read_sqlite(&section),
        "postgres" => read_postgres(&section),
        other => {
            refuse_kind(&section, other);
            // Its other fields are those of another kind, and would only be complained about for nothing.
            return None;
        }
    };
    let pool = section.table("pool").map_or_else(PoolSettings::default, read_pool);
    let limit = match section.table("limit") {
        Some(table) => read_limit(table, &pool),
        None => LimitSettings { in_flight_max: pool.connections_max, ..LimitSettings::default() },
    };
    let timeout = section.duration("timeout").unwrap_or(Duration::from_secs(2));
    section.finish();
    let (name, span) = (name.text.into(), name.span.clone());
    Some(SourceDeclaration { name, span, kind: kind?, pool, limit, timeout, feed: FeedSettings::default() })
}

fn refuse_kind(section: &Section<'_>, kind: &str) {
    let is_known = KINDS.contains(&kind);
    let mend = match nearest(kind, KINDS) {
        _ if is_known => "use kind = \"sqlite\" or \"postgres\", or a build that has this kind".to_owned(),
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the kinds are {}", listed(KINDS)),
    };
    let message = if is_known {
        format!("`{kind}` is not available in this build: only sqlite and postgres")
    } else {
        format!("`{kind}` is not a kind of source")
    };
    section.complain("kind", message, mend);
}

fn read_sqlite(section: &Section<'_>) -> Option<SourceKind> {
    section.refuse("url", "a sqlite source has no url", PATH);
    section.refuse("pooler", "a sqlite source has no pooler", "remove pooler");
    section.refuse("standby", "a sqlite source has no standby", "remove standby");
    if !section.has("url") {
        section.require("path", PATH);
    }
    let path = section.expanded("path").filter(|(path, _)| {
        if path.is_empty() {
            section.complain("path", "the path is empty", PATH);
        }
        !path.is_empty()
    });
    // A fault was noted, and nothing is opened then.
    Some(SourceKind::Sqlite { path: section.reader.origin.resolve(&path.unwrap_or_default().0) })
}

/// The complaint shows the line of the url, masked; the sentence itself never contains the password.
fn read_postgres(section: &Section<'_>) -> Option<SourceKind> {
    section.refuse("path", "a postgres source has no path", URL);
    if !section.has("path") {
        section.require("url", URL);
    }
    let pooler = section.flag("pooler").unwrap_or(false);
    let standby = read_url(section, "standby");
    read_url(section, "url").map(|connect| SourceKind::Postgres { connect, pooler, standby })
}

fn read_url(section: &Section<'_>, field: &'static str) -> Option<Box<ConnectOptions>> {
    let (url, span) = section.expanded(field)?;
    if url.trim().is_empty() {
        section.complain(field, format!("the {field} is empty"), URL.replacen("url", field, 1));
        return None;
    }
    match ConnectOptions::parse(&url, section.reader.environment) {
        Ok(connect) => Some(Box::new(connect)),
        Err(sentence) => {
            let (message, mend) = sentence.rsplit_once("; ").unwrap_or((&sentence, URL));
            section.complain_at(field, span, message.to_owned(), mend.to_owned());
            None
        }
    }
}

fn read_pool(section: Section<'_>) -> PoolSettings {
    let default = PoolSettings::default();
    let pool = PoolSettings {
        connections_max: section.whole("max", 1..=1024).map_or(default.connections_max, |max| max as usize),
        acquire_timeout: section.duration("acquire_timeout").unwrap_or(default.acquire_timeout),
    };
    section.finish();
    pool
}

fn read_limit(section: Section<'_>, pool: &PoolSettings) -> LimitSettings {
    let default = LimitSettings::default();
    let limit = LimitSettings {
        in_flight_max: section.whole("in_flight", 1..=1024).map_or(pool.connections_max, |max| max as usize),
        queue_max: section.whole("queue", 0..=1_000_000).map_or(default.queue_max, |max| max as usize),
        queue_timeout: section.duration("queue_timeout").unwrap_or(default.queue_timeout),
    };
    section.finish();
    limit
}

/// Reads how a log is followed. Of a source that is not sound nobody knows what its feed has; nothing is refused then.
fn read_feed(section: Section<'_>, kind: Option<&SourceKind>) -> FeedSettings {
    let default = FeedSettings::default();
    let sqlite: &[(&'static str, &str)] = &[
        ("slot", "a sqlite source has no replication slot; its log is a change table"),
        ("publication", "a sqlite source has no publication; its log is a change table"),
        ("relay", "a sqlite source needs no relay: every instance reads the change table itself"),
        ("url", "a sqlite source has no server; its log is in the file"),
    ];
    let postgres: &[(&'static str, &str)] = &[
        ("keep", "a postgres source has no change table; what a slot keeps is max_slot_wal_keep_size"),
        (
            "relay",
            "`relay` is not available in this build: every instance reads the log by a slot of its own",
        ),
    ];
    let (refused, has) = match kind {
        Some(SourceKind::Sqlite { .. }) => (sqlite, "poll and keep are what a sqlite feed has"),
        Some(SourceKind::Postgres { .. }) => {
            (postgres, "slot, publication, url and poll are what a postgres feed has")
        }
        None => (&[] as &[_], ""),
    };
    for (field, message) in refused {
        section.refuse(field, message, &format!("remove {field}; {has}"));
    }
    let is_refused = |field: &str| refused.iter().any(|(refused, _)| *refused == field);
    let named = |field: &'static str| -> Option<Box<str>> {
        let text = if is_refused(field) { None } else { section.text(field) }?;
        if let Some(fault) = fault_of_name(field, text.text) {
            section.complain(field, fault, format!("write {field} = \"candor\""));
        }
        Some(text.text.into())
    };
    let (slot, publication) = (named("slot"), named("publication"));
    let is_postgres = matches!(kind, Some(SourceKind::Postgres { .. }));
    let connect = if is_postgres { read_url(&section, "url") } else { None };
    if kind.is_none() {
        section.text("relay");
        section.text("url");
    }
    let poll = section.duration("poll").unwrap_or(default.poll);
    if poll > Duration::from_secs(10) {
        let message = format!(
            "looking at the log every {} leaves answers unproven for that long",
            duration::format(poll)
        );
        section.complain("poll", message, "write at most 10s");
    }
    let keep = if is_refused("keep") { None } else { section.whole("keep", 1_000..=1_000_000_000) };
    section.finish();
    FeedSettings {
        poll,
        keep_rows: keep.unwrap_or(default.keep_rows),
        slot: slot.unwrap_or(default.slot),
        publication: publication.unwrap_or(default.publication),
        connect,
    }
}

/// PostgreSQL cuts longer names in silence, and takes nothing else in the name of a slot.
fn fault_of_name(field: &str, name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 63 {
        return Some(format!("the name of a {field} has 1 to 63 bytes"));
    }
    let is_odd = field == "slot" && !name.chars().all(is_plain);
    is_odd.then(|| "the name of a slot is made of a to z, 0 to 9 and `_`".to_owned())
}
