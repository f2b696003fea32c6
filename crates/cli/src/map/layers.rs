//! What a contract means for each layer.
//!
//! ```text
//!              bounded(d)              any                       strong
//!   memory     d                       time to live (+ grace)    nothing missing
//!   HTTP       d, memory's included    the same time to live     keeps nothing
//! ```
//!
//! `Cache-Control` hands on only what memory has left of it, so the end-to-end figure is the greatest of a column and
//! never a sum.

use candor_core::duration::{format, millis_up};
use candor_core::{Contract, Level, OnFeedDown, OnSourceDown, ProofKind, Refresh};
use candor_server::Config;
use candor_server::config::{SourceDeclaration, SourceKind, ViewDeclaration};
use std::time::Duration;

/// The layers of one view.
pub(super) struct Map {
    pub(super) view: String,
    pub(super) source: String,
    pub(super) proof: &'static str,
    pub(super) level: String,
    pub(super) layers: Vec<Layer>,
    pub(super) end_to_end: Age,
    /// `None` where no log is followed.
    pub(super) log_down: Option<Age>,
    pub(super) source_down: Age,
}

/// A place where answers are kept.
pub(super) struct Layer {
    pub(super) word: &'static str,
    pub(super) title: &'static str,
    pub(super) place: String,
    pub(super) learns: String,
    pub(super) oldest: Age,
}

/// How far an answer can be behind the source.
pub(super) struct Age {
    pub(super) ms: Option<u64>,
    pub(super) text: String,
}

impl Age {
    fn of(limit: Duration, text: impl Into<String>) -> Self {
        Self { ms: Some(millis_up(limit)), text: text.into() }
    }
}

impl Map {
    /// `None` if the view names no source, which the configuration refuses.
    pub(super) fn of(config: &Config, view: &ViewDeclaration) -> Option<Self> {
        let source = config.source(&view.source)?;
        let contract = &view.contract;
        Some(Self {
            view: view.name.to_string(),
            source: view.source.to_string(),
            proof: contract.proof.word(),
            level: contract.level.to_string(),
            layers: vec![
                truth(source, contract),
                memory(config, source, contract),
                instances(contract),
                http(config, view),
            ],
            end_to_end: end_to_end(contract),
            log_down: (contract.proof == ProofKind::Log).then(|| log_down(contract)),
            source_down: source_down(contract),
        })
    }
}

/// The longest an entry may be served at `any`.
fn longest(contract: &Contract) -> Duration {
    let grace = match contract.refresh {
        Refresh::WhileRevalidate(grace) => grace,
        Refresh::Early | Refresh::None => Duration::ZERO,
    };
    contract.ttl.max(contract.absent_ttl) + grace
}

/// How far behind an answer from memory can be at the default level.
fn limit(contract: &Contract) -> Duration {
    match contract.level {
        Level::Strong => Duration::ZERO,
        Level::Bounded(limit) => limit,
        // `session` is no default.
        Level::Any | Level::Session => longest(contract),
    }
}

fn truth(source: &SourceDeclaration, contract: &Contract) -> Layer {
    let learns = match (&source.kind, contract.proof) {
        (SourceKind::Sqlite { .. }, ProofKind::Log) => {
            "every writer's own transaction also writes what changed into the change log"
        }
        (SourceKind::Postgres { .. }, ProofKind::Log) => {
            "every committed change is in the write-ahead log, whoever made it"
        }
        _ => "it is the truth; nobody follows its log for this view",
    };
    Layer {
        word: "source",
        title: "source",
        place: format!("{}, {}", source.name, source.kind.place()),
        learns: learns.into(),
        oldest: Age::of(Duration::ZERO, "it is the truth"),
    }
}

fn memory(config: &Config, source: &SourceDeclaration, contract: &Contract) -> Layer {
    let learns = match contract.proof {
        ProofKind::Log if matches!(source.kind, SourceKind::Postgres { .. }) => format!(
            "is sent the write-ahead log as it is written, and asks for its end every {}, and at once when a read needs \
             proof; entries are judged at each read",
            format(source.feed.poll)
        ),
        ProofKind::Log => format!(
            "follows the change log: looks every {}, and at once when a read needs proof; entries are judged at each read",
            format(source.feed.poll)
        ),
        _ => "not at all: it counts the time since the source was asked".to_owned(),
    };
    let oldest = match (contract.level, contract.proof) {
        (Level::Strong, ProofKind::Log) => {
            "nothing visible before the read began is missing: the source is asked for its position"
                .to_owned()
        }
        (Level::Strong, _) => {
            "nothing visible before the read began is missing: the source answers".to_owned()
        }
        (Level::Bounded(limit), ProofKind::Log) => {
            format!(
                "{0}; usually milliseconds. A read that finds less proof than {0} asks for more",
                format(limit)
            )
        }
        (Level::Bounded(limit), _) => format!("{0}; an entry older than {0} is loaded again", format(limit)),
        (Level::Any | Level::Session, ProofKind::Log) => format!(
            "{}, the time to live; usually milliseconds, because a read that meets a change has the entry renewed",
            format(longest(contract))
        ),
        (Level::Any | Level::Session, _) => format!("{}, the time to live", format(longest(contract))),
    };
    Layer {
        word: "l1",
        title: "memory of this instance",
        place: format!("up to {} MiB, shared by all views", config.l1.capacity_bytes >> 20),
        learns,
        oldest: Age::of(limit(contract), oldest),
    }
}

