//! An HTTP client for one server: a connection per call, a deadline on everything.

use crate::failure::Failure;
use bytes::Bytes;
use candor_server::http::Kind;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// The largest answer that is taken.
const BODY_BYTES_MAX: usize = 64 << 20;
/// A server on this machine or beside it connects at once or not at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// For finding out whether a server is there.
const PROBE_WITHIN: Duration = Duration::from_millis(500);

/// Which server, and as whom.
#[derive(Args, Debug)]
pub(crate) struct ServerArgs {
    /// The server to ask; if left out, the one that the configuration describes
    #[arg(long, env = "CANDOR_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The environment variable that holds the token to present
    #[arg(long, default_value = "CANDOR_TOKEN", value_name = "NAME")]
    pub(crate) token_env: String,
    /// How long to wait for the server altogether
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = candor_core::duration::parse)]
    pub(crate) timeout: Duration,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Client {
    /// `host:port`, as it stands in `Host`.
    authority: String,
    /// What stands before `/v1`, without a slash at its end.
    prefix: String,
    token: Option<HeaderValue>,
    token_env: String,
    timeout: Duration,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    /// The server at a URL.
    pub(crate) fn new(url: &str, args: &ServerArgs) -> Result<Self, Failure> {
        let refused =
            |why: &str| Failure::usage(format!("`{url}` {why}"), "write it like http://127.0.0.1:7070");
        let uri: Uri = url.parse().map_err(|_| refused("is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(refused("asks for TLS, which this client does not speak")),
            _ => return Err(refused("does not begin with http://")),
        }
        if uri.query().is_some() {
            return Err(refused("has a query"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| refused("names no host"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        Self::with(authority, uri.path().trim_end_matches('/'), args)
    }

    /// The server that listens on an address. One that listens on every address is asked on loopback.
    pub(crate) fn at(address: SocketAddr, args: &ServerArgs) -> Result<Self, Failure> {
        let ip = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Self::with(SocketAddr::new(ip, address.port()).to_string(), "", args)
    }

    fn with(authority: String, prefix: &str, args: &ServerArgs) -> Result<Self, Failure> {
        let token = std::env::var(&args.token_env).ok().filter(|token| !token.is_empty());
        let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {}", token.trim())));
        let mut token = token.transpose().map_err(|_| {
            Failure::usage(
                format!("the token in {} holds what no header can carry", args.token_env),
                "check the variable",
            )
        })?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Ok(Self {
            authority,
            prefix: prefix.to_owned(),
            token,
            token_env: args.token_env.clone(),
            timeout: args.timeout,
        })
    }

    /// The address, for people.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.prefix)
    }

    /// Whether a Candor server is there.
    pub(crate) async fn is_there(&self) -> bool {
        let headers = HeaderMap::new();
        let asked = self.exchange(Method::GET, "/healthz", &headers, None);
        match tokio::time::timeout(PROBE_WITHIN, asked).await {
            Ok(Ok(response)) => response.body.windows(6).any(|text| text == b"\"live\""),
            _ => false,
        }
    }

    /// `GET`.
    pub(crate) async fn get(&self, path: &str, headers: &HeaderMap) -> Result<Response, Failure> {
        self.within(self.exchange(Method::GET, path, headers, None)).await
    }

    /// `POST` of JSON.
    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: &serde_json::Value,
    ) -> Result<Response, Failure> {
        self.within(self.exchange(Method::POST, path, headers, Some(body.to_string()))).await
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let timeout = candor_core::duration::format(self.timeout);
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            Err(Failure::service(
                format!("{} did not answer within {timeout}", self.url()),
                "try again, or give it longer with --timeout",
            ))
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Option<String>,
    ) -> Result<Response, Failure> {
        let broken = |error: hyper::Error| self.strange(&format!("the exchange broke off: {error}"));
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, &self.authority);
        if let Some(headers_of) = request.headers_mut() {
            headers_of.extend(headers.clone());
            if let Some(token) = &self.token {
                headers_of.insert(AUTHORIZATION, token.clone());
            }
            if body.is_some() {
                headers_of.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Failure::usage(format!("this cannot be sent: {error}"), "check the key"))?;
        let asking = async {
            let (parts, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.strange(&format!("its answer broke off: {error}")))?;
            Ok(Response { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        let driving = async {
            // What goes wrong here, the exchange is told of.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = asking => answer,
            () = driving => Err(self.strange("the connection ended")),
        }
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let failed = |why: String| {
            Failure::service(
                format!("nothing answers at {}: {why}", self.url()),
                "start it with `candor serve`, or name another server with --url",
            )
        };
        let connecting = TcpStream::connect(&self.authority);
        match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok(stream)) => {
                // One small request; it need not wait for more. It works without, too.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("the connection was not taken".to_owned())),
        }
    }

    /// What answers does not answer as Candor would.
    pub(crate) fn strange(&self, why: &str) -> Failure {
        Failure::service(
            format!("what answers at {} is not Candor, or is in trouble: {why}", self.url()),
            "check the address",
        )
    }

    /// The failure behind an answer that is a problem.
    pub(crate) fn failure(&self, response: &Response) -> Failure {
        let Some((kind, detail, mend)) = problem(response) else {
            return self.strange(&format!("it answered {}", response.status));
        };
        let failure = Failure::of_problem(kind, detail, mend);
        if kind == Kind::Unauthenticated {
            let env = &self.token_env;
            return failure.next(match &self.token {
                None => format!(
                    "put a token into the environment variable {env}, or name another with --token-env"
                ),
                Some(_) => format!("check the token in the environment variable {env}"),
            });
        }
        failure
    }
}

/// The members of problem details.
pub(crate) fn problem(response: &Response) -> Option<(Kind, String, String)> {
    let body: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
    let text = |name: &str| body.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let uri = text("type")?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.uri() == uri)?;
    Some((kind, text("detail").unwrap_or_default(), text("mend").unwrap_or_default()))
}

/// A part of a key as a path segment.
pub(crate) fn segment(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_path() {
        for part in ["42", "a/b c", "50%", "é~._-", ""] {
            let path = format!("user/{}", segment(part));
            assert_eq!(candor_server::http::path::split(&path).unwrap().parts, [part]);
        }
    }

    #[test]
    fn only_plain_urls_are_taken() {
        let args =
            ServerArgs { url: None, token_env: "NO_SUCH_TOKEN".into(), timeout: Duration::from_secs(1) };
        for (url, shown) in [
            ("http://localhost:7070", "http://localhost:7070"),
            ("http://[::1]:7070/", "http://[::1]:7070"),
            ("http://cache/prefix/", "http://cache:80/prefix"),
        ] {
            assert_eq!(Client::new(url, &args).unwrap().url(), shown);
        }
        for url in ["https://x", "127.0.0.1:7070", "", "http://", "ftp://x", "http://x/?a=1"] {
            assert!(Client::new(url, &args).is_err(), "{url}");
        }
        let everywhere = Client::at("0.0.0.0:7070".parse().unwrap(), &args).unwrap();
        assert_eq!(everywhere.url(), "http://127.0.0.1:7070");
    }
}
