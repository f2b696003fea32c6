//! Fills from a standby, for which the primary vouches twice.
//!
//! ```text
//!  primary    1 fence: everything visible now lies at or below F        3 everything logged up to U is visible here
//!  ─────────────────┼──────────────────────────────────────────────────────────────▲──────────────────────────────
//!  standby          └──► 2 has replayed F: value, all up to C ≥ F in it, nothing above U; mark and timeline ──┘
//! ```
//!
//! What such a fill shows, a fill from the primary might have shown at some moment between 1 and 3. Nothing is missing that
//! was visible when it began: a standby makes commits visible in the order of the log, and it had replayed F before its
//! statement began. And it shows nothing that is not visible at the primary when it ends: a commit that waits for a
//! synchronous standby is in the log, and on the standbys, long before. So its answer is good for every level.
//!
//! All this compares positions, which mean something within one history only. A standby shares the primary's if it shows
//! the mark ([`crate::log::mark_of`]) that was left in the primary's log when the following of it began, and still receives
//! that timeline: whoever is promoted, and whoever follows it, goes on with another. The decision: `docs/decisions/0021`.
//!
//! A change of the schema has no rows, and the log does not tell when it becomes visible. So the fingerprint that the plan
//! rests on is asked of the standby, too.
//!
//! Whatever cannot be shown sends the fill to the primary. Waits have a deadline, and after a failure the standby is left
//! alone for a while.

use crate::fill::{self, History, RawFill};
use crate::log::{Log, Standing, grants, leave_mark, mark_of};
use crate::lsn::Lsn;
use crate::options::PostgresOptions;
use crate::pool::Pool;
use crate::view::View;
use candor_core::KeyValue;
use candor_core::port::{Fault, Fill, SourceError};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{Position, Stamp};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a fill waits for the standby to have replayed what is visible at the primary, and again for the primary to
/// show what the standby does. Whoever lags further behind is of no use.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a standby that did not answer is left alone.
const REST: Duration = Duration::from_secs(1);
/// How often a reason that lasts is logged.
const LOGGED: Duration = Duration::from_secs(60);
/// Between two questions to a server that is not there yet; doubled each time.
const PAUSE: Duration = Duration::from_micros(500);
/// And no longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(16);

/// A standby that may answer fills.
pub(crate) struct Standby {
    pool: Pool,
    rest: Mutex<Rest>,
    answered: AtomicU64,
    refused: AtomicU64,
}

/// Until when, and why, a standby is left alone.
#[derive(Debug, Default)]
struct Rest {
    until: Option<Instant>,
    /// The reason that was logged last, and when.
    logged: Option<(Instant, String)>,
}

/// Why a standby did not answer.
struct Refused {
    error: SourceError,
    /// Whether it is of no use for other fills either.
    rests: bool,
    /// Whether the mark may be missing.
    wants_mark: bool,
}

impl From<SourceError> for Refused {
    fn from(error: SourceError) -> Self {
        // What a view or a key asks for says nothing of the standby.
        let rests = error.fault != Fault::Contract;
        Self { error, rests, wants_mark: false }
    }
}

/// What a standby did.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct StandbyFigures {
    /// Fills it answered.
    pub answered: u64,
    /// Fills that it could not answer, or not prove; the primary did.
    pub refused: u64,
}

impl Standby {
    /// The standby that these options name, if they name one. Connects to nothing yet.
    pub(crate) fn of(options: &PostgresOptions) -> Option<Self> {
        let pool = Pool::new(options.at_standby()?);
        let (rest, answered, refused) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Some(Self { pool, rest, answered, refused })
    }

