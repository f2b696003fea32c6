//! Fences: what the source is asked for so that readers know nothing was missed, and who waits for the answer.
//!
//! One task asks, one question at a time, with a limit on each. Readers join the next question and never one that has been
//! asked already; whoever holds a position asks for all that is logged, the others for all that is visible.

use super::{FeedStatus, Follower, Shared};
use crate::sync::Ordering;
use candor_core::port::{self, SourceError};
use candor_core::{Moment, Position};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a reader waits for the feed to tell of an epoch that a fence already knows, before it asks again.
const EPOCH_PATIENCE: Duration = Duration::from_millis(5);
/// Entries that were proven this lately are not written to their tier again only because they are proven further. A tenth
/// of the time that a ledger of the default size remembers under ten thousand changed tags a second.
pub(super) const LATELY: Duration = Duration::from_millis(1300);

/// Held by the task that asks. However it ends, by order, by a panic of the log's or with its runtime before it ever ran:
/// those who wait for it are told, and nobody waits from then on.
pub(super) struct SendsEverybodyAway(pub(super) Arc<Shared>);

impl Drop for SendsEverybodyAway {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.no_more_fences = true;
        state.waiting.clear();
    }
}

/// Who waits for a fence.
#[derive(Debug)]
pub(super) struct Waiter {
    extent: Extent,
    answer: oneshot::Sender<Result<Fence, SourceError>>,
}

/// What a fence must cover.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Extent {
    /// Everything that is visible at the source.
    Visible,
    /// The source's position, which reaches every position that anybody has noted.
    Logged,
}

/// What a source said of now, and the moment before it was asked.
#[derive(Copy, Clone, Debug)]
pub(super) struct Fence {
    asked_at: Moment,
    said: port::Fence,
}

impl Follower {
    /// Asks the source for its position and waits until the ledger has reached it. Afterwards everything that was
    /// visible at the source when this was called is in the ledger.
    ///
    /// # Errors
    ///
    /// Why the log cannot say: it is down, or did not answer before `deadline`.
    pub async fn prove(&self, deadline: Moment) -> Result<Position, String> {
        self.prove_extent(Extent::Visible, deadline).await
    }

    /// The same up to the source's own position, for whoever holds a position that must be reached.
    ///
    /// # Errors
    ///
    /// As [`Follower::prove`].
    pub async fn prove_logged(&self, deadline: Moment) -> Result<Position, String> {
        self.prove_extent(Extent::Logged, deadline).await
    }

    async fn prove_extent(&self, extent: Extent, deadline: Moment) -> Result<Position, String> {
        if self.is_down()
            && let FeedStatus::Down(why) = self.status()
        {
            return Err(why);
        }
        let shared = &self.shared;
        let limit = shared.options.fence_timeout;
        let now = shared.world.now();
        // Half of what is left at most: the source may have to be asked instead.
        let patience = deadline.since(now) / 2;
        // The task that asks has one question under way at most and gives each the limit, so nobody waits for more than
        // two. Whoever has that much time needs no timer of their own, and strong reads come in hundreds of thousands.
        if patience >= limit * 2 {
            let fence = shared.fence(extent).await.map_err(|error| error.message)?;
            if shared.is_proven(&fence) {
                return Ok(fence.said.position);
            }
            let until = shared.world.now().plus(limit);
            return Box::pin(shared.within(until, shared.prove_from(fence, extent))).await;
        }
        let all = async {
            let fence = shared.fence(extent).await.map_err(|error| error.message)?;
            shared.prove_from(fence, extent).await
        };
        Box::pin(shared.within(now.plus(limit.min(patience)), all)).await
    }

    /// Asks the source for its position, whether or not the log can be followed.
    ///
    /// # Errors
    ///
    /// Why the source does not tell.
    pub async fn ask(&self, deadline: Moment) -> Result<Position, String> {
        match self.shared.world.within(deadline, self.shared.fence(Extent::Logged)).await {
            Some(Ok(fence)) => Ok(fence.said.position),
            Some(Err(error)) => Err(error.message),
            None => Err("the source did not tell its position in time".to_owned()),
        }
    }
}

impl Shared {
    async fn within(
        &self,
        deadline: Moment,
        proving: impl Future<Output = Result<Position, String>>,
    ) -> Result<Position, String> {
        let outcome = self.world.within(deadline, proving).await;
        outcome.unwrap_or_else(|| Err("the log did not reach the source's position in time".to_owned()))
    }

