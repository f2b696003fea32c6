//! From a configuration to running sources and caches.
//!
//! ```text
//! Config ─► open every source ─► hold every view against its schema ─► Prepared ─► Service
//!                     └── what cannot be kept: complaints with places in the file ──┘
//! ```
//!
//! Nothing is started halfway: one view that cannot be kept, and there is no service, but a list of everything that
//! stands in the way. Only a server that is not there yet is no such thing: its views are *awaited*. The service starts
//! without knowing what they depend on, is not ready until it follows the server's log, and answers nothing from them
//! before.

use crate::audit::Audit;
use crate::config::{Complaint, Complaints, Config, SourceDeclaration, Span, ViewDeclaration};
use crate::database::Database;
use crate::entry::heap_bytes;
use crate::load::{ViewLoader, ViewLoaders};
use crate::service::{ServedSource, ServedView, Service};
use candor::{Cache, FollowOptions, KnownLogs, Limits, Memory, World};
use candor_core::port::Fault;
use candor_core::{Derived, Finding, ProofKind, Severity, TaggedBy};
use std::sync::Arc;
use tokio::sync::watch;

/// The mend of everything that only setup can bring about.
const SETUP: &str = "run `candor setup`";

/// The sources of a configuration, open, and what each found out about its views.
pub struct Prepared {
    /// In the order of the file.
    pub sources: Vec<PreparedSource>,
    /// In the order of the file.
    pub views: Vec<PreparedView>,
    /// The sources that were not there and are awaited.
    gone: Vec<Complaint>,
}

/// An open source.
pub struct PreparedSource {
    /// Its name.
    pub name: Box<str>,
    /// The source itself.
    pub database: Database,
}

/// What could be opened and held, in the order of the file, and what stood in the way of the rest. For whoever wants to
/// hear of all sources, also where one cannot be reached; [`Prepared`] is the same with nothing missing.
pub struct Survey {
    /// The sources that could be opened.
    pub sources: Vec<PreparedSource>,
    /// The views whose source could be asked about them.
    pub views: Vec<PreparedView>,
    /// Why the others are missing. Never empty if one is.
    pub unreachable: Vec<Unreachable>,
}

/// A source that could not be opened, or not be asked about a view.
pub struct Unreachable {
    /// Its name.
    pub source: Box<str>,
    /// Why, with the place in the file.
    pub complaint: Complaint,
    /// Views that can be served all the same once it is there; empty if it must be there before.
    pub awaited: Vec<PreparedView>,
}

/// A view that was held against its source.
pub struct PreparedView {
    /// Its name.
    pub name: Box<str>,
    /// What the source found.
    pub derived: Derived,
    /// Whether the source was not there to be asked, so that nothing is known of what the view depends on.
    pub is_awaited: bool,
}

impl Survey {
    /// Opens what can be opened and holds what can be held.
    pub async fn of(config: &Config) -> Self {
        let mut unreachable: Vec<Unreachable> = Vec::new();
        let missed = |source: &str, span: Span, message: String, mend: &str| {
            let complaint = config.complaint(span, message, mend);
            Unreachable { source: source.into(), complaint, awaited: Vec::new() }
        };
        let mut sources = Vec::new();
        for declared in &config.sources {
            match Database::open(declared) {
                Ok(database) => sources.push(PreparedSource { name: declared.name.clone(), database }),
                Err(error) => {
                    let message = format!("the source `{}` cannot be opened: {error}", declared.name);
                    let mend =
                        "check the path, and that this user may read and write the file and its directory";
                    unreachable.push(missed(&declared.name, declared.span.clone(), message, mend));
                }
            }
        }
        let mut views = Vec::new();
        for declared in &config.views {
            let Some(source) = sources.iter().find(|source| *source.name == *declared.source) else {
                continue;
            };
            let name = declared.name.clone();
            // One that was not there is not waited for again, view by view.
            let gone = unreachable.iter_mut().find(|gone| *gone.source == *source.name);
            if let Some(gone) = gone.filter(|gone| !gone.awaited.is_empty()) {
                gone.awaited.extend(awaited(&source.database, declared));
                continue;
            }
            match source.database.prepare(&declared.query).await {
                Ok(derived) => views.push(PreparedView { name, derived, is_awaited: false }),
                Err(error) => {
                    let message = format!("the source `{}` cannot be asked: {error}", source.name);
                    let mut gone =
                        missed(&source.name, declared.span("source"), message, "try again once it can");
                    if matches!(error.fault, Fault::Down | Fault::Slow) {
                        gone.awaited.extend(awaited(&source.database, declared));
                    }
                    unreachable.push(gone);
                }
            }
        }
        Self { sources, views, unreachable }
    }
}

impl Prepared {
    /// Opens every source and holds every view against it. Findings do not fail this; see [`Prepared::complaints`].
    /// Nor does a server that is not there: its views are awaited, which [`Prepared::warnings`] tells.
    ///
    /// # Errors
    ///
    /// Sources that cannot be opened or asked.
    pub async fn open(config: &Config) -> Result<Self, Complaints> {
        let Survey { sources, mut views, unreachable } = Survey::of(config).await;
        let mut complaints = Complaints::default();
        let mut warnings = Vec::new();
        for gone in unreachable {
            if gone.awaited.is_empty() {
                complaints.add(|| gone.complaint);
            } else {
                views.extend(gone.awaited);
                warnings.push(gone.complaint);
            }
        }
        // In the order of the file, whoever was there and whoever was not.
        let at = |name: &str| config.views.iter().position(|declared| *declared.name == *name);
        views.sort_by_key(|view| at(&view.name));
        complaints.verdict(Self { sources, views, gone: warnings })
    }

