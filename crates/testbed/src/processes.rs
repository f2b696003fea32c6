//! A server's processes: which they are, in what state, and signals to all of them.
//!
//! Each of PostgreSQL's processes leads a process group of its own, so no signal to a group reaches them all; they are
//! the children of the first one, and it alone starts new ones.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::patience::until;

/// A server's first process and all that it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    head: Pid,
}

impl Family {
    pub(crate) fn of(child: &std::process::Child) -> Self {
        Self { head: Pid::from_child(child) }
    }

    /// The server whose data folder is in `folder`, if it still runs.
    pub(crate) fn in_folder(folder: &Path) -> Option<Self> {
        let file = std::fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
        let head = file.lines().next()?.trim().parse().ok().and_then(Pid::from_raw)?;
        // By now the number may be somebody else's.
        let command = std::fs::read(format!("/proc/{head}/cmdline")).ok()?;
        String::from_utf8_lossy(&command).contains(folder.to_str()?).then_some(Self { head })
    }

    pub(crate) fn is_frozen(self) -> bool {
        state(self.head) == Some('T')
    }

    /// Sends `signal` to the first process. One that is gone already needs none.
    pub(crate) fn tell(self, signal: Signal) {
        let _ = kill_process(self.head, signal);
    }

    /// Stops all of them where they are. The first one goes first, so that no new one appears behind our back.
    pub(crate) fn freeze(self) -> Vec<Pid> {
        freeze(self.head);
        let children = self.children();
        children.iter().for_each(|child| freeze(*child));
        children
    }

    /// Lets all of them run again, children first: their parent may have something to tell them.
    pub(crate) fn thaw(self) {
        for process in self.children().into_iter().chain([self.head]) {
            let _ = kill_process(process, Signal::CONT);
        }
    }

    /// Ends all of them without giving any the time to do as little as one more instruction after the first has died.
    pub(crate) fn destroy(self) {
        let children = self.freeze();
        for process in children.iter().chain([&self.head]) {
            let _ = kill_process(*process, Signal::KILL);
        }
        // Their shared memory is released by the last one to go.
        for process in children {
            until("a killed process to be gone", || state(process).is_none());
        }
    }

    fn children(self) -> Vec<Pid> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers
            .filter_map(Pid::from_raw)
            .filter(|pid| status(*pid).is_some_and(|(_, parent)| parent == self.head))
            .collect()
    }
}

fn freeze(process: Pid) {
    let _ = kill_process(process, Signal::STOP);
    until("a process to stop", || matches!(state(process), None | Some('T' | 't')));
}

/// The letter of its state; nothing if it is gone. Dead but not yet collected by its parent is gone.
fn state(process: Pid) -> Option<char> {
    status(process).map(|(state, _)| state).filter(|state| !matches!(state, 'Z' | 'X'))
}

/// A process's state and parent.
fn status(process: Pid) -> Option<(char, Pid)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything, parentheses included.
    let mut fields = text.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok().and_then(Pid::from_raw)?;
    Some((state, parent))
}
