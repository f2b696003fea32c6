//! One follower's bounded mailbox, and the feed that empties it.
//!
//! The log's thread never waits for a follower. When a mailbox is full its newest record is replaced by one that tells
//! nothing and says so: `previous` lies at its own position, so whoever reads it sees a gap. The follower catches up at
//! once and loses detail, never truth.

use crate::fault;
use candor_core::Record;
use candor_core::port::{BoxFuture, Feed, SourceError};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// The sender's end.
#[derive(Debug)]
pub(crate) struct Mailbox {
    shared: Weak<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    places: usize,
}

#[derive(Debug)]
struct State {
    records: VecDeque<Record>,
    /// Why no record will follow those that wait.
    end: Option<SourceError>,
}

/// The receiver's end.
#[derive(Debug)]
pub(crate) struct Follower {
    shared: Arc<Shared>,
}

/// A mailbox for `places` records and the feed that empties it.
pub(crate) fn pair(places: usize) -> (Mailbox, Follower) {
    let state = State { records: VecDeque::new(), end: None };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), places: places.max(2) });
    (Mailbox { shared: Arc::downgrade(&shared) }, Follower { shared })
}

impl Mailbox {
    /// Puts a record in. Returns false if nobody will read it.
    pub(crate) fn push(&self, record: &Record) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        let mut state = shared.state.lock();
        if state.records.len() < shared.places {
            state.records.push_back(record.clone());
        } else if let Some(newest) = state.records.back_mut() {
            *newest = Record::opening(record.epoch, record.at);
        }
        drop(state);
        shared.changed.notify_one();
        true
    }

    /// Ends the feed after what waits.
    pub(crate) fn end(&self, error: SourceError) {
        if let Some(shared) = self.shared.upgrade() {
            shared.state.lock().end.get_or_insert(error);
            shared.changed.notify_one();
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.end(fault::closed());
    }
}

impl Feed for Follower {
    /// Cancel-safe: a record leaves the mailbox in the same poll that returns it.
    fn next(&mut self) -> BoxFuture<'_, Result<Record, SourceError>> {
        Box::pin(async move {
            loop {
                {
                    let mut state = self.shared.state.lock();
                    if let Some(record) = state.records.pop_front() {
                        return Ok(record);
                    }
                    if let Some(error) = &state.end {
                        return Err(error.clone());
                    }
                }
                // There is one waiter, and a notification that comes before the wait is kept for it.
                self.shared.changed.notified().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_core::{Epoch, LogId};

    const EPOCH: Epoch = Epoch { log: LogId(1), era: 0 };

    fn record(previous: u64, at: u64) -> Record {
        Record { epoch: EPOCH, previous, at, changes: Vec::new() }
    }

    #[tokio::test]
    async fn a_full_mailbox_ends_in_an_honest_gap() {
        let (mailbox, mut follower) = pair(3);
        for at in 1..=10 {
            assert!(mailbox.push(&record(at - 1, at)));
        }
        let mut read = Vec::new();
        for _ in 0..3 {
            read.push(follower.next().await.unwrap());
        }
        assert_eq!(
            read,
            [record(0, 1), record(1, 2), record(10, 10)],
            "the last one says that it tells nothing"
        );
        mailbox.push(&record(10, 11));
        assert_eq!(follower.next().await, Ok(record(10, 11)));
    }

    #[tokio::test]
    async fn a_dropped_wait_loses_nothing() {
        let (mailbox, mut follower) = pair(4);
        {
            let wait = follower.next();
            tokio::pin!(wait);
            tokio::select! {
                biased;
                _ = &mut wait => panic!("nothing was sent"),
                () = std::future::ready(()) => {}
            }
            mailbox.push(&record(0, 1));
        }
        assert_eq!(follower.next().await, Ok(record(0, 1)));
        drop(mailbox);
        assert!(follower.next().await.is_err());
    }
}
