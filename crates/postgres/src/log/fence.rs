//! A fence: the server's position now, and whether the log still tells what its stream was begun with.
//!
//! The fingerprint of all that ([`coverage`](crate::catalog::coverage)) costs the server some 0.2 ms, and strong reads need
//! thousands of fences a second. But it is read from catalogs, under the statement's snapshot: two statements with the same
//! snapshot see the same catalogs. A transaction that changes a catalog has an id, and the moment it becomes visible no new
//! snapshot is like any older one: its id was running, or not given out yet, and now is neither. So a fence first takes a
//! *glance*: position, snapshot, and when the server started. Under a snapshot under which the fingerprint was found intact,
//! that is all; else the whole question follows. Where others commit between any two fences the glance is left out.
//!
//! ```text
//!  glance: position, snapshot ── the one of the last intact fingerprint? ── yes ──► position
//!                                          │ no
//!                                          ▼
//!  whole: position, snapshot, fingerprint ── intact? ── yes ──► position; the snapshot is remembered
//!                                          │ no
//!                                          ▼
//!                                  no proof; the log is followed anew
//! ```
//!
//! That is enough for what is visible when it is asked. A position says more: that nothing at or below it is left out, also of
//! what becomes visible later. The log may have been made silent after the snapshot was taken and before the position was
//! read; so what is *vouched for* was logged before the whole question was asked ([`Fence::vouched`]). Whoever asks for a
//! position gets that of a glance, with the whole question after it, unless as much was vouched for already.
//!
//! A change of the schema that is logged and not visible yet has no rows that could be missing, but whoever holds a position
//! above it would miss the change itself. So the whole question also asks whether there is such a change; while there is one,
//! no more is vouched for.

use super::intact::Intact;
use super::{Ask, Log, Standing, is_pending};
use crate::catalog::coverage::{ANSWERS, PUBLICATION, look_sql};
use crate::fill::Visible;
use crate::identity::started_sql;
use crate::pool::{Held, Pool, Route};
use crate::visibility::{Era, UnderWay};
use candor_core::port::{Fence, SourceError};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{LogId, Position};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often at most the whole question is asked under one snapshot, so that what is vouched for grows though nobody asks for a
/// position. Half of the engine's pulse: so it grows with each.
const VOUCHING_EVERY: Duration = Duration::from_millis(25);
/// How long a fence waits for commits that are visible to be decoded, before it asks for everything that was logged.
const DECODING: Duration = Duration::from_millis(2);

/// What a fence asks, and what is known of the answers.
pub(super) struct Questions {
    glance_sql: Arc<str>,
    whole_sql: Arc<str>,
    intact: Mutex<Intact<Standing, String>>,
    /// When the whole one was asked last.
    asked_whole: Mutex<Option<Instant>>,
}

/// What a fence is wanted for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// To know of everything that is visible.
    Visible,
    /// For the position itself, which has to be vouched for.
    Position,
}

/// What a fence was told.
struct Told {
    at: u64,
    snapshot: String,
    started: i64,
    /// Only if the whole question was asked.
    coverage: Option<String>,
    /// Whether the publication is being changed by somebody nobody sees yet. Only if the whole question was asked.
    is_pending: bool,
    /// Whether something else is, that answers depend on. Only if the whole question was asked.
    is_doubted: bool,
}

/// What a fence found out: nothing is missing in the log that was visible when it was asked.
struct Found {
    standing: Standing,
    /// At or above whatever was visible.
    at: u64,
    snapshot: String,
    started: i64,
    vouched: u64,
}

impl Questions {
    pub(super) fn of(publication: &str) -> Self {
        let glance =
            "(pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8, pg_current_snapshot()::text".to_owned();
        #[cfg(candor_sabotage)]
        let glance = if is(Sabotage::FlushedPosition) { glance.replace("insert", "flush") } else { glance };
        let started = started_sql();
        let look = look_sql(publication);
        Self {
            glance_sql: format!("SELECT {glance}, {started}").into(),
            whole_sql: format!("SELECT {glance}, {started}, l.coverage, l.unseen FROM ({look}) l").into(),
            intact: Mutex::default(),
            asked_whole: Mutex::default(),
        }
    }

    /// Whether what a glance vouches for has to do, short as it may be of the position.
    fn is_glance_enough(&self, wanted: Wanted) -> bool {
        let is_young = |asked: Instant| asked.elapsed() < VOUCHING_EVERY;
        #[cfg(candor_sabotage)]
        let is_young = |asked| is_young(asked) || is(Sabotage::FingerprintOfAnySnapshot);
        wanted == Wanted::Visible && self.asked_whole.lock().is_some_and(is_young)
    }

