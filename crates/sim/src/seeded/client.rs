//! Who reads. Readers belong to an instance; sessions go from one to another, as people do behind a load
//! balancer. Every answer is audited before the next question.

use super::audit::{Allowed, Broken, Seen, Session};
use super::chance::Chance;
use super::executor::Handle;
use super::figures::Figures;
use super::link::{Link, RowLoader, private_key, private_row, public_key};
use super::plan::{PRIVATE, Plan, SUBJECTS};
use super::server::Server;
use super::writer::Standby;
use candor::core::LogId;
use candor::{Answer, Cache, Demand, Demanded, Level, Load, LoadMany, ReadError, SessionToken, TokenSecret};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A promise that was broken, with everything known of it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub broken: Broken,
    /// The row.
    pub row: u32,
    /// The instance.
    pub instance: usize,
    /// The virtual time.
    pub time: u64,
    /// The answer, the read and its receipt, in words.
    pub what: String,
}

/// What all clients of a history share.
pub struct Stage {
    /// Virtual time.
    pub handle: Handle,
    /// The source.
    pub server: Arc<Server>,
    /// What is counted, and the digest of all answers.
    pub figures: Mutex<Figures>,
    /// The first broken promise; it ends the history.
    pub violation: Mutex<Option<Violation>>,
    /// Sessions that nobody uses at the moment.
    pub sessions: Mutex<Vec<Session>>,
    /// The next writer is told that its commit failed.
    pub fail_after_write: AtomicBool,
    /// What commits wait for.
    pub standby: Standby,
    /// The plan.
    pub plan: Plan,
    /// Signs tokens.
    pub secret: TokenSecret,
}

impl Stage {
    /// Leaves a session to whoever takes it next. The one that waited longest is forgotten when there are many.
    pub(super) fn hand_on(&self, session: Session) {
        let mut sessions = self.sessions.lock();
        if sessions.len() == SESSIONS {
            sessions.remove(0);
        }
        sessions.push(session);
    }
}

/// Sessions that wait for a reader.
const SESSIONS: usize = 32;

/// One task that reads.
pub struct Reader {
    /// What all share.
    pub stage: Arc<Stage>,
    /// The instance it asks.
    pub cache: Cache<u64, u32>,
    /// The way of that instance.
    pub link: Arc<Link>,
    /// What it draws from.
    pub chance: Chance,
    /// What the contract allows.
    pub allowed: Allowed,
    /// Its subject, for private rows.
    pub subject: u32,
}

/// When a read began.
#[derive(Copy, Clone, Debug)]
struct Begun {
    /// The count of visible events.
    seq: u64,
    /// The virtual time.
    time: u64,
}

impl Reader {
    /// Reads until the history ends.
    pub async fn run(mut self) {
        let subject = self.subject;
        let loader = Arc::new(RowLoader { link: Arc::clone(&self.link), subject });
        let one: Arc<dyn Load<u64, u32>> = loader.clone();
        let many: Arc<dyn LoadMany<u64, u32>> = loader;
        // Before the log is followed there is nothing but refusals to audit.
        self.cache.follower().following().await;
        loop {
            match self.chance.below(16) {
                0..=5 => self.batch(&one).await,
                6..=8 => self.one(Level::Strong, &one).await,
                9..=11 => self.in_session(&one).await,
                12 => self.snapshot(&many).await,
                13 => self.private(&one).await,
                14 => self.several(&many).await,
                _ => self.take_fence().await,
            }
            if self.chance.one_in(3) {
                let nanos = self.chance.pick(&[1_000, 30_000, 300_000, 3_000_000]);
                self.stage.handle.sleep(nanos).await;
            } else {
                self.stage.handle.yield_now().await;
            }
        }
    }

    fn row(&mut self) -> u32 {
        // The lower of two makes low rows hotter.
        let keys = u64::from(self.stage.plan.keys);
        self.chance.below(keys).min(self.chance.below(keys)) as u32
    }

