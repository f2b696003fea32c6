//! How a command reads: through a running server, or through the same service in this process. Both give the same
//! [`Reply`], and both read a level and a token with the same functions.

use crate::args::Global;
use crate::client::{Client, ServerArgs, problem, segment};
use crate::embedded::Embedded;
use crate::failure::Failure;
use crate::reply::{Answer, Reply};
use crate::start;
use crate::terminal::Terminal;
use candor_core::Level;
use candor_server::http::headers::RECEIPT_HEADER;
use candor_server::http::{CONSISTENCY_HEADER, Kind, SESSION_HEADER};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Where to read.
#[derive(Args, Debug)]
pub(crate) struct DoorArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Read the source in this process, without a server, even if one is running
    #[arg(long)]
    embedded: bool,
}

/// What is asked, besides the keys.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) view: &'a str,
    pub(crate) level: Option<Level>,
    pub(crate) session: Option<&'a str>,
}

static RECEIPT: HeaderName = RECEIPT_HEADER;
static SESSION: HeaderName = SESSION_HEADER;

/// Where reads go.
pub(crate) enum Door {
    Server(Client),
    Embedded(Box<Embedded>),
}

impl Door {
    /// A named server; else the configuration's, if it is there; else this process.
    pub(crate) async fn open(global: &Global, args: &DoorArgs, terminal: &Terminal) -> Result<Self, Failure> {
        if let Some(url) = args.server.url.as_deref().filter(|_| !args.embedded) {
            return Client::new(url, &args.server).map(Self::Server);
        }
        let config = start::config(global)?;
        if !args.embedded && config.server.http.port() != 0 {
            let client = Client::at(config.server.http, &args.server)?;
            if client.is_there().await {
                return Ok(Self::Server(client));
            }
        }
        Embedded::open(config, terminal).await.map(|embedded| Self::Embedded(Box::new(embedded)))
    }

    /// Reads one key.
    pub(crate) async fn get(&self, ask: &Ask<'_>, parts: &[String]) -> Result<Reply, Failure> {
        let client = match self {
            Self::Embedded(embedded) => return embedded.get(ask, parts).await,
            Self::Server(client) => client,
        };
        let response = client.get(&path("views", ask.view, parts), &ask.headers()?).await?;
        let absent = problem(&response).is_some_and(|(kind, ..)| kind == Kind::Absent);
        let value = if response.status.is_success() {
            let text = String::from_utf8(response.body.to_vec()).ok();
            let value = text.and_then(|text| RawValue::from_string(text).ok());
            Some(value.ok_or_else(|| client.strange("its answer is not JSON"))?)
        } else if absent {
            None
        } else {
            return Err(client.failure(&response));
        };
        let header = |name: &HeaderName| response.headers.get(name).and_then(|value| value.to_str().ok());
        let receipt = header(&RECEIPT).map(crate::reply::dictionary);
        let receipt = receipt.ok_or_else(|| client.strange("its answer has no receipt"))?;
        Ok(Reply {
            asked: client.url(),
            answers: vec![Answer { key: parts.to_vec(), value, receipt }],
            session: header(&SESSION).map(str::to_owned),
        })
    }

    /// Reads several keys, as a snapshot or each at the level.
    pub(crate) async fn get_many(
        &self,
        ask: &Ask<'_>,
        keys: &[Vec<String>],
        is_snapshot: bool,
    ) -> Result<Reply, Failure> {
        let client = match self {
            Self::Embedded(embedded) => return embedded.get_many(ask, keys, is_snapshot).await,
            Self::Server(client) => client,
        };
        let mut body = json!({ "keys": keys });
        if is_snapshot {
            body["consistency"] = "snapshot".into();
        }
        let path = path("views", ask.view, &[]);
        let response = client.post(&path, &ask.headers()?, &body).await?;
        if !response.status.is_success() {
            return Err(client.failure(&response));
        }
        let many: Many = serde_json::from_slice(&response.body)
            .map_err(|error| client.strange(&format!("its answer cannot be read: {error}")))?;
        if many.answers.len() != keys.len() {
            return Err(client.strange("it gave another number of answers than were asked for"));
        }
        let answers = keys.iter().zip(many.answers);
        let answers =
            answers.map(|(key, one)| Answer { key: key.clone(), value: one.value, receipt: one.receipt });
        Ok(Reply { asked: client.url(), answers: answers.collect(), session: many.session })
    }

    /// Takes the token for everything up to now.
    pub(crate) async fn fence(&self, source: &str) -> Result<String, Failure> {
        let client = match self {
            Self::Embedded(embedded) => return embedded.fence(source).await,
            Self::Server(client) => client,
        };
        let response = client.post("/v1/fence", &HeaderMap::new(), &json!({ "source": source })).await?;
        if !response.status.is_success() {
            return Err(client.failure(&response));
        }
        let body: Option<Value> = serde_json::from_slice(&response.body).ok();
        let token = body.as_ref().and_then(|body| body["session"].as_str());
        token.map(str::to_owned).ok_or_else(|| client.strange("it gave no token"))
    }
}

impl Ask<'_> {
    /// As the HTTP door reads it; the embedded one reads the same.
    pub(crate) fn headers(&self) -> Result<HeaderMap, Failure> {
        if self.level == Some(Level::Session) && self.session.is_none() {
            return Err(Failure::usage(
                "the level session needs a session token, and none was given",
                "give it with --session; `candor fence SOURCE` takes one",
            ));
        }
        let mut headers = HeaderMap::new();
        for (name, text) in [
            (CONSISTENCY_HEADER, self.level.map(|level| level.to_string())),
            (SESSION_HEADER, self.session.map(str::to_owned)),
        ] {
            if let Some(text) = text {
                let value = HeaderValue::from_str(&text).map_err(|_| {
                    Failure::usage(
                        format!("`{name}` cannot carry that text"),
                        "copy the token as it was given",
                    )
                })?;
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }
}

/// The path of a view, or of one of its keys.
pub(crate) fn path(call: &str, view: &str, parts: &[String]) -> String {
    let mut path = format!("/v1/{call}/{}", segment(view));
    for part in parts {
        path.push('/');
        path.push_str(&segment(part));
    }
    path
}

#[derive(Deserialize)]
struct Many {
    answers: Vec<One>,
    session: Option<String>,
}

#[derive(Deserialize)]
struct One {
    value: Option<Box<RawValue>>,
    receipt: Map<String, Value>,
}