    /// Waits until the watermark has reached this fence, or a later one where it never will.
    async fn prove_from(&self, mut fence: Fence, extent: Extent) -> Result<Position, String> {
        loop {
            loop {
                // Told of everything from here on, whether or not it is polled by then.
                let advanced = self.advanced.notified();
                if self.ledger.prove(fence.asked_at, fence.said) {
                    return Ok(fence.said.position);
                }
                if let FeedStatus::Down(why) = &*self.status.borrow() {
                    return Err(why.clone());
                }
                // The epoch may have ended between the question and now; then the position is never reached and the
                // question must be asked again. Or the feed is about to tell of the new epoch; so it is given a moment.
                let another =
                    self.ledger.sight().is_some_and(|sight| sight.epoch != fence.said.position.epoch);
                if another {
                    let moment = self.world.now().plus(EPOCH_PATIENCE);
                    let _ = self.world.within(moment, advanced).await;
                    if !self.ledger.prove(fence.asked_at, fence.said) {
                        break;
                    }
                } else {
                    advanced.await;
                }
            }
            fence = self.fence(extent).await.map_err(|error| error.message)?;
        }
    }

    /// Whether somebody has proven this fence already: most often the task that asked, for all who wait. Asked of the
    /// ledger's fields alone, so that those who wait together do not stand in line for its lock.
    fn is_proven(&self, fence: &Fence) -> bool {
        self.ledger.sight().is_some_and(|sight| {
            sight.proven_until >= Some(fence.asked_at)
                && sight.position().reaches(fence.said.position)
                && sight.watermark >= fence.said.since
                && sight.vouched >= fence.said.vouched
        })
    }

    /// Joins the next question; never one that has been asked already.
    async fn fence(&self, extent: Extent) -> Result<Fence, SourceError> {
        let (answer, asked) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.no_more_fences {
                return Err(gone());
            }
            state.waiting.push(Waiter { extent, answer });
        }
        self.wanted.notify_one();
        asked.await.unwrap_or_else(|_| Err(gone()))
    }

    pub(super) async fn ask_fences(&self) {
        let Some(log) = &self.log else { return };
        let mut closing = self.closing.subscribe();
        let mut noted = self.world.now();
        loop {
            let pulse = self.world.now().plus(self.options.pulse);
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                () = self.wanted.notified() => {}
                () = self.world.sleep_until(pulse) => {}
            }
            // Readers that the last answer woke are about to ask for more; they join if they get to run first.
            give_way().await;
            let waiting = std::mem::take(&mut self.state.lock().waiting);
            let asked_at = self.world.now();
            if asked_at >= noted.plus(LATELY) {
                noted = asked_at;
                self.lately.store(self.ledger.sight().map_or(0, |sight| sight.watermark), Ordering::Relaxed);
            }
            let limit = asked_at.plus(self.options.fence_timeout);
            self.fences.fetch_add(1, Ordering::Relaxed);
            let is_position_wanted = waiting.iter().any(|waiter| waiter.extent == Extent::Logged);
            let question = if is_position_wanted { log.fence() } else { log.fence_visible() };
            let answer = match self.world.within(limit, question).await {
                Some(answer) => answer.map(|said| Fence { asked_at, said }),
                None => Err(SourceError::slow("the source did not tell its position in time")),
            };
            #[cfg(candor_sabotage)]
            let (waiting, answer) = self.sabotaged(waiting, answer);
            match &answer {
                Ok(fence) => {
                    let mut state = self.state.lock();
                    // A fence of a log that was left is never reached; it must not stand in the way of later ones.
                    state
                        .unproven
                        .retain(|older| older.said.position.epoch.log == fence.said.position.epoch.log);
                    state.unproven.truncate(1);
                    state.unproven.push_back(*fence);
                    drop(state);
                    self.prove_latest();
                }
                Err(error) => tracing::debug!(%error, "a fence failed"),
            }
            for waiter in waiting {
                // A reader that has gone away does not mind.
                let _ = waiter.answer.send(answer.clone());
            }
        }
    }

    /// Who joined after the question was asked, and a moment noted after it.
    #[cfg(candor_sabotage)]
    fn sabotaged(
        &self,
        mut waiting: Vec<Waiter>,
        answer: Result<Fence, SourceError>,
    ) -> (Vec<Waiter>, Result<Fence, SourceError>) {
        use crate::sabotage::{Sabotage, is};
        if is(Sabotage::JoinAnyFence) {
            waiting.append(&mut self.state.lock().waiting);
        }
        let late = is(Sabotage::MomentAfterFence).then(|| self.world.now());
        (waiting, answer.map(|fence| Fence { asked_at: late.unwrap_or(fence.asked_at), ..fence }))
    }

    pub(super) fn prove_latest(&self) {
        let mut state = self.state.lock();
        // A later fence may lie lower: it covers less. It proves what the earlier one would have.
        let proven = state.unproven.iter().rposition(|fence| self.ledger.prove(fence.asked_at, fence.said));
        if let Some(latest) = proven {
            state.unproven.drain(..=latest);
        }
    }
}

/// What whoever waits for a fence is told when none will come.
fn gone() -> SourceError {
    SourceError::down("this instance is shutting down")
}

/// Lets every task that is ready to run do so before this one.
async fn give_way() {
    let mut has_waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
