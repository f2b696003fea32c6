//! Reading without a server: the same service, in this process, for as long as one command.
//!
//! There is nobody to authenticate, so nobody has a subject here either: private views are only read through a server.

use crate::door::Ask;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::reply::{Answer, Reply};
use crate::start;
use crate::terminal::Terminal;
use candor_core::Demand;
use candor_server::auth::key::KeyRefusal;
use candor_server::http::{demand, receipt_json};
use candor_server::{Config, EntryKey, ServedAnswer, ServedView, Service, session_of};
use serde_json::value::RawValue;

/// What JSON says in place of a server's address.
const HERE: &str = "embedded";

/// A service in this process.
pub(crate) struct Embedded {
    config: Config,
    service: Service,
}

impl Embedded {
    /// Starts it, and follows the logs for a moment.
    pub(crate) async fn open(config: Config, terminal: &Terminal) -> Result<Self, Failure> {
        let service = start::service(&config, terminal).await?;
        let _progress = Progress::begin(terminal, "following the logs");
        // A log that cannot be followed is told by the read, which knows whether it matters.
        start::followed(&service).await;
        Ok(Self { config, service })
    }

    pub(crate) async fn get(&self, ask: &Ask<'_>, parts: &[String]) -> Result<Reply, Failure> {
        let view = self.view(ask.view)?;
        let key = self.key(view, parts)?;
        let contract = view.cache().view().contract();
        let demand = demand::one(&ask.headers()?, contract, &self.config.server.sessions())?;
        let answer = self.service.read(view, &key, demand.clone()).await;
        let answer = answer.map_err(|error| Failure::of_read(&error))?;
        self.reply(&demand, &[parts.to_vec()], &[answer])
    }

    pub(crate) async fn get_many(
        &self,
        ask: &Ask<'_>,
        keys: &[Vec<String>],
        is_snapshot: bool,
    ) -> Result<Reply, Failure> {
        let view = self.view(ask.view)?;
        let entries = keys.iter().map(|parts| self.key(view, parts)).collect::<Result<Vec<_>, _>>()?;
        let contract = view.cache().view().contract();
        let sessions = self.config.server.sessions();
        let demand =
            demand::many(is_snapshot.then_some("snapshot"), None, &ask.headers()?, contract, &sessions)?;
        let answers = self.service.read_many(view, &entries, demand.each.clone(), is_snapshot).await;
        self.reply(&demand.each, keys, &answers?)
    }

    pub(crate) async fn fence(&self, name: &str) -> Result<String, Failure> {
        let source = self.service.source(name).ok_or_else(|| {
            let names: Vec<&str> = self.service.sources().iter().map(|source| source.name()).collect();
            Failure::usage(format!("there is no source `{name}`"), start::known("sources", &names))
        })?;
        let token = self.service.fence(source).await?;
        Ok(self.config.server.sessions().write(&token))
    }

    fn view(&self, name: &str) -> Result<&ServedView, Failure> {
        self.service.view(name).ok_or_else(|| {
            let names: Vec<&str> = self.service.views().iter().map(|view| view.name()).collect();
            Failure::usage(format!("there is no view `{name}`"), start::known("views", &names))
        })
    }

    fn key(&self, view: &ServedView, parts: &[String]) -> Result<EntryKey, Failure> {
        view.key(parts, None).map_err(|refusal| match refusal {
            KeyRefusal::NoSubject { .. } => Failure::unauthorised(
                refusal.to_string(),
                "read it through a server, with a token that has a subject: candor serve, then --url",
            ),
            other => other.into(),
        })
    }

    fn reply(
        &self,
        demand: &Demand,
        keys: &[Vec<String>],
        served: &[ServedAnswer],
    ) -> Result<Reply, Failure> {
        let mut answers = Vec::with_capacity(served.len());
        for (key, answer) in keys.iter().zip(served) {
            let value = answer.value().map(|json| {
                let text = String::from_utf8_lossy(json.as_bytes()).into_owned();
                RawValue::from_string(text)
                    .map_err(|error| Failure::internal(format!("a value is not JSON: {error}")))
            });
            let receipt = match receipt_json(&answer.receipt()) {
                serde_json::Value::Object(members) => members,
                _ => serde_json::Map::new(),
            };
            answers.push(Answer { key: key.clone(), value: value.transpose()?, receipt });
        }
        let session = session_of(demand, served);
        let session = (!session.is_empty()).then(|| self.config.server.sessions().write(&session));
        Ok(Reply { asked: HERE.to_owned(), answers, session })
    }
}
