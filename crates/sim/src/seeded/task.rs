//! What follows the log for one instance: the model of `crates/postgres/src/log`, decision by decision.
//!
//! The real task talks to sockets and cannot run under a scheduler of ours. What it decides is kept here line by line:
//! where a stream begins and with what publication, whether it goes on or opens a gap, what is confirmed and when, which
//! transactions are unsettled, and that a full mailbox shows as a gap. What it knows of visibility is not modelled:
//! `visibility.rs` is that crate's own file, compiled into this one.

use super::fence::Standing;
use super::link::Link;
use super::plan::Flaw;
use super::server::Commit;
use candor::core::port::{BoxFuture, Feed, Fence, Log, SourceError};
use candor::core::{Change, Epoch, LogId, Record};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// A quiet stream is asked for a sign of life this often.
const QUIET: Duration = Duration::from_millis(20);
/// Records a mailbox holds; few, so that gaps happen.
const MAILBOX: usize = 24;

/// How often a new follower looks whether the log stands, a quarter of a millisecond apart.
const FOLLOW_LOOKS: usize = 400;

/// The log as the engine sees it.
pub struct ModelLog {
    link: Arc<Link>,
    followers: Arc<Mutex<Followers>>,
}

/// The mailboxes, and what a new one begins with.
#[derive(Default)]
struct Followers {
    standing: Option<LogId>,
    at: u64,
    mailboxes: Vec<Mailbox>,
}

struct Mailbox {
    sender: mpsc::Sender<Record>,
    is_behind: bool,
}

/// Where the stream stood when it was read last.
#[derive(Clone)]
struct Reached {
    log: LogId,
    /// What followers were told.
    at: u64,
    /// What the server may be told.
    sent: u64,
    /// What the stream was begun with.
    fingerprint: usize,
    /// Whether what was known of this log no longer holds, so that going on would be a lie.
    broken: bool,
}

impl ModelLog {
    /// Begins to follow the log of the link's server, in the link's group.
    pub fn start(link: Arc<Link>) -> Arc<Self> {
        let followers = Arc::<Mutex<Followers>>::default();
        let task = Task { link: Arc::clone(&link), followers: Arc::clone(&followers), reached: None };
        link.handle.spawn(link.number + 1, task.run());
        Arc::new(Self { link, followers })
    }
}

impl Log for ModelLog {
    fn fence(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        Box::pin(self.link.fence())
    }

    fn fence_visible(&self) -> BoxFuture<'_, Result<Fence, SourceError>> {
        Box::pin(self.link.fence_visible())
    }

    fn follow(&self) -> BoxFuture<'_, Result<Box<dyn Feed>, SourceError>> {
        Box::pin(async move {
            // As the real task does: whoever asks while it connects is answered when it stands, or is refused in the end.
            for _ in 0..FOLLOW_LOOKS {
                if self.followers.lock().standing.is_some() {
                    break;
                }
                self.link.handle.sleep(250_000).await;
            }
            let mut followers = self.followers.lock();
            let Some(log) = followers.standing else {
                return Err(SourceError::down("the log is not followed"));
            };
            let (sender, records) = mpsc::channel(MAILBOX);
            let opening = Record::opening(Epoch { log, era: 0 }, followers.at);
            if sender.try_send(opening).is_ok() {
                followers.mailboxes.push(Mailbox { sender, is_behind: false });
            }
            Ok(Box::new(Tail(records)) as Box<dyn Feed>)
        })
    }
}

struct Tail(mpsc::Receiver<Record>);

impl Feed for Tail {
    fn next(&mut self) -> BoxFuture<'_, Result<Record, SourceError>> {
        Box::pin(async move { self.0.recv().await.ok_or_else(|| SourceError::down("the stream ended")) })
    }
}

struct Task {
    link: Arc<Link>,
    followers: Arc<Mutex<Followers>>,
    reached: Option<Reached>,
}

impl Task {
    async fn run(mut self) {
        loop {
            if let Some((log, from)) = self.stand().await {
                self.read(log, from).await;
                self.begin_anew_if_stale();
            }
            {
                let mut followers = self.followers.lock();
                followers.standing = None;
                followers.mailboxes.clear();
            }
            *self.link.standing.lock() = None;
            let pause = {
                let mut chance = self.link.chance.lock();
                let longest = chance.pick(&[200_000, 2_000_000, 20_000_000]);
                chance.within(50_000, longest)
            };
            self.link.handle.sleep(pause).await;
        }
    }

    /// What was followed does not hold any more, though it is the same log, if a fence said so.
    fn begin_anew_if_stale(&mut self) {
        let stale = self.link.stale.lock().take();
        if stale.is_some() && stale == *self.link.standing.lock() {
            self.link.visibility.restart();
            if let Some(reached) = &mut self.reached {
                reached.broken = true;
            }
        }
    }