fn instances(contract: &Contract) -> Layer {
    let learns = match contract.proof {
        ProofKind::Log => "each follows the change log by itself; none tells another, so none can forget to",
        _ => "not at all, nor of each other's invalidations: each counts its own time",
    };
    Layer {
        word: "instances",
        title: "other instances",
        place: "each with a memory of its own".into(),
        learns: learns.into(),
        oldest: Age::of(
            limit(contract),
            "as in this one. Two may answer differently within that; a session token carries a reader from one to another",
        ),
    }
}

fn http(config: &Config, view: &ViewDeclaration) -> Layer {
    let contract = &view.contract;
    let is_personal = view.private.is_some() || config.server.auth.is_some();
    let place = if is_personal {
        "the caller's own only (Cache-Control: private)"
    } else {
        "browsers, proxies, CDNs"
    };
    let nothing = |why: &str| (why.to_owned(), Age { ms: None, text: "nothing is kept there".into() });
    let short = Duration::from_secs(1);
    let (learns, oldest) = match contract.level {
        Level::Strong => nothing("need not: Cache-Control: no-store"),
        Level::Bounded(limit) if limit < short => (
            "asks each time whether its copy still holds (Cache-Control: no-cache, ETag)".to_owned(),
            Age::of(limit, format!("{}, as in memory", format(limit))),
        ),
        Level::Bounded(limit) => (
            "not at all: max-age is what memory has left of the bound; then it asks again (ETag, must-revalidate)".to_owned(),
            Age::of(limit, format!("{}, the time in memory included", format(limit))),
        ),
        Level::Any | Level::Session => (
            "not at all: max-age is what is left of the time to live; then it asks again (ETag, must-revalidate)".to_owned(),
            Age::of(longest(contract), format!("{}, the time in memory included", format(longest(contract)))),
        ),
    };
    Layer { word: "http", title: "HTTP caches", place: place.to_owned(), learns, oldest }
}

fn end_to_end(contract: &Contract) -> Age {
    let limit = limit(contract);
    let text = match contract.level {
        Level::Strong => "nothing visible before the read began is missing".to_owned(),
        _ => format!("at most {} behind the source, whatever lies in between", format(limit)),
    };
    Age::of(limit, text)
}

/// When the log cannot be followed.
fn log_down(contract: &Contract) -> Age {
    let limit = limit(contract);
    match (contract.on_feed_down, contract.level) {
        (OnFeedDown::Error, Level::Strong) => Age::of(limit, "reads fail with 503 (on_feed_down = error)"),
        (OnFeedDown::Error, _) => Age::of(
            limit,
            format!(
                "still {}; reads that need more proof than there is fail with 503 (on_feed_down = error)",
                format(limit)
            ),
        ),
        (OnFeedDown::Source | OnFeedDown::Stale(_), Level::Strong) => {
            Age::of(limit, "the source answers every read; nothing is missing")
        }
        (OnFeedDown::Source, Level::Bounded(_)) => Age::of(
            limit,
            format!(
                "still {}; reads that need more proof than there is ask the source (on_feed_down = source)",
                format(limit)
            ),
        ),
        (OnFeedDown::Source, _) => {
            Age::of(limit, format!("{}: changes are not noticed before the time to live ends", format(limit)))
        }
        (OnFeedDown::Stale(stale), _) => {
            let worst = limit.max(stale);
            let text = format!(
                "up to {}, marked as degraded and kept nowhere else (on_feed_down = stale)",
                format(worst)
            );
            Age::of(worst, text)
        }
    }
}

/// When the source cannot answer.
fn source_down(contract: &Contract) -> Age {
    let limit = limit(contract);
    match (contract.on_source_down, contract.level) {
        (_, Level::Strong) => Age::of(limit, "reads fail with 503: nothing can be proven without the source"),
        (OnSourceDown::Error, _) => Age::of(
            limit,
            format!(
                "still {}: memory answers that long, then reads fail with 503 (on_source_down = error)",
                format(limit)
            ),
        ),
        (OnSourceDown::Stale(stale), _) => {
            let worst = limit.max(stale);
            let text = format!(
                "up to {}, marked as degraded and kept nowhere else (on_source_down = stale)",
                format(worst)
            );
            Age::of(worst, text)
        }
    }
}
