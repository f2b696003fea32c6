//! `candor audit`: a running server holds what it serves against its sources, more often than usual and for a while.
//!
//! JSON: `{"asked","for_ms","verdict":"clean"|"false"|"nothing-judged","answers":{"true","false","undecided",
//! "not_judged"},"views":[{"view","watches","idle","given_up","looks","silent_changes","true","false","undecided",
//! "not_judged","claimed_ms_sum","observed_ms_sum"}],"incidents":[…]}`; counts are those of this time, incidents are as
//! `GET /v1/audit` tells them.

use crate::args::Global;
use crate::client::{Client, ServerArgs};
use crate::exit::Code;
use crate::explain;
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;
use crate::terminal::{Paint, Terminal, count, plain, wrap};
use crate::wall::words;
use clap::Args;
use http::HeaderMap;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};

pub(crate) const AFTER: &str = "\
Watches keys that are being served: looks at the source, hears what is answered for a moment, and looks again. \
Where nobody asks for a key meanwhile, the audit reads it itself. It asks the source only while that has room to \
spare, for a hundredth of its limit at most.

Examples:
  candor audit
  candor audit --for 5m --view user
  candor audit --url http://10.0.0.7:7070 --token-env OPS_TOKEN --json | jq .answers

Exits with 7 if a receipt was false or the log told nothing of a change, with 1 if nothing could be judged: read \
some keys first, or let it run while they are read.";

/// What `candor audit` takes.
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// How long to watch
    #[arg(long = "for", default_value = "30s", value_name = "DURATION", value_parser = candor_core::duration::parse)]
    length: Duration,
    /// Between two watches
    #[arg(long, default_value = "100ms", value_name = "DURATION", value_parser = candor_core::duration::parse)]
    every: Duration,
    /// Only this view; all if left out
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

const PATH: &str = "/v1/audit";
/// Between two questions whether it is over.
const TICK: Duration = Duration::from_millis(500);
/// The last watches end this long after the campaign, and their window.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// The outcomes, as the server names them.
const OUTCOMES: [&str; 4] = ["true", "false", "undecided", "not_judged"];
/// What is counted of a view besides.
const COUNTS: [&str; 7] =
    ["watches", "idle", "given_up", "looks", "silent_changes", "claimed_ms_sum", "observed_ms_sum"];

/// Lets a server audit itself, and tells what came out.
pub(crate) async fn run(global: &Global, args: &AuditArgs, terminal: &Terminal) -> Outcome {
    let client = explain::server(global, &args.server)?;
    let mut wish = json!({
        "for": candor_core::duration::format(args.length),
        "every": candor_core::duration::format(args.every),
    });
    if let Some(view) = &args.view {
        wish["view"] = view.as_str().into();
    }
    let before = told(&client, client.post(PATH, &HeaderMap::new(), &wish).await?)?;
    let after = {
        let _progress =
            Progress::begin(terminal, format!("watching for {}", candor_core::duration::format(args.length)));
        let window = Duration::from_millis(before["window_ms"].as_u64().unwrap_or(0));
        await_end(&client, args.length, window).await?
    };
    let found = Found::between(&before, &after, args.view.as_deref());
    if terminal.is_json() {
        terminal.json(&found.json(&client, args.length));
    } else {
        terminal.out(found.render(args.length, terminal.paint()));
    }
    Ok(found.code())
}

/// The report once the campaign is over, or has been replaced by somebody else's and would be.
async fn await_end(client: &Client, length: Duration, window: Duration) -> Result<Value, Failure> {
    let mut ticks = interval(TICK);
    let mut waited = Duration::ZERO;
    // The first tick comes at once.
    ticks.tick().await;
    while waited < length {
        ticks.tick().await;
        waited += TICK;
        // A server that has gone is told of now, not at the end.
        let report = told(client, client.get(PATH, &HeaderMap::new()).await?)?;
        if report["campaign_left_ms"].is_null() {
            break;
        }
    }
    let mut afterwards = interval(window + AFTERWARDS);
    afterwards.tick().await;
    afterwards.tick().await;
    told(client, client.get(PATH, &HeaderMap::new()).await?)
}

