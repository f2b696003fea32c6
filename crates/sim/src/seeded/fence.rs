//! A fence: the model of `crates/postgres/src/log/fence.rs`, decision by decision. What it remembers of the answers is not
//! modelled: `intact.rs` is that crate's own file.
//!
//! A glance first, which asks for position and snapshot; the whole question, with the fingerprint and the marks, unless the
//! snapshot is the one under which the fingerprint was last found intact. Each is a statement: its snapshot is taken, and a
//! moment later it reads the position. What the log vouches for was logged before the whole question was asked.

use super::fill::Visible;
use super::intact::Intact;
use super::link::Link;
use super::plan::{Flaw, Kind};
use super::publication::Coverage;
use super::visibility::Era;
use candor::core::port::{Fence, SourceError};
use candor::core::{Epoch, LogId, Position, Snapshot, Stamp};
use futures_util::future::Either;
use std::time::Duration;

/// How long a fence waits for visible commits to be decoded, as the real one.
const DECODING: Duration = Duration::from_millis(2);

/// A stream that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The log it tells of.
    pub(super) log: LogId,
    /// What it was begun with.
    pub(super) fingerprint: usize,
    /// The number at which it was opened. Whoever was not told so far has not heard what was missing before it.
    pub(super) opened: u64,
}

/// What fences know of their answers: the real thing.
pub(super) type Questions = Intact<Standing, Visible>;

/// What a fence is wanted for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Visible,
    Position,
}

/// What a fence was told.
struct Told {
    position: Position,
    /// Nothing of a sequence.
    snapshot: Option<Visible>,
    coverage: Coverage,
}

/// What a fence found out: nothing is missing in the log that was visible when it was asked.
struct Found {
    told: Told,
    vouched: u64,
    since: u64,
}

impl Link {
    /// See [`candor::core::port::Log::fence`].
    pub(super) async fn fence(&self) -> Result<Fence, SourceError> {
        let Found { told, vouched, since } = self.asked(Wanted::Position).await?;
        Ok(Fence { position: self.reach(told.position), vouched, since })
    }

    /// See [`candor::core::port::Log::fence_visible`].
    pub(super) async fn fence_visible(&self) -> Result<Fence, SourceError> {
        let Found { told, vouched, since } = self.asked(Wanted::Visible).await?;
        let Position { epoch, at } = told.position;
        let Some(snapshot) = told.snapshot else {
            return Ok(Fence { position: self.reach(told.position), vouched, since });
        };
        // Each start of the model's server begins a log of its own.
        let era = Era { log: epoch.log, started_micros: 0 };
        let known = std::pin::pin!(self.visibility.shown(era, &snapshot, at));
        let patience = self.handle.sleep(DECODING.as_nanos() as u64);
        let at = match futures_util::future::select(known, patience).await {
            Either::Left((at, _)) => at,
            Either::Right(_) => at,
        };
        Ok(Fence { position: self.reach(Position { epoch, at }), vouched, since })
    }

    /// What the server says of now, if the log still tells what its stream was begun with.
    async fn asked(&self, wanted: Wanted) -> Result<Found, SourceError> {
        let standing = self.standing.lock().clone();
        let standing = standing.ok_or_else(|| SourceError::down("the log is not followed yet"))?;
        let since = standing.opened;
        let mut logged = self.visibility.told_to(standing.log);
        self.travel().await;
        let is_glance_worth_it = self.questions.lock().is_glance_worth_it();
        let mut glance = None;
        if self.kind == Kind::Postgres && (is_glance_worth_it || wanted == Wanted::Position) {
            let told = self.ask(&standing).await?;
            if is_glance_worth_it {
                self.respond().await;
                let snapshot = told.snapshot.as_ref().map(|snapshot| self.compared(snapshot));
                let vouched = snapshot.and_then(|snapshot| self.questions.lock().under(&standing, &snapshot));
                if let Some(vouched) = vouched
                    && (wanted == Wanted::Visible || vouched >= told.position.at)
                {
                    return Ok(Found { told, vouched, since });
                }
                self.travel().await;
            }
            // Else both were asked in one.
            glance = Some(told.position);
        }
        let mut told = self.ask(&standing).await?;
        self.respond().await;
        let Some(snapshot) = told.snapshot.clone() else {
            // Whoever takes something out of such a log begins another one.
            return Ok(Found { told, vouched: u64::MAX, since: 0 });
        };
        if self.flaw == Flaw::VouchedTooFar {
            logged = told.position.at;
        }
        if let Some(glance) = glance {
            logged = logged.max(glance.at);
            if wanted == Wanted::Position {
                told.position = glance;
            }
        }
        if told.coverage.is_pending && self.flaw != Flaw::PendingForgotten {
            self.is_stale(&standing);
            return Err(SourceError::down("the publication is being changed"));
        }
        if told.coverage.fingerprint != standing.fingerprint && self.flaw != Flaw::FingerprintAtFence {
            self.is_stale(&standing);
            return Err(SourceError::down("the publication changed"));
        }
        let vouched = self.questions.lock().found(standing, self.compared(&snapshot), logged);
        Ok(Found { told, vouched, since })
    }

    /// What of a snapshot is compared with another.
    fn compared(&self, snapshot: &Visible) -> Visible {
        match self.flaw {
            Flaw::FingerprintOfAnySnapshot => Visible { xmin: 0, xmax: 0, in_progress: Box::default() },
            _ => snapshot.clone(),
        }
    }

    /// One statement: its snapshot, what it finds in the catalogs and, a moment later, the position. An error if the server is
    /// not the one whose log is followed.
    async fn ask(&self, standing: &Standing) -> Result<Told, SourceError> {
        let read = self.server.read(&[]);
        // Far shorter than a statement that reads rows; something may still come between, at a busy server often.
        let lingers = self.chance.lock().below(16);
        if lingers < self.busy {
            self.linger().await;
        } else if lingers < 4 {
            self.handle.yield_now().await;
        }
        let coverage = read.coverage;
        let told = self.server.stamp(&read, |_| 0).map(|stamp| match stamp {
            Stamp::Sequence(position) => Told { position, snapshot: None, coverage },
            Stamp::Snapshot(snapshot) => {
                let Snapshot { upper, xmin, xmax, in_progress, .. } = (*snapshot).clone();
                Told { position: upper, snapshot: Some(Visible { xmin, xmax, in_progress }), coverage }
            }
        });
        match told.filter(|told| self.name(told.position.epoch.log) == standing.log) {
            Some(told) => Ok(told),
            None => {
                self.respond().await;
                self.is_stale(standing);
                Err(SourceError::down("the server was restarted"))
            }
        }
    }

    /// A stream is no longer what it was begun with: the task, if it still reads that one, begins anew.
    fn is_stale(&self, standing: &Standing) {
        if self.standing.lock().as_ref() == Some(standing) {
            *self.stale.lock() = Some(standing.clone());
            self.cut_off();
        }
    }

    /// Sees to it that the log is told up to there soon.
    fn reach(&self, position: Position) -> Position {
        let Position { epoch: Epoch { log, era }, at } = position;
        {
            let mut wanted = self.wanted.lock();
            *wanted = (*wanted).max(at);
        }
        self.wanting.notify_one();
        Position { epoch: Epoch { log: self.name(log), era }, at }
    }
}
