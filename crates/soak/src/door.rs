//! Candor as a server: the real binary in a process of its own, and a client that keeps its connection.

use crate::observation::{Claim, Content};
use crate::schema::{ACCOUNT, ACCOUNTS, VIEWS};
use bytes::Bytes;
use candor::SessionToken;
use candor_testbed::free_port;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;

/// Longer than the process is ever stopped.
const PATIENCE: Duration = Duration::from_secs(12);

/// The process, and how to start it again.
#[derive(Debug)]
pub(crate) struct Served {
    program: PathBuf,
    folder: tempfile::TempDir,
    child: Option<Child>,
    pub(crate) port: u16,
}

impl Served {
    /// Writes the configuration for a server that reads through `url` with this slot, and starts it.
    pub(crate) fn start(program: &Path, url: &str, slot: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let mut config = format!(
            "[source.shop]\nkind = \"postgres\"\nurl = \"{url}\"\npool = {{ max = 4 }}\n\
             [feed.shop]\nslot = \"{slot}\"\n[server]\nhttp = \"127.0.0.1:{port}\"\n"
        );
        for (name, sql, many) in VIEWS {
            let rows = if many { "many" } else { "one" };
            let _ = write!(
                config,
                "[view.{name}]\nowner = \"soak\"\nsource = \"shop\"\nkey = [\"id:int8\"]\nsql = \"{sql}\"\n\
                 rows = \"{rows}\"\nconsistency = \"any\"\nttl = \"20s\"\nrefresh = \"none\"\n"
            );
        }
        std::fs::write(folder.path().join("candor.toml"), config).expect("the configuration can be written");
        let mut served = Self { program: program.into(), folder, child: None, port };
        served.start_again();
        served
    }

    /// Starts the process.
    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("serve").current_dir(self.folder.path()).stdin(Stdio::null());
        for name in ["CANDOR_CONFIG", "CANDOR_URL", "CANDOR_TOKEN", "RUST_LOG"] {
            command.env_remove(name);
        }
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log can be written");
        command.stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("the binary `candor` starts"));
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            let _ = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
        }
    }

    /// Whether it ended by itself; with the end of what it said.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        Some(format!("{status}: {}", log.chars().take(600).collect::<String>()))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.signal("CONT");
        self.kill();
    }
}

/// A client with one connection.
pub(crate) struct Client {
    port: u16,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, sender: None }
    }

    pub(crate) async fn read(
        &mut self,
        view: usize,
        key: i64,
        level: &str,
        token: Option<&SessionToken>,
    ) -> Result<(Content, Claim, SessionToken), String> {
        let path = format!("/v1/views/{}/{key}", VIEWS[view].0);
        let token = token.map(|token| token.encode(None));
        let (status, headers, body) =
            self.exchange(Method::GET, &path, Some(level), token.as_deref(), "").await?;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let receipt = header("candor-receipt");
        if receipt.is_empty() || !(status == StatusCode::OK || status == StatusCode::NOT_FOUND) {
            return Err(problem(status, &body));
        }
        let text = String::from_utf8_lossy(&body);
        let content = Content::of(view, key, (status == StatusCode::OK).then_some(&*text));
        let token = SessionToken::decode(header("candor-session"), None).unwrap_or_default();
        Ok((content, Claim::of_header(receipt), token))
    }

    /// All accounts at one position.
    pub(crate) async fn snapshot(&mut self) -> Result<(Content, Claim), String> {
        let keys: Vec<_> = (0..ACCOUNTS).map(|id| [id]).collect();
        let body = serde_json::json!({"keys": keys, "consistency": "snapshot"}).to_string();
        let path = format!("/v1/views/{}", VIEWS[ACCOUNT].0);
        let (status, _, body) = self.exchange(Method::POST, &path, None, None, &body).await?;
        if status != StatusCode::OK {
            return Err(problem(status, &body));
        }
        let answers: Value = serde_json::from_slice(&body).unwrap_or_default();
        let answers = answers["answers"].as_array().cloned().unwrap_or_default();
        let rows: Vec<_> = answers.iter().map(|answer| answer["value"].clone()).collect();
        let claims = answers.iter().map(|answer| Claim::of_json(&answer["receipt"])).collect();
        Ok((Content::accounts(&rows), crate::embedded::strictest(claims)))
    }

    pub(crate) async fn fence(&mut self) -> Result<SessionToken, String> {
        let (status, _, body) =
            self.exchange(Method::POST, "/v1/fence", None, None, "{\"source\":\"shop\"}").await?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let token = value["session"].as_str().and_then(|text| SessionToken::decode(text, None).ok());
        token.ok_or_else(|| problem(status, &body))
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        level: Option<&str>,
        token: Option<&str>,
        body: &str,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "127.0.0.1");
        if let Some(level) = level {
            request = request.header("candor-consistency", level);
        }
        if let Some(token) = token {
            request = request.header("candor-session", token);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request =
            request.body(Full::new(Bytes::from(body.to_owned()))).map_err(|_| "not a request".to_owned())?;
        let answered = tokio::time::timeout(PATIENCE, self.send(request)).await;
        let answered = answered.unwrap_or_else(|_| Err("no answer".to_owned()));
        if answered.is_err() {
            self.sender = None;
        }
        answered
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let broken = |_: hyper::Error| "connection broken".to_owned();
        if self.sender.is_none() {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await;
            let stream = stream.map_err(|_| "nobody listens".to_owned())?;
            let _ = stream.set_nodelay(true);
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
            #[expect(clippy::disallowed_methods, reason = "the oracle stands outside of the engine's world")]
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        let Some(sender) = &mut self.sender else { return Err("no connection".to_owned()) };
        sender.ready().await.map_err(broken)?;
        let (parts, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes();
        Ok((parts.status, parts.headers, body))
    }
}

/// The kind of a problem, as it stands in the document.
fn problem(status: StatusCode, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let kind =
        body["type"].as_str().unwrap_or_default().rsplit(['/', ':']).next().unwrap_or_default().to_owned();
    format!("{} {kind}", status.as_u16())
}
