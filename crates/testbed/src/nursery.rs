//! The thread that starts every server.
//!
//! A server asks the kernel for a signal when its parent dies, so that none outlives a test program that was killed. The
//! kernel counts the parent *thread*: started from a test's own thread, or from one of an asynchronous runtime's pool, a
//! server would be stopped as soon as that thread ended. This one ends with the process.

use std::io;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

struct Order {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

/// Starts `command` from the thread that lives as long as the process.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static ORDERS: LazyLock<SyncSender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = sync_channel::<Order>(16);
        thread::spawn(move || {
            for Order { mut command, reply } in inbox {
                // Whoever asked may be gone; the child is then the kernel's to end.
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = sync_channel(1);
    let gone = |_| io::Error::other("the thread that starts servers is gone");
    ORDERS.send(Order { command, reply }).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}
