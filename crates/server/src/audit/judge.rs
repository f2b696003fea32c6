//! The judgement: what the source said before and after against what was served in between. Pure.
//!
//! ```text
//!      look i                   claimed      given                look j
//!   ───[ V ]───────────────────────┼───────────┼──────────────────[ W ]───►
//!      what the answer reflects lies somewhere in here ┘
//! ```
//!
//! The answer's receipt claims that it reflects everything visible at the moment *claimed*. Look i ended before that, look
//! j began after the answer was given. So the answer is what the source would have said at some moment between the two
//! looks. If the source's answer changed at most once in between, it was V first and W after, and nothing else.
//!
//! Only the looks accuse. The log is asked one question, and only in the answer's favour: may the source have said a third
//! thing in between, and returned? Where the log tells of more changes than the looks have seen, or cannot tell, the
//! answer is *undecided*. Where it tells of none, either the answer is false, or the log has missed what made it true:
//! then the next one will be false, and it is an incident all the same.

use super::look::Look;
use super::tap::Served;
use crate::entry::Json;
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use serde_json::value::RawValue;
use std::sync::Arc;

/// What came out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The source said the same. `still`: also after the answer was given.
    True {
        /// Whether the look after the answer says the same.
        still: bool,
    },
    /// The source said nothing of the kind at any moment between these looks.
    False {
        /// The look before.
        before: usize,
        /// The look after.
        after: usize,
    },
    /// The source may have said so in between.
    Undecided,
    /// It claims an older moment than any look, or none; or no look came after it.
    NotJudged,
}

/// Judges one answer. `changes(i, j)` is how many changes the log tells of between two looks.
pub(super) fn judge(
    looks: &[Arc<Look>],
    served: &Served,
    changes: impl FnOnce(usize, usize) -> Option<usize>,
) -> Verdict {
    let Some(claimed) = served.claimed else { return Verdict::NotJudged };
    let Some(before) = looks.iter().rposition(|look| look.ended <= claimed) else {
        return Verdict::NotJudged;
    };
    // A look that took no time may be both: the clock is coarse.
    let Some(later) = looks[before..].iter().position(|look| look.begun >= served.given) else {
        return Verdict::NotJudged;
    };
    let after = before + later;
    let said = |look: &Look| same_all(&look.values, &served.values);
    if looks[before..=after].iter().any(|look| said(look)) {
        return Verdict::True { still: said(&looks[after]) };
    }
    let turns = looks[before..=after].windows(2).filter(|pair| !same_all(&pair[0].values, &pair[1].values));
    // One change that the looks do not show has changed nothing in the answer; two may have led away and back.
    let shown = turns.count().max(1);
    match changes(before, after) {
        Some(changes) if changes <= shown => Verdict::False { before, after },
        _ => Verdict::Undecided,
    }
}

/// Whether these are the same answers, key by key.
pub(super) fn same_all(one: &[Option<Json>], other: &[Option<Json>]) -> bool {
    #[cfg(candor_sabotage)]
    if is(Sabotage::AuditAllAlike) {
        return true;
    }
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one.as_ref(), other.as_ref()))
}

/// Whether these are the same answer. The same rows in another order are: SQL without `ORDER BY` promises none.
fn same(one: Option<&Json>, other: Option<&Json>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one == other || rows(one).is_some_and(|one| rows(other).is_some_and(|other| one == other))
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The rows of an array, sorted.
fn rows(json: &Json) -> Option<Vec<&str>> {
    let bytes = json.as_bytes();
    if bytes.first() != Some(&b'[') {
        return None;
    }
    let rows: Vec<&RawValue> = serde_json::from_slice(bytes).ok()?;
    let mut rows: Vec<&str> = rows.into_iter().map(RawValue::get).collect();
    rows.sort_unstable();
    Some(rows)
}

#[cfg(test)]
mod tests;
