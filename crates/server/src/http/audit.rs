//! What `POST /v1/audit` asks for, within what may be asked.

use super::body;
use super::problem::{Kind, Problem};
use crate::audit::Campaign;
use candor_core::duration;
use std::ops::RangeInclusive;
use std::time::Duration;

pub(crate) const MEND: &str =
    "send {\"for\":\"30s\",\"every\":\"100ms\",\"view\":\"…\"}, or {} for half a minute over all views";

/// The campaign a request asks for.
pub(crate) fn campaign(asked: body::Campaign) -> Result<Campaign, Problem> {
    let usual = Campaign::USUAL;
    Ok(Campaign {
        length: within("for", asked.length, usual.length, Duration::from_millis(1)..=Campaign::LENGTH_MAX)?,
        every: within("every", asked.every, usual.every, Campaign::EVERY_MIN..=Campaign::LENGTH_MAX)?,
        view: asked.view.map(Into::into),
    })
}

fn within(
    name: &str,
    text: Option<String>,
    usual: Duration,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Problem> {
    let Some(text) = text else { return Ok(usual) };
    let bad = |detail: String| Problem::new(Kind::BadRequest, detail, MEND);
    let asked = duration::parse(&text).map_err(|why| bad(format!("`{name}`: {why}")))?;
    if range.contains(&asked) {
        return Ok(asked);
    }
    let (low, high) = (duration::format(*range.start()), duration::format(*range.end()));
    Err(bad(format!("`{name}` is not between {low} and {high}")))
}
