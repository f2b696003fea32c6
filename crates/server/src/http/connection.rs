//! One connection: hyper, its stream, and the limits on what a client may take its time with.
//!
//! Whatever is answered within one poll costs no timer, no task and no lock: see [`progress`](super::progress).

use super::progress::Progress;
use super::routes::Door;
use crate::config::RequestLimits;
use candor::World;
use futures_util::FutureExt;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// What a connection needs.
pub(super) struct Connection {
    pub(super) world: World,
    pub(super) door: Arc<Door>,
    pub(super) limits: RequestLimits,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Connection {
    /// Answers what comes until the client or a limit ends it, or the order to stop comes and nothing is in progress.
    pub(super) async fn serve(mut self, stream: TcpStream) {
        // Answers are small and whole; waiting for more to send only adds latency.
        let _ = stream.set_nodelay(true);
        let progress = Progress::new(self.world, &self.limits);
        let io = TokioIo::new(Watched { stream, progress: Arc::clone(&progress) });
        let (door, answering) = (self.door, Arc::clone(&progress));
        let service = service_fn(move |request| {
            let answer = Arc::clone(&door).answer(request, answering.begin());
            answer.map(|response| Ok::<_, Infallible>(response.map(Full::new)))
        });
        let header_bytes_max = usize::try_from(self.limits.header_bytes_max).unwrap_or(usize::MAX);
        let serving = http1::Builder::new()
            // Hyper would set a timer for every request.
            .header_read_timeout(None)
            .max_buf_size(header_bytes_max)
            .serve_connection(io, service);
        let mut serving = std::pin::pin!(serving);
        let mut stalled = std::pin::pin!(progress.stalled());
        let mut is_stopping = false;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = serving.as_mut() => break outcome,
                () = &mut stalled => {
                    tracing::debug!("closing a connection that made no progress");
                    return;
                }
                _ = self.stopping.wait_for(|stopping| *stopping), if !is_stopping => {
                    // Nothing was ever sent on it, so nothing is lost; hyper would wait for a first request.
                    if progress.is_untouched() {
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

/// A stream that notes what moves.
struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
}

impl Watched {
    /// Notes what the socket took of `all` bytes.
    fn gave(&self, outcome: &Poll<io::Result<usize>>, all: usize) {
        match outcome {
            Poll::Ready(Ok(taken)) if *taken < all => self.progress.gave(*taken),
            Poll::Pending => self.progress.gave(0),
            Poll::Ready(_) => {}
        }
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
        if into.filled().len() > before {
            self.progress.touched();
        }
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
        self.gave(&outcome, bytes.len());
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.gave(&outcome, parts.iter().map(|part| part.len()).sum());
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Hyper flushes once it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.gave_all();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
