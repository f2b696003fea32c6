//! Request bodies: read up to a limit, then as JSON, strictly.

use super::problem::{Kind, Problem};
use ::http::HeaderMap;
use ::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Keys in one request. More is a report, not a read.
pub(crate) const KEYS_MAX: usize = 1000;

/// Tags in one request.
pub(crate) const TAGS_MAX: usize = 1000;

/// `POST /v1/views/{view}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Many<'b> {
    /// Scalars as they are written: a number is never squeezed through a float.
    #[serde(borrow)]
    pub(crate) keys: Vec<Vec<&'b RawValue>>,
    #[serde(default)]
    pub(crate) consistency: Option<String>,
    #[serde(default)]
    pub(crate) session: Option<String>,
}

/// `POST /v1/fence`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fence {
    pub(crate) source: String,
}

/// `POST /v1/audit`. Durations as the configuration writes them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Campaign {
    #[serde(default, rename = "for")]
    pub(crate) length: Option<String>,
    #[serde(default)]
    pub(crate) every: Option<String>,
    #[serde(default)]
    pub(crate) view: Option<String>,
}

/// `POST /v1/invalidate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invalidate<'b> {
    #[serde(default)]
    pub(crate) view: Option<String>,
    #[serde(default, borrow)]
    pub(crate) key: Option<Vec<&'b RawValue>>,
    #[serde(default)]
    pub(crate) tags: Option<Vec<String>>,
}

/// The whole body, which must say that it is JSON.
pub(crate) async fn read(headers: &HeaderMap, body: Incoming, bytes_max: u64) -> Result<Bytes, Problem> {
    if !is_json(headers) {
        return Err(Problem::new(
            Kind::NotJson,
            "the body is not declared as JSON",
            "send the header Content-Type: application/json",
        ));
    }
    let too_large = || {
        Problem::new(
            Kind::BodyTooLarge,
            format!("the body is larger than {bytes_max} bytes"),
            "send fewer keys in one request",
        )
    };
    // What is announced as too large need not be read.
    if body.size_hint().lower() > bytes_max {
        return Err(too_large());
    }
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => {
            tracing::debug!(%error, "a body ended early");
            Err(Problem::new(Kind::BadRequest, "the body ended early", "send it whole"))
        }
    }
}

/// Reads the JSON; a mistake is told with its line and column.
pub(crate) fn parse<'b, T: Deserialize<'b>>(body: &'b [u8], mend: &str) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::new(Kind::BadRequest, error.to_string(), mend))
}

/// A key's parts as the text they would have in a path.
pub(crate) fn parts(key: &[&RawValue]) -> Result<Vec<String>, String> {
    key.iter().map(|raw| part(raw.get())).collect()
}

fn part(raw: &str) -> Result<String, String> {
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).map_err(|error| error.to_string()),
        Some(b'-' | b'0'..=b'9' | b't' | b'f') => Ok(raw.to_owned()),
        _ => {
            let shown: String = raw.chars().take(64).collect();
            Err(format!("`{shown}` cannot be a part of a key; write a number, a string, true or false"))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = declared.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_digits() {
        let body = br#"{"keys":[[9223372036854775807, "a\"b", true, 1e3, 18446744073709551616]]}"#;
        let many: Many<'_> = parse(body, "").unwrap();
        assert_eq!(
            parts(&many.keys[0]).unwrap(),
            ["9223372036854775807", "a\"b", "true", "1e3", "18446744073709551616"]
        );
    }

    #[test]
    fn what_is_not_a_scalar_is_refused() {
        for raw in ["null", "[1]", "{\"a\":1}"] {
            assert!(part(raw).unwrap_err().contains("number"), "{raw}");
        }
        assert!(part("\"\\ud800\"").is_err());
    }

    #[test]
    fn mistakes_have_a_place() {
        let place = |body: &[u8]| parse::<Many<'_>>(body, "").err().unwrap().detail;
        assert!(place(b"{\"keys\":\n [[1],}").contains("line 2 column"));
        assert!(place(b"{\"keys\":[[\"\xff\"]]}").contains("line 1 column"));
        assert!(place(b"{\"keys\":[],\"level\":1}").contains("unknown field `level`"));
        assert!(place(b"").contains("line 1 column 0"));
    }
}