    /// The whole one, which is asked now.
    fn whole(&self) -> &Arc<str> {
        *self.asked_whole.lock() = Some(Instant::now());
        &self.whole_sql
    }
}

impl Log {
    /// The server's position now. See [`candor_core::port::Log::fence`].
    pub(crate) async fn fence(&self) -> Result<Fence, SourceError> {
        let found = self.asked(&self.pool, Wanted::Position).await?;
        let position = self.reach(&found.standing, found.at);
        Ok(Fence { position, vouched: found.vouched, since: found.standing.opened })
    }

    /// A position at or above everything visible now. See [`candor_core::port::Log::fence_visible`].
    pub(crate) async fn fence_visible(&self) -> Result<Fence, SourceError> {
        Ok(self.fence_visible_by(&self.pool).await?.1)
    }

    /// The same by connections of one's own, and the stream it belongs to.
    pub(crate) async fn fence_visible_by(&self, pool: &Pool) -> Result<(Standing, Fence), SourceError> {
        let found = self.asked(pool, Wanted::Visible).await?;
        let era = Era { log: found.standing.identity.log(), started_micros: found.started };
        let at = match Visible::parse(&found.snapshot) {
            Ok(snapshot) => {
                let known = self.visibility.shown(era, &snapshot, found.at);
                tokio::time::timeout(DECODING, known).await.unwrap_or(found.at)
            }
            Err(_) => found.at,
        };
        #[cfg(candor_sabotage)]
        let at = if is(Sabotage::VisibleIsInsert) { found.at } else { at };
        let position = self.reach(&found.standing, at);
        let fence = Fence { position, vouched: found.vouched, since: found.standing.opened };
        Ok((found.standing, fence))
    }

    /// Whether everything that was logged up to a position is visible at the server now. Waits until the log was told so
    /// far; whoever asks has a deadline. `under_way` was taken before the position was known.
    pub(crate) async fn is_visible_up_to(
        &self,
        under_way: &UnderWay,
        log: LogId,
        at: u64,
    ) -> Result<bool, SourceError> {
        let Found { standing, at: insert, snapshot, .. } = self.asked(&self.looks, Wanted::Visible).await?;
        let epoch = standing.epoch();
        if epoch.log != log {
            return Err(SourceError::down("the log is followed anew"));
        }
        let seen = Visible::parse(&snapshot).map_err(SourceError::down)?;
        self.reach(&standing, at);
        self.visibility.reached(log, at).await;
        let snapshot = seen.into_snapshot(Position { epoch, at: insert }, 0);
        let certain = under_way.certain(log, &snapshot);
        let certain = certain.ok_or_else(|| SourceError::down("the log is followed anew"))?;
        Ok(certain >= at)
    }

    /// Sees to it that the log is told up to there soon.
    fn reach(&self, standing: &Standing, at: u64) -> Position {
        let epoch = standing.epoch();
        if !self.visibility.has_reached(epoch.log, at) {
            // Full means that hundreds ask already; the task will reach this position on the way to theirs.
            let _ = self.asks.try_send(Ask::Reach(at));
        }
        Position { epoch, at }
    }

    /// What the server says of now, if the log still tells what its stream was begun with.
    async fn asked(&self, pool: &Pool, wanted: Wanted) -> Result<Found, SourceError> {
        self.is_told_all()?;
        let standing = self.standing()?;
        let mut logged = self.visibility.told_to(standing.identity.log());
        let mut held = pool.acquire().await?;
        held.busy();
        let Questions { glance_sql, intact, .. } = &self.questions;
        let (glance, mut told) = if intact.lock().is_glance_worth_it() {
            let glance = ask(&mut held, glance_sql).await?;
            if self.is_of(&standing, &glance)
                && let Some(vouched) = intact.lock().under(&standing, &glance.snapshot)
                && (vouched >= glance.at || self.questions.is_glance_enough(wanted))
            {
                held.settled();
                let Told { at, snapshot, started, .. } = glance;
                return Ok(Found { standing, at, snapshot, started, vouched });
            }
            (Some(glance), ask(&mut held, self.questions.whole()).await?)
        } else if wanted == Wanted::Position {
            let (glance, told) = ask_both(&mut held, glance_sql, self.questions.whole()).await?;
            (Some(glance), told)
        } else {
            (None, ask(&mut held, self.questions.whole()).await?)
        };
        held.settled();
        drop(held);
        if let Some(glance) = glance.filter(|glance| glance.started == told.started) {
            logged = logged.max(glance.at);
            if wanted == Wanted::Position {
                told.at = glance.at;
            }
        }
        if !self.is_of(&standing, &told) {
            // Or its statistics were reset, which looks the same and cuts no stream.
            let _ = self.asks.try_send(Ask::Stale(standing));
            return Err(SourceError::down("the server was restarted; its log is followed anew"));
        }
        if told.is_pending {
            // The stream may be silent about a table already, and it moves on: whoever compares positions with it must learn.
            let _ = self.asks.try_send(Ask::Stale(standing));
            return Err(is_pending());
        }
        let is_intact = told.coverage.as_ref() == Some(&standing.coverage);
        #[cfg(candor_sabotage)]
        let is_intact = is_intact || is(Sabotage::FingerprintAtFence);
        if !is_intact {
            // Whoever asks gets no proof; the task begins anew and finds out what changed.
            let _ = self.asks.try_send(Ask::Stale(standing));
            return Err(SourceError::down(
                "the publication or a table in it changed; the log is followed anew",
            ));
        }
        // What was vouched for before stays so.
        let logged = if told.is_doubted { 0 } else { logged };
        let vouched = intact.lock().found(standing.clone(), told.snapshot.clone(), logged);
        Ok(Found { standing, at: told.at, snapshot: told.snapshot, started: told.started, vouched })
    }

