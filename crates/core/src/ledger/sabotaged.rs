//! Orders of stores that a single thread cannot see, made visible: what should be stored first is stored with the next
//! record. Compiled only with `--cfg candor_sabotage`.

use super::Ledger;
use crate::record::Record;
use crate::sabotage::{Sabotage, is};
use parking_lot::Mutex;

/// A record that is not wholly in the ledger, and above which position it counts.
type Late = Mutex<Option<(Record, u64)>>;

/// Whether the changes of a record are kept back, while its watermark moves.
pub(super) fn keeps_back(late: &Late, record: &Record, above: u64) -> bool {
    let keeps = is(Sabotage::WatermarkFirst);
    if keeps {
        *late.lock() = Some((record.clone(), above));
    }
    keeps
}

/// Whether only the stripes are kept back, while histories and watermark move.
pub(super) fn keeps_stripes_back(late: &Late, record: &Record, above: u64) -> bool {
    let keeps = is(Sabotage::StripesLate);
    if keeps {
        *late.lock() = Some((record.clone(), above));
    }
    keeps
}

/// Stores what was kept back.
pub(super) fn catch_up(ledger: &Ledger) {
    let Some((record, above)) = ledger.late.lock().take() else { return };
    if record.epoch != ledger.epoch() {
        return;
    }
    if is(Sabotage::WatermarkFirst) {
        return ledger.remember_now(&record, above);
    }
    for change in record.changes.iter().filter(|change| change.at > above) {
        for tag in &change.tags {
            ledger.lasts[ledger.stripe(*tag)].fetch_max(change.at, std::sync::atomic::Ordering::Release);
        }
    }
}
