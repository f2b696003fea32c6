//! The calls of the HTTP door, one function each. They hold no state but the service's handle.
//!
//! The order in every call: who is asking, whether they may, and only then whether what they ask for exists, so that a
//! refusal does not tell what exists.

use super::answer::{Dress, json};
use super::headers::vary;
use super::problem::{Kind, Problem};
use super::progress::Turn;
use super::{Gate, audit, body, demand, explain, failure, path};
use crate::ask::AskError;
use crate::auth::{Action, Caller};
use crate::config::{RequestLimits, ServerSettings};
use crate::invalidate::TagName;
use crate::metrics::{self, DoorFigures};
use crate::service::{ServedView, Service};
use ::http::header::CONTENT_TYPE;
use ::http::request::Parts;
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::Incoming;
use serde_json::value::RawValue;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Everything a call needs.
pub(crate) struct Door {
    service: Service,
    gate: Gate,
    dress: Dress,
    limits: RequestLimits,
    figures: Arc<DoorFigures>,
}

const VIEWS: &str = "/v1/views/";
const EXPLAIN: &str = "/v1/explain/";

impl Door {
    pub(crate) fn new(
        service: Service,
        gate: Gate,
        settings: &ServerSettings,
        figures: Arc<DoorFigures>,
    ) -> Self {
        let dress = Dress {
            sessions: settings.sessions(),
            is_authenticating: gate.is_authenticating(),
            vary: vary(settings.auth.as_ref().and_then(|auth| auth.subject_header.as_ref())),
        };
        Self { service, gate, dress, limits: settings.limits, figures }
    }

