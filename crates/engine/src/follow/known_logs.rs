//! Which logs are followed in this process: a session token of any other log cannot be honoured.

use crate::sync::Mutex;
use candor_core::LogId;
use std::collections::HashMap;
use std::sync::Arc;

/// The logs somebody in this process follows. Caches whose session tokens travel together share one.
#[derive(Clone, Debug, Default)]
pub struct KnownLogs(Arc<Mutex<HashMap<LogId, usize>>>);

impl KnownLogs {
    /// Whether somebody here follows this log.
    pub fn contains(&self, log: LogId) -> bool {
        self.0.lock().contains_key(&log)
    }

    pub(super) fn learn(&self, log: LogId) {
        *self.0.lock().entry(log).or_default() += 1;
    }

    pub(super) fn forget(&self, log: Option<LogId>) {
        let Some(log) = log else { return };
        let mut known = self.0.lock();
        if let Some(followers) = known.get_mut(&log) {
            *followers -= 1;
            if *followers == 0 {
                known.remove(&log);
            }
        }
    }
}
