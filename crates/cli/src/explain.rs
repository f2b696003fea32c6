//! `candor explain`: the life of a key, for a tired person. With `--json` the server's own document
//! (`GET /v1/explain/…`): `{"view","key","source","summary","entry","feed","timeline":[{"what","text","ago_ms",…}]}`.

use crate::args::Global;
use crate::client::{Client, ServerArgs};
use crate::door::path;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::start;
use crate::terminal::{Paint, Terminal, plain, wrap};
use crate::wall::words;
use clap::Args;
use serde_json::Value;

pub(crate) const AFTER: &str = "\
Asks a running server: only the process that holds an entry knows what happened to it.

Examples:
  candor explain user 42
  candor explain seat B 17 --url http://10.0.0.7:7070 --token-env OPS_TOKEN
  candor explain user 42 --json | jq .summary";

/// What `candor explain` takes.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The view
    view: String,
    /// The key: one value for each key column, in order
    #[arg(allow_negative_numbers = true)]
    key: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Tells the life of a key.
pub(crate) async fn run(global: &Global, args: &ExplainArgs, terminal: &Terminal) -> Outcome {
    let client = server(global, &args.server)?;
    let asked = client.get(&path("explain", &args.view, &args.key), &http::HeaderMap::new()).await;
    let response = asked.map_err(|failure| {
        failure.next(
            "start a server with `candor serve`, or name one with --url; only the process that holds an entry knows its life",
        )
    })?;
    if !response.status.is_success() {
        return Err(client.failure(&response));
    }
    let life: Value = serde_json::from_slice(&response.body)
        .map_err(|error| client.strange(&format!("its answer cannot be read: {error}")))?;
    if terminal.is_json() {
        terminal.json(&life);
    } else {
        terminal.out(render(&life, terminal.paint()));
    }
    Ok(Code::Ok)
}

/// The server that was named, or the one the configuration describes. Not another process: only the one that serves
/// knows what it did.
pub(crate) fn server(global: &Global, args: &ServerArgs) -> Result<Client, Failure> {
    if let Some(url) = &args.url {
        return Client::new(url, args);
    }
    let address = start::config(global)?.server.http;
    if address.port() == 0 {
        return Err(Failure::usage(
            "the configuration lets the system choose the server's port, so nobody knows it here",
            "name the server with --url; `candor serve` prints it",
        ));
    }
    Client::at(address, args)
}

/// Columns before a line's text: how long ago, what it is, and where in the source's log.
const AGO: usize = 16;
const WHAT: usize = 14;
const AT: usize = 10;

/// A life, as `GET /v1/explain` tells it, for people.
pub(crate) fn render(life: &Value, paint: Paint) -> String {
    let text = |value: &Value| value.as_str().map(plain).unwrap_or_default();
    let key: Vec<String> = life["key"].as_array().into_iter().flatten().map(text).collect();
    let mut told = format!(
        "{} {}  {}\n\n",
        paint.bold(&text(&life["view"])),
        paint.bold(&key.join("/")),
        paint.dim(&format!("source {}", text(&life["source"])))
    );
    told.push_str(&format!("  {}\n", wrap(&text(&life["summary"]), 2, 2)));
    let timeline = life["timeline"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !timeline.is_empty() {
        told.push('\n');
    }
    for happening in timeline {
        let ago = format!("{} ago", words(happening["ago_ms"].as_u64().unwrap_or(0)));
        let what = text(&happening["what"]);
        let shown = colour(&what, &format!("{what:WHAT$}"), paint);
        let place = happening["position"].as_str().map(|at| format!("at {}", plain(at)));
        let place = format!("{:AT$}", place.unwrap_or_default());
        let at = AGO + 2 + WHAT + 1 + AT + 1;
        told.push_str(&format!(
            "{}  {shown} {} {}\n",
            paint.dim(&format!("{ago:>AGO$}")),
            paint.bold(&place),
            wrap(&text(&happening["text"]), at, at)
        ));
    }
    told.push('\n');
    for (name, line) in [("entry", entry(&life["entry"])), ("log", feed(&life["feed"]))] {
        told.push_str(&format!("  {} {}\n", paint.dim(&format!("{name:6}")), wrap(&line, 9, 9)));
    }
    told.trim_end().to_owned()
}

/// The entry as it stands.
fn entry(entry: &Value) -> String {
    if entry.is_null() {
        return "none in memory".to_owned();
    }
    let text = |name: &str| entry[name].as_str().map(plain).unwrap_or_default();
    let mut line = format!(
        "{}: reflects up to position {}, proven up to {}; {} tag(s)",
        text("verdict"),
        text("reflects_up_to"),
        text("proven_up_to"),
        entry["tags"].as_u64().unwrap_or(0)
    );
    match entry["expires_in_ms"].as_u64() {
        Some(0) => line.push_str("; its time to live has ended"),
        Some(left) => line.push_str(&format!("; its time to live ends in {}", words(left))),
        None => {}
    }
    line
}

/// Where the log stands.
fn feed(feed: &Value) -> String {
    let text = |name: &str| feed[name].as_str().map(plain);
    let status = text("status").unwrap_or_default();
    let mut line = match status.as_str() {
        "none" => return "there is none: only the clock tells how old the entry is".to_owned(),
        "down" => "cannot be followed: the server's log and /readyz say why".to_owned(),
        other => other.to_owned(),
    };
    if let (Some(watermark), Some(horizon)) = (text("watermark"), text("horizon")) {
        line.push_str(&format!("; everything from position {horizon} to {watermark} is known"));
    }
    if let Some(ago) = feed["proven_ago_ms"].as_u64() {
        line.push_str(&format!(", as proven {} ago", words(ago)));
    }
    line
}

fn colour(what: &str, shown: &str, paint: Paint) -> String {
    match what {
        "filled" => paint.good(shown),
        "change" => paint.name(shown),
        "refused" | "fill-failed" => paint.bad(shown),
        _ => paint.warn(shown),
    }
}