fn interval(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn told(client: &Client, response: crate::client::Response) -> Result<Value, Failure> {
    if !response.status.is_success() {
        return Err(client.failure(&response));
    }
    serde_json::from_slice(&response.body)
        .map_err(|error| client.strange(&format!("its answer cannot be read: {error}")))
}

/// What happened between two reports.
struct Found {
    views: Vec<Map<String, Value>>,
    incidents: Vec<Value>,
}

impl Found {
    fn between(before: &Value, after: &Value, only: Option<&str>) -> Self {
        let is_wanted = |told: &&Value| only.is_none_or(|view| told["view"] == view);
        let views = list(&after["views"]).iter().filter(is_wanted).map(|view| {
            let old = list(&before["views"]).iter().find(|old| old["view"] == view["view"]);
            let old = old.unwrap_or(&Value::Null);
            let mut row = Map::new();
            row.insert("view".into(), view["view"].clone());
            for name in COUNTS {
                row.insert(name.into(), number(&view[name]).saturating_sub(number(&old[name])).into());
            }
            for name in OUTCOMES {
                let sum = |told: &Value| -> u64 {
                    let levels = told["answers"].as_object();
                    levels.into_iter().flatten().map(|(_, level)| number(&level[name])).sum()
                };
                row.insert(name.into(), sum(view).saturating_sub(sum(old)).into());
            }
            row
        });
        let is_new = |incident: &&Value| {
            let is_same =
                |old: &&Value| ["kind", "view", "keys"].iter().all(|name| old[*name] == incident[*name]);
            let old = list(&before["incidents"]).iter().find(is_same);
            old.is_none_or(|old| number(&old["again"]) < number(&incident["again"]))
        };
        let incidents = list(&after["incidents"]).iter().filter(is_wanted).filter(is_new).cloned().collect();
        Self { views: views.collect(), incidents }
    }

    fn sum(&self, name: &str) -> u64 {
        self.views.iter().map(|view| number(&view[name])).sum()
    }

    fn is_bad(&self) -> bool {
        self.sum("false") + self.sum("silent_changes") > 0 || !self.incidents.is_empty()
    }

    fn code(&self) -> Code {
        match () {
            () if self.is_bad() => Code::False,
            () if self.sum("true") == 0 => Code::No,
            () => Code::Ok,
        }
    }

    fn json(&self, client: &Client, length: Duration) -> Value {
        let answers: Map<String, Value> =
            OUTCOMES.iter().map(|name| ((*name).to_owned(), self.sum(name).into())).collect();
        let verdict = match self.code() {
            Code::Ok => "clean",
            Code::False => "false",
            _ => "nothing-judged",
        };
        json!({
            "asked": client.url(),
            "for_ms": u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            "verdict": verdict,
            "answers": answers,
            "views": self.views,
            "incidents": self.incidents,
        })
    }

    fn render(&self, length: Duration, paint: Paint) -> String {
        let length = candor_core::duration::format(length);
        let judged = self.sum("true") + self.sum("false");
        let mut told = match (self.is_bad(), judged) {
            (true, _) => paint.bad(&format!(
                "{} false, {} the log told nothing of",
                count(self.sum("false") as usize, "receipt"),
                count(self.sum("silent_changes") as usize, "change")
            )),
            (false, 0) => paint.warn("nothing could be judged"),
            (false, _) => paint.good("no false receipt"),
        };
        told.push_str(&format!(" among {} judged in {length}\n\n", count(judged as usize, "answer")));
        for view in self.views.iter().filter(|view| number(&view["watches"]) + number(&view["idle"]) > 0) {
            let line = format!(
                "{} true, {} false, {} undecided, {} not judged; watches: {}, looks: {}",
                number(&view["true"]),
                number(&view["false"]),
                number(&view["undecided"]),
                number(&view["not_judged"]),
                number(&view["watches"]),
                number(&view["looks"]),
            );
            let name = view["view"].as_str().map(plain).unwrap_or_default();
            told.push_str(&format!("  {} {}\n", paint.name(&format!("{name:16}")), wrap(&line, 19, 19)));
        }
        if let (false, Some(per)) = (self.is_bad(), judged.checked_div(3).filter(|per| *per > 0)) {
            let mean = |name: &str| self.sum(name) / judged;
            told.push_str(&format!(
                "\n  bounds claimed {} on average, answers seen to be {} old at most on average\n",
                words(mean("claimed_ms_sum")),
                words(mean("observed_ms_sum"))
            ));
            told.push_str(&format!(
                "  with 95 % confidence fewer than one in {per} such answers are false (rule of three)\n"
            ));
        }
        for incident in &self.incidents {
            let text = |name: &str| incident[name].as_str().map(plain).unwrap_or_default();
            told.push_str(&format!("\n{}\n\n  {}\n", paint.bad(&text("kind")), wrap(&text("summary"), 2, 2)));
            let row = |name: &str, text: &str| {
                format!("  {} {}\n", paint.dim(&format!("{name:7}")), wrap(text, 10, 10))
            };
            told.push('\n');
            if !incident["served"].is_null() {
                let served = &incident["served"];
                let level = served["level"].as_str().map(plain).unwrap_or_default();
                told.push_str(&row("served", &format!("{} at level {level}", answers(&served["answers"]))));
                for receipt in list(&served["receipts"]) {
                    told.push_str(&row("receipt", &plain(&receipt.to_string())));
                }
            }
            for look in list(&incident["looks"]) {
                let position = look["position"].as_str().map(plain).unwrap_or_default();
                told.push_str(&row("source", &format!("{} at {position}", answers(&look["answers"]))));
            }
            told.push_str(&format!("\n{}\n", explain::render(&incident["life"], paint)));
        }
        told.trim_end().to_owned()
    }
}

/// Values, or the hashes that stand for them.
fn answers(told: &Value) -> String {
    let answers = list(told).iter().map(|answer| match (answer["value"].as_str(), answer["hash"].as_str()) {
        (Some(value), _) => plain(value),
        (None, Some(hash)) => format!("(hash {})", plain(hash)),
        (None, None) => "absent".to_owned(),
    });
    answers.collect::<Vec<_>>().join(", ")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(answers: Value, incidents: Value) -> Value {
        json!({ "views": [{ "view": "user", "watches": 2, "answers": answers }], "incidents": incidents })
    }

    #[test]
    fn only_what_happened_meanwhile_counts_and_the_code_says_it() {
        let incident = |again: u64| json!([{ "kind": "false-receipt", "view": "user", "keys": [["1"]], "again": again }]);
        let before = report(json!({ "any": { "true": 5, "false": 1 } }), incident(0));
        let quiet = Found::between(&before, &before, None);
        assert_eq!((quiet.sum("true"), quiet.sum("false"), quiet.code()), (0, 0, Code::No));
        let more = json!({ "any": { "true": 7, "false": 1 }, "strong": { "true": 1 } });
        let clean = Found::between(&before, &report(more.clone(), incident(0)), None);
        assert_eq!((clean.sum("true"), clean.code()), (3, Code::Ok));
        assert_eq!(Found::between(&before, &report(more, incident(1)), None).code(), Code::False);
        let other =
            Found::between(&before, &report(json!({ "any": { "false": 9 } }), json!([])), Some("other"));
        assert_eq!(other.code(), Code::No, "of another view");
    }
}
