//! A bounded queue into a thread. It ends when it is closed: what waits is dropped, and with it the promises of answers.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    places: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

/// Why something was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    Full,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(places: usize) -> Self {
        let state = State { waiting: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), places }
    }

    pub(crate) fn places(&self) -> usize {
        self.places
    }

    pub(crate) fn push(&self, item: T) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() >= self.places {
            return Err(Refused::Full);
        }
        state.waiting.push_back(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for an item; `None` when the queue is closed.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(item) = state.waiting.pop_front() {
                return Some(item);
            }
            self.filled.wait(&mut state);
        }
    }

    /// Waits for at least one item and takes all; `None` when the queue is closed.
    pub(crate) fn drain(&self) -> Option<Vec<T>> {
        let first = self.pop()?;
        let mut items = vec![first];
        items.extend(self.state.lock().waiting.drain(..));
        Some(items)
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.waiting);
        drop(state);
        // Outside the lock: dropping an item may wake somebody who looks at the queue.
        drop(dropped);
        self.filled.notify_all();
    }
}
