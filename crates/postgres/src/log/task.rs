//! The task that reads the stream.

use super::reached::Reached;
use super::stand::Stood;
use super::transaction::{Transaction, table};
use super::{Ask, Standing, State, Tail, backoff, is_passing};
use crate::Lsn;
use crate::catalog::coverage::look_sql;
use crate::derive::COMPILE_TIMEOUT;
use crate::facets::Facets;
use crate::fault;
use crate::names::Names;
use crate::options::PostgresOptions;
use crate::pgoutput::Event;
use crate::pool::Pool;
use crate::session::{Incoming, SessionError};
use crate::setup;
use crate::view::Views;
use crate::visibility::Visibility;
use candor_core::Record;
use candor_core::port::SourceError;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_postgres::error::SqlState;

/// A quiet stream is asked for a sign of life this often; the answer also carries the watermark through quiet times.
const QUIET: Duration = Duration::from_secs(1);
/// And given up after this long without any: the connection may be dead without having been closed.
/// Longer than half of `wal_sender_timeout`, after which a walsender that reads through a huge transaction of no concern
/// says something. Bounds grow by themselves meanwhile.
const SILENT: Duration = Duration::from_secs(75);
/// Between two requests for a keepalive while a position is waited for. The first is sent at once.
const PATIENCE: [Duration; 6] = [
    Duration::from_micros(200),
    Duration::from_micros(400),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
];
/// After so many requests the log is pushed on.
const PUSH_AFTER: usize = 4;

/// What is asked of the walsender, and since when.
struct Wanted {
    at: u64,
    asked: usize,
    /// Whether an answer that fell short was followed by another question at once.
    asked_again: bool,
    again: Instant,
}

pub(super) struct Task {
    pub(super) options: PostgresOptions,
    /// For looking around.
    pub(super) pool: Arc<Pool>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) state: watch::Sender<State>,
    pub(super) facets: Arc<Facets>,
    pub(super) views: Arc<Views>,
    /// What names mean to whoever fills.
    pub(super) names: Arc<Names>,
    pub(super) visibility: Arc<Visibility>,
    pub(super) followers: Vec<Mailbox>,
    /// Why the followers' mailboxes were closed.
    pub(super) ended: Arc<Mutex<Option<SourceError>>>,
    /// Everything up to here is in the mailboxes.
    pub(super) reached: Option<Reached>,
    /// Whether a message of an event trigger came by.
    pub(super) is_told_of_ddl: bool,
}

/// The task's end of one follower's bounded mailbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    sender: mpsc::Sender<Record>,
    /// Whether a record found no place. The chain shows it as soon as the next one does.
    is_behind: bool,
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

