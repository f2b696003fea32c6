//! What the audit tells: figures by view and level, and each incident with what was served, what the source said, and the
//! life of the entry. Only of views that the caller may read; of private ones no key and no value, only salted hashes.

use super::look::Look;
use super::tap::{Asked, Served};
use super::{Audit, LEVELS, Outcome, millis};
use crate::auth::Caller;
use crate::entry::{EntryKey, Json};
use crate::http::{explain, receipt_json};
use crate::service::{ServedView, Service};
use candor::Moment;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of one value that an incident shows.
const VALUE_BYTES_MAX: usize = 4 << 10;

/// What an incident rests on.
pub(super) struct Evidence<'e> {
    pub(super) asked: &'e Asked,
    /// The answer that is false, if it is one.
    pub(super) served: Option<&'e Served>,
    /// From the look before it to the look after it.
    pub(super) looks: &'e [Arc<Look>],
    /// What the log tells of between them.
    pub(super) changes: Option<usize>,
    pub(super) now: Moment,
}

/// `GET /v1/audit`.
pub(crate) fn tell(service: &Service, caller: &Caller) -> Value {
    let audit = service.audit();
    let now = service.world().now();
    let may_tell = |view: &ServedView| caller.may_read(view.name()).is_ok();
    let views: Vec<&ServedView> = service.views().iter().filter(|view| may_tell(view)).collect();
    let may_tell_of = |index: u32| views.iter().any(|view| view.index == index);
    let total = |outcome: Outcome| views.iter().map(|view| audit.figures(view).of(outcome)).sum::<u64>();
    let totals: Map<String, Value> =
        Outcome::ALL.iter().map(|(word, outcome)| (member(word), total(*outcome).into())).collect();
    let (incidents, left) = (audit.incidents.lock(), audit.pace.lock().left(now));
    json!({
        "every_ms": audit.settings.every.map(millis),
        "window_ms": millis(audit.settings.window),
        "campaign_left_ms": left.map(millis),
        "answers": totals,
        "views": views.iter().map(|view| of_view(audit, view)).collect::<Vec<_>>(),
        "incidents": incidents.tell(may_tell_of, now),
        "incidents_not_kept": incidents.beyond(),
    })
}

fn of_view(audit: &Audit, view: &ServedView) -> Value {
    let figures = audit.figures(view);
    let levels = LEVELS.iter().enumerate().filter_map(|(at, level)| {
        let outcomes =
            Outcome::ALL.iter().map(|(word, outcome)| (member(word), figures.answers(at, *outcome)));
        let outcomes: Vec<_> = outcomes.collect();
        let any = outcomes.iter().any(|(_, count)| *count > 0);
        let outcomes: Map<String, Value> =
            outcomes.into_iter().map(|(word, count)| (word, count.into())).collect();
        any.then(|| ((*level).to_owned(), Value::Object(outcomes)))
    });
    let (claimed, observed) = figures.tightness();
    let load = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
    json!({
        "view": view.name(),
        "watches": load(&figures.watches),
        "idle": load(&figures.idle),
        "given_up": load(&figures.given_up),
        "looks": load(&figures.looks),
        "silent_changes": load(&figures.silent),
        "answers": levels.collect::<Map<_, _>>(),
        "claimed_ms_sum": millis(claimed),
        "observed_ms_sum": millis(observed),
    })
}

/// JSON's members are written with underscores.
fn member(word: &str) -> String {
    word.replace('-', "_")
}

/// An incident, for [`super::incidents`].
pub(super) fn incident(service: &Service, view: &ServedView, evidence: &Evidence<'_>) -> Value {
    let (now, asked) = (evidence.now, evidence.asked);
    let tell = |key: &EntryKey| (!view.is_private()).then(|| parts(key));
    let keys: Vec<Value> = asked.keys.iter().map(|key| json!(tell(key))).collect();
    // The key at which the answer and the source part; of a snapshot it is the one worth explaining.
    let at = evidence.served.and_then(|served| {
        let last = evidence.looks.last()?;
        served.values.iter().zip(&last.values).position(|(served, said)| served != said)
    });
    let key = asked.keys.get(at.unwrap_or(0));
    let shown = |values: &[Option<Json>]| -> Vec<Value> {
        values.iter().map(|value| self::value(service.audit(), view, value.as_ref())).collect()
    };
    let looks = evidence.looks.iter().map(|look| {
        json!({
            "ago_ms": millis(now.since(look.begun)),
            "took_ms": millis(look.took()),
            "position": look.stamp.upper().to_string(),
            "answers": shown(&look.values),
        })
    });
    let served = evidence.served.map(|served| {
        json!({
            "level": served.level.to_string(),
            "given_ago_ms": millis(now.since(served.given)),
            "reflects_at_least_ago_ms": served.claimed.map(|claimed| millis(now.since(claimed))),
            "receipts": served.receipts.iter().map(receipt_json).collect::<Vec<_>>(),
            "answers": shown(&served.values),
        })
    });
    #[cfg(candor_sabotage)]
    let key = key.filter(|_| !is(Sabotage::AuditWithoutLife));
    let life = key.map(|key| {
        let life = service.explain(view, key);
        let parts = if view.is_private() { Vec::new() } else { parts(key) };
        explain::life(view, service.source_of(view), &parts, &life)
    });
    json!({
        "view": view.name(),
        "keys": keys,
        "snapshot": asked.is_snapshot,
        "summary": summary(view, evidence),
        "served": served,
        "looks": looks.collect::<Vec<_>>(),
        "changes_told": evidence.changes,
        "life": life,
    })
}

fn summary(view: &ServedView, evidence: &Evidence<'_>) -> String {
    let now = evidence.now;
    let [Some(before), Some(after)] = [evidence.looks.first(), evidence.looks.last()] else {
        return String::new();
    };
    let apart = millis(after.ended.since(before.begun));
    let told = match evidence.changes {
        Some(0) => "the log tells of no change in between".to_owned(),
        Some(1) => "the log tells of one change in between".to_owned(),
        Some(many) => format!("the log tells of {many} changes in between, which the looks have seen"),
        None => "the log tells nothing".to_owned(),
    };
    match evidence.served {
        Some(served) => format!(
            "An answer of `{}` was given {} ms ago and claims to reflect at least what was visible {} ms ago. The \
             source said otherwise before and after, in two looks {apart} ms apart, and {told}.",
            view.name(),
            millis(now.since(served.given)),
            served.claimed.map_or(0, |claimed| millis(now.since(claimed))),
        ),
        None => format!(
            "What the source says of `{}` has changed between two looks {apart} ms apart, but {told}. What memory \
             holds of it is not invalidated, and becomes false.",
            view.name()
        ),
    }
}

fn parts(key: &EntryKey) -> Vec<String> {
    key.values().iter().map(ToString::to_string).collect()
}

/// A value, or what stands for it.
fn value(audit: &Audit, view: &ServedView, json: Option<&Json>) -> Value {
    let Some(json) = json else { return json!({ "found": false }) };
    let bytes = json.as_bytes();
    let digest = Sha256::new_with_prefix(audit.salt).chain_update(bytes).finalize();
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let mut told = json!({ "found": true, "hash": hash });
    let is_private = view.is_private();
    #[cfg(candor_sabotage)]
    let is_private = is_private && !is(Sabotage::AuditTellsAll);
    if !is_private && bytes.len() <= VALUE_BYTES_MAX {
        // As it came: digits are not squeezed through a float.
        let raw: Option<&RawValue> = serde_json::from_slice(bytes).ok();
        told["value"] = raw.map_or(Value::Null, |raw| raw.get().into());
    }
    told
}
