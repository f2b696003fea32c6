//! `candor fence`: the session token for "everything up to now". JSON: `{"source","session"}`.

use crate::args::Global;
use crate::door::{Door, DoorArgs};
use crate::exit::Code;
use crate::failure::Outcome;
use crate::terminal::Terminal;
use clap::Args;
use serde_json::json;

pub(crate) const AFTER: &str = "\
Whoever writes to the source takes a token after the commit; a read that presents it is not behind the write, \
on whichever instance.

Examples:
  token=$(candor fence shop)
  candor get user 42 --session \"$token\"";

/// What `candor fence` takes.
#[derive(Args, Debug)]
pub(crate) struct FenceArgs {
    /// The source that was written to
    source: String,
    #[command(flatten)]
    door: DoorArgs,
}

/// Takes the token.
pub(crate) async fn run(global: &Global, args: &FenceArgs, terminal: &Terminal) -> Outcome {
    let token = Door::open(global, &args.door, terminal).await?.fence(&args.source).await?;
    if terminal.is_json() {
        terminal.json(&json!({ "source": args.source, "session": token }));
    } else {
        terminal.out(token);
    }
    Ok(Code::Ok)
}
