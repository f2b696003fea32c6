//! A proxy between a client and its server, for all that a network does wrong.
//!
//! One thread accepts; each connection has two more, one per direction. What a connection may do is looked up in one
//! shared state before each piece that passes, so that a fault takes hold of connections that are open already.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A TCP proxy on 127.0.0.1. Dropping it cuts all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    refusing: bool,
    frozen: bool,
    delay: Duration,
    /// How many bytes from the server may still pass before everything is cut.
    allowance: Option<usize>,
    /// What is open. A connection that is not here passes nothing more.
    open: Vec<Open>,
    /// How many connections there were.
    made: u64,
    /// Bytes passed on so far from servers.
    passed: u64,
}

/// An open connection.
#[derive(Debug)]
struct Open {
    number: u64,
    client: TcpStream,
    server: TcpStream,
}

/// Which way a piece goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

impl Proxy {
    /// A proxy to the server at `target`, which accepts connections at once.
    ///
    /// # Panics
    /// When it cannot listen.
    #[track_caller]
    pub fn to(target: SocketAddr) -> Self {
        let state = State {
            target,
            refusing: false,
            frozen: false,
            delay: Duration::ZERO,
            allowance: None,
            open: Vec::new(),
            made: 0,
            passed: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let (address, listener) = listening();
        let proxy = Self { address, shared, acceptor: Mutex::default() };
        *proxy.acceptor() = Some(proxy.accept_by(listener));
        proxy
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends later connections to another server. Open ones stay where they are.
    pub fn point_to(&self, target: SocketAddr) {
        self.shared.state().target = target;
    }

    /// Closes all connections, on both sides. New ones are accepted.
    pub fn cut(&self) {
        self.shared.state().cut();
        self.shared.changed.notify_all();
    }

    /// Lets nothing pass any more in either direction. Connections stay open and new ones are accepted; neither end can
    /// tell the other from one that thinks.
    pub fn freeze(&self) {
        self.shared.state().frozen = true;
    }

    /// Lets everything pass again. Nothing was lost.
    pub fn thaw(&self) {
        self.shared.state().frozen = false;
        self.shared.changed.notify_all();
    }

    /// Holds each piece that arrives back for `delay`, in each direction. A piece is what one read gives, at most 16 KiB:
    /// a long answer is slowed down more than once.
    pub fn delay(&self, delay: Duration) {
        self.shared.state().delay = delay;
    }

    /// Lets `bytes` more bytes from the server pass, over all connections, and then cuts, be it amid a record. It happens
    /// once; connections made afterwards are whole again.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.state().allowance = Some(bytes);
    }

    /// How many bytes from the server have been passed on since the beginning.
    pub fn passed(&self) -> u64 {
        self.shared.state().passed
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.state().open.len()
    }

    /// Refuses new connections, as a machine does on which nobody listens. Open ones stay.
    pub fn refuse(&self) {
        self.shared.state().refusing = true;
        // It sleeps until somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor().take() {
            let _ = acceptor.join();
        }
    }

    /// Accepts new connections again after [`Proxy::refuse`].
    ///
    /// # Panics
    /// When somebody else listens at this address by now.
    #[track_caller]
    pub fn accept(&self) {
        let mut acceptor = self.acceptor();
        if !std::mem::replace(&mut self.shared.state().refusing, false) {
            return;
        }
        let listener = TcpListener::bind(self.address);
        let listener = listener.unwrap_or_else(|error| panic!("cannot listen at {}: {error}", self.address));
        *acceptor = Some(self.accept_by(listener));
    }

    fn accept_by(&self, listener: TcpListener) -> JoinHandle<()> {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.state().refusing {
                    break;
                }
                // Without a server, the client is closed at once.
                let _ = client.and_then(|client| connect(client, &shared));
            }
        })
    }

    fn acceptor(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener of our own, and where. Between finding a port free and taking it, another process may look at it, too.
fn listening() -> (SocketAddr, TcpListener) {
    let mut attempts = (0..16).map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, crate::free_port())));
    let found = attempts.find_map(|address| Some((address, TcpListener::bind(address).ok()?)));
    found.unwrap_or_else(|| panic!("of sixteen ports that were free none can be listened at"))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        self.cut();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state once nothing is frozen, or the connection is cut. While everything is frozen, an end must not learn
    /// either that the other has closed.
    fn when_it_flows(&self, number: u64) -> MutexGuard<'_, State> {
        let frozen = |state: &mut State| state.frozen && state.is_open(number);
        self.changed.wait_while(self.state(), frozen).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_open(&self, number: u64) -> bool {
        self.open.iter().any(|open| open.number == number)
    }

    fn cut(&mut self) {
        self.open.drain(..).for_each(|open| open.shut());
    }
}

impl Open {
    fn shut(&self) {
        // Either end may have gone by itself.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

/// Connects `client` to the server of the moment, and passes on what either says.
fn connect(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let target = shared.state().target;
    let server = TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let pumps = [
        (Way::ToServer, client.try_clone()?, server.try_clone()?),
        (Way::ToClient, server.try_clone()?, client.try_clone()?),
    ];
    let mut state = shared.state();
    state.made += 1;
    let number = state.made;
    state.open.push(Open { number, client, server });
    drop(state);
    for (way, source, sink) in pumps {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // Whether an end closed or failed, what follows is the same.
            let _ = pump(way, number, source, sink, &shared);
            let mut state = shared.when_it_flows(number);
            state.open.extract_if(.., |open| open.number == number).for_each(|open| open.shut());
        });
    }
    Ok(())
}

/// Passes on what `source` says until it closes or the connection is cut.
fn pump(
    way: Way,
    number: u64,
    mut source: TcpStream,
    mut sink: TcpStream,
    shared: &Shared,
) -> io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let length = source.read(&mut piece)?;
        let delay = shared.state().delay;
        thread::sleep(delay);
        let mut state = shared.when_it_flows(number);
        if length == 0 || !state.is_open(number) {
            return Ok(());
        }
        let mut passing = length;
        if way == Way::ToClient {
            if let Some(allowance) = &mut state.allowance {
                passing = length.min(*allowance);
                *allowance -= passing;
            }
            state.passed += passing as u64;
        }
        let last = way == Way::ToClient && state.allowance == Some(0);
        // Writing may block, and must not keep a fault from taking hold meanwhile.
        drop(state);
        sink.write_all(&piece[..passing])?;
        if last {
            let mut state = shared.state();
            state.allowance = None;
            state.cut();
            drop(state);
            shared.changed.notify_all();
        }
    }
}
