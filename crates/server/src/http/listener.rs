//! The accept loop, on hyper, because its limits are promises.
//!
//! | a client that | meets |
//! |---|---|
//! | sends its headers a byte a minute, or none at all on an open connection | the header timeout: closed |
//! | sends headers without end | 431 and closed, once they exceed their limit |
//! | sends a body without end | 413, before it is read if it is announced |
//! | takes its answer a byte a minute, or not at all | the request timeout without progress: closed |
//! | opens connections without end | waits in the system's own queue once the cap is reached |
//!
//! The order to stop ends the accepting; requests in progress finish, for as long as the drain allows, and connections
//! on which nothing is in progress are closed at once.

use super::Gate;
use super::routes::Door;
use crate::auth::exposure::{self, Exposed};
use crate::config::{Config, ServerSettings};
use crate::metrics::DoorFigures;
use crate::service::Service;
use candor::World;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// After the system refused to hand over a connection (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the door cannot open.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It would stand open to other machines.
    #[error(transparent)]
    Exposed(#[from] Exposed),
    /// The address is taken.
    #[error("{address} is in use by another program; stop it, or choose another port in [server] http")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// This user may not listen there.
    #[error("this user may not listen on {address}; choose a port above 1023 in [server] http")]
    Forbidden {
        /// The address.
        address: SocketAddr,
    },
    /// The machine has no such address.
    #[error("{address} is not an address of this machine; choose one that is in [server] http")]
    NotOurs {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("{address} cannot be listened on: {error}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

/// A door that is bound and not yet open: connections wait in the system's queue.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    service: Service,
    door: Arc<Door>,
    figures: Arc<DoorFigures>,
    settings: ServerSettings,
}

impl Listener {
    /// Binds the configured address. Nothing is answered before [`Listener::run`].
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    pub async fn bind(config: &Config, service: Service, gate: Gate) -> Result<Self, ListenError> {
        let settings = config.server.clone();
        let wanted = settings.http;
        exposure::check(wanted, gate.is_authenticating())?;
        let failed = |error| of_io(wanted, error);
        let socket = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        // What was bound is what counts.
        exposure::check(address, gate.is_authenticating())?;
        let figures = Arc::new(DoorFigures::default());
        let door = Arc::new(Door::new(service.clone(), gate, &settings, Arc::clone(&figures)));
        Ok(Self { socket, address, service, door, figures, settings })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` is ready, then drains and closes the service. Returns whether everything in
    /// progress finished in time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> bool {
        let Self { socket, address, service, door, figures, settings } = self;
        let world = service.world().clone();
        let stopping = watch::Sender::new(false);
        let most = settings.limits.connections_max.min(Semaphore::MAX_PERMITS);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let places = Arc::new(Semaphore::new(most as usize));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepting = async {
                // The semaphore is never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, socket.accept().await)
            };
            let (place, accepted) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = accepting => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = Connection {
                        world: world.clone(),
                        door: Arc::clone(&door),
                        settings: settings.clone(),
                        stopping: stopping.subscribe(),
                    };
                    let open = figures.connected();
                    world.spawn(async move {
                        connection.serve(stream).await;
                        drop((open, place));
                    });
                }
                Err(error) => {
                    figures.accept_failed();
                    tracing::warn!(%error, "a connection could not be accepted");
                    world.sleep_until(world.now().plus(ACCEPT_PAUSE)).await;
                }
            }
        }
        drop(socket);
        tracing::info!(%address, "stopping; requests in progress may finish");
        service.begin_draining();
        stopping.send_replace(true);
        let deadline = world.now().plus(settings.drain_timeout);
        let quiet = world.within(deadline, places.acquire_many(most)).await.is_some();
        let landed = service.close(deadline.since(world.now())).await;
        if !quiet {
            tracing::warn!("some requests did not finish in time and were cut off");
        }
        quiet && landed
    }
}

fn of_io(address: SocketAddr, error: io::Error) -> ListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        io::ErrorKind::PermissionDenied => ListenError::Forbidden { address },
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs { address },
        _ => ListenError::Io { address, error },
    }
}

struct Connection {
    world: World,
    door: Arc<Door>,
    settings: ServerSettings,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream) {
        // Answers are small and whole; waiting for more to send only adds latency.
        let _ = stream.set_nodelay(true);
        let limits = self.settings.limits;
        let pulse = Arc::new(Pulse::default());
        let io = TokioIo::new(Watched { stream, pulse: Arc::clone(&pulse) });
        let door = Arc::clone(&self.door);
        let answering = Arc::clone(&pulse);
        let service = service_fn(move |request| {
            let (door, answering) = (Arc::clone(&door), answering.begin());
            async move {
                let response = door.answer(request).await.map(Full::new);
                drop(answering);
                Ok::<_, Infallible>(response)
            }
        });
        let header_bytes_max = usize::try_from(limits.header_bytes_max).unwrap_or(usize::MAX);
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            // Also what closes a connection on which no further request comes.
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(header_bytes_max)
            .serve_connection(io, service);
        let mut serving = std::pin::pin!(serving);
        let stalled = pulse.stalled(&self.world, limits.request_timeout);
        let mut stalled = std::pin::pin!(stalled);
        let mut is_stopping = false;
        let outcome = loop {
            tokio::select! {
                outcome = serving.as_mut() => break outcome,
                () = &mut stalled => {
                    tracing::debug!("closing a connection that made no progress");
                    return;
                }
                _ = self.stopping.wait_for(|stopping| *stopping), if !is_stopping => {
                    // Nothing was ever sent on it, so nothing is lost; hyper would wait for a first request.
                    if pulse.is_untouched() {
                        return;
                    }
                    is_stopping = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Bytes that moved on a connection, and requests that are being answered.
#[derive(Debug, Default)]
struct Pulse {
    bytes: AtomicU64,
    answering: AtomicU64,
}

struct Answering(Arc<Pulse>);

impl Pulse {
    fn begin(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    fn is_untouched(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0
    }

    /// Ready once no byte has moved for `limit` while no request was being answered: somebody does not take their
    /// answer. (Answers have a time limit of their own.)
    async fn stalled(&self, world: &World, limit: Duration) {
        let mut before = None;
        loop {
            let now = (self.bytes.load(Ordering::Relaxed), self.answering.load(Ordering::Relaxed));
            if before == Some(now) && now.1 == 0 {
                return;
            }
            before = Some(now);
            world.sleep_until(world.now().plus(limit)).await;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream whose progress is counted.
struct Watched {
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl Watched {
    fn moved(&self, bytes: usize) {
        self.pulse.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, into);
        self.moved(into.filled().len() - before);
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = outcome {
            self.moved(written);
        }
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        if let Poll::Ready(Ok(written)) = outcome {
            self.moved(written);
        }
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
