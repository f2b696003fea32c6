//! `cargo x model`: ours visits every state of every world; each variant shows the shortest history that breaks it.
//!
//! `--full` takes the larger worlds too. Arguments that name worlds limit both to them.

#![expect(
    clippy::print_stdout,
    reason = "a command-line program for developers; printing is its whole output"
)]

use candor_model::{Counterexample, Size, Variant, exhaust, refute};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, names): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|word| word.starts_with("--"));
    let is_full = match options.as_slice() {
        [] => false,
        [option] if option == "--full" => true,
        _ => {
            println!("candor-model [--full] [world …]");
            return ExitCode::from(2);
        }
    };
    let known: Vec<_> = Size::small().into_iter().chain(Size::large()).map(|size| size.name).collect();
    if let Some(stranger) = names.iter().find(|name| !known.contains(&name.as_str())) {
        println!("no world is called {stranger:?}; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let is_wanted = |size: &Size| names.is_empty() || names.iter().any(|name| name == size.name);
    let (mut holds, mut found_out, mut tried) = (true, 0, 0);
    for size in Size::small().into_iter().chain(is_full.then(Size::large).into_iter().flatten()) {
        if is_wanted(&size) {
            holds &= prove(size);
        }
    }
    for variant in Variant::BROKEN {
        let size = Size::that_shows(variant);
        if is_wanted(&size) {
            tried += 1;
            found_out += u32::from(break_down(size, variant));
        }
    }
    if tried > 0 {
        println!("\n{found_out} of {tried} variants found out");
    }
    holds &= found_out == tried;
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn prove(size: Size) -> bool {
    println!("{} ({})", size.name, size.about);
    let begun = now();
    let found = exhaust(size, Variant::Ours, 2);
    let seconds = now().duration_since(begun).as_secs_f64();
    let (states, steps, depth) = (found.states, found.steps, found.depth);
    println!("  every one of {states} states, {steps} steps, histories up to {depth}, {seconds:.1} s");
    for (property, history) in &found.broken {
        println!("  BROKEN: {property}\n{history}");
    }
    for property in &found.never {
        println!("  NEVER: {property}");
    }
    found.broken.is_empty() && found.never.is_empty()
}

fn break_down(size: Size, variant: Variant) -> bool {
    println!("\n{}, in the world `{}`", variant.words(), size.name);
    match refute(size, variant) {
        Some(found) => {
            let Counterexample { steps, states, property, history } = found;
            println!("  broken in {steps} steps, after {states} states: {property}\n{history}");
            true
        }
        None => {
            println!("  NOT FOUND OUT: the model does not see what this defence is for");
            false
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "times what a developer waits for; no engine runs here")]
fn now() -> Instant {
    Instant::now()
}
