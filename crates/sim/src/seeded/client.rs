//! Who writes and who reads. Readers belong to an instance; sessions go from one to another, as people do behind a load
//! balancer. Every answer is audited before the next question.

use super::audit::{Allowed, Broken, Seen, Session};
use super::chance::Chance;
use super::executor::{Handle, OUTSIDE};
use super::figures::Figures;
use super::link::{Link, RowLoader, private_key, private_row, public_key, row_tag};
use super::plan::{Flaw, Kind, PRIVATE, Plan, SUBJECTS};
use super::server::Server;
use candor::core::LogId;
use candor::{Answer, Cache, Demand, Demanded, Level, Load, LoadMany, ReadError, SessionToken, TokenSecret};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// The plan.
    pub plan: Plan,
    /// Signs tokens.
    pub secret: TokenSecret,
}

impl Stage {
    /// Leaves a session to whoever takes it next. The one that waited longest is forgotten when there are many.
    fn hand_on(&self, session: Session) {
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
        let begun = self.stage.server.truth.lock().seq();
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

    #[inline]
    fn audit(
        &self,
        row: u32,
        level: Level,
        session: Option<&Session>,
        begun: u64,
        answer: &Answer<u32, Demanded>,
    ) {
        let receipt = answer.receipt();
        let value = answer.value().copied();
        let now = self.stage.handle.now();
        let seen = Seen { row, value, level, session, begun, now, receipt: &receipt };
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

    /// Reads with a session that somebody else may have used before, at another instance.
    async fn in_session(&mut self, loader: &Arc<dyn Load<u64, u32>>) {
        let taken = {
            let mut sessions = self.stage.sessions.lock();
            let index = self.chance.below(sessions.len() as u64) as usize;
            if sessions.is_empty() { None } else { Some(sessions.swap_remove(index)) }
        };
        let mut session = taken.unwrap_or_default();
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

    async fn snapshot(&mut self, loader: &Arc<dyn LoadMany<u64, u32>>) {
        let mut rows: Vec<u32> = (0..self.chance.within(2, 4)).map(|_| self.row()).collect();
        rows.sort_unstable();
        rows.dedup();
        let keys: Vec<u64> = rows.iter().map(|row| public_key(*row)).collect();
        let level = self.chance.pick(&[Level::Any, Level::Bounded(Duration::from_millis(5)), Level::Strong]);
        let begun = self.stage.server.truth.lock().seq();
        match self.cache.snapshot(&keys, Demanded(level.into()), Arc::clone(loader)).await {
            Ok(answers) => {
                for (row, answer) in rows.iter().zip(&answers) {
                    self.audit(*row, level, None, begun, answer);
                }
                let values: Vec<(u32, Option<u32>)> =
                    rows.iter().copied().zip(answers.iter().map(|answer| answer.value().copied())).collect();
                let receipt = answers[0].receipt();
                self.stage.figures.lock().snapshots += 1;
                if !self.stage.server.truth.lock().hold_together(&values, receipt.position) {
                    let now = self.stage.handle.now();
                    let seen = Seen {
                        row: rows[0],
                        value: None,
                        level,
                        session: None,
                        begun,
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

async fn fence(cache: &Cache<u64, u32>, seen: u64) -> Option<Session> {
    let token = cache.fence().await.ok()?;
    let log: Option<LogId> = token.positions().first().map(|position| position.epoch.log);
    Some(Session { token, seen, log })
}

/// One task that writes, through no cache at all; sometimes it then asks one for a token.
pub struct Writer {
    /// What all share.
    pub stage: Arc<Stage>,
    /// The instances it may ask for tokens.
    pub caches: Vec<Cache<u64, u32>>,
    /// What it draws from.
    pub chance: Chance,
}

impl Writer {
    /// Writes until the history ends.
    pub async fn run(mut self) {
        let pace = self.chance.pick(&[50_000, 300_000, 2_000_000]);
        loop {
            let pause = self.chance.below(pace * 2);
            self.stage.handle.sleep(pause).await;
            if self.write().await && self.chance.one_in(4) {
                let seen = self.stage.server.truth.lock().seq();
                let cache = self.chance.below(self.caches.len() as u64) as usize;
                if let Some(session) = fence(&self.caches[cache], seen).await {
                    self.stage.hand_on(session);
                }
            }
        }
    }

    /// One transaction. Whether its writer was told that it succeeded.
    async fn write(&mut self) -> bool {
        let (stage, chance) = (Arc::clone(&self.stage), &mut self.chance);
        let (server, handle) = (&stage.server, &stage.handle);
        let how_many = chance.within(1, 3);
        let mut rows: Vec<u32> =
            (0..how_many).map(|_| chance.below(u64::from(stage.plan.rows())) as u32).collect();
        rows.sort_unstable();
        rows.dedup();
        // A row that moves to another key: gone there, new here.
        let moves = rows.len() == 2 && chance.one_in(3);
        let removed: Vec<bool> =
            (0..rows.len()).map(|index| if moves { index == 0 } else { chance.one_in(8) }).collect();
        let Some(mut writing) = server.begin(&rows) else { return false };
        let is_sequence = stage.plan.kind == Kind::Sequence;
        // Most are quick; some hold their rows for long.
        let long = if chance.one_in(16) { 30_000_000 } else { 200_000 };
        handle.sleep(chance.below(long)).await;
        if chance.one_in(12) {
            server.abort(&writing);
            return false;
        }
        let told = if moves && stage.plan.flaw == Flaw::KeyChangeNewOnly { &rows[1..] } else { &rows[..] };
        let mut tags: Vec<_> = told.iter().map(|row| row_tag(*row)).collect();
        tags.push(candor::Tag::table("item", candor::core::Facet::WHOLE));
        let is_asynchronous = chance.one_in(3);
        let bytes = chance.within(40, 400);
        server.fill_log(chance.below(100));
        if !server.commit(&mut writing, &removed, tags, bytes) {
            return false;
        }
        if is_sequence {
            server.flush();
        } else if !is_asynchronous {
            // Flushed, so readers of the log may hear of it, and not visible yet.
            if chance.one_in(2) {
                handle.sleep(chance.below(300_000)).await;
            }
            server.flush();
            let standby = if chance.one_in(10) { 20_000_000 } else { 400_000 };
            if chance.one_in(2) {
                handle.sleep(chance.below(standby)).await;
            } else if chance.one_in(2) {
                handle.yield_now().await;
            }
        }
        let shown = server.show(&writing, handle.now());
        let failed = stage.fail_after_write.swap(false, Ordering::Relaxed);
        stage.figures.lock().commits += u64::from(shown);
        shown && !failed
    }
}

/// The server's own work: what was written asynchronously is flushed in time.
pub async fn flush_now_and_then(stage: Arc<Stage>, mut chance: Chance) {
    let pace = chance.pick(&[200_000, 2_000_000, 20_000_000]);
    loop {
        stage.handle.sleep(chance.below(pace * 2)).await;
        stage.server.flush();
    }
}

/// The group of everything that is no instance.
pub const GROUP: usize = OUTSIDE;

/// Which subject a reader is.
pub fn subject_of(reader: usize) -> u32 {
    reader as u32 % SUBJECTS
}