    /// Its connections.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What it did so far.
    pub(crate) fn figures(&self) -> StandbyFigures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StandbyFigures { answered: of(&self.answered), refused: of(&self.refused) }
    }

    /// The answers, if the standby has them and they can be proven. Takes no more than half of the time that a fill has, so
    /// that the primary can still be asked.
    pub(crate) async fn fill(&self, log: &Log, view: &View, keys: &[Box<[KeyValue]>]) -> Option<Fill> {
        let is_resting = self.rest.lock().until.is_some_and(|until| Instant::now() < until);
        let refused = if is_resting {
            None
        } else {
            match self.prove_in_time(log, view, keys).await {
                Ok(fill) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    self.rest.lock().until = None;
                    return Some(fill);
                }
                Err(refused) => Some(refused),
            }
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(Refused { error, rests, wants_mark }) = refused {
            if rests {
                self.rests(error);
            }
            if wants_mark && let Ok(standing) = log.standing() {
                // Setup may have made its place since the log was begun. Failing, it is tried again after the next rest.
                let _ = leave_mark(&log.looks, &standing.identity).await;
            }
        }
        None
    }

    /// Leaves the standby alone for a while. A reason that lasts is logged now and then.
    fn rests(&self, error: SourceError) {
        let now = Instant::now();
        let mut rest = self.rest.lock();
        rest.until = Some(now + REST);
        let is_known = |(at, why): &(Instant, String)| *why == error.message && now < *at + LOGGED;
        if !rest.logged.as_ref().is_some_and(is_known) {
            tracing::warn!(%error, "the standby does not answer for the primary; fills go to the primary");
            rest.logged = Some((now, error.message));
        }
    }

    async fn prove_in_time(&self, log: &Log, view: &View, keys: &[Box<[KeyValue]>]) -> Result<Fill, Refused> {
        let limit = self.pool.options().statement_timeout / 2;
        let late =
            |_| SourceError::slow(format!("the standby did not answer within {} ms", limit.as_millis()));
        tokio::time::timeout(limit, self.prove(log, view, keys)).await.map_err(late)?
    }

    /// The three steps.
    async fn prove(&self, log: &Log, view: &View, keys: &[Box<[KeyValue]>]) -> Result<Fill, Refused> {
        // Before anything is asked: what the primary's look may not see must not be forgotten meanwhile. And before the plan
        // is looked at: what is certain later was planned for the same schema.
        let under_way = log.visibility.begin();
        let plan = view.plan().filter(|plan| plan.compiled.is_logged);
        let plan = plan.ok_or_else(|| SourceError::contract("the view is not proven by the log"))?;
        let (standing, fence) = log.fence_visible_by(&log.looks).await?;
        let Position { epoch, at } = fence.position;
        let fence_at = Lsn(at);
        #[cfg(candor_sabotage)]
        let fence_at = if is(Sabotage::StandbyBehind) { Lsn(0) } else { fence_at };
        self.wait_for(fence_at).await?;
        let raw = fill::fill_of_standby(&self.pool, &plan, keys).await.map_err(SourceError::from)?;
        let certain = raw.seen.certain.filter(|certain| *certain >= fence_at).ok_or_else(behind)?;
        let upper = self.check_history(&raw, &standing)?.max(raw.seen.upper);
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            #[cfg(candor_sabotage)]
            if is(Sabotage::StandbyAhead) {
                break;
            }
            let visible = log.is_visible_up_to(&under_way, epoch.log, upper.0);
            if tokio::time::timeout_at(deadline, visible).await.map_err(|_| ahead())?? {
                break;
            }
            pause = wait(pause, deadline).await.ok_or_else(ahead)?;
        }
        let upper = Position { epoch, at: upper.0 };
        let snapshot = raw.seen.snapshot.into_snapshot(upper, certain.0);
        Ok(Fill { stamp: Stamp::Snapshot(Arc::new(snapshot)), answers: raw.answers })
    }

    /// Waits until the standby has replayed everything up to a position, so that its fill is not asked in vain.
    async fn wait_for(&self, at: Lsn) -> Result<(), SourceError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            let asked = tokio::time::timeout_at(deadline, self.replayed());
            if asked.await.map_err(|_| behind())??.is_some_and(|replayed| replayed >= at) {
                return Ok(());
            }
            pause = wait(pause, deadline).await.ok_or_else(behind)?;
        }
    }

    async fn replayed(&self) -> Result<Option<Lsn>, SourceError> {
        let mut held = self.pool.acquire().await?;
        held.busy();
        let doing =
            |error: tokio_postgres::Error| crate::fault::of("asking the standby how far it is", &error);
        let replayed = fill::replayed(&held.client).await.map_err(doing)?;
        held.settled();
        Ok(replayed)
    }

    /// Whether the server that answered follows the primary whose log is followed, and shows the schema that the plan was
    /// made for. Gives the position above which nothing that was shown is logged.
    fn check_history(&self, raw: &RawFill, standing: &Standing) -> Result<Lsn, Refused> {
        let primary = &standing.identity;
        let refused = |message: String, wants_mark: bool| {
            Err(Refused { error: SourceError::contract(message), rests: true, wants_mark })
        };
        let contract = |message: &str| refused(message.to_owned(), false);
        let role = &self.pool.options().connect.user;
        if !raw.seen.in_recovery {
            return contract("the server named as the standby is not one, or not any more");
        }
        if raw.seen.identity.system != primary.system {
            return contract("the server named as the standby is a standby of another server");
        }
        let Some(History { mark, timeline, coverage, upper }) = &raw.history else {
            return Err(SourceError::contract("the view's keys can only be asked for one by one").into());
        };
        #[cfg(candor_sabotage)]
        let mark = if is(Sabotage::StandbyMark) { &Some(mark_of(primary)) } else { mark };
        #[cfg(candor_sabotage)]
        let timeline = if is(Sabotage::StandbyTimeline) { &Some(primary.timeline) } else { timeline };
        match mark {
            Some(mark) if *mark == mark_of(primary) => {}
            Some(_) => {
                let message = "the standby shows another mark than the primary's: the primary's is on its way, or could not \
                     be left, or the standby follows another primary";
                return refused(message.to_owned(), true);
            }
            None => {
                let message = format!(
                    "the standby shows no mark of the primary: run `candor setup`, and on the primary `{}`",
                    grants(role)
                );
                return refused(message, true);
            }
        }
        match timeline {
            Some(timeline) if *timeline == primary.timeline => {}
            Some(timeline) => {
                return contract(&format!(
                    "the standby receives timeline {timeline}, the primary writes {}: it follows another primary",
                    primary.timeline
                ));
            }
            None => {
                return contract(&format!(
                    "the standby does not tell which timeline it receives: it receives nothing, or its role may not read \
                     that; on the primary `GRANT pg_read_all_stats TO {role}`"
                ));
            }
        }
        // A change of the schema has no rows, so the log does not tell when it becomes visible.
        let is_of_plan = *coverage == standing.coverage;
        #[cfg(candor_sabotage)]
        let is_of_plan = is_of_plan || is(Sabotage::StandbySchema);
        if !is_of_plan {
            return contract(
                "the standby shows a schema that the primary does not show yet, or not any more",
            );
        }
        Ok(*upper)
    }
}

fn behind() -> SourceError {
    SourceError::slow(format!(
        "the standby did not show within {} ms what is visible at the primary; it lags, or is busy",
        PATIENCE.as_millis()
    ))
}

fn ahead() -> SourceError {
    SourceError::slow(format!(
        "the standby shows what was not visible at the primary within {} ms: a commit waits for a synchronous standby, or a \
         transaction is open that began to write before the log was followed",
        PATIENCE.as_millis()
    ))
}

/// Waits a little, and gives how long to wait the next time; `None` past the deadline.
async fn wait(pause: Duration, deadline: Instant) -> Option<Duration> {
    let until = Instant::now() + pause;
    if until >= deadline {
        return None;
    }
    sleep_until(until).await;
    Some((pause * 2).min(PAUSE_MAX))
}
