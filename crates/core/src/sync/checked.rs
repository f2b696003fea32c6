//! Loom's atomics under our names, with a way to weaken one of them.
//!
//! An ordering is there for a reason, or it is not. So each place in the source that asks for more than `Relaxed` can be
//! weakened, and the scenarios are tried again: a place that nobody misses is either not needed or not tested. A fence
//! that is weakened is left out.
//!
//! **What Loom would overlook.** It runs two threads in both orders where they touch the same atomic, but of those who
//! touched it before it remembers only the last (its issues 166 and 392). A thread that loads before it stores, as every
//! writer of the ledger does, would hide the readers between the two, and most interleavings would never be tried. So
//! what a writer loads is answered from a copy of the latest value: it holds the lock without which nobody stores, and
//! no other value is possible. Two things are needed for that, and looked at in every step: nobody stores without the
//! lock, and only one thread loads without it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use loom::thread::ThreadId;

pub(crate) use loom::sync::atomic::Ordering;

/// A line of a source file.
pub(crate) type Place = (&'static str, u32);

thread_local! {
    // Loom runs the threads of a model in turn on the thread that began it.
    static MET: RefCell<BTreeSet<Place>> = const { RefCell::new(BTreeSet::new()) };
    static WEAKENED: RefCell<BTreeSet<Place>> = const { RefCell::new(BTreeSet::new()) };
    static WRITER: Cell<Option<ThreadId>> = const { Cell::new(None) };
    static READER: Cell<Option<ThreadId>> = const { Cell::new(None) };
}

/// Weakens what stands in these places from now on, and nothing else.
pub(crate) fn weaken(places: impl IntoIterator<Item = Place>) {
    WEAKENED.set(places.into_iter().collect());
}

/// The places met so far that ask for an ordering.
pub(crate) fn places_met() -> BTreeSet<Place> {
    MET.with_borrow(Clone::clone)
}

/// To be called where an execution begins: those of the last one are gone.
pub(crate) fn begin_execution() {
    WRITER.set(None);
    READER.set(None);
}

/// Whether the caller's place is the weakened one. Notes the place.
#[track_caller]
fn is_weakened() -> bool {
    let caller = Location::caller();
    let place = (caller.file(), caller.line());
    MET.with_borrow_mut(|met| met.insert(place));
    WEAKENED.with_borrow(|weakened| weakened.contains(&place))
}

#[track_caller]
fn kept(order: Ordering) -> Ordering {
    if order != Ordering::Relaxed && is_weakened() { Ordering::Relaxed } else { order }
}

fn is_writing() -> bool {
    WRITER.get() == Some(loom::thread::current().id())
}

fn note_reader() {
    let current = loom::thread::current().id();
    assert!(
        READER.get().is_none_or(|reader| reader == current),
        "two threads read, and Loom would overlook one"
    );
    READER.set(Some(current));
}

macro_rules! atomic {
    ($name:ident, $number:ty) => {
        /// The atomic, and the latest value that was stored.
        #[derive(Debug)]
        pub(crate) struct $name(loom::sync::atomic::$name, std::sync::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $number) -> Self {
                Self(loom::sync::atomic::$name::new(value), std::sync::atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $number {
                if is_writing() {
                    return self.1.load(Ordering::Relaxed);
                }
                note_reader();
                self.0.load(kept(order))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $number, order: Ordering) {
                assert!(is_writing(), "a store without the writers' lock");
                self.0.store(value, kept(order));
                self.1.store(value, Ordering::Relaxed);
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);

impl AtomicU64 {
    #[track_caller]
    pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        assert!(is_writing(), "a store without the writers' lock");
        let former = self.0.fetch_max(value, kept(order));
        self.1.fetch_max(value, Ordering::Relaxed);
        former
    }
}

#[track_caller]
pub(crate) fn fence(order: Ordering) {
    if !is_weakened() {
        loom::sync::atomic::fence(order);
    }
}

/// Loom's lock, used as parking_lot's. A lock around nothing is that of the writers.
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct Held<'a, T>(loom::sync::MutexGuard<'a, T>);

impl<T> Mutex<T> {
    const IS_WRITERS: bool = size_of::<T>() == 0;

    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> Held<'_, T> {
        let held = Held(self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if Self::IS_WRITERS {
            WRITER.set(Some(loom::thread::current().id()));
        }
        held
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        if Mutex::<T>::IS_WRITERS {
            WRITER.set(None);
        }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