    /// Reads for which memory is usually enough.
    async fn batch(&mut self, loader: &Arc<dyn Load<u64, u32>>) {
        for _ in 0..self.stage.plan.batch {
            let row = self.row();
            let level = match self.chance.below(4) {
                0 => Level::Any,
                1 => Level::Bounded(Duration::from_micros(500)),
                2 => Level::Bounded(Duration::from_millis(5)),
                _ => Level::Bounded(Duration::from_millis(60)),
            };
            self.stage.handle.tick(self.chance.below(64));
            if !self.read(row, public_key(row), level, None, loader).await {
                return;
            }
        }
    }

    async fn one(&mut self, level: Level, loader: &Arc<dyn Load<u64, u32>>) {
        let row = self.row();
        self.read(row, public_key(row), level, None, loader).await;
    }

    async fn private(&mut self, loader: &Arc<dyn Load<u64, u32>>) {
        let number = self.chance.below(u64::from(PRIVATE)) as u32;
        let row = private_row(self.subject, number, self.stage.plan.keys);
        let key = private_key(self.subject, number, self.stage.plan.flaw);
        let level = self.chance.pick(&[Level::Any, Level::Strong, Level::Bounded(Duration::from_millis(5))]);
        self.read(row, key, level, None, loader).await;
    }

    /// One read at a level, with the session if there is one, which then has seen more. False after a refusal.
    async fn read(
        &mut self,
        row: u32,
        key: u64,
        level: Level,
        mut session: Option<&mut Session>,
        loader: &Arc<dyn Load<u64, u32>>,
    ) -> bool {
        let begun = self.begin();
        let token = session.as_ref().map(|session| session.token.clone());
        let demand = Demanded(Demand { level, token });
        match self.cache.read_with(&key, demand, || Arc::clone(loader)).await {
            Ok(answer) => {
                self.audit(row, level, session.as_deref(), begun, &answer);
                if let Some(session) = &mut session {
                    session.saw(&self.stage, row, &answer);
                }
                true
            }
            Err(error) => {
                self.refused(level, &error);
                false
            }
        }
    }

    fn begin(&self) -> Begun {
        Begun { seq: self.stage.server.truth.lock().seq(), time: self.stage.handle.now() }
    }

    #[inline]
    fn audit(
        &self,
        row: u32,
        level: Level,
        session: Option<&Session>,
        begun: Begun,
        answer: &Answer<u32, Demanded>,
    ) {
        let receipt = answer.receipt();
        let value = answer.value().copied();
        let now = self.stage.handle.now();
        let took = Duration::from_nanos(now - begun.time);
        let seen = Seen { row, value, level, session, begun: begun.seq, took, now, receipt: &receipt };
        let (broken, stale_for) = {
            let truth = self.stage.server.truth.lock();
            (truth.judge(&seen, &self.allowed), truth.stale_for(&seen))
        };
        self.stage.figures.lock().answer(&seen, stale_for);
        if let Some(broken) = broken {
            self.broke(broken, &seen);
        }
    }

    #[cold]
    fn broke(&self, broken: Broken, seen: &Seen<'_>) {
        let what = format!(
            "asked at {} (session: {:?}), begun at event {}, answered {:?} at {} ns; {:?}",
            seen.level, seen.session, seen.begun, seen.value, seen.now, seen.receipt
        );
        let violation = Violation { broken, row: seen.row, instance: self.link.number, time: seen.now, what };
        self.stage.violation.lock().get_or_insert(violation);
        self.stage.handle.end();
    }

    #[cold]
    fn refused(&self, level: Level, error: &ReadError) {
        self.stage.figures.lock().refused(level, error);
    }

    fn take_session(&mut self) -> Option<Session> {
        let mut sessions = self.stage.sessions.lock();
        let index = self.chance.below(sessions.len() as u64) as usize;
        if sessions.is_empty() { None } else { Some(sessions.swap_remove(index)) }
    }

    /// Reads with a session that somebody else may have used before, at another instance.
    async fn in_session(&mut self, loader: &Arc<dyn Load<u64, u32>>) {
        let mut session = self.take_session().unwrap_or_default();
        if self.chance.one_in(32) {
            // Through a header and back.
            let text = session.token.encode(Some(&self.stage.secret));
            session.token = SessionToken::decode(&text, Some(&self.stage.secret)).unwrap_or_default();
        }
        let rows = self.chance.within(1, 4);
        for _ in 0..rows {
            let row = self.row();
            let level = if self.chance.one_in(8) { Level::Strong } else { Level::Session };
            if !self.read(row, public_key(row), level, Some(&mut session), loader).await {
                // A token that is refused is given up, as its holder is told to.
                if self.chance.one_in(2) {
                    session = Session::default();
                }
                break;
            }
        }
        self.stage.hand_on(session);
    }

