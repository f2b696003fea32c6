//! The way to a server: hosts in order, TCP or a Unix socket, TLS as asked for. What speaks over it is decided above.
//!
//! Invariants: every wait here ends at the caller's deadline; a connection that was to be encrypted is never used in the
//! clear; what a server says before the handshake is never taken for what it says inside.

mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

pub(crate) use stream::RawStream;
pub(crate) use tls::tls_config;

use crate::fault::with_causes;
use crate::options::{ConnectOptions, TlsMode};
use candor_core::port::{Fault, SourceError};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// A peer that vanished without a word is noticed by the kernel after about this long: idle, then three probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// When an attempt that begins now must have ended.
pub(crate) fn deadline(options: &ConnectOptions) -> Instant {
    Instant::now() + options.connect_timeout
}

/// Connects to the first host that answers. Each host gets its share of the time that is left, so that a silent one in
/// front does not use up the time of those behind it.
///
/// # Errors
///
/// Says of every host why it was not the one.
pub(crate) async fn open(options: &ConnectOptions, deadline: Instant) -> Result<RawStream, SourceError> {
    let tls = match options.tls {
        TlsMode::Disable => None,
        _ => Some(TlsConnector::from(Arc::new(tls_config(options)?))),
    };
    let mut told = Vec::new();
    let mut all_silent = true;
    for (index, (host, port)) in options.hosts.iter().enumerate() {
        let until = share(deadline, options.hosts.len() - index);
        let attempt = open_host(host, *port, options.tls, tls.as_ref(), until);
        match timeout_at(until, attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(why)) => {
                all_silent = false;
                told.push(format!("{host}:{port}: {why}"));
            }
            Err(_) => told.push(format!("{host}:{port}: no answer in time (connect_timeout)")),
        }
    }
    if told.is_empty() {
        return Err(SourceError::down("no host is configured: give one in the connection string"));
    }
    let fault = if all_silent { Fault::Slow } else { Fault::Down };
    Err(SourceError { fault, message: format!("cannot connect to PostgreSQL: {}", told.join("; ")) })
}

/// An equal part of the time that is left, for one of `waiting` that want it.
fn share(deadline: Instant, waiting: usize) -> Instant {
    let now = Instant::now();
    let part = u32::try_from(waiting).unwrap_or(u32::MAX).max(1);
    now + deadline.saturating_duration_since(now) / part
}

async fn open_host(
    host: &str,
    port: u16,
    mode: TlsMode,
    tls: Option<&TlsConnector>,
    until: Instant,
) -> Result<RawStream, String> {
    if host.starts_with('/') {
        // As libpq: a Unix socket is never encrypted, whatever the mode. It does not leave the machine.
        let path = Path::new(host).join(format!(".s.PGSQL.{port}"));
        let stream = UnixStream::connect(path).await.map_err(|error| error.to_string())?;
        return Ok(RawStream::Unix(stream));
    }
    let stream = open_tcp(host, port, until).await?;
    match tls {
        None => Ok(RawStream::Plain(stream)),
        Some(tls) => encrypt(stream, host, mode, tls).await,
    }
}

async fn open_tcp(host: &str, port: u16, until: Instant) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| format!("the name does not resolve: {error}"))?
        .collect();
    let mut last = "the name has no address".to_owned();
    for (index, address) in addresses.iter().enumerate() {
        match timeout_at(share(until, addresses.len() - index), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                tune(&stream).map_err(|error| format!("cannot set socket options: {error}"))?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("no answer from {address}"),
        }
    }
    Err(last)
}

/// Small messages leave at once, and a dead peer is noticed.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Asks for TLS as PostgreSQL has it asked for, and shakes hands.
///
/// Exactly one byte is read before the handshake, past no buffer. Bytes that somebody slipped in behind it meet the TLS
/// parser, which refuses them; they can never be taken for words of the server.
async fn encrypt(
    mut stream: TcpStream,
    host: &str,
    mode: TlsMode,
    tls: &TlsConnector,
) -> Result<RawStream, String> {
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    let mut answer = [0];
    let asked = async {
        stream.write_all(&request).await?;
        stream.read_exact(&mut answer).await
    };
    asked.await.map_err(|error| format!("lost while asking for TLS: {error}"))?;
    match answer[0] {
        b'S' => {}
        b'N' if mode == TlsMode::Prefer => return Ok(RawStream::Plain(stream)),
        b'N' => {
            return Err("the server has no TLS (`ssl = off`), and sslmode demands it: \
                        switch it on there, or say sslmode=prefer here"
                .to_owned());
        }
        b'E' => return Err("the server refused to speak of TLS; its log says why".to_owned()),
        other => {
            return Err(format!(
                "what answers is not PostgreSQL (it answered byte {other} to a TLS request)"
            ));
        }
    }
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("`{host}` is neither a name nor an address that a certificate could carry"))?;
    match tls.connect(name, stream).await {
        Ok(stream) => Ok(RawStream::Tls(Box::new(stream))),
        Err(error) => Err(handshake(&error)),
    }
}

/// A failed handshake, with what to do about the failures people meet.
fn handshake(error: &io::Error) -> String {
    let mut text = format!("TLS handshake failed: {}", with_causes(error));
    if text.contains("CaUsedAsEndEntity") {
        text.push_str(
            ". The server shows a self-signed certificate that is marked as an authority (CA:TRUE), which libpq accepts \
             and we do not: issue a server certificate signed by it, or make it anew with basicConstraints=CA:FALSE",
        );
    } else if text.contains("UnknownIssuer") {
        text.push_str(". Nobody we trust signed the certificate: give the authority's in sslrootcert");
    }
    text
}
