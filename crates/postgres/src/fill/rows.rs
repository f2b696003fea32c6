//! The rows of a fill's statement, read into answers and tags.

use super::plan::{FIRST_MET, FillPlan};
use super::seen::{self, Told};
use crate::canonical::key_text;
use crate::view::{Compiled, MET_MAX};
use candor_core::port::{Filled, SourceError};
#[cfg(candor_sabotage)]
use candor_core::sabotage::{Sabotage, is};
use candor_core::{KeyValue, Rows, Tag};
use futures_util::TryStreamExt;
use std::pin::pin;
use tokio_postgres::{Row, RowStream};

/// Why there are no answers.
pub(super) enum Unread {
    /// Everything was read, of relations that are not those that the plan was made for.
    OtherSchema,
    /// The server refused, or the connection broke.
    Broken(tokio_postgres::Error),
    /// Everything was read, and is not what may be kept.
    Refused(SourceError),
    /// There is more to come that nobody wants.
    Abandoned(SourceError),
}

/// Reads one row per key, in any order.
pub(super) async fn read(
    stream: RowStream,
    plan: &FillPlan,
    keys: &[Box<[KeyValue]>],
    doing: &str,
) -> Result<(Told, Vec<Filled>), Unread> {
    let mut stream = pin!(stream);
    let (mut told, mut bytes) = (None, 0);
    let mut answers: Vec<Option<Filled>> = keys.iter().map(|_| None).collect();
    let (mut refused, mut is_of_plan) = (None, true);
    while let Some(row) = stream.try_next().await.map_err(Unread::Broken)? {
        if refused.is_some() {
            continue;
        }
        match one(&row, plan, keys, doing) {
            Ok(One { is_of_plan: false, .. }) => is_of_plan = false,
            Ok(One { place, filled, told: found, .. }) => {
                bytes += filled.value.as_ref().map_or(0, |value| value.len());
                told = told.or(found);
                answers[place] = Some(filled);
            }
            // The few small rows that may follow are read, so that the connection can go on.
            Err(error) => refused = Some(error),
        }
        if bytes > plan.bounds.bytes_max {
            return Err(Unread::Abandoned(too_many_bytes(plan, doing)));
        }
    }
    if !is_of_plan {
        return Err(Unread::OtherSchema);
    }
    if let Some(error) = refused {
        return Err(Unread::Refused(error));
    }
    if plan.one.types.is_empty() && keys.len() > 1 {
        let only = answers[0].clone();
        answers.fill(only);
    }
    let complete = answers.into_iter().collect::<Option<Vec<Filled>>>().zip(told);
    complete
        .map(|(answers, told)| (told, answers))
        .ok_or_else(|| Unread::Refused(SourceError::down(format!("{doing}: the server left out a key"))))
}

/// What one row says.
struct One {
    /// The place of its key.
    place: usize,
    filled: Filled,
    /// What the statement saw, if this row says so.
    told: Option<Told>,
    /// False if this row says that the relations are not those of the plan.
    is_of_plan: bool,
}

fn one(row: &Row, plan: &FillPlan, keys: &[Box<[KeyValue]>], doing: &str) -> Result<One, SourceError> {
    let odd =
        |error: String| SourceError::down(format!("{doing}: the server's answer cannot be read: {error}"));
    let wrong = |error: tokio_postgres::Error| odd(error.to_string());
    let number = |column: usize| row.try_get::<_, i64>(column).map_err(wrong);
    let place = usize::try_from(number(0)? - 1).ok().filter(|place| *place < keys.len());
    let place = place.ok_or_else(|| odd("a row for no key".into()))?;
    let (found, bytes) = (number(1)?, number(2)?);
    let json: Option<&str> = row.try_get(3).map_err(wrong)?;
    let value = value(plan, found, bytes, json, doing)?;
    let compiled = &plan.compiled;
    let mut tags = compiled.fixed.clone();
    tags.extend(
        compiled.by_key.iter().map(|(tagged, column)| tagged.row_tag(&key_text(&keys[place][*column]))),
    );
    for column in 0..compiled.met.len() {
        let values: Option<Vec<Option<&str>>> = row.try_get(FIRST_MET + column).map_err(wrong)?;
        met_tags(compiled, column, &values.unwrap_or_default(), &mut tags);
    }
    tags.sort_unstable();
    tags.dedup();
    let (mut told, mut is_of_plan) = (None, true);
    if place == 0 {
        let seen = FIRST_MET + compiled.met.len();
        told = Some(Told::of_row(row, seen).map_err(odd)?);
        is_of_plan = row.try_get(seen + seen::COLUMNS).map_err(wrong)?;
        #[cfg(candor_sabotage)]
        if is(Sabotage::NamesBelieved) {
            is_of_plan = true;
        }
    }
    Ok(One { place, filled: Filled { value, tags }, told, is_of_plan })
}

fn value(
    plan: &FillPlan,
    found: i64,
    bytes: i64,
    json: Option<&str>,
    doing: &str,
) -> Result<Option<Box<[u8]>>, SourceError> {
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    let rows = plan.compiled.query.rows;
    if rows == Rows::One && found > 1 {
        return Err(SourceError::contract(format!(
            "{doing}: more than one row for a key, but the view declares rows = \"one\"; declare \"many\", or make the key unique"
        )));
    }
    if rows == Rows::Many && found > plan.bounds.rows_max {
        return Err(SourceError::contract(format!(
            "{doing}: more than {} rows; narrow the SQL",
            plan.bounds.rows_max
        )));
    }
    if usize::try_from(bytes).unwrap_or(usize::MAX) > plan.bounds.bytes_max {
        return Err(too_many_bytes(plan, doing));
    }
    Ok(match (rows, json) {
        (Rows::One, json) => json.map(|json| json.as_bytes().into()),
        (Rows::Many, json) => Some(format!("[{}]", json.unwrap_or_default()).into_bytes().into()),
    })
}

pub(super) fn too_many_bytes(plan: &FillPlan, doing: &str) -> SourceError {
    SourceError::contract(format!("{doing}: more than {} bytes; narrow the SQL", plan.bounds.bytes_max))
}

/// The rows of another table that the answer reaches, or would reach if they were there. NULL reaches none.
fn met_tags(compiled: &Compiled, place: usize, values: &[Option<&str>], tags: &mut Vec<Tag>) {
    let met = &compiled.met[place];
    if values.len() > MET_MAX {
        tags.push(Tag::table(&met.table.table, met.table.facet()));
    } else {
        tags.extend(values.iter().flatten().map(|value| met.tagged.row_tag(value)));
    }
}
