//! One fill: answers, tags, snapshot and position, all from one statement and in one round trip.
//!
//! ```text
//! direct    [replay position, on a standby]                      prepared statement   [history]
//! pooler    BEGIN READ ONLY; SET LOCAL …; [replay position]      unnamed statement    [history]; COMMIT
//!           └────────────────────────────── sent together, answered together ───────────────────┘
//! ```
//!
//! Invariants:
//! * What is seen belongs to the statement that read the values: the snapshot is that statement's own, the upper position
//!   is read while it runs, and the replay position of a standby before its snapshot is taken.
//! * The transaction has no id and cannot write.
//! * What is read is what the view was held against: the search path is the one of then, and a name that means another
//!   relation by now is noticed ([`Unfilled::OtherSchema`]).
//! * Nobody waits longer than the statement's time limit at the server, and a little for the network.

mod around;
mod params;
mod plan;
mod reading;
mod rows;
mod scan;
mod seen;
#[cfg(test)]
mod tests;
mod visible;

use crate::fault;
use crate::lsn::Lsn;
use crate::pool::{Held, Pool, Route};
use around::{after, before};
use candor_core::KeyValue;
use candor_core::port::{Filled, SourceError};
use futures_util::future::try_join3;
use params::Text;
use seen::Told;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, RowStream, SimpleQueryMessage, SimpleQueryRow};

pub(crate) use plan::{Bounds, FillPlan};
pub(crate) use reading::Reading;
pub(crate) use seen::{History, Seen};
pub(crate) use visible::Visible;

/// How much longer than the server's time limit the answer may be under way. Beyond, the server or the network is silent.
const GRACE: Duration = Duration::from_millis(500);

/// What a fill brings back.
#[derive(Debug)]
pub(crate) struct RawFill {
    /// What its statement saw.
    pub(crate) seen: Seen,
    /// One per key, in the order asked.
    pub(crate) answers: Vec<Filled>,
    /// Whose history the server shares, where that was asked.
    pub(crate) history: Option<History>,
}

/// Why there is no fill.
#[derive(Debug)]
pub(crate) enum Unfilled {
    /// The relations are not those that the plan was made for; held against the schema anew, the view may be filled.
    OtherSchema(SourceError),
    Failed(SourceError),
}

