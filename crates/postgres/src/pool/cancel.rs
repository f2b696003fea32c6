//! Asking a server to end a statement, from a connection of its own.
//!
//! The request is answered by the other side's closing the connection, and whoever asks must wait for that. PgBouncer
//! passes a request on only when it finds the time; versions up to 1.18 drop it, or crash, if the asker is gone by then.

use crate::fault;
use crate::options::{is_socket_directory, place};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{CancelToken, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Nobody waits for a cancellation, and the statement has a time limit of its own.
const LIMIT: Duration = Duration::from_secs(10);

/// What ends the statement of one connection.
pub(super) struct Canceller {
    pub(super) token: CancelToken,
    pub(super) tls: Option<MakeRustlsConnect>,
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

impl Canceller {
    /// Asks once. A refusal is only told: the statement will end by its time limit.
    pub(super) async fn cancel(self) {
        let reason = match timeout(LIMIT, self.ask()).await {
            Ok(Ok(())) => return,
            Ok(Err(reason)) => reason,
            Err(_) => "no answer".to_owned(),
        };
        tracing::debug!(reason, "a statement that nobody waits for could not be cancelled");
    }

    async fn ask(mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        if is_socket_directory(&self.host) {
            let stream = UnixStream::connect(place(&self.host, self.port)).await.map_err(failed)?;
            return send(self.token, stream, NoTls).await;
        }
        let stream = TcpStream::connect((&*self.host, self.port)).await.map_err(failed)?;
        match &mut self.tls {
            Some(tls) => {
                let tls = MakeTlsConnect::<UntilClosed<TcpStream>>::make_tls_connect(tls, &self.host);
                send(self.token, stream, tls.map_err(|error| error.to_string())?).await
            }
            None => send(self.token, stream, NoTls).await,
        }
    }
}

async fn send<S, T>(token: CancelToken, stream: S, tls: T) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: TlsConnect<UntilClosed<S>>,
{
    let sent = token.cancel_query_raw(UntilClosed(stream), tls).await;
    sent.map_err(|error| fault::with_causes(&error))
}

/// A stream whose shutting down waits until the other side closes.
struct UntilClosed<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for UntilClosed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for UntilClosed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        loop {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes);
            // A reset is a way of closing, too.
            let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
