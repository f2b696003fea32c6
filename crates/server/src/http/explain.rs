//! The life of an entry, for whoever asks at three in the morning why it holds what it holds.
//!
//! The JSON is a timeline, oldest first, and one sentence that sums it up. Times are told backwards from now, because
//! moments mean nothing outside this process. Positions are the source's own, so that they can be looked up there.

use crate::service::{FeedHealth, ServedSource, ServedView};
use candor::{EntryFacts, Happening, Life, Moment};
use candor_core::Verdict;
use serde_json::{Value, json};
use std::time::Duration;

/// The response's body. `parts` are the key as the request gave it.
pub fn life(view: &ServedView, source: &ServedSource, parts: &[impl AsRef<str>], life: &Life) -> Value {
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    json!({
        "view": view.name(),
        "key": parts,
        "source": source.name(),
        "summary": summary(view, source, life),
        "entry": life.entry.as_ref().map(|entry| facts(entry, life.now)),
        "feed": feed(source, life),
        "timeline": timeline(view, life),
    })
}

fn facts(entry: &EntryFacts, now: Moment) -> Value {
    let (verdict, why) = verdict(entry, now);
    json!({
        "found": !entry.absent,
        "filled_ago_ms": millis(now.since(entry.filled_at)),
        "expires_in_ms": entry.expires_at.map(|end| millis(end.since(now))),
        "reflects_up_to": entry.upper.to_string(),
        "proven_up_to": entry.proven.to_string(),
        "tags": entry.tags,
        "verdict": verdict,
        "why": why,
    })
}

/// A word for programs, and a sentence for people.
fn verdict(entry: &EntryFacts, now: Moment) -> (&'static str, String) {
    if entry.expires_at.is_some_and(|end| now >= end) {
        return ("expired", "its time to live has ended".into());
    }
    match entry.verdict {
        Some(Verdict::Current { .. }) => {
            ("current", "no change on what it depends on since it was filled".into())
        }
        Some(Verdict::Outdated(outdated)) => {
            ("outdated", format!("the change at position {} is not reflected in it", outdated.by))
        }
        Some(Verdict::Void(void)) => ("void", format!("the ledger cannot judge it: {}", void.word())),
        None => ("unknown", "nothing is known of the log yet".into()),
    }
}

fn feed(source: &ServedSource, life: &Life) -> Value {
    let status = match source.feed() {
        FeedHealth::None => "none",
        FeedHealth::Starting => "starting",
        FeedHealth::Following(_) => "following",
        FeedHealth::Down(_) => "down",
    };
    if !source.is_logged() {
        return json!({ "status": status });
    }
    json!({
        "status": status,
        "log": life.watermark.map(|position| position.epoch.to_string()),
        "watermark": life.watermark.map(|position| position.to_string()),
        "horizon": life.horizon.map(|horizon| horizon.to_string()),
        "proven_ago_ms": life.proven_until.map(|until| millis(life.now.since(until))),
    })
}

fn timeline(view: &ServedView, life: &Life) -> Vec<Value> {
    let happenings = life.happenings.iter().map(|happened| (happened.at, happening(&happened.what)));
    let changes = life.changes.iter().map(|noted| {
        // A change's note names values of the row. Of a private view they may be another subject's.
        let text = if view.is_private() { "what the entry depends on changed" } else { &*noted.note };
        (noted.arrived, json!({ "what": "change", "text": text, "position": noted.position.to_string() }))
    });
    let mut all: Vec<(Moment, Value)> = happenings.chain(changes).collect();
    all.sort_by_key(|(at, _)| *at);
    let told = all.into_iter().map(|(at, mut what)| {
        what["ago_ms"] = millis(life.now.since(at)).into();
        what
    });
    told.collect()
}

