//! The audit: on a running system, served answers are held against the source itself.
//!
//! ```text
//!   doors ── every read of a watched key ──► tap ─┐
//!                                                 ├─► judge ─► figures, incidents ─► /metrics, GET /v1/audit
//!   source ◄── look ── watch ── look ──► source ──┘
//! ```
//!
//! A *watch* looks at one key (or one snapshot's keys) in the source, hears for a moment what doors serve of it, and
//! looks again. [`judge`] compares. Neither memory nor the ledger is asked whether an answer is right: a false receipt
//! that they call fine is what this is for. See `docs/audit.md` and the decision `docs/decisions/0020`.
//!
//! Rooms: `tap` hears, `look` asks the source, `judge` compares, `watch` is one watch from its first look to its last,
//! `pace` says when the next may begin, `figures` count, `incidents` keep what must not be, `report` tells.
//!
//! Invariants: no answer is changed or delayed by being heard. Looks take turns that no reader misses, one for each
//! watch, and never more than a hundredth of what the source's limit allows. Everything kept is bounded. Of a private
//! view nothing is told but figures and salted hashes.

mod figures;
mod incidents;
mod judge;
mod look;
mod pace;
mod report;
mod tap;
mod watch;

pub(crate) use figures::{Figures, LEVELS, Outcome};
pub use pace::Campaign;
pub(crate) use report::tell;
pub(crate) use tap::Tap;

use crate::config::AuditSettings;
use crate::service::{ServedView, Service};
use candor::Moment;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use incidents::Incidents;
use pace::Pace;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch as closing_signal};

/// Watches at one time: with the usual window, more than the fastest campaign asks for.
const AT_ONCE: usize = 16;

/// The audit of one service.
pub(crate) struct Audit {
    settings: AuditSettings,
    pace: Mutex<Pace>,
    incidents: Mutex<Incidents>,
    /// One for each view, in the order of the file.
    figures: Box<[Figures]>,
    /// A campaign has begun.
    hurry: Notify,
    has_begun: AtomicBool,
    /// What values of private views are hashed with: a hash alone would be guessed from few possible values.
    salt: [u8; 16],
}

impl Audit {
    pub(crate) fn new(settings: AuditSettings, views: usize, draw: impl Fn() -> u64) -> Self {
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&draw().to_le_bytes());
        salt[8..].copy_from_slice(&draw().to_le_bytes());
        Self {
            pace: Mutex::default(),
            incidents: Mutex::default(),
            figures: (0..views).map(|_| Figures::default()).collect(),
            hurry: Notify::new(),
            has_begun: AtomicBool::new(false),
            salt,
            settings,
        }
    }

    /// What was counted of a view.
    pub(crate) fn figures(&self, view: &ServedView) -> &Figures {
        &self.figures[view.index as usize]
    }

    /// Watches faster for a while, instead of any campaign before.
    pub(crate) fn campaign(&self, campaign: Campaign, now: Moment) {
        self.pace.lock().begin(campaign, now);
        self.hurry.notify_one();
    }

    /// Whether a view is watched when no campaign asks for it.
    fn is_usual(&self, view: &ServedView) -> bool {
        self.settings.views.as_ref().is_none_or(|views| views.iter().any(|name| **name == *view.name()))
    }
}

/// Begins to audit, until the service closes. Once; begun again, it does nothing.
pub(crate) fn begin(service: &Service, closing: closing_signal::Receiver<bool>) {
    if !service.audit().has_begun.swap(true, Ordering::AcqRel) {
        let served = service.clone();
        service.world().spawn(async move { run(&served, closing).await });
    }
}

/// Watches, several at a time, as the pace allows.
async fn run(service: &Service, mut closing: closing_signal::Receiver<bool>) {
    let (audit, world) = (service.audit(), service.world());
    let mut under_way = FuturesUnordered::new();
    let mut turn = 0;
    service.views().iter().for_each(|view| view.tap.arm());
    audit.pace.lock().start(audit.settings.every, world.now());
    loop {
        let due = audit.pace.lock().due(world.now());
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            () = audit.hurry.notified() => continue,
            Some(end) = under_way.next(), if !under_way.is_empty() => {
                let watch::End { source, busy } = end;
                audit.pace.lock().spent(source, busy, world.now());
                continue;
            }
            () = until(service, due), if under_way.len() < AT_ONCE => {}
        }
        let plan = audit.pace.lock().next(audit.settings.every, world.now());
        let Some(plan) = plan else { continue };
        if let Some((view, asked)) = pick(service, &plan, &mut turn) {
            under_way.push(watch::watch(service, view, asked, audit.settings.window, plan.reads));
        }
    }
}

async fn until(service: &Service, due: Option<Moment>) {
    match due {
        Some(due) => service.world().sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The next view, in turn, that has something to watch and whose source has had its rest.
fn pick<'s>(
    service: &'s Service,
    plan: &pace::Plan,
    turn: &mut usize,
) -> Option<(&'s ServedView, tap::Asked)> {
    let views = service.views();
    let now = service.world().now();
    for _ in 0..views.len() {
        let view = &views[*turn % views.len()];
        *turn += 1;
        let is_wanted = match &plan.view {
            Some(only) => **only == *view.name(),
            None => plan.reads || service.audit().is_usual(view),
        };
        if !is_wanted {
            continue;
        }
        let source = service.source_of(view);
        if !service.audit().pace.lock().is_rested(view.source, source.limits().in_flight, now) {
            continue;
        }
        if let Some(asked) = view.tap.next() {
            return Some((view, asked));
        }
    }
    None
}

/// A duration in milliseconds, for reports.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
