//! The truth: every version that every row ever had, in every log.
//!
//! A version is known by its number, which is also the value that readers get, so an answer names what it reflects and one
//! look-up tells when that was superseded. Two orders are kept apart, because the source keeps them apart: the order of
//! the log (`at`) and the order in which versions became visible (`seq`, with the virtual time).
//!
//! A crash, a failover or a restore takes versions back: what they had superseded is current again, in a new log.

use candor::core::LogId;

/// A point in all logs of one source, one after another.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which log, counted from zero.
    pub log: u32,
    /// Where in it.
    pub at: u64,
}

/// Beyond every log.
pub const NEVER: Place = Place { log: u32::MAX, at: u64::MAX };

/// The end of a version's time.
#[derive(Copy, Clone, Debug)]
pub struct End {
    /// The count of visible events at which it was no longer current; the highest number while it is.
    pub seq: u64,
    /// The virtual time of that.
    pub time: u64,
    /// Where the change that superseded it was logged, whether or not that is visible yet.
    pub place: Place,
}

const OPEN: End = End { seq: u64::MAX, time: u64::MAX, place: NEVER };

/// One state of one row.
#[derive(Copy, Clone, Debug)]
pub struct Version {
    /// The row.
    pub row: u32,
    /// Whether the row is not there.
    pub absent: bool,
    /// Whether it ever was visible.
    pub seen: bool,
    /// Whether a log in which it stood was taken back below it.
    pub lost: bool,
    /// Where it was logged; the beginning of all logs if it was there from the start.
    pub place: Place,
    /// When it became visible first.
    pub from_seq: u64,
    /// When it became visible first.
    pub from_time: u64,
    /// When it was superseded last.
    pub until: End,
}

/// All versions of all rows.
#[derive(Debug, Default)]
pub struct Truth {
    versions: Vec<Version>,
    /// Per row, in the order in which they became visible; a version that came back stands there again.
    rows: Vec<Vec<u32>>,
    logs: Vec<LogId>,
    seq: u64,
}

impl Truth {
    /// So many rows, none of them there.
    pub fn new(rows: u32, log: LogId) -> Self {
        let beginning = Place { log: 0, at: 0 };
        let version = |row| Version {
            row,
            absent: true,
            seen: true,
            lost: false,
            place: beginning,
            from_seq: 0,
            from_time: 0,
            until: OPEN,
        };
        Self {
            versions: (0..rows).map(version).collect(),
            rows: (0..rows).map(|row| vec![row]).collect(),
            logs: vec![log],
            seq: 1,
        }
    }

    /// The count of visible events so far.
    #[inline]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The number of a log.
    #[inline]
    pub fn log(&self, log: LogId) -> Option<u32> {
        self.logs.iter().rposition(|known| *known == log).map(|index| index as u32)
    }

    /// The log that is written now.
    pub fn log_now(&self) -> u32 {
        self.logs.len() as u32 - 1
    }

    /// A version.
    #[inline]
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.get(number as usize)
    }

    /// The versions of a row, in the order in which they became visible.
    pub fn of_row(&self, row: u32) -> &[u32] {
        &self.rows[row as usize]
    }

    /// The version that answers "absent" for a row and fits best: the one that was superseded last.
    #[inline]
    pub fn absence(&self, row: u32) -> Option<u32> {
        let of_row = &self.rows[row as usize];
        of_row.iter().rev().copied().find(|number| self.versions[*number as usize].absent)
    }

    /// A version about to be written.
    pub fn write(&mut self, row: u32, absent: bool) -> u32 {
        let number = self.versions.len() as u32;
        self.versions.push(Version {
            row,
            absent,
            seen: false,
            lost: false,
            place: NEVER,
            from_seq: u64::MAX,
            from_time: u64::MAX,
            until: OPEN,
        });
        number
    }

    /// Its commit is in the log.
    pub fn logged(&mut self, number: u32, at: u64) {
        let place = Place { log: self.log_now(), at };
        self.versions[number as usize].place = place;
        let current = self.current(self.versions[number as usize].row);
        self.versions[current as usize].until.place = place;
    }

    /// It became visible; all of one transaction at one count.
    pub fn visible(&mut self, numbers: impl IntoIterator<Item = u32>, time: u64) {
        self.seq += 1;
        for number in numbers {
            self.show(number, time);
        }
    }

    /// A new log begins. What is lost and what comes back happens at one count; `shown` are versions that become visible by
    /// it, because they were logged and kept.
    pub fn lose(&mut self, lost: &[u32], log: LogId, shown: &[u32], time: u64) {
        self.seq += 1;
        self.logs.push(log);
        let now = Place { log: self.log_now(), at: 0 };
        lost.iter().for_each(|number| self.versions[*number as usize].lost = true);
        for row in 0..self.rows.len() {
            let current = self.current(row as u32);
            let kept =
                self.rows[row].iter().rev().copied().find(|number| !self.versions[*number as usize].lost);
            let kept = kept.unwrap_or(row as u32);
            if kept == current {
                // A change that was logged and is lost supersedes nothing.
                self.versions[kept as usize].until.place = NEVER;
            } else {
                self.versions[current as usize].until = End { seq: self.seq, time, place: now };
                self.versions[kept as usize].until = OPEN;
                self.rows[row].push(kept);
            }
        }
        for number in shown {
            let current = self.current(self.versions[*number as usize].row);
            self.versions[current as usize].until.place = self.versions[*number as usize].place;
            self.show(*number, time);
        }
    }

    /// The version of a row that a new snapshot would see.
    pub fn current(&self, row: u32) -> u32 {
        *self.rows[row as usize].last().unwrap_or(&row)
    }

    fn show(&mut self, number: u32, time: u64) {
        let row = self.versions[number as usize].row;
        let current = self.current(row);
        let until = &mut self.versions[current as usize].until;
        (until.seq, until.time) = (self.seq, time);
        let version = &mut self.versions[number as usize];
        (version.seen, version.from_seq, version.from_time) = (true, self.seq, time);
        self.rows[row as usize].push(number);
    }
}
