//! `candor mget`: several keys of one view, also as one snapshot.
//!
//! JSON: `{"view","snapshot":bool,"answers":[{"key":[…],"found","value","receipt"}],"session","asked"}`, in the order
//! asked.

use crate::args::{Global, ReadArgs};
use crate::door::{Ask, Door};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::get::json;
use crate::reply::AnswerJson;
use crate::terminal::{Terminal, plain};
use candor_server::http::path;
use clap::Args;
use serde::Serialize;
use std::borrow::Cow;

pub(crate) const AFTER: &str = "\
Prints one line for each key: the key, a tab, and the value (`null` if the source has no row). A key of \
several columns is written with slashes: B/17. A slash or percent sign inside a value is written %2F or %25.

Examples:
  candor mget user 1 2 3
  candor mget user 1 2 3 --snapshot        all answers hold together at one position of the log
  candor mget seat B/17 B/18 --level strong

Exits with 1 if the source has no row for one of the keys.";

/// What `candor mget` takes.
#[derive(Args, Debug)]
pub(crate) struct MgetArgs {
    /// The view
    view: String,
    /// The keys
    #[arg(required = true, allow_negative_numbers = true)]
    keys: Vec<String>,
    /// All answers must hold together at one position of the source's log
    #[arg(long, conflicts_with = "level")]
    snapshot: bool,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Serialize)]
struct Told<'a> {
    view: &'a str,
    snapshot: bool,
    answers: Vec<AnswerJson<'a>>,
    session: Option<&'a str>,
    asked: &'a str,
}

/// Reads several keys.
pub(crate) async fn run(global: &Global, args: &MgetArgs, terminal: &Terminal) -> Outcome {
    let keys = args.keys.iter().map(|key| parts(key)).collect::<Result<Vec<_>, _>>()?;
    let door = Door::open(global, &args.read.door, terminal).await?;
    let ask = Ask { view: &args.view, level: args.read.level, session: args.read.session.as_deref() };
    let reply = door.get_many(&ask, &keys, args.snapshot).await?;
    if terminal.is_json() {
        let told = Told {
            view: &args.view,
            snapshot: args.snapshot,
            answers: reply.answers.iter().map(|answer| answer.json()).collect(),
            session: reply.session.as_deref(),
            asked: &reply.asked,
        };
        terminal.out(json(&told)?);
    } else {
        let paint = terminal.err();
        for (key, answer) in args.keys.iter().zip(&reply.answers) {
            let value = answer.value.as_ref().map_or("null", |value| value.get());
            terminal.value(&format!("{key}\t{value}"));
            terminal.note(paint.dim(&format!("{}: {}", plain(key), answer.sentence())));
        }
    }
    let all_found = reply.answers.iter().all(|answer| answer.value.is_some());
    Ok(if all_found { Code::Ok } else { Code::No })
}

/// The parts of a key written with slashes, by the rules of a path.
fn parts(key: &str) -> Result<Vec<String>, Failure> {
    let path = format!("view/{key}");
    Ok(path::split(&path)?.parts.into_iter().map(Cow::into_owned).collect())
}
