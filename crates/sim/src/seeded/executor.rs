//! One thread, one seeded scheduler, virtual time.
//!
//! ```text
//!   woken ──► sorted ──► ready ──► one of them, by chance ──► polled ──► woken …
//!                          ▲                                      │
//!   timers ── due ─────────┘            the clock: a few nanoseconds per step, a leap when nobody is ready
//! ```
//!
//! Invariants:
//! * Nothing depends on the order in which a poll wakes others: what it woke is sorted before it becomes ready. (Tokio's
//!   `watch` wakes in an order that it draws from a generator of the thread.)
//! * A task belongs to a group, which stands for one process. A paused group is not polled; time goes on.
//! * The clock moves between polls only, and may stand still for some steps: real clocks are coarse, too.

use super::chance::Chance;
use candor::Moment;
use candor::core::port::BoxFuture;
use candor::seams::{Clock, Spawn};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// The group of the source and of everything that is no instance.
pub const OUTSIDE: usize = 0;

/// What tasks reach of the executor.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    now: AtomicU64,
    woken: Arc<Mutex<Vec<usize>>>,
    spawned: Mutex<Vec<(usize, BoxFuture<'static, ()>)>>,
    timers: Mutex<Timers>,
    paused_until: Vec<AtomicU64>,
    over: AtomicBool,
}

#[derive(Default)]
struct Timers {
    due: BTreeMap<(u64, u64), Waker>,
    serial: u64,
}

/// The executor. Not shared: whoever has it runs everything.
pub struct Executor {
    handle: Handle,
    tasks: Vec<Option<Task>>,
    free: Vec<usize>,
    ready: Vec<usize>,
    /// Ready, of paused groups.
    held: Vec<usize>,
    batch: Vec<usize>,
    chance: Chance,
    /// How far the clock moves per step at most, in nanoseconds.
    tick_nanos: u64,
    /// Mixed from every step: two runs that differ anywhere differ here.
    trace: u64,
    steps: u64,
}

struct Task {
    future: BoxFuture<'static, ()>,
    group: usize,
    waking: Arc<Waking>,
    waker: Waker,
}

struct Waking {
    id: usize,
    queued: AtomicBool,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken.lock().push(self.id);
        }
    }
}

impl Handle {
    /// Virtual nanoseconds since the history began.
    #[inline]
    pub fn now(&self) -> u64 {
        self.0.now.load(Ordering::Relaxed)
    }

    /// Lets time pass within a step.
    #[inline]
    pub fn tick(&self, nanos: u64) {
        self.0.now.store(self.now() + nanos, Ordering::Relaxed);
    }

    /// Begins a task of a group.
    pub fn spawn(&self, group: usize, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawned.lock().push((group, Box::pin(task)));
    }

    /// Ready once so much time has passed.
    pub fn sleep(&self, nanos: u64) -> Sleep {
        Sleep { shared: Arc::clone(&self.0), at: self.now() + nanos, registered: None }
    }