fn happening(what: &Happening) -> Value {
    match what {
        Happening::Filled { position, took, absent, not_kept } => {
            let found = if *absent { "the source has no row" } else { "the source answered" };
            let kept = match not_kept {
                None => "and the answer was kept".to_owned(),
                Some(why) => format!("and the answer was given to its readers but not kept: {why}"),
            };
            json!({
                "what": "filled",
                "text": format!("{found} after {}, {kept}", words(*took)),
                "position": position.map(|position| position.to_string()),
                "kept": not_kept.is_none(),
            })
        }
        Happening::FillFailed { .. } => {
            json!({ "what": "fill-failed", "text": "the source was asked and failed; the server's log says how" })
        }
        Happening::FoundOutdated { by } => json!({
            "what": "found-outdated",
            "text": "a read found that a change is not reflected in the entry, and went to the source",
            "position": by.to_string(),
        }),
        Happening::FoundVoid { why } => json!({
            "what": "found-void",
            "text": format!("a read found an entry that the ledger cannot judge ({why}), and went to the source"),
        }),
        Happening::FoundExpired => json!({
            "what": "found-expired",
            "text": "a read found an entry that had ended or could not be proven young enough, and went to the source",
        }),
        Happening::Refused { .. } => {
            json!({ "what": "refused", "text": "a read was refused; see its response" })
        }
        Happening::Degraded { why } => json!({
            "what": "degraded",
            "text": format!("an answer was given that was less than asked for: {why}"),
        }),
        Happening::Invalidated => {
            json!({ "what": "invalidated", "text": "an application invalidated the key" })
        }
    }
}

/// What a tired person wants to read first.
fn summary(view: &ServedView, source: &ServedSource, life: &Life) -> String {
    let mut text = match &life.entry {
        None => {
            let last =
                life.happenings.last().map(|happened| (words(life.now.since(happened.at)), &happened.what));
            let before = match last {
                None => "and nothing is remembered of the key".to_owned(),
                Some((ago, Happening::Invalidated)) => {
                    format!("because an application invalidated it {ago} ago")
                }
                Some((ago, Happening::FillFailed { .. })) => {
                    format!("because the source failed when it was asked {ago} ago")
                }
                Some((ago, Happening::Filled { not_kept: Some(why), .. })) => {
                    format!("because the last answer, {ago} ago, was not kept: {why}")
                }
                Some((ago, _)) => {
                    format!("although something happened to the key {ago} ago: see the timeline")
                }
            };
            format!("Nothing is in memory, {before}. The next read asks the source.")
        }
        Some(entry) => {
            let what = if entry.absent {
                "Memory holds that the source has no row"
            } else {
                "Memory holds an answer"
            };
            let filled = words(life.now.since(entry.filled_at));
            let (word, why) = verdict(entry, life.now);
            let then = match (word, life.proven_until) {
                ("current", until) if view.is_logged() => {
                    // The fill proves what the log has not been asked about yet.
                    let until = until.map_or(entry.filled_at, |until| until.max(entry.filled_at));
                    format!("It is current: {why}, as proven up to {} ago.", words(life.now.since(until)))
                }
                ("current", _) => {
                    "It counts as current until its time to live ends: no log tells of its changes.".into()
                }
                ("outdated", _) => {
                    let change = life.changes.iter().rev().find(|change| match entry.verdict {
                        Some(Verdict::Outdated(outdated)) => change.position.at == outdated.by,
                        _ => false,
                    });
                    let ago = change.map_or(String::new(), |change| {
                        format!(", which arrived {} ago,", words(life.now.since(change.arrived)))
                    });
                    let why = why.replacen(" is not", &format!("{ago} is not"), 1);
                    format!("It is outdated: {why}. The next read asks the source.")
                }
                _ => format!("It is not served as it is: {why}. The next read asks the source."),
            };
            format!("{what}, filled {filled} ago. {then}")
        }
    };
    let name = source.name();
    match source.feed() {
        FeedHealth::Down(_) => {
            text.push_str(&format!(" The log of `{name}` cannot be followed, so nothing new can be proven."));
        }
        FeedHealth::Starting => {
            text.push_str(&format!(" The log of `{name}` is not followed yet, so nothing can be proven."));
        }
        FeedHealth::Following(_) | FeedHealth::None => {}
    }
    text
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration as people say it.
fn words(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_people_tell_them() {
        let told = |millis| words(Duration::from_millis(millis));
        assert_eq!(
            [told(7), told(1500), told(61_000), told(3_661_000)],
            ["7 ms", "1.5 s", "1 min", "1 h 1 min"]
        );
        assert_eq!(told(200_000_000), "2 days");
    }
}