    /// What a view depends on that was prepared after the stream began is missing in what was told before, also in what is not
    /// visible yet.
    fn is_told_all(&self) -> Result<(), SourceError> {
        if self.facets.is_told_all() {
            return Ok(());
        }
        let _ = self.asks.try_send(Ask::Stale(self.standing()?));
        Err(SourceError::down("a view was prepared after the log was followed; it is followed anew"))
    }

    /// Whether the server that answered is the one whose log is followed.
    fn is_of(&self, standing: &Standing, told: &Told) -> bool {
        #[cfg(candor_sabotage)]
        if is(Sabotage::FenceOfAnyServer) {
            return true;
        }
        told.started == standing.identity.started_micros
    }
}

async fn ask(held: &mut Held, sql: &Arc<str>) -> Result<Told, SourceError> {
    let row = match route(held) {
        Route::Direct => {
            let statement = held.prepared(sql, &[]).await.map_err(doing)?;
            held.client.query_one(&statement, &[]).await
        }
        // By name, the next session might know another statement, and answer that.
        Route::Pooler => held.client.query_typed_one(sql, &[]).await,
    };
    read(&row.map_err(doing)?)
}

/// Two questions in one round trip; the server takes the second one's snapshot after it has answered the first.
async fn ask_both(held: &mut Held, first: &Arc<str>, then: &Arc<str>) -> Result<(Told, Told), SourceError> {
    let (first, then) = match route(held) {
        Route::Direct => {
            let first = held.prepared(first, &[]).await.map_err(doing)?;
            let then = held.prepared(then, &[]).await.map_err(doing)?;
            tokio::join!(held.client.query_one(&first, &[]), held.client.query_one(&then, &[]))
        }
        Route::Pooler => {
            tokio::join!(held.client.query_typed_one(first, &[]), held.client.query_typed_one(then, &[]))
        }
    };
    Ok((read(&first.map_err(doing)?)?, read(&then.map_err(doing)?)?))
}

fn route(held: &Held) -> Route {
    #[cfg(candor_sabotage)]
    if is(Sabotage::NamesBehindPooler) {
        return Route::Direct;
    }
    held.route
}

fn doing(error: tokio_postgres::Error) -> SourceError {
    crate::fault::of("asking for the position", &error)
}

fn read(row: &tokio_postgres::Row) -> Result<Told, SourceError> {
    let read = |error: tokio_postgres::Error| crate::fault::of("reading the position", &error);
    let at: i64 = row.try_get(0).map_err(read)?;
    let is_whole = row.len() > 3;
    let coverage = if is_whole { Some(row.try_get(3).map_err(read)?) } else { None };
    let unseen: i32 = if is_whole { row.try_get(4).map_err(read)? } else { 0 };
    let (is_pending, is_doubted) = (unseen & PUBLICATION != 0, unseen & ANSWERS != 0);
    #[cfg(candor_sabotage)]
    let is_pending = is_pending && !is(Sabotage::PublicationPending);
    #[cfg(candor_sabotage)]
    let is_doubted = is_doubted && !is(Sabotage::DoubtForgotten);
    Ok(Told {
        at: u64::try_from(at).unwrap_or_default(),
        snapshot: row.try_get(1).map_err(read)?,
        started: row.try_get(2).map_err(read)?,
        coverage,
        is_pending,
        is_doubted,
    })
}
