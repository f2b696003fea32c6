//! Waiting for something to become true, with a deadline.

use std::time::{Duration, Instant};

/// How long a server or program may take for anything. Seconds suffice; a machine busy with other builds needs more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `look` again and again until it gives something, at most for `limit`.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = now();
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if started.elapsed() > limit {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Waits until `holds` is true, for a minute at most.
///
/// # Panics
/// When the minute is over; `what` says what never came.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = PATIENCE;
    // Without a defence it mostly never comes.
    #[cfg(candor_sabotage)]
    let patience = if std::env::var_os("CANDOR_WITHOUT").is_some() { patience / 6 } else { patience };
    let met = within(patience, || holds().then_some(()));
    assert!(met.is_some(), "waited {patience:?} in vain: {what}");
}

#[expect(clippy::disallowed_methods, reason = "real servers are waited for in real time")]
fn now() -> Instant {
    Instant::now()
}