    /// Answers a request, whatever happens, within the time a request may take.
    ///
    /// The future is moved to where it is polled, for every request: it is to be small.
    pub(crate) fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        turn: Turn,
    ) -> impl Future<Output = Response<Bytes>> + Send {
        let (head, body) = request.into_parts();
        async move {
            let work = AssertUnwindSafe(self.route(&head, body)).catch_unwind();
            let outcome = match turn.within(work).await {
                Some(Ok(outcome)) => outcome,
                Some(Err(_panic)) => {
                    tracing::error!(method = %head.method, "a request met a panic; this is a bug in Candor");
                    Err(failure::internal())
                }
                None => {
                    let limit = candor_core::duration::format(self.limits.request_timeout);
                    let detail = format!("the request took longer than {limit}");
                    let mend = "ask for less at once, or try again later";
                    Err(Problem::new(Kind::TimedOut, detail, mend))
                }
            };
            let response = outcome.unwrap_or_else(|problem| problem.response());
            let status = response.status();
            self.figures.answered(status);
            tracing::debug!(
                method = %head.method,
                path = head.uri.path(),
                status = status.as_u16(),
                took = ?turn.took(),
                "answered"
            );
            response
        }
    }

    /// What is not a read of one key is in a box, because every such read would carry its weight.
    async fn route(&self, head: &Parts, body: Incoming) -> Result<Response<Bytes>, Problem> {
        let path = head.uri.path();
        let is_get = matches!(head.method, Method::GET | Method::HEAD);
        let is_post = head.method == Method::POST;
        if path.starts_with("/v1/") && head.uri.query().is_some() {
            // An option that is not read must not look as if it were.
            return Err(Problem::new(
                Kind::BadRequest,
                "query parameters are not read here",
                "put the key into the path, and the level and the token into headers",
            ));
        }
        if let Some(rest) = path.strip_prefix(VIEWS) {
            return match () {
                () if is_get => self.get(rest, head).await,
                () if is_post && !rest.contains('/') => Box::pin(self.get_many(rest, head, body)).await,
                () if rest.contains('/') => Err(not_allowed("GET, HEAD")),
                () => Err(not_allowed("GET, HEAD, POST")),
            };
        }
        if let Some(rest) = path.strip_prefix(EXPLAIN) {
            return if is_get { self.explain(rest, head) } else { Err(not_allowed("GET, HEAD")) };
        }
        match path {
            "/v1/fence" if is_post => Box::pin(self.fence(head, body)).await,
            "/v1/invalidate" if is_post => Box::pin(self.invalidate(head, body)).await,
            "/v1/audit" if is_get => self.audit(head),
            "/v1/audit" if is_post => Box::pin(self.campaign(head, body)).await,
            "/v1/audit" => Err(not_allowed("GET, HEAD, POST")),
            "/v1/fence" | "/v1/invalidate" => Err(not_allowed("POST")),
            "/healthz" if is_get => Ok(json(StatusCode::OK, Bytes::from_static(b"{\"live\":true}"))),
            "/readyz" if is_get => Ok(self.ready(head)),
            "/metrics" if is_get => self.metrics(head),
            "/healthz" | "/readyz" | "/metrics" => Err(not_allowed("GET, HEAD")),
            _ => Err(Problem::new(
                Kind::NotFound,
                "there is nothing at this path",
                "the calls are under /v1/: views, fence, invalidate, explain, audit",
            )),
        }
    }

    /// `GET /v1/views/{view}/{key…}`.
    async fn get(&self, rest: &str, head: &Parts) -> Result<Response<Bytes>, Problem> {
        let caller = self.gate.admit(&head.uri, &head.headers)?;
        let asked = path::split(rest)?;
        let view = self.readable(&caller, &asked.view)?;
        let key = view.key(&asked.parts, caller.subject())?;
        let contract = view.cache().view().contract();
        let demand = demand::one(&head.headers, contract, &self.dress.sessions)?;
        match self.service.read(view, &key, demand.clone()).await {
            Ok(answer) => Ok(self.dress.one(view, &demand, &answer, &head.headers)),
            Err(error) => Err(failure::of_read(view, self.service.source_of(view), &error)),
        }
    }

    /// `POST /v1/views/{view}`.
    async fn get_many(&self, name: &str, head: &Parts, body: Incoming) -> Result<Response<Bytes>, Problem> {
        const MEND: &str = "send {\"keys\":[[1],[2]]}, with \"consistency\" and \"session\" if you like";
        let caller = self.gate.admit(&head.uri, &head.headers)?;
        let view = self.readable(&caller, &path::split(name)?.view)?;
        let body = body::read(&head.headers, body, self.limits.body_bytes_max).await?;
        let asked: body::Many<'_> = body::parse(&body, MEND)?;
        if asked.keys.len() > body::KEYS_MAX {
            let detail =
                format!("{} keys in one request; at most {} are accepted", asked.keys.len(), body::KEYS_MAX);
            return Err(Problem::new(Kind::BadRequest, detail, "send them in several requests"));
        }
        let contract = view.cache().view().contract();
        let (level, token) = (asked.consistency.as_deref(), asked.session.as_deref());
        let demand = demand::many(level, token, &head.headers, contract, &self.dress.sessions)?;
        let keys = asked
            .keys
            .iter()
            .enumerate()
            .map(|(at, key)| self.key(view, key, &caller).map_err(|problem| of_key(at, problem)));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        match self.service.read_many(view, &keys, demand.each.clone(), demand.is_snapshot).await {
            Ok(answers) => {
                let written: Vec<Vec<&str>> =
                    asked.keys.iter().map(|key| key.iter().map(|raw| raw.get()).collect()).collect();
                self.dress.many(&demand.each, &written, &answers)
            }
            Err(AskError::Refused(refusal)) => Err(refusal.into()),
            Err(AskError::Failed { at, error }) => {
                let problem = failure::of_read(view, self.service.source_of(view), &error);
                Err(at.map_or(problem.clone(), |at| of_key(at, problem)))
            }
        }
    }

    /// `POST /v1/fence`.
    async fn fence(&self, head: &Parts, body: Incoming) -> Result<Response<Bytes>, Problem> {
        self.gate.admit(&head.uri, &head.headers)?.may(Action::Fence)?;
        let body = body::read(&head.headers, body, self.limits.body_bytes_max).await?;
        let asked: body::Fence = body::parse(&body, "send {\"source\":\"…\"}")?;
        let source = self.service.source(&asked.source).ok_or_else(|| {
            let detail = format!("there is no source `{}`", asked.source);
            Problem::new(Kind::UnknownSource, detail, "name a source of the configuration")
        })?;
        match self.service.fence(source).await {
            Ok(token) => Ok(self.dress.fence(&token)),
            Err(AskError::Refused(refusal)) => Err(refusal.into()),
            Err(AskError::Failed { error, .. }) => Err(failure::of_fence(source, &error)),
        }
    }

    /// `POST /v1/invalidate`.
    async fn invalidate(&self, head: &Parts, body: Incoming) -> Result<Response<Bytes>, Problem> {
        const MEND: &str =
            "send {\"view\":\"…\",\"key\":[1]} or {\"tags\":[\"#tag\",\"table\",\"table:column=value\"]}";
        let caller = self.gate.admit(&head.uri, &head.headers)?;
        caller.may(Action::Invalidate)?;
        let body = body::read(&head.headers, body, self.limits.body_bytes_max).await?;
        let asked: body::Invalidate<'_> = body::parse(&body, MEND)?;
        let bad = |detail: String| Problem::new(Kind::BadRequest, detail, MEND);
        let concerned = match (&asked.view, &asked.key, &asked.tags) {
            (Some(name), Some(key), None) => {
                let view = self.readable(&caller, name)?;
                self.service.invalidate(view, &self.key(view, key, &caller)?);
                vec![view.name()]
            }
            (None, None, Some(tags)) if tags.len() > body::TAGS_MAX => {
                let detail =
                    format!("{} tags in one request; at most {} are accepted", tags.len(), body::TAGS_MAX);
                return Err(bad(detail));
            }
            (None, None, Some(tags)) => {
                // A tag knows no view: whoever names one ends entries of all of them.
                caller.may_read_all()?;
                let tags = tags.iter().map(|tag| TagName::parse(tag)).collect::<Result<Vec<_>, _>>();
                let concerned = self.service.invalidate_tags(&tags.map_err(bad)?);
                concerned.into_iter().map(ServedView::name).collect()
            }
            _ => return Err(bad("either a view with a key, or tags".into())),
        };
        let body = serde_json::json!({ "views": concerned });
        Ok(json(StatusCode::OK, body.to_string().into()))
    }

    /// `GET /v1/explain/{view}/{key…}`.
    fn explain(&self, rest: &str, head: &Parts) -> Result<Response<Bytes>, Problem> {
        let caller = self.gate.admit(&head.uri, &head.headers)?;
        caller.may(Action::Explain)?;
        let asked = path::split(rest)?;
        let view = self.readable(&caller, &asked.view)?;
        let key = view.key(&asked.parts, caller.subject())?;
        let life = self.service.explain(view, &key);
        let told = explain::life(view, self.service.source_of(view), &asked.parts, &life);
        Ok(json(StatusCode::OK, told.to_string().into()))
    }

    /// `GET /v1/audit`. Views that the caller may not read are not in it.
    fn audit(&self, head: &Parts) -> Result<Response<Bytes>, Problem> {
        let caller = self.gate.admit(&head.uri, &head.headers)?;
        caller.may(Action::Explain)?;
        Ok(json(StatusCode::OK, crate::audit::tell(&self.service, &caller).to_string().into()))
    }

    /// `POST /v1/audit`.
    async fn campaign(&self, head: &Parts, body: Incoming) -> Result<Response<Bytes>, Problem> {
        let caller = self.gate.admit(&head.uri, &head.headers)?;
        caller.may(Action::Explain)?;
        let body = body::read(&head.headers, body, self.limits.body_bytes_max).await?;
        let asked: body::Campaign = body::parse(&body, audit::MEND)?;
        match &asked.view {
            Some(view) => self.readable(&caller, view).map(drop)?,
            // It asks every source.
            None => caller.may_read_all()?,
        }
        self.service.campaign(audit::campaign(asked)?);
        Ok(json(StatusCode::OK, crate::audit::tell(&self.service, &caller).to_string().into()))
    }

    /// `GET /readyz`. Whoever may read everything is told why not; the reasons name sources and files.
    fn ready(&self, head: &Parts) -> Response<Bytes> {
        let reasons = self.service.unready();
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut told = serde_json::json!({ "ready": reasons.is_empty() });
        let operates =
            self.gate.admit(&head.uri, &head.headers).is_ok_and(|caller| caller.may_read_all().is_ok());
        if !reasons.is_empty() && operates {
            let reason = |reason: &crate::service::Unready| serde_json::json!({ "source": reason.source, "why": reason.why });
            told["reasons"] = reasons.iter().map(reason).collect();
        }
        json(status, told.to_string().into())
    }

    /// `GET /metrics`.
    fn metrics(&self, head: &Parts) -> Result<Response<Bytes>, Problem> {
        // Every view and source is in it.
        self.gate.admit(&head.uri, &head.headers)?.may_read_all()?;
        let text = metrics::render(&self.service, &self.figures).map_err(|_| failure::internal())?;
        let mut response = json(StatusCode::OK, text.into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT));
        Ok(response)
    }

    /// The view, if the caller may read it and it exists; asked in this order.
    fn readable(&self, caller: &Caller, name: &str) -> Result<&ServedView, Problem> {
        caller.may_read(name)?;
        self.service.view(name).ok_or_else(|| {
            let mend = match crate::config::nearest(name, self.service.views().iter().map(ServedView::name)) {
                // Only whoever may read the near one is told of it.
                Some(near) if caller.may_read(near).is_ok() => format!("did you mean `{near}`?"),
                _ => "name a view of the configuration".to_owned(),
            };
            Problem::new(Kind::UnknownView, format!("there is no view `{name}`"), mend)
        })
    }

    fn key(
        &self,
        view: &ServedView,
        key: &[&RawValue],
        caller: &Caller,
    ) -> Result<crate::entry::EntryKey, Problem> {
        let parts = body::parts(key).map_err(|detail| {
            Problem::new(Kind::BadKey, detail, "send one value for each key column, in order")
        })?;
        Ok(view.key(&parts, caller.subject())?)
    }
}

fn of_key(at: usize, problem: Problem) -> Problem {
    Problem { detail: format!("key {at} (counted from 0): {}", problem.detail), ..problem }
}

fn not_allowed(allow: &'static str) -> Problem {
    let detail = format!("only {allow} exist here");
    Problem { allow: Some(allow), ..Problem::new(Kind::MethodNotAllowed, detail, "use one of them") }
}
