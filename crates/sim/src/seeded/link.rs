//! The way between one instance and the source: a network that is slow, cut, or repeats itself; and the loaders that go
//! over it. Each instance has a way of its own.

use super::chance::Chance;
use super::executor::Handle;
use super::fence::{Questions, Standing};
use super::plan::{Flaw, Kind, Plan};
use super::publication::table_of;
use super::server::{Read, Server};
use super::visibility::Visibility;
use candor::core::port::{BoxFuture, SourceError};
use candor::core::{Facet, LogId, Tag};
use candor::{Load, LoadContext, LoadError, LoadMany, Loaded, ManyLoaded, Stamp};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// One instance's way to the source.
pub struct Link {
    /// Virtual time.
    pub handle: Handle,
    /// The other end.
    pub server: Arc<Server>,
    /// Which instance; also the number of its slot.
    pub number: usize,
    /// What the source is modelled after.
    pub kind: Kind,
    /// The defence that is left out.
    pub flaw: Flaw,
    /// What decides how long things take.
    pub chance: Mutex<Chance>,
    /// What the snapshots of this instance are certain of: the real code of the real source.
    pub(super) visibility: Arc<Visibility>,
    /// Usual time of one way, in nanoseconds.
    pub usual: u64,
    /// So many of sixteen questions of fences take the server long.
    pub(super) busy: u64,
    /// The next response is held for so long.
    pub held: AtomicU64,
    /// Slow until then, and by how much.
    pub slow: Mutex<(u64, u64)>,
    /// How far commits were decoded.
    pub decoded: AtomicU64,
    /// Counts cuts.
    pub cuts: AtomicU64,
    /// Wakes whoever reads from what was cut.
    pub cut: Notify,
    /// So many records are told twice.
    pub twice: AtomicU64,
    /// The stream being read, for fences.
    pub(super) standing: Mutex<Option<Standing>>,
    /// A stream that a fence found to be no longer what it was begun with.
    pub(super) stale: Mutex<Option<Standing>>,
    /// What fences know of their answers.
    pub(super) questions: Mutex<Questions>,
    /// A position to be reached soon.
    pub wanted: Mutex<u64>,
    /// Wakes the task when one is wanted.
    pub wanting: Notify,
    /// For what goes on after a call.
    pub(super) itself: Weak<Self>,
    tags: Arc<[Tag]>,
    names_table: bool,
    keys: u32,
}

impl Link {
    /// The way of this instance.
    pub fn new(plan: &Plan, handle: Handle, server: Arc<Server>, number: usize) -> Arc<Self> {
        let mut chance = Chance::of_part(plan.seed, "link", number as u64);
        let usual = chance.pick(&[0, 2_000, 50_000, 300_000]);
        let busy = chance.pick(&[1, 1, 1, 12]);
        let tags = (0..plan.rows()).map(row_tag).collect();
        let names_table = chance.one_in(4);
        Arc::new_cyclic(|itself| Self {
            itself: Weak::clone(itself),
            handle,
            server,
            number,
            kind: plan.kind,
            flaw: plan.flaw,
            chance: Mutex::new(chance),
            visibility: Arc::default(),
            usual,
            busy,
            held: AtomicU64::new(0),
            slow: Mutex::default(),
            decoded: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            cut: Notify::new(),
            twice: AtomicU64::new(0),
            standing: Mutex::default(),
            stale: Mutex::default(),
            questions: Mutex::default(),
            wanted: Mutex::default(),
            wanting: Notify::new(),
            tags,
            names_table,
            keys: plan.keys,
        })
    }

    /// Cuts the stream, with what is on its way.
    pub(super) fn cut_off(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
        self.cut.notify_waiters();
    }

    /// One way through the network.
    pub async fn travel(&self) {
        let nanos = {
            let mut chance = self.chance.lock();
            let usual = if self.usual == 0 { 0 } else { chance.below(self.usual * 2) };
            // One message in sixteen meets a queue.
            let queue = if chance.one_in(16) { chance.below(2_000_000) } else { 0 };
            let (until, by) = *self.slow.lock();
            usual + queue + if self.handle.now() < until { by } else { 0 }
        };
        if nanos > 0 {
            self.handle.sleep(nanos).await;
        } else if self.chance.lock().one_in(2) {
            self.handle.yield_now().await;
        }
    }

    /// The way of a response, which may be held.
    pub async fn respond(&self) {
        let held = self.held.swap(0, Ordering::Relaxed);
        if held > 0 {
            self.handle.sleep(held).await;
        }
        self.travel().await;
    }