impl From<SourceError> for Unfilled {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

impl From<Unfilled> for SourceError {
    fn from(unfilled: Unfilled) -> Self {
        match unfilled {
            Unfilled::OtherSchema(error) | Unfilled::Failed(error) => error,
        }
    }
}

/// Fills any number of keys.
///
/// A connection that broke while it was idle, a statement the server forgot, and a standby that was thought a primary cost
/// another attempt, each at most once.
///
/// # Errors
///
/// `Slow` past a time limit or when all connections are busy, `Down` when the server is gone, `Contract` for what the SQL
/// asks and for answers that are too large.
pub(crate) async fn fill(
    pool: &Pool,
    plan: &FillPlan,
    keys: &[Box<[KeyValue]>],
) -> Result<RawFill, Unfilled> {
    fill_with(pool, plan, keys, None).await
}

/// The same from a standby, which is also asked whose history it shares.
pub(crate) async fn fill_of_standby(
    pool: &Pool,
    plan: &FillPlan,
    keys: &[Box<[KeyValue]>],
) -> Result<RawFill, Unfilled> {
    fill_with(pool, plan, keys, Some(seen::history_sql(&pool.options().publication))).await
}

async fn fill_with(
    pool: &Pool,
    plan: &FillPlan,
    keys: &[Box<[KeyValue]>],
    history_sql: Option<String>,
) -> Result<RawFill, Unfilled> {
    let query = &plan.compiled.query;
    let doing = format!("a fill of view `{}`", query.name);
    if keys.is_empty() {
        return Err(SourceError::contract(format!("{doing}: no key is given")).into());
    }
    if let Some(key) = keys.iter().find(|key| key.len() != query.key.len()) {
        return Err(SourceError::contract(format!(
            "{doing}: the key has {} parts, the view {} key columns",
            key.len(),
            query.key.len()
        ))
        .into());
    }
    let mut held = pool.acquire().await?;
    let (mut may_reconnect, mut may_prepare, mut may_ask_again) = (true, true, true);
    loop {
        let asking = Asking { plan, keys, doing: &doing, history_sql: history_sql.as_deref() };
        let error = match attempt(pool, &mut held, &asking).await {
            Ok(attempt) => {
                held.in_recovery = attempt.told.in_recovery;
                if attempt.told.in_recovery && attempt.replayed.is_none() && may_ask_again {
                    may_ask_again = false;
                    continue;
                }
                let identity = held.identity(attempt.told.timeline, attempt.told.started_micros).await?;
                return Ok(RawFill {
                    seen: attempt.told.seen(attempt.replayed, identity),
                    answers: attempt.answers,
                    history: attempt.history,
                });
            }
            Err(Failed::Otherwise(error)) => return Err(error),
            Err(Failed::Statement(error)) => error,
        };
        if is_broken(&held.client, &error) {
            let was_idle = held.is_reused();
            held.discard();
            pool.forget_idle();
            if !(was_idle && may_reconnect) {
                return Err(failed(pool, &doing, &error).into());
            }
            may_reconnect = false;
            held = pool.acquire().await?;
            continue;
        }
        if keys.len() > 1 && error.code() == Some(&SqlState::GROUPING_ERROR) {
            return one_by_one(pool, &mut held, plan, keys, &doing).await;
        }
        if may_prepare && held.route == Route::Direct && is_forgotten(&error) {
            may_prepare = false;
            held.unprepare(&plan.statement(keys).sql);
        } else {
            return Err(failed(pool, &doing, &error).into());
        }
    }
}

/// Fills key by key within one transaction. An aggregate over nothing but the key (`max($1)`) has no meaning beside a list
/// of keys, and is the one thing that can be asked for one key and not for many.
async fn one_by_one(
    pool: &Pool,
    held: &mut Held,
    plan: &FillPlan,
    keys: &[Box<[KeyValue]>],
    doing: &str,
) -> Result<RawFill, Unfilled> {
    let limit = pool.options().statement_timeout + GRACE;
    let reading = Reading::begin(pool, held, Some(&plan.path)).await?;
    let mut answers = Vec::with_capacity(keys.len());
    let mut bytes_left = plan.bounds.bytes_max;
    for key in keys {
        let key = std::slice::from_ref(key);
        let asked = async {
            let values = plan.values(key).into_iter().zip(plan.one.types.iter().cloned());
            let stream = reading.transaction().query_typed_raw(&plan.one.sql, values).await;
            rows::read(stream.map_err(rows::Unread::Broken)?, plan, key, doing).await
        };
        let (_, answer) = timeout(limit, asked)
            .await
            .map_err(|_| SourceError::slow(format!("{doing}: no answer within {} ms", limit.as_millis())))?
            .map_err(|unread| match unread {
                rows::Unread::Broken(error) => Unfilled::from(failed(pool, doing, &error)),
                rows::Unread::Refused(error) | rows::Unread::Abandoned(error) => error.into(),
                rows::Unread::OtherSchema => other_schema(doing),
            })?;
        let bytes = answer.iter().filter_map(|answer| answer.value.as_ref()).map(|value| value.len()).sum();
        bytes_left = bytes_left.checked_sub(bytes).ok_or_else(|| rows::too_many_bytes(plan, doing))?;
        answers.extend(answer);
    }
    // What it saw is known, and not whose history; where that is asked, this does not answer.
    Ok(RawFill { seen: reading.end().await?, answers, history: None })
}

/// What is asked.
struct Asking<'a> {
    plan: &'a FillPlan,
    keys: &'a [Box<[KeyValue]>],
    /// For messages.
    doing: &'a str,
    /// The question for the history, if it is wanted.
    history_sql: Option<&'a str>,
}

/// What an attempt brought.
struct Attempt {
    told: Told,
    replayed: Option<Lsn>,
    history: Option<History>,
    answers: Vec<Filled>,
}

enum Failed {
    /// The server refused, or the connection broke.
    Statement(tokio_postgres::Error),
    /// What another attempt would not mend.
    Otherwise(Unfilled),
}

async fn attempt(pool: &Pool, held: &mut Held, asking: &Asking<'_>) -> Result<Attempt, Failed> {
    let doing = asking.doing;
    let statement_timeout = pool.options().statement_timeout;
    let limit = statement_timeout + GRACE;
    held.busy();
    // From here an early return, like being dropped, ends the statement at the server and gives up the connection.
    let outcome = timeout(limit, ask(held, asking, statement_timeout)).await.map_err(|_| {
        let message = format!(
            "{doing}: no answer within {} ms, though the server should have given up by then; look at the network",
            limit.as_millis()
        );
        Failed::Otherwise(SourceError::slow(message).into())
    })??;
    held.settled();
    let Sides { before, asked, after } = outcome.map_err(Failed::Statement)?;
    let (told, answers) = asked.map_err(Failed::Otherwise)?;
    Ok(Attempt { told, replayed: position(&before), history: History::of_rows(&after), answers })
}

type Answered = Result<Sides, tokio_postgres::Error>;

/// The statement's answer, and what was asked before it and after it.
struct Sides {
    before: Vec<SimpleQueryRow>,
    asked: Result<(Told, Vec<Filled>), Unfilled>,
    after: Vec<SimpleQueryRow>,
}

