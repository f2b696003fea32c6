//! One watch: look, hear, look again, judge.

use super::figures::{add, place};
use super::incidents::Kind;
use super::judge::{Verdict, judge, same_all};
use super::look::{Look, NoLook};
use super::tap::{Asked, Heard, Hearing, Served};
use super::{Outcome, report};
use crate::service::{ServedView, Service};
use candor::Moment;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{Demand, Level, Tag};
use std::sync::Arc;
use std::time::Duration;

/// Looks in the middle of a watch, taken when something else is heard than the first look saw.
const LOOKS_BETWEEN: usize = 2;
/// How long the last look may wait for room, and the log for its word.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a look that is kept for a later watch of the same key.
const LOOK_BYTES_MAX: usize = 64 << 10;
/// A look older than this says little about an answer given now.
const LOOK_AGE_MAX: Duration = Duration::from_secs(60);
/// Until the log is asked again whether it has come so far.
const AGAIN: Duration = Duration::from_millis(5);

/// How long which source was busy with a watch.
pub(super) struct End {
    pub(super) source: usize,
    pub(super) busy: Duration,
}

/// A watch under way.
struct Watch<'s> {
    service: &'s Service,
    view: &'s ServedView,
    asked: Asked,
    looks: Vec<Arc<Look>>,
    busy: Duration,
}

/// Watches one key, or one snapshot's keys. `reads`: whether it reads by itself if nobody else does.
pub(super) async fn watch(
    service: &Service,
    view: &ServedView,
    asked: Asked,
    window: Duration,
    reads: bool,
) -> End {
    let mut watch = Watch { service, view, asked, looks: Vec::new(), busy: Duration::ZERO };
    let figures = service.audit().figures(view);
    if watch.run(window, reads).await.is_err() {
        add(&figures.given_up, 1);
    }
    End { source: view.source, busy: watch.busy }
}