    /// A statement goes on after its snapshot was taken.
    pub(super) async fn linger(&self) {
        let lingers = {
            let mut chance = self.chance.lock();
            if chance.one_in(3) { chance.below(3_000_000) } else { 0 }
        };
        if lingers > 0 {
            self.handle.sleep(lingers).await;
        }
    }

    /// The name of a log, as this instance knows it.
    pub fn name(&self, log: LogId) -> LogId {
        // Left out: the server's start is no part of the name.
        if self.flaw == Flaw::LogIdentity { LogId(77) } else { log }
    }

    /// Reads rows in one statement, over the network and back.
    async fn read(&self, rows: &[u32]) -> Result<(Vec<Option<u32>>, Stamp), SourceError> {
        // Before the question is sent: what its snapshot may not see must not be forgotten meanwhile.
        let under_way = self.visibility.begin();
        self.travel().await;
        let read: Read = self.server.read(rows);
        self.linger().await;
        let flaw = self.flaw;
        let stamp = self.server.stamp(&read, |_| 0);
        self.respond().await;
        let stamp = stamp.ok_or_else(|| SourceError::down("the server went away"))?;
        let stamp = match stamp {
            Stamp::Snapshot(snapshot) => {
                let mut snapshot = (*snapshot).clone();
                let certain = if flaw == Flaw::CertainOfDecoded {
                    Some(self.decoded.load(Ordering::Relaxed))
                } else {
                    under_way.certain(snapshot.upper.epoch.log, &snapshot)
                };
                snapshot.certain = certain.unwrap_or(0);
                snapshot.upper.epoch.log = self.name(snapshot.upper.epoch.log);
                Stamp::Snapshot(Arc::new(snapshot))
            }
            Stamp::Sequence(mut position) => {
                position.epoch.log = self.name(position.epoch.log);
                Stamp::Sequence(position)
            }
        };
        Ok((read.values, stamp))
    }

    fn answer(&self, row: u32, value: Option<u32>) -> Loaded<u32> {
        let answer = Loaded::maybe(value).tagged(self.tags[row as usize]);
        if self.names_table { answer.tagged(table_tag(row)) } else { answer }
    }
}

/// The tag of a row's key.
pub fn row_tag(row: u32) -> Tag {
    Tag::row(table_of(row), Facet::WHOLE, "id", &row.to_string())
}

/// The tag of a row's table.
pub fn table_tag(row: u32) -> Tag {
    Tag::table(table_of(row), Facet::WHOLE)
}

/// Loads a row for whoever asks.
pub struct RowLoader {
    /// The way.
    pub link: Arc<Link>,
    /// Whose private rows are meant.
    pub subject: u32,
}

impl Load<u64, u32> for RowLoader {
    fn load(&self, context: LoadContext<u64, u32>) -> BoxFuture<'static, Result<Loaded<u32>, LoadError>> {
        let (link, row) = (Arc::clone(&self.link), row_of(*context.key(), self.subject, self.link.keys));
        Box::pin(async move {
            let (values, stamp) = link.read(&[row]).await?;
            Ok(link.answer(row, values[0]).stamped(stamp))
        })
    }
}

impl LoadMany<u64, u32> for RowLoader {
    fn load_many(&self, keys: Vec<u64>) -> BoxFuture<'static, Result<ManyLoaded<u32>, LoadError>> {
        let link = Arc::clone(&self.link);
        let rows: Vec<u32> = keys.iter().map(|key| row_of(*key, self.subject, link.keys)).collect();
        Box::pin(async move {
            let (values, stamp) = link.read(&rows).await?;
            let answers = rows.iter().zip(values).map(|(row, value)| link.answer(*row, value)).collect();
            Ok(ManyLoaded { stamp, answers })
        })
    }
}

/// Marks keys of the private view.
const PRIVATE_VIEW: u64 = 1 << 40;

/// The key of a public row.
pub fn public_key(row: u32) -> u64 {
    u64::from(row)
}

/// The key of a subject's private row, as a door completes it.
pub fn private_key(subject: u32, number: u32, flaw: Flaw) -> u64 {
    let subject = if flaw == Flaw::SubjectLeftOut { 0 } else { subject + 1 };
    PRIVATE_VIEW | u64::from(subject) << 20 | u64::from(number)
}

fn row_of(key: u64, subject: u32, keys: u32) -> u32 {
    if key & PRIVATE_VIEW == 0 { key as u32 } else { private_row(subject, key as u32 & 0xff, keys) }
}

/// The row behind a subject's private key.
pub fn private_row(subject: u32, number: u32, keys: u32) -> u32 {
    keys + subject * super::plan::PRIVATE + number
}