    /// Ready at the next step that chance gives this task.
    pub fn yield_now(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut yielded = false;
        std::future::poll_fn(move |context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Takes the processor from a group for so long.
    pub fn pause(&self, group: usize, nanos: u64) {
        self.0.paused_until[group].store(self.now() + nanos, Ordering::Relaxed);
    }

    /// Ends the run after this step.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// A wait in virtual time. Leaves no timer behind when it is dropped.
pub struct Sleep {
    shared: Arc<Shared>,
    at: u64,
    registered: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.shared.now.load(Ordering::Relaxed) >= self.at {
            return Poll::Ready(());
        }
        if self.registered.is_none() {
            let mut timers = self.shared.timers.lock();
            timers.serial += 1;
            let name = (self.at, timers.serial);
            timers.due.insert(name, context.waker().clone());
            drop(timers);
            self.registered = Some(name);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(name) = self.registered.take() {
            self.shared.timers.lock().due.remove(&name);
        }
    }
}

impl Executor {
    /// An executor for so many groups beside the outside.
    pub fn new(chance: Chance, groups: usize, tick_nanos: u64) -> Self {
        let shared = Shared {
            now: AtomicU64::new(1_000_000_000),
            woken: Arc::default(),
            spawned: Mutex::default(),
            timers: Mutex::default(),
            paused_until: (0..=groups).map(|_| AtomicU64::new(0)).collect(),
            over: AtomicBool::new(false),
        };
        Self {
            handle: Handle(Arc::new(shared)),
            tasks: Vec::new(),
            free: Vec::new(),
            ready: Vec::new(),
            held: Vec::new(),
            batch: Vec::new(),
            chance,
            tick_nanos,
            trace: 0,
            steps: 0,
        }
    }

    /// What tasks reach of it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The digest of every step so far.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Runs until the history is over, `until` is reached, or nothing can happen any more.
    pub fn run(&mut self, until: u64) {
        let shared = Arc::clone(&self.handle.0);
        while !shared.over.load(Ordering::Relaxed) && self.handle.now() < until {
            self.admit();
            if self.ready.is_empty() {
                if !self.leap() {
                    return;
                }
                continue;
            }
            // Half of the steps take no time at all, as far as the clock can tell.
            let ticks = self.chance.draw();
            if ticks & 1 == 1 && self.tick_nanos > 0 {
                self.handle.tick((ticks >> 8) % self.tick_nanos);
                self.fire();
            }
            let chosen = self.chance.below(self.ready.len() as u64) as usize;
            let id = self.ready.swap_remove(chosen);
            self.step(id);
        }
    }

    fn step(&mut self, id: usize) {
        let Some(task) = &mut self.tasks[id] else { return };
        if shared_pause(&self.handle, task.group) {
            self.held.push(id);
            return;
        }
        task.waking.queued.store(false, Ordering::Relaxed);
        self.steps += 1;
        self.trace = super::chance::mix(self.trace ^ self.handle.now() ^ ((id as u64) << 48));
        let done = task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready();
        if done && let Some(task) = self.tasks[id].take() {
            // Whoever still holds a waker wakes nobody: another task may get this number.
            task.waking.queued.store(true, Ordering::Relaxed);
            self.batch.clear();
            self.batch.append(&mut self.handle.0.woken.lock());
            self.batch.retain(|woken| *woken != id);
            self.handle.0.woken.lock().append(&mut self.batch);
            drop(task);
            self.free.push(id);
        }
    }

    /// Makes ready whatever was spawned or woken, in an order that depends on nothing but which it was.
    fn admit(&mut self) {
        let spawned = std::mem::take(&mut *self.handle.0.spawned.lock());
        for (group, future) in spawned {
            let id = self.free.pop().unwrap_or(self.tasks.len());
            let woken = Arc::clone(&self.handle.0.woken);
            let waking = Arc::new(Waking { id, queued: AtomicBool::new(true), woken });
            let waker = Waker::from(Arc::clone(&waking));
            let task = Some(Task { future, group, waking, waker });
            if id == self.tasks.len() {
                self.tasks.push(task)
            } else {
                self.tasks[id] = task
            }
            self.ready.push(id);
        }
        let mut woken = self.handle.0.woken.lock();
        if !woken.is_empty() {
            woken.sort_unstable();
            self.ready.append(&mut woken);
        }
        drop(woken);
        if !self.held.is_empty() {
            let (tasks, handle, ready) = (&self.tasks, &self.handle, &mut self.ready);
            self.held.retain(|id| {
                let waits = tasks[*id].as_ref().is_some_and(|task| shared_pause(handle, task.group));
                if !waits {
                    ready.push(*id);
                }
                waits
            });
        }
    }

    /// Moves the clock to the next moment at which something happens. False if nothing ever will.
    fn leap(&mut self) -> bool {
        let timer = self.handle.0.timers.lock().due.keys().next().map(|(at, _)| *at);
        let ends = self.held.iter().filter_map(|id| self.tasks[*id].as_ref());
        let ends = ends.map(|task| self.handle.0.paused_until[task.group].load(Ordering::Relaxed)).min();
        let Some(next) = timer.into_iter().chain(ends).min() else { return false };
        let next = next.max(self.handle.now());
        self.handle.0.now.store(next, Ordering::Relaxed);
        self.fire();
        true
    }

    fn fire(&mut self) {
        let now = self.handle.now();
        loop {
            let mut timers = self.handle.0.timers.lock();
            let Some(first) = timers.due.first_entry().filter(|first| first.key().0 <= now) else { return };
            let waker = first.remove();
            drop(timers);
            waker.wake();
        }
    }
}

impl Drop for Executor {
    /// Tasks hold handles, and what was spawned and not begun is held by one: a ring that has to be opened.
    fn drop(&mut self) {
        self.tasks.clear();
        while !self.handle.0.spawned.lock().is_empty() {
            let left = std::mem::take(&mut *self.handle.0.spawned.lock());
            drop(left);
        }
        let timers = std::mem::take(&mut *self.handle.0.timers.lock());
        drop(timers);
    }
}

fn shared_pause(handle: &Handle, group: usize) -> bool {
    handle.0.paused_until[group].load(Ordering::Relaxed) > handle.now()
}

/// One instance's clock: another zero than every other's.
pub struct VirtualClock {
    /// The world's time.
    pub handle: Handle,
    /// What this clock shows at the world's zero.
    pub offset: u64,
}

impl Clock for VirtualClock {
    #[inline]
    fn now(&self) -> Moment {
        Moment::from_nanos(self.handle.now() + self.offset)
    }

    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        let at = at.as_nanos().saturating_sub(self.offset);
        Box::pin(self.handle.sleep(at.saturating_sub(self.handle.now())))
    }
}

/// Tasks of one group.
pub struct GroupSpawn {
    /// The executor.
    pub handle: Handle,
    /// The group.
    pub group: usize,
}

impl Spawn for GroupSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.handle.spawn(self.group, task);
    }
}
