//! What is being done, for whoever waits: on stderr, only on a terminal, only after a moment, gone at the end.

use crate::terminal::Terminal;
use std::io::{self, Write};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What takes less than this is not worth a word.
const PATIENCE: Duration = Duration::from_millis(400);
const TICK: Duration = Duration::from_millis(100);

/// Shows what is being done until it is dropped.
pub(crate) struct Progress {
    showing: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Begins to show it.
    pub(crate) fn begin(terminal: &Terminal, what: impl Into<String>) -> Self {
        if !terminal.shows_progress() {
            return Self { showing: None };
        }
        let (paint, what) = (terminal.err(), what.into());
        let (done, wait) = sync_channel::<()>(1);
        let shower = std::thread::spawn(move || {
            let is_over = |within| wait.recv_timeout(within) != Err(RecvTimeoutError::Timeout);
            if is_over(PATIENCE) {
                return;
            }
            let mut ticks = 4u32;
            loop {
                let said = paint.dim(&format!("{what} … {}.{} s", ticks / 10, ticks % 10));
                show(&format!("\r\x1b[2K{said}"));
                if is_over(TICK) {
                    return show("\r\x1b[2K");
                }
                ticks += 1;
            }
        });
        Self { showing: Some((done, shower)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, shower)) = self.showing.take() {
            drop(done);
            // What shows nothing any more has nothing to say either.
            let _ = shower.join();
        }
    }
}

/// A terminal that has gone is no reason to stop.
fn show(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