impl Watch<'_> {
    async fn run(&mut self, window: Duration, reads: bool) -> Result<(), NoLook> {
        let figures = self.service.audit().figures(self.view);
        let first = Look::take(self.service, self.view, &self.asked).await;
        let first = self.looked(first)?;
        let end = first.ended.plus(window);
        let hearing = self.view.tap.watch(self.asked.clone(), &first);
        // Heard until this is dropped, also if the watch ends early.
        let listening = Listening { view: self.view, hearing: &hearing };
        self.hear(&hearing, end, reads, window).await;
        if hearing.is_silent() {
            add(&figures.idle, 1);
            return Ok(());
        }
        let heard = listening.end();
        add(&figures.watches, 1);
        let deadline = self.service.world().now().plus(PATIENCE);
        let last = Look::insist(self.service, self.view, &self.asked, deadline).await;
        let last = self.looked(last);
        self.judge(heard).await;
        let last = last?;
        if last.bytes() <= LOOK_BYTES_MAX {
            self.view.tap.remember(self.asked.clone(), last);
        }
        Ok(())
    }

    /// Waits for answers until `end`.
    async fn hear(&mut self, hearing: &Arc<Hearing>, end: Moment, reads: bool, window: Duration) {
        let world = self.service.world();
        // Most of the window is for others: what they are given is what counts.
        let patience = end.minus(window / 3);
        let mut between = 0;
        let mut has_read = false;
        loop {
            let until = if has_read { end } else { patience };
            tokio::select! {
                () = world.sleep_until(until) => {
                    if has_read {
                        return;
                    }
                    has_read = true;
                    if hearing.is_silent() {
                        self.read(reads).await;
                    }
                }
                () = hearing.differs.notified(), if between < LOOKS_BETWEEN => {
                    between += 1;
                    let look = Look::take(self.service, self.view, &self.asked).await;
                    // The last look decides whether the watch can be judged; this one only helps.
                    let _ = self.looked(look);
                }
            }
        }
    }

    /// Asks for the key, as anybody would: the answer is heard like everybody's.
    async fn read(&self, reads: bool) {
        let level = match self.view.declaration.contract.level {
            // A session needs somebody who has one.
            Level::Session => Level::Any,
            level => level,
        };
        #[cfg(candor_sabotage)]
        let reads = reads || is(Sabotage::AuditReads);
        if !reads {
            self.service.peek(self.view, &self.asked.keys, self.asked.is_snapshot);
            return;
        }
        // What cannot be answered cannot be false.
        if self.asked.is_snapshot {
            let _ = self.service.read_many(self.view, &self.asked.keys, Demand::from(level), true).await;
        } else if let Some(key) = self.asked.keys.first() {
            let _ = self.service.read(self.view, key, Demand::from(level)).await;
        }
    }

    fn looked(&mut self, look: Result<Look, NoLook>) -> Result<Arc<Look>, NoLook> {
        let figures = self.service.audit().figures(self.view);
        if !matches!(look, Err(NoLook::NoRoom)) {
            add(&figures.looks, 1);
        }
        let look = Arc::new(look?);
        self.busy += look.took();
        self.looks.push(Arc::clone(&look));
        Ok(look)
    }

    async fn judge(&mut self, heard: Heard) {
        let figures = self.service.audit().figures(self.view);
        let is_snapshot = self.asked.is_snapshot;
        let now = self.service.world().now();
        let earlier = self.view.tap.recall(&self.asked);
        if let Some(earlier) = earlier.filter(|look| now.since(look.ended) <= LOOK_AGE_MAX) {
            self.looks.insert(0, earlier);
        }
        self.await_log(&heard).await;
        let mut false_one: Option<(&Served, usize, usize)> = None;
        for served in &heard.answers {
            let level = place(served.level, is_snapshot);
            let verdict = judge(&self.looks, served, |before, after| self.changes(before, after));
            let outcome = match verdict {
                Verdict::True { still } => {
                    self.measure(served, still);
                    Outcome::True
                }
                Verdict::False { before, after } => {
                    false_one.get_or_insert((served, before, after));
                    Outcome::False
                }
                Verdict::Undecided => Outcome::Undecided,
                Verdict::NotJudged => Outcome::NotJudged,
            };
            figures.count(level, outcome, 1);
        }
        if let Some(level) = heard.answers.first().map(|served| place(served.level, is_snapshot)) {
            figures.count(level, Outcome::NotJudged, heard.beyond);
        }
        if let Some((served, before, after)) = false_one {
            self.accuse(Kind::FalseReceipt, Some(served), before, after);
        }
        self.find_silence();
    }

    /// Looks that differ although the log tells of no change between them.
    fn find_silence(&self) {
        #[cfg(candor_sabotage)]
        if is(Sabotage::AuditSilent) {
            return;
        }
        for before in 0..self.looks.len().saturating_sub(1) {
            let (one, other) = (&self.looks[before], &self.looks[before + 1]);
            if !same_all(&one.values, &other.values) && self.changes(before, before + 1) == Some(0) {
                add(&self.service.audit().figures(self.view).silent, 1);
                return self.accuse(Kind::SilentChange, None, before, before + 1);
            }
        }
    }

    /// How many changes the log tells of between two looks.
    fn changes(&self, before: usize, after: usize) -> Option<usize> {
        if !self.view.is_logged() {
            return None;
        }
        let mut tags: Vec<Tag> =
            self.looks[before..=after].iter().flat_map(|look| &look.tags).copied().collect();
        tags.sort_unstable();
        tags.dedup();
        let until = self.looks[after].stamp.upper();
        self.view.cache().follower().changes_between(&tags, &self.looks[before].stamp, until)
    }

    /// Where something has changed or is suspicious, the log is given time to come as far as the last look.
    async fn await_log(&self, heard: &Heard) {
        let (Some(first), Some(last)) = (self.looks.first(), self.looks.last()) else { return };
        let is_plain = self.looks.iter().all(|look| same_all(&look.values, &first.values))
            && heard.answers.iter().all(|served| same_all(&served.values, &first.values));
        if is_plain || !self.view.is_logged() {
            return;
        }
        let world = self.service.world();
        let deadline = world.now().plus(PATIENCE);
        let follower = self.view.cache().follower();
        // Whether it succeeds is asked below; it only makes haste.
        let _ = follower.prove(deadline).await;
        while world.now() < deadline
            && follower.changes_between(&[], &last.stamp, last.stamp.upper()).is_none()
        {
            world.sleep_until(world.now().plus(AGAIN)).await;
        }
    }

    /// What a true answer claimed, and how old it was seen to be at most: not at all, if the source still says so.
    fn measure(&self, served: &Served, still: bool) {
        let bound = served.receipts.iter().filter_map(|receipt| receipt.bound).max().unwrap_or_default();
        let last_true = self.looks.iter().rev().find(|look| same_all(&look.values, &served.values));
        let observed = match last_true {
            Some(look) if !still => served.given.since(look.begun),
            _ => Duration::ZERO,
        };
        self.service.audit().figures(self.view).seen(bound, observed);
    }

    fn accuse(&self, kind: Kind, served: Option<&Served>, before: usize, after: usize) {
        let audit = self.service.audit();
        let now = self.service.world().now();
        let changes = self.changes(before, after);
        let evidence =
            report::Evidence { asked: &self.asked, served, looks: &self.looks[before..=after], changes, now };
        let tell = || report::incident(self.service, self.view, &evidence);
        let is_new = audit.incidents.lock().note(kind, self.view.index, &self.asked, now, tell);
        if is_new {
            tracing::error!(
                view = self.view.name(),
                kind = kind.word(),
                "the audit found what must not be; GET /v1/audit tells all of it"
            );
        }
    }
}

/// Hears until it ends.
struct Listening<'w> {
    view: &'w ServedView,
    hearing: &'w Arc<Hearing>,
}

impl Listening<'_> {
    fn end(self) -> Heard {
        self.view.tap.unwatch(self.hearing)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let _ = self.view.tap.unwatch(self.hearing);
    }
}
