//! `candor get`: one key, with its receipt.
//!
//! JSON: `{"view","key":[…],"found":bool,"value":…|null,"receipt":{"from","proof","bound","age","position","degraded"},
//! "session":"…"|null,"asked":"http://…"|"embedded"}`; `bound` and `age` in milliseconds.

use crate::args::{Global, ReadArgs};
use crate::door::{Ask, Door};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::reply::AnswerJson;
use crate::terminal::Terminal;
use clap::Args;
use serde::Serialize;

pub(crate) const AFTER: &str = "\
The value goes to stdout, the receipt to stderr. Without --url and --embedded, the server of candor.toml \
answers if it is running, else the source is read in this process.

Examples:
  candor get user 42
  candor get user 42 --level strong
  candor get user 42 --level bounded:500ms --receipt
  candor get seat B 17                           a key of two columns
  candor get user 42 --session \"$(candor fence shop -q)\"
  candor get user 42 --json | jq .receipt.bound
  candor get tag -- -x                           a text key that begins with a hyphen

Exits with 1 if the source has no row for the key.";

/// What `candor get` takes.
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// The view
    view: String,
    /// The key: one value for each key column, in order
    #[arg(allow_negative_numbers = true)]
    key: Vec<String>,
    #[command(flatten)]
    read: ReadArgs,
    /// Show every member of the receipt, and the session token
    #[arg(long)]
    receipt: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    view: &'a str,
    #[serde(flatten)]
    answer: AnswerJson<'a>,
    session: Option<&'a str>,
    asked: &'a str,
}

/// Reads one key.
pub(crate) async fn run(global: &Global, args: &GetArgs, terminal: &Terminal) -> Outcome {
    let door = Door::open(global, &args.read.door, terminal).await?;
    let ask = Ask { view: &args.view, level: args.read.level, session: args.read.session.as_deref() };
    let reply = door.get(&ask, &args.key).await?;
    let [answer] = &reply.answers[..] else {
        return Err(Failure::internal("one key was asked for and not one answer came"));
    };
    if terminal.is_json() {
        let told = Told {
            view: &args.view,
            answer: answer.json(),
            session: reply.session.as_deref(),
            asked: &reply.asked,
        };
        terminal.out(json(&told)?);
    } else if let Some(value) = &answer.value {
        terminal.value(value.get());
    }
    if !terminal.is_json() {
        let paint = terminal.err();
        if answer.value.is_none() {
            terminal.note(format!("{} the source has no row for this key", paint.warn("absent:")));
        }
        terminal.note(paint.dim(&answer.sentence()));
        if args.receipt {
            reply.tell(answer, paint, terminal);
        }
    }
    Ok(if answer.value.is_some() { Code::Ok } else { Code::No })
}

/// Values pass as they came, so this is text rather than a tree.
pub(crate) fn json(told: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(told).map_err(|error| Failure::internal(format!("no JSON: {error}")))
}