    /// A token for all that is visible now, from the instance's own door.
    async fn take_fence(&mut self) {
        let seen = self.stage.server.truth.lock().seq();
        if let Some(session) = fence(&self.cache, seen).await {
            self.stage.hand_on(session);
        }
    }

    fn rows(&mut self) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.chance.within(2, 4)).map(|_| self.row()).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// Several rows in one call, each at its level by itself.
    async fn several(&mut self, loader: &Arc<dyn LoadMany<u64, u32>>) {
        let rows = self.rows();
        let keys: Vec<u64> = rows.iter().map(|row| public_key(*row)).collect();
        let session = if self.chance.one_in(2) { self.take_session() } else { None };
        let level = match &session {
            Some(_) => Level::Session,
            None => self.chance.pick(&[Level::Any, Level::Bounded(Duration::from_millis(5)), Level::Strong]),
        };
        let token = session.as_ref().map(|session| session.token.clone());
        let begun = self.begin();
        match self.cache.read_many(&keys, Demanded(Demand { level, token }), Arc::clone(loader)).await {
            Ok(answers) => {
                for (row, answer) in rows.iter().zip(&answers) {
                    self.audit(*row, level, session.as_ref(), begun, answer);
                }
            }
            Err(refusal) => self.refused(level, &refusal.error),
        }
        session.into_iter().for_each(|session| self.stage.hand_on(session));
    }

    async fn snapshot(&mut self, loader: &Arc<dyn LoadMany<u64, u32>>) {
        let rows = self.rows();
        let keys: Vec<u64> = rows.iter().map(|row| public_key(*row)).collect();
        let level = self.chance.pick(&[Level::Any, Level::Bounded(Duration::from_millis(5)), Level::Strong]);
        let begun = self.begin();
        match self.cache.snapshot(&keys, Demanded(level.into()), Arc::clone(loader)).await {
            Ok(answers) => {
                for (row, answer) in rows.iter().zip(&answers) {
                    self.audit(*row, level, None, begun, answer);
                }
                let values: Vec<(u32, Option<u32>)> =
                    rows.iter().copied().zip(answers.iter().map(|answer| answer.value().copied())).collect();
                let receipt = answers[0].receipt();
                self.stage.figures.lock().snapshots += 1;
                let now = self.stage.handle.now();
                let bound = receipt.bound.map_or(now, |bound| bound.as_nanos() as u64);
                let since = now.saturating_sub(bound);
                if !self.stage.server.truth.lock().hold_together(&values, receipt.position, since) {
                    let seen = Seen {
                        row: rows[0],
                        value: None,
                        level,
                        session: None,
                        begun: begun.seq,
                        took: Duration::from_nanos(now - begun.time),
                        now,
                        receipt: &receipt,
                    };
                    self.broke(Broken::Snapshot, &seen);
                }
            }
            Err(error) => self.refused(level, &error),
        }
    }
}

impl Session {
    fn saw(&mut self, stage: &Stage, row: u32, answer: &Answer<u32, Demanded>) {
        self.token = answer.session();
        let truth = stage.server.truth.lock();
        let version = answer.value().copied().or_else(|| truth.absence(row));
        // "Absent" names no single moment, so it obliges to nothing more.
        let from = version.filter(|_| answer.value().is_some()).and_then(|number| truth.version(number));
        self.seen = self.seen.max(from.map_or(0, |version| version.from_seq));
        self.log = self.token.positions().first().map(|position| position.epoch.log);
    }
}

pub(super) async fn fence(cache: &Cache<u64, u32>, seen: u64) -> Option<Session> {
    let token = cache.fence().await.ok()?;
    let log: Option<LogId> = token.positions().first().map(|position| position.epoch.log);
    Some(Session { token, seen, log })
}

/// Which subject a reader is.
pub fn subject_of(reader: usize) -> u32 {
    reader as u32 % SUBJECTS
}