    /// What the sources refuse, with places in the file. What only setup can mend is said once per source.
    pub fn complaints(&self, config: &Config) -> Complaints {
        let mut complaints = Complaints::default();
        let mut unset: Vec<(&str, &str)> = Vec::new();
        for (declared, prepared) in config.views.iter().zip(&self.views) {
            let refused = prepared.derived.findings.iter();
            for finding in refused.filter(|finding| finding.severity == Severity::Refused) {
                if finding.mend != SETUP {
                    complaints.add(|| complaint(config, declared, finding));
                } else if !unset.contains(&(&declared.source, &finding.message)) {
                    unset.push((&declared.source, &finding.message));
                }
            }
        }
        for (source, message) in unset {
            let span = config.source(source).map_or(0..0, |source| source.span.clone());
            let message = format!("answers from `{source}` cannot be proven: {message}");
            complaints.add(|| config.complaint(span, message, SETUP));
        }
        complaints
    }

    /// What the sources would like to be known, with places in the file.
    pub fn warnings(&self, config: &Config) -> Vec<Complaint> {
        let each = config.views.iter().zip(&self.views).flat_map(|(declared, prepared)| {
            let findings = prepared.derived.findings.iter();
            let warnings = findings.filter(|finding| finding.severity == Severity::Warning);
            warnings.map(move |finding| complaint(config, declared, finding))
        });
        self.gone.iter().cloned().chain(each).collect()
    }

    /// Starts caches over the sources and begins to follow their logs. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Prepared::complaints`], if there are any.
    pub fn start(self, config: &Config) -> Result<Service, Complaints> {
        self.complaints(config).verdict(())?;
        for warning in self.warnings(config) {
            tracing::warn!("{}", warning.to_string().trim_end());
        }
        // Machines sleep, and a bound that does not count the sleep would be a false receipt.
        let world = World::system();
        let memory = Arc::new(Memory::new(config.l1.capacity_bytes, heap_bytes));
        let known = KnownLogs::default();
        let mut sources = Vec::new();
        for (declared, prepared) in config.sources.iter().zip(self.sources) {
            let is_logged = config
                .views
                .iter()
                .any(|view| *view.source == *declared.name && view.contract.proof == ProofKind::Log);
            let limits = limits(declared);
            let mut builder = Cache::builder()
                .world(world.clone())
                .tier(Arc::clone(&memory))
                .known_logs(known.clone())
                .limits(limits);
            if is_logged {
                let follow = FollowOptions { pulse: declared.feed.poll, ..FollowOptions::default() };
                builder = builder.log(prepared.database.log()).follow(follow);
            }
            sources.push(ServedSource {
                name: declared.name.clone(),
                cache: builder.build(),
                is_logged,
                limits,
                poll: declared.feed.poll,
                world: world.clone(),
                database: prepared.database,
                slot: watch::Sender::new(None),
            });
        }
        let mut views = Vec::new();
        for (index, (declared, prepared)) in config.views.iter().zip(self.views).enumerate() {
            let at = sources.iter().position(|source| *source.name == *declared.source);
            // A view without a source or a handle was complained about above.
            let (Some(at), Some(handle), Ok(index)) = (at, prepared.derived.handle, u32::try_from(index))
            else {
                continue;
            };
            let timeout = config.sources[at].timeout;
            let source = sources[at].database.source();
            let unlogged = declared.contract.proof != ProofKind::Log;
            let declarations = declared.query.invalidated_by.clone().filter(|_| unlogged).unwrap_or_default();
            let loader = ViewLoader::new(source, handle, world.clone(), timeout, declarations);
            views.push(ServedView {
                index,
                source: at,
                cache: sources[at].cache.with_contract(declared.contract.clone()),
                loaders: ViewLoaders::new(loader),
                declaration: declared.clone(),
                derived: prepared.derived,
                learned: prepared.is_awaited.then(Arc::default),
                tap: Arc::default(),
            });
        }
        let audit = Audit::new(config.audit.clone(), config.views.len(), || world.draw());
        Ok(Service::new(world, memory, sources, views, audit))
    }
}

/// Points at the field a finding speaks of.
fn complaint(config: &Config, view: &ViewDeclaration, finding: &Finding) -> Complaint {
    let field = if finding.message.contains("invalidated_by") { "invalidated_by" } else { "sql" };
    let span: Span = view.span(field);
    config.complaint(span, format!("view `{}`: {}", view.name, finding.message), finding.mend.clone())
}

/// A view whose source is not there, where the source can know it all the same.
fn awaited(database: &Database, declared: &ViewDeclaration) -> Option<PreparedView> {
    let handle = Some(database.as_postgres()?.declare(&declared.query));
    let proof = declared.contract.proof;
    let derived = Derived { handle, columns: Vec::new(), reads: Vec::new(), proof, findings: Vec::new() };
    Some(PreparedView { name: declared.name.clone(), derived, is_awaited: true })
}

fn limits(declared: &SourceDeclaration) -> Limits {
    Limits {
        in_flight: declared.limit.in_flight_max,
        queue: declared.limit.queue_max,
        queue_timeout: declared.limit.queue_timeout,
    }
}

/// Whether a read of a table reaches entries by tags that name no table: then only the view as a whole can be named.
pub(crate) fn is_by_row(tagged_by: &[TaggedBy]) -> bool {
    tagged_by.iter().any(|way| !matches!(way, TaggedBy::Table { .. }))
}