/// Sends everything at once and reads everything. The outer error is for answers not read to their end.
async fn ask(held: &mut Held, asking: &Asking<'_>, statement_timeout: Duration) -> Result<Answered, Failed> {
    let Asking { plan, keys, doing, history_sql } = *asking;
    let statement = plan.statement(keys);
    let values = plan.values(keys);
    let is_pooled = held.route == Route::Pooler;
    let prepared = if is_pooled {
        None
    } else {
        if let Err(error) = held.look_into(&plan.path).await {
            return Ok(Err(error));
        }
        match held.prepared(&statement.sql, &statement.types).await {
            Ok(prepared) => Some(prepared),
            Err(error) => return Ok(Err(error)),
        }
    };
    let before = before(is_pooled.then_some(&*plan.path), held.in_recovery, statement_timeout);
    let client = &held.client;
    let asked = async {
        let stream = match &prepared {
            Some(prepared) => client.query_raw(prepared, &values).await,
            None => {
                let typed = values.iter().zip(statement.types.iter().cloned());
                client.query_typed_raw(&statement.sql, typed).await
            }
        };
        match stream {
            Ok(stream) => read(stream, plan, keys, doing).await,
            Err(error) => Ok(Err(error)),
        }
    };
    // The three are polled, and so sent, in this order.
    let (before, asked, after) =
        try_join3(async { Ok(simple(client, before.as_deref()).await) }, asked, async {
            Ok(simple(client, after(is_pooled, history_sql).as_deref()).await)
        })
        .await?;
    // The first error is the cause; what follows it failed because of it.
    Ok(match (before, asked, after) {
        (Ok(before), Ok(asked), Ok(after)) => Ok(Sides { before, asked, after }),
        (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => Err(error),
    })
}

async fn read(
    stream: RowStream,
    plan: &FillPlan,
    keys: &[Box<[KeyValue]>],
    doing: &str,
) -> Result<Result<Result<(Told, Vec<Filled>), Unfilled>, tokio_postgres::Error>, Failed> {
    match rows::read(stream, plan, keys, doing).await {
        Ok(read) => Ok(Ok(Ok(read))),
        Err(rows::Unread::Broken(error)) => Ok(Err(error)),
        Err(rows::Unread::Refused(error)) => Ok(Ok(Err(error.into()))),
        Err(rows::Unread::OtherSchema) => Ok(Ok(Err(other_schema(doing)))),
        Err(rows::Unread::Abandoned(error)) => Err(Failed::Otherwise(error.into())),
    }
}

/// Runs statements without parameters and gives the rows that they answer.
async fn simple(client: &Client, sql: Option<&str>) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
    let Some(sql) = sql else { return Ok(Vec::new()) };
    let messages = client.simple_query(sql).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

/// How far a standby has replayed its log; `None` on a server that is none.
pub(crate) async fn replayed(client: &Client) -> Result<Option<Lsn>, tokio_postgres::Error> {
    Ok(position(&simple(client, Some(seen::REPLAYED_SQL)).await?))
}

/// The log position that is all of an answer.
fn position(rows: &[SimpleQueryRow]) -> Option<Lsn> {
    rows.first()?.get(0)?.parse().ok()
}

/// Whether the connection, not the statement, is at fault.
fn is_broken(client: &Client, error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            let class = code.code().get(..2).unwrap_or_default();
            class == "08" || [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(code)
        }
        None => error.is_closed() || client.is_closed(),
    }
}

/// Whether the server no longer knows a prepared statement, or knows it for a table that has changed since.
fn is_forgotten(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME)
        || (error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
            && error.as_db_error().is_some_and(|db| db.message().contains("cached plan")))
}

fn other_schema(doing: &str) -> Unfilled {
    Unfilled::OtherSchema(SourceError::down(format!(
        "{doing}: a name in it means another table than when the view was held against the schema; try again"
    )))
}

fn failed(pool: &Pool, doing: &str, error: &tokio_postgres::Error) -> SourceError {
    let mut failed = fault::of(doing, error);
    let code = error.code();
    if code == Some(&SqlState::QUERY_CANCELED) {
        let limit = pool.options().statement_timeout.as_millis();
        failed.message.push_str(&format!(
            "; the limit is {limit} ms: look for a missing index, or raise statement_timeout"
        ));
    } else if code == Some(&SqlState::INVALID_SQL_STATEMENT_NAME)
        || code == Some(&SqlState::DUPLICATE_PSTATEMENT)
    {
        failed.message.push_str("; a pooler seems to stand in between: say so with pooler = true");
    } else if code == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
        failed.message.push_str("; a view must not write, and neither may the functions it calls");
    }
    failed
}

impl FillPlan {
    /// The statement for so many keys. A view without key columns has one answer for all.
    fn statement(&self, keys: &[Box<[KeyValue]>]) -> &plan::Statement {
        if keys.len() == 1 || self.one.types.is_empty() { &self.one } else { &self.many }
    }

    fn values(&self, keys: &[Box<[KeyValue]>]) -> Vec<Text> {
        match keys {
            [key] => key.iter().map(Text::of).collect(),
            keys => {
                let column = |place: usize| Text::of_array(keys.iter().map(move |key| &key[place]));
                (0..self.compiled.query.key.len()).map(column).collect()
            }
        }
    }
}