impl Task {
    /// Reads until the last handle is gone.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let stood = tokio::time::timeout(self.patience(), self.stand()).await;
            let stood = stood
                .unwrap_or_else(|_| Err(SourceError::down("the replication stream did not begin in time")));
            let error = match stood {
                Ok(stood) => {
                    failures = 0;
                    match self.read(stood).await {
                        Some(error) => error,
                        None => return,
                    }
                }
                Err(error) => error,
            };
            failures += 1;
            if !self.pause(error, failures).await {
                return;
            }
        }
    }

    /// How long the stream may take to begin. Every view is held against the schema first, one after another, each with a
    /// deadline of its own: with many of them, or a server far away, one limit for all would be passed at every attempt,
    /// and the log never be followed again.
    fn patience(&self) -> Duration {
        let views = u32::try_from(self.views.all().len()).unwrap_or(u32::MAX);
        let connect = self.options.connect.connect_timeout * 3 + self.options.statement_timeout;
        connect.saturating_add(COMPILE_TIMEOUT.saturating_mul(views))
    }

    /// Tells everybody why the log is not followed, and waits. False when nobody is left.
    async fn pause(&mut self, error: SourceError, failures: u32) -> bool {
        if failures == 1 || !is_passing(&error) {
            tracing::warn!(%error, of = self.options.connect.describe(), "the log is not followed");
        }
        *self.ended.lock() = Some(error.clone());
        self.followers.clear();
        self.state.send_replace(State::Down(error.clone()));
        let again = Instant::now() + backoff(failures);
        loop {
            tokio::select! {
                () = sleep_until(again) => return true,
                ask = self.asks.recv() => match ask {
                    None => return false,
                    Some(Ask::Follow(answer)) => drop(answer.send(Err(error.clone()))),
                    Some(Ask::Reach(_) | Ask::Stale(_)) => {}
                },
            }
        }
    }

    /// Reads the stream until it ends; `None` when nobody is left.
    async fn read(&mut self, stood: Stood) -> Option<SourceError> {
        let Stood { mut stream, standing, from, goes_on } = stood;
        let reached = Reached::beginning(self.reached.take(), &standing, from, goes_on);
        let at = reached.at;
        let standing = Standing { opened: at, ..standing };
        self.reached = Some(reached);
        self.ended = Arc::default();
        self.state.send_replace(State::Standing(standing.clone()));
        tracing::info!(from = %Lsn(from), goes_on, "the log is followed");
        let mut open: Option<Transaction> = None;
        let mut wanted: Option<Wanted> = None;
        let mut heard = Instant::now();
        let mut asked = heard;
        let mut pushed: Option<tokio::task::JoinHandle<()>> = None;
        loop {
            let (now_at, sent) =
                self.reached.as_ref().map_or((at, from), |reached| (reached.at, reached.sent));
            if wanted.as_ref().is_some_and(|wanted| wanted.at <= now_at) {
                wanted = None;
            }
            let wake = wanted.as_ref().map_or(heard.max(asked) + QUIET, |wanted| wanted.again);
            // `None`: it is time to ask the walsender where it is.
            let incoming = tokio::select! {
                biased;
                ask = self.asks.recv() => {
                    match ask? {
                        Ask::Follow(answer) => self.follow(answer, &standing),
                        Ask::Stale(of) if of == standing => return Some(self.begin_anew()),
                        Ask::Stale(_) => {}
                        Ask::Reach(position) => {
                            let further = wanted.as_ref().is_none_or(|wanted| position > wanted.at);
                            if position > now_at && further {
                                // Whoever waits for less is served on the way.
                                let again = Instant::now();
                                wanted = Some(Wanted { at: position, asked: 0, asked_again: false, again });
                            }
                        }
                    }
                    // Asked at once: the runtime's clock would round up to its next millisecond.
                    if wanted.as_ref().is_none_or(|wanted| wanted.asked > 0) {
                        continue;
                    }
                    None
                }
                incoming = stream.next() => Some(incoming),
                () = sleep_until(wake) => None,
            };
            let Some(incoming) = incoming else {
                let now = Instant::now();
                if now > heard + SILENT {
                    return Some(SourceError::down(
                        "the replication stream is silent; the connection is given up",
                    ));
                }
                if let Some(wanted) = &mut wanted {
                    wanted.again = now + PATIENCE[wanted.asked.min(PATIENCE.len() - 1)];
                    wanted.asked += 1;
                    let is_idle = pushed.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
                    #[cfg(candor_sabotage)]
                    let is_idle = is_idle && !is(Sabotage::LogNotPushed);
                    if wanted.asked > PUSH_AFTER && is_idle {
                        pushed = Some(self.push_log());
                    }
                }
                if let Err(error) = stream.confirm(Lsn(sent), Lsn(sent), true).await {
                    return Some(error.error);
                }
                asked = now;
                continue;
            };
            heard = Instant::now();
            match incoming {
                Err(error) => return Some(self.explain_end(error)),
                Ok(Incoming::Keepalive { wal_end, reply_requested }) => {
                    if open.is_none() {
                        self.advance(&standing, wal_end.0, Vec::new());
                    }
                    let sent = self.reached.as_ref().map_or(sent, |reached| reached.sent);
                    // A walsender answers before it looks whether there is more to decode, so its first answer may be
                    // short of what it could tell; the second is not.
                    let again = wanted.as_mut().filter(|wanted| !wanted.asked_again && wanted.at > sent);
                    let asks_again = again.map(|wanted| wanted.asked_again = true).is_some();
                    if (reply_requested || asks_again)
                        && let Err(error) = stream.confirm(Lsn(sent), Lsn(sent), asks_again).await
                    {
                        return Some(error.error);
                    }
                }
                Ok(Incoming::Event { event, .. }) => {
                    if let Some(error) = self.event(&standing, &mut open, event) {
                        return Some(error);
                    }
                    if std::mem::take(&mut self.is_told_of_ddl) && !self.is_covered(&standing).await {
                        return Some(self.begin_anew());
                    }
                }
            }
        }
    }

    /// What was followed does not hold any more, though it is the same log.
    fn begin_anew(&mut self) -> SourceError {
        self.visibility.restart();
        if let Some(reached) = &mut self.reached {
            reached.broken = true;
        }
        SourceError::down("the publication or a table in it changed; the log is followed anew")
    }

    /// Whether the publication and its tables are what the stream was begun with. Asked when an event trigger tells of
    /// a schema change; without one, the next fence finds out.
    async fn is_covered(&self, standing: &Standing) -> bool {
        let Ok(mut held) = self.pool.acquire().await else { return false };
        held.busy();
        let sql = format!("SELECT l.coverage FROM ({}) l", look_sql(&self.options.publication));
        let row = held.client.query_typed_one(&sql, &[]).await;
        held.settled();
        row.and_then(|row| row.try_get::<_, String>(0)).is_ok_and(|coverage| coverage == standing.coverage)
    }

    /// Takes one event in. Some error ends the stream.
    fn event(
        &mut self,
        standing: &Standing,
        open: &mut Option<Transaction>,
        event: Event,
    ) -> Option<SourceError> {
        #[cfg(candor_sabotage)]
        if let (Event::Begin { final_lsn, .. }, Some(reached)) = (&event, &mut self.reached)
            && is(Sabotage::SlotTooEarly)
        {
            reached.sent = final_lsn.0 + 1;
        }
        match (event, open) {
            (Event::Begin { xid, .. }, open @ None) => {
                *open = Some(Transaction::new(xid, self.options.transaction_tags_max));
            }
            (Event::Commit { end_lsn, .. }, open @ Some(_)) => {
                let transaction = open.take()?;
                self.visibility.decoded(end_lsn.0, transaction.xid);
                let change = transaction.finish(&self.facets, end_lsn.0);
                self.advance(standing, end_lsn.0, change.into_iter().collect());
            }
            (Event::Insert { relation, new }, Some(open)) => open.insert(&self.facets, &relation, &new),
            (Event::Update { relation, old, new }, Some(open)) => {
                open.update(&self.facets, &relation, &old, &new);
            }
            (Event::Delete { relation, old }, Some(open)) => open.delete(&self.facets, &relation, &old),
            (Event::Truncate { relations, .. }, Some(open)) => {
                for relation in relations {
                    open.truncate(&self.facets, &relation);
                }
            }
            (Event::Relation(relation), _) => {
                tracing::trace!(table = table(&relation), "the shape of a table");
            }
            (Event::Message { prefix, content, .. }, _) => {
                self.is_told_of_ddl |= prefix == setup::PREFIX && content.starts_with(b"ddl ");
            }
            (Event::Origin { .. } | Event::Type { .. }, _) => {}
            (_, _) => {
                return Some(SourceError::down("the replication stream is out of order; it is begun anew"));
            }
        }
        None
    }

    /// Everything up to `to` is told.
    fn advance(&mut self, standing: &Standing, to: u64, changes: Vec<candor_core::Change>) {
        let Some(reached) = &mut self.reached else { return };
        if to > reached.at {
            let record = Record { epoch: standing.epoch(), previous: reached.at, at: to, changes };
            reached.at = to;
            reached.sent = to;
            self.visibility.progressed(to);
            self.followers.retain_mut(|follower| follower.tell(&record));
        } else {
            // Nothing new; but whoever lost a record to a full mailbox must not wait for the next commit to learn it.
            let at = Record::opening(standing.epoch(), reached.at);
            self.followers.retain_mut(|follower| !follower.is_behind || follower.tell(&at));
        }
    }

    fn follow(&mut self, answer: oneshot::Sender<Result<Tail, SourceError>>, standing: &Standing) {
        let (sender, records) = mpsc::channel(self.options.feed_records.max(2));
        let at = self.reached.as_ref().map_or(0, |reached| reached.at);
        let opened = sender.try_send(Record::opening(standing.epoch(), at)).is_ok();
        let tail = Tail { records, ended: Arc::clone(&self.ended) };
        if opened && answer.send(Ok(tail)).is_ok() {
            self.followers.push(Mailbox { sender, is_behind: false });
        }
    }

    /// Writes a message into the log and flushes it, because the position waited for lies in what the server has not
    /// flushed yet: asynchronous commits, or nothing but a page boundary.
    fn push_log(&self) -> tokio::task::JoinHandle<()> {
        const PUSH: &str =
            "SET LOCAL synchronous_commit = local; SELECT pg_logical_emit_message(true, 'candor', '')";
        let pool = Arc::clone(&self.pool);
        #[expect(
            clippy::disallowed_methods,
            reason = "sockets need the real runtime; the engine's seams stay apart"
        )]
        tokio::spawn(async move {
            let Ok(mut held) = pool.acquire().await else { return };
            held.busy();
            let pushed = held.client.batch_execute(&format!("BEGIN READ WRITE; {PUSH}; COMMIT")).await;
            match pushed {
                Ok(()) => held.settled(),
                Err(error) => {
                    tracing::debug!(error = %fault::with_causes(&error), "pushing the log on failed");
                }
            }
        })
    }

    /// Why a stream that stood has ended, in words that help. The slot was there; what is missing now is the publication, at the
    /// place in the log that is read: the server looks it up as it was then. The code tells it, in whatever language the
    /// server speaks.
    fn explain_end(&self, failed: SessionError) -> SourceError {
        if !failed.is(&SqlState::UNDEFINED_OBJECT) {
            return self.explain(failed);
        }
        let (slot, publication) = (&self.options.slot, &self.options.publication);
        SourceError::contract(format!(
            "the log that the replication slot `{slot}` keeps has changes from when there was no publication `{publication}`, and \
             cannot be read past them ({failed}): the publication was dropped, or made again after the slot. Mend: {}; then \
             `candor setup`, which makes both as they are needed",
            setup::drop_slot(slot)
        ))
    }

    /// What the server says of the slot, in words that help.
    pub(super) fn explain(&self, failed: SessionError) -> SourceError {
        let slot = &self.options.slot;
        let SessionError { error, code } = failed;
        match code.as_deref() {
            Some("42704") => {
                SourceError::contract(format!("there is no replication slot `{slot}`; run `candor setup`"))
            }
            Some("55006") => SourceError::down(format!(
                "the replication slot `{slot}` is in use by somebody else ({error}); give every instance a slot of its own"
            )),
            Some("55000") => SourceError::contract(format!(
                "the replication slot `{slot}` cannot be read any more ({error}); `candor setup` makes it anew"
            )),
            _ => error,
        }
    }
}
