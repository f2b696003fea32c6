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
use super::connection::Connection;
use super::routes::Door;
use crate::auth::exposure::{self, Exposed};
use crate::config::{Config, ServerSettings};
use crate::metrics::DoorFigures;
use crate::service::Service;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
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
                        limits: settings.limits,
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