    /// Finds out from where every commit is told. `None` where there is no slot, and while a table is missing in the
    /// publication or somebody is about to take one out.
    async fn stand(&mut self) -> Option<(LogId, u64)> {
        let link = Arc::clone(&self.link);
        link.travel().await;
        // Before the stream begins: what changes after this question shows at the next fence.
        let (asked, coverage) = link.server.coverage();
        let is_pending = coverage.is_pending && link.flaw != Flaw::PendingForgotten;
        if coverage.is_silent || is_pending {
            return None;
        }
        // More questions lie in between, over the same connection.
        link.linger().await;
        let fingerprint = coverage.fingerprint;
        let (log, confirmed, running) = link.server.stand(link.number)?;
        if log != asked {
            return None;
        }
        let known = self.reached.take().filter(|known| link.name(known.log) == link.name(log));
        let reached = known.as_ref().map(|known| known.sent);
        let goes_on = known.as_ref().is_some_and(|known| {
            let is_covered = known.fingerprint == fingerprint || link.flaw == Flaw::FingerprintGoingOn;
            let is_confirmed = confirmed <= known.sent || link.flaw == Flaw::SlotBelieved;
            !known.broken && is_covered && is_confirmed
        });
        let from = reached.unwrap_or(confirmed).max(confirmed);
        if !goes_on {
            link.visibility.restart();
            // Who is running is asked after the stream stands: what is committed by then is visible or in this list.
            let unsettled = if link.flaw == Flaw::UnsettledForgotten { Vec::new() } else { running };
            link.visibility.settle(log, from, unsettled);
        }
        let at = match &known {
            // Followers that come back know this log up to there, and must learn that something is missing; where nothing was
            // told since the last gap, its number does.
            Some(known) if !goes_on => known.at.max(from + 1),
            Some(known) => from.max(known.at),
            None => from,
        };
        self.reached = Some(Reached { log, at, sent: from, fingerprint, broken: false });
        let name = link.name(log);
        {
            let mut followers = self.followers.lock();
            followers.standing = Some(name);
            followers.at = at;
        }
        link.respond().await;
        *link.standing.lock() = Some(Standing { log: name, fingerprint, opened: at });
        Some((log, from))
    }

    /// Reads the stream until it is cut or the log is no more.
    async fn read(&mut self, log: LogId, from: u64) {
        let link = Arc::clone(&self.link);
        let cuts = link.cuts.load(Ordering::Relaxed);
        let mut news = link.server.news.subscribe();
        // What the walsender has sent; what is on its way is lost with the connection.
        let mut cursor = from;
        loop {
            news.borrow_and_update();
            let Some((commits, flushed)) = link.server.send(log, cursor) else { return };
            let keepalive = cursor < flushed && self.is_wanted(flushed);
            if commits.is_empty() && !keepalive {
                tokio::select! {
                    biased;
                    () = link.cut.notified() => return,
                    _ = news.changed() => {}
                    () = link.wanting.notified() => {}
                    () = link.handle.sleep(QUIET.as_nanos() as u64) => {}
                }
                if link.cuts.load(Ordering::Relaxed) != cuts {
                    return;
                }
                continue;
            }
            cursor = commits.last().map_or(cursor, |commit| commit.end);
            let end = if keepalive { flushed } else { cursor };
            cursor = end;
            link.travel().await;
            if link.flaw == Flaw::SlotTooEarly {
                self.confirm(log, end);
            }
            let mut left: VecDeque<Commit> = commits.into();
            while let Some(commit) = left.pop_front() {
                if link.cuts.load(Ordering::Relaxed) != cuts {
                    return;
                }
                self.take(&commit);
                // The task is one among many; and the slot is told now and then, not at every commit.
                if link.chance.lock().one_in(4) {
                    link.handle.yield_now().await;
                }
            }
            self.advance(end, Vec::new());
            let sent = self.reached.as_ref().map_or(end, |reached| reached.sent);
            if link.chance.lock().one_in(2) {
                self.confirm(log, sent);
            }
            if link.cuts.load(Ordering::Relaxed) != cuts {
                return;
            }
        }
    }

    /// Whether somebody waits for a position above what was told, which a keepalive would reach.
    fn is_wanted(&self, flushed: u64) -> bool {
        let at = self.reached.as_ref().map_or(0, |reached| reached.at);
        let wanted = *self.link.wanted.lock();
        wanted > at && flushed > at
    }

    fn confirm(&mut self, log: LogId, sent: u64) {
        if let Some(reached) = self.reached.as_mut().filter(|_| self.link.flaw == Flaw::SlotTooEarly) {
            reached.sent = reached.sent.max(sent);
        }
        self.link.server.confirm(self.link.number, log, sent);
    }

    fn take(&mut self, commit: &Commit) {
        self.link.visibility.decoded(commit.end, commit.xid);
        self.link.decoded.fetch_max(commit.end, Ordering::Relaxed);
        let change = Change { at: commit.end, xid: commit.xid, tags: commit.tags.clone(), note: "".into() };
        self.advance(commit.end, vec![change]);
    }

    /// Everything up to `to` is told.
    fn advance(&mut self, to: u64, changes: Vec<Change>) {
        let Some(reached) = &mut self.reached else { return };
        let epoch = Epoch { log: self.link.name(reached.log), era: 0 };
        let mut followers = self.followers.lock();
        if to > reached.at {
            let record = Record { epoch, previous: reached.at, at: to, changes };
            reached.at = to;
            reached.sent = reached.sent.max(to);
            followers.at = to;
            self.link.visibility.progressed(to);
            let twice = self.link.twice.load(Ordering::Relaxed);
            followers.mailboxes.retain_mut(|mailbox| mailbox.tell(&record));
            if twice > 0 {
                self.link.twice.store(twice - 1, Ordering::Relaxed);
                followers.mailboxes.retain_mut(|mailbox| mailbox.tell(&record));
            }
        } else {
            let at = Record::opening(epoch, reached.at);
            followers.mailboxes.retain_mut(|mailbox| !mailbox.is_behind || mailbox.tell(&at));
        }
    }
}

impl Mailbox {
    /// False if nobody will read it.
    fn tell(&mut self, record: &Record) -> bool {
        match self.sender.try_send(record.clone()) {
            Ok(()) => self.is_behind = false,
            Err(mpsc::error::TrySendError::Full(_)) => self.is_behind = true,
            Err(mpsc::error::TrySendError::Closed(_)) => return false,
        }
        true
    }
}
