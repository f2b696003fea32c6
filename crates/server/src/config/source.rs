//! `[source.NAME]` and `[feed.NAME]`: where answers come from, how the source is protected, how its log is followed.

use super::origin::Span;
use super::section::{Section, Text};
use super::suggest::{listed, nearest};
use candor_core::duration;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// The kinds of source there are. Those that this build cannot reach are known words all the same, so that their
/// complaint does not read like a slip of the finger.
const KINDS: [&str; 4] = ["postgres", "mysql", "sqlite", "http"];

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A SQLite database in a file.
    Sqlite {
        /// The file; relative paths were resolved against the configuration's directory.
        path: PathBuf,
    },
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
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct FeedSettings {
    /// How often the log is looked at when nobody waits for it. Default 50 ms.
    pub poll: Duration,
    /// How many rows of the change table are kept for instances that lag behind. Default 100,000, which is a few
    /// megabytes and ten seconds at ten thousand changes a second.
    pub keep_rows: u64,
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
        Self { poll: Duration::from_millis(50), keep_rows: 100_000 }
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
        let feed = read_feed(section);
        if let Some(source) = sources.sound.iter_mut().find(|source| *source.name == *name.text) {
            source.feed = feed;
        }
    }
    sources
}

fn read_source(name: &Text<'_>, section: Section<'_>) -> Option<SourceDeclaration> {
    super::check_name(name, section.reader);
    section.require("kind", "write kind = \"sqlite\"");
    let kind = section.text("kind")?;
    if kind.text != "sqlite" {
        let mend = match nearest(kind.text, KINDS) {
            _ if KINDS.contains(&kind.text) => {
                "use kind = \"sqlite\", or a build that has this kind".to_owned()
            }
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the kinds are {}", listed(KINDS)),
        };
        let message = if KINDS.contains(&kind.text) {
            format!("`{}` is not available in this build: only sqlite", kind.text)
        } else {
            format!("`{}` is not a kind of source", kind.text)
        };
        section.complain("kind", message, mend);
        // Its other fields are those of another kind, and would only be complained about for nothing.
        return None;
    }
    section.refuse("url", "a sqlite source has no url", "write path = \"file.db\", relative to this file");
    if !section.has("url") {
        section.require("path", "write path = \"file.db\", relative to this file");
    }
    let path = section.expanded("path").filter(|(path, _)| {
        if path.is_empty() {
            section.complain("path", "the path is empty", "write path = \"file.db\", relative to this file");
        }
        !path.is_empty()
    });
    let pool = section.table("pool").map_or_else(PoolSettings::default, read_pool);
    let limit = match section.table("limit") {
        Some(table) => read_limit(table, &pool),
        None => LimitSettings { in_flight_max: pool.connections_max, ..LimitSettings::default() },
    };
    let source = SourceDeclaration {
        name: name.text.into(),
        span: name.span.clone(),
        kind: SourceKind::Sqlite { path: section.reader.origin.resolve(&path.unwrap_or_default().0) },
        pool,
        limit,
        timeout: section.duration("timeout").unwrap_or(Duration::from_secs(2)),
        feed: FeedSettings::default(),
    };
    section.finish();
    Some(source)
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

fn read_feed(section: Section<'_>) -> FeedSettings {
    let default = FeedSettings::default();
    for (field, message) in [
        ("slot", "a sqlite source has no replication slot; its log is a change table"),
        ("publication", "a sqlite source has no publication; its log is a change table"),
        ("relay", "a sqlite source needs no relay: every instance reads the change table itself"),
    ] {
        section.refuse(field, message, &format!("remove {field}; poll and keep are what a sqlite feed has"));
    }
    let poll = section.duration("poll").unwrap_or(default.poll);
    if poll > Duration::from_secs(10) {
        let message = format!(
            "looking at the log every {} leaves answers unproven for that long",
            duration::format(poll)
        );
        section.complain("poll", message, "write at most 10s");
    }
    let keep_rows = section.whole("keep", 1_000..=1_000_000_000).unwrap_or(default.keep_rows);
    section.finish();
    FeedSettings { poll, keep_rows }
}
