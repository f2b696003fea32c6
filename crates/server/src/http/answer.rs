//! Answers as responses: the body from memory without a copy, the receipt in the headers or beside each value.

use super::SESSION_HEADER;
use super::freshness::{CacheControl, Reuse};
use super::headers::{self, CACHE_STATUS_HEADER, Passage, RECEIPT_HEADER, Why, age_secs};

use super::problem::{Kind, Problem};
use crate::ask::session_of;
use crate::entry::Json;
use crate::service::{ServedAnswer, ServedView};
use crate::session::Sessions;
use ::http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, VARY};
use ::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use candor::{Event, Route};
use candor_core::duration::{millis_down, millis_up};
use candor_core::{Demand, Origin, Receipt, SessionToken};
use std::fmt::Display;

/// What responses need to know of the door.
#[derive(Clone, Debug)]
pub(crate) struct Dress {
    /// Which session tokens are taken, and how ours are signed.
    pub(crate) sessions: Sessions,
    /// Whether answers are given to callers one by one.
    pub(crate) is_authenticating: bool,
    /// What answers differ by.
    pub(crate) vary: HeaderValue,
}

/// The most bytes of one multi-get's answer: a thousand keys may each have megabytes.
const MANY_BYTES_MAX: usize = 64 << 20;
/// The headers of an answer with a value.
const HEADERS: usize = 8;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Dress {
    /// The response to a read of one key: 200, 304 or 404, always with the receipt.
    pub(crate) fn one(
        &self,
        view: &ServedView,
        demand: &Demand,
        answer: &ServedAnswer,
        request: &HeaderMap,
    ) -> Response<Bytes> {
        let receipt = answer.receipt();
        let found = answer.value();
        let etag = found.map(Json::etag);
        let mut response = match (found, etag) {
            (Some(_), Some(etag)) if etag.is_held(request) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response
            }
            (Some(json), _) => {
                let mut response = Response::new(json.body());
                response.headers_mut().reserve(HEADERS);
                response.headers_mut().insert(CONTENT_TYPE, JSON);
                response
            }
            (None, _) => {
                let detail = format!("the source has no row for this key of `{}`", view.name());
                Problem::new(Kind::Absent, detail, "nothing to mend: absence is an answer, see its receipt")
                    .response()
            }
        };
        let contract = view.cache().view().contract();
        let reuse = Reuse::of(contract, demand, found.is_some(), view.is_private(), self.is_authenticating);
        let session = answer.session();
        let [receipt_text, age, control, status, session_text, etag_text] = headers::values([
            &receipt,
            &age_secs(&receipt),
            &CacheControl::of(&reuse, &receipt),
            &passage(&receipt, answer.route()),
            &session.encoded(self.sessions.secret.as_ref()),
            etag.as_ref().map_or::<&dyn Display, _>(&"", |etag| etag),
        ]);
        let headers = response.headers_mut();
        if etag.is_some() {
            headers.insert(ETAG, etag_text);
        }
        headers.insert(RECEIPT_HEADER, receipt_text);
        headers.insert(AGE, age);
        headers.insert(CACHE_CONTROL, control);
        headers.insert(CACHE_STATUS_HEADER, status);
        headers.insert(VARY, self.vary.clone());
        // A source without a log has no positions: an empty token would promise something.
        if !session.is_empty() {
            headers.insert(SESSION_HEADER, session_text);
        }
        response
    }

    /// The response to a read of several keys. `keys` are as they were written in the request.
    pub(crate) fn many(
        &self,
        demand: &Demand,
        keys: &[Vec<&str>],
        answers: &[ServedAnswer],
    ) -> Result<Response<Bytes>, Problem> {
        let size: usize =
            answers.iter().map(|answer| answer.value().map_or(0, |json| json.as_bytes().len()) + 160).sum();
        if size > MANY_BYTES_MAX {
            let detail =
                format!("the answers have {size} bytes together; at most {MANY_BYTES_MAX} are given at once");
            return Err(Problem::new(Kind::BadRequest, detail, "ask for fewer keys at once"));
        }
        let mut body = Vec::with_capacity(size);
        body.extend_from_slice(b"{\"answers\":[");
        for (at, (key, answer)) in keys.iter().zip(answers).enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(b"{\"key\":[");
            body.extend_from_slice(key.join(",").as_bytes());
            let found = answer.value().is_some();
            body.extend_from_slice(format!("],\"found\":{found},\"value\":").as_bytes());
            body.extend_from_slice(answer.value().map_or(b"null", |json| json.as_bytes()));
            body.extend_from_slice(b",\"receipt\":");
            body.extend_from_slice(receipt_json(&answer.receipt()).to_string().as_bytes());
            body.push(b'}');
        }
        body.push(b']');
        let session = session_of(demand, answers);
        if !session.is_empty() {
            // Tokens are base64url, which needs no escapes.
            body.extend_from_slice(format!(",\"session\":\"{}\"", self.sessions.write(&session)).as_bytes());
        }
        body.push(b'}');
        let mut response = json(StatusCode::OK, body.into());
        self.put_session(response.headers_mut(), &session);
        Ok(response)
    }

    /// The response to a fence.
    pub(crate) fn fence(&self, token: &SessionToken) -> Response<Bytes> {
        let body = serde_json::json!({ "session": self.sessions.write(token) });
        let mut response = json(StatusCode::OK, body.to_string().into());
        self.put_session(response.headers_mut(), token);
        response
    }

    fn put_session(&self, headers: &mut HeaderMap, token: &SessionToken) {
        if !token.is_empty() {
            let [text] = headers::values([&token.encoded(self.sessions.secret.as_ref())]);
            headers.insert(SESSION_HEADER, text);
        }
    }
}

/// JSON that nobody may keep.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The members of `Candor-Receipt`, as JSON.
pub fn receipt_json(receipt: &Receipt) -> serde_json::Value {
    let mut json = serde_json::Map::new();
    json.insert("from".into(), receipt.origin.word().into());
    json.insert("proof".into(), receipt.proof.word().into());
    if let Some(bound) = receipt.bound {
        json.insert("bound".into(), millis_up(bound).into());
    }
    json.insert("age".into(), millis_down(receipt.age).into());
    if let Some(position) = receipt.position {
        json.insert("position".into(), position.to_string().into());
    }
    if let Some(degraded) = receipt.degraded {
        json.insert("degraded".into(), degraded.word().into());
    }
    json.into()
}

fn passage(receipt: &Receipt, route: Route) -> Passage {
    match route.miss {
        None => Passage::Hit { ttl: route.left() },
        Some(event) => Passage::Forwarded {
            why: why(event),
            stored: route.kept,
            collapsed: receipt.origin == Origin::Flight,
        },
    }
}

fn why(event: Event) -> Why {
    match event {
        Event::MissExpired | Event::MissOutdated | Event::MissVoid => Why::Stale,
        Event::FenceStrong | Event::FenceBound | Event::FenceSession => Why::Request,
        Event::FeedDown => Why::Bypass,
        _ => Why::Miss,
    }
}
