//! `candor map`: every layer an answer lives in, how that layer learns of a change, and how old answers can get there.
//!
//! From the contract alone: no source is asked. The shape of the JSON:
//!
//! ```text
//! {"views": [{"view", "source", "proof", "default_level",
//!   "layers": [{"layer": "source"|"l1"|"instances"|"http", "where", "learns", "oldest": {"ms": number|null, "text"}}],
//!   "end_to_end": {"ms","text"}, "log_down": {"ms","text"}|null, "source_down": {"ms","text"}}]}
//! ```
//!
//! `ms` is the most an answer at the default level can be behind the source; 0 means nothing visible before the read is
//! missing. `null`: the layer keeps nothing.

mod layers;

use crate::args::Global;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::start;
use crate::terminal::{Paint, Terminal, row, wrap};
use clap::Args;
use layers::{Age, Layer, Map};
use serde_json::{Value, json};

pub(crate) const AFTER: &str = "\
Reads candor.toml and asks nobody. Times are the worst case at the view's own level; a read may ask for another.

Examples:
  candor map
  candor map user
  candor map --json | jq '.views[] | {view, ms: .end_to_end.ms}'";

/// What `candor map` takes.
#[derive(Args, Debug)]
pub(crate) struct MapArgs {
    /// Only these views
    views: Vec<String>,
}

/// Draws the map.
pub(crate) fn run(global: &Global, args: &MapArgs, terminal: &Terminal) -> Outcome {
    let config = start::config(global)?;
    let names: Vec<&str> = config.views.iter().map(|view| &*view.name).collect();
    if let Some(unknown) = args.views.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Failure::usage(format!("there is no view `{unknown}`"), start::known("views", &names)));
    }
    let wanted = config
        .views
        .iter()
        .filter(|view| args.views.is_empty() || args.views.iter().any(|name| **name == *view.name));
    let maps: Vec<Map> = wanted.filter_map(|view| Map::of(&config, view)).collect();
    if terminal.is_json() {
        terminal.json(&json!({ "views": maps.iter().map(document).collect::<Vec<_>>() }));
    } else {
        let drawn: Vec<String> = maps.iter().map(|map| draw(map, terminal.paint())).collect();
        terminal.out(drawn.join("\n\n"));
    }
    Ok(Code::Ok)
}

/// The width of the names below the layers.
const NAMES: usize = 15;
/// Where the text beside a bar begins.
const BESIDE: usize = 12;

fn draw(map: &Map, paint: Paint) -> String {
    let level = format!("{} unless a read says otherwise; proof by the {}", map.level, map.proof);
    let mut lines = vec![format!("{}  {}", paint.bold(&map.view), paint.dim(&level)), String::new()];
    for (at, layer) in map.layers.iter().enumerate() {
        let is_last = at + 1 == map.layers.len();
        let title = format!("{}: {}", layer.title, layer.place);
        lines.push(format!("  {} {}", paint.name("●"), wrap(&title, 4, 4)));
        let bar = paint.name(if is_last { " " } else { "│" });
        for (name, text) in [("learns", &layer.learns), ("oldest", &layer.oldest.text)] {
            let gap = BESIDE - 4;
            let text = wrap(text, BESIDE, BESIDE)
                .replace(&format!("\n{:BESIDE$}", ""), &format!("\n  {bar} {:gap$}", ""));
            lines.push(format!("  {bar} {}{text}", paint.dim(&format!("{name:gap$}"))));
        }
        if !is_last {
            lines.push(format!("  {}", paint.name("▼")));
        }
    }
    lines.push(String::new());
    lines.push(row(paint, 2, "end to end", NAMES, &map.end_to_end.text));
    if let Some(age) = &map.log_down {
        lines.push(row(paint, 2, "log down", NAMES, &age.text));
    }
    lines.push(row(paint, 2, "source down", NAMES, &map.source_down.text));
    lines.join("\n")
}

fn document(map: &Map) -> Value {
    let layer = |layer: &Layer| json!({ "layer": layer.word, "where": layer.place, "learns": layer.learns, "oldest": age(&layer.oldest) });
    json!({
        "view": map.view,
        "source": map.source,
        "proof": map.proof,
        "default_level": map.level,
        "layers": map.layers.iter().map(layer).collect::<Vec<_>>(),
        "end_to_end": age(&map.end_to_end),
        "log_down": map.log_down.as_ref().map(age),
        "source_down": age(&map.source_down),
    })
}

fn age(age: &Age) -> Value {
    json!({ "ms": age.ms, "text": age.text })
}
