//! `cargo x`: the commands of this repository, the same for a person and for continuous integration.
//!
//! Each command is a list of named stages ([`stage`]); every stage runs even when an earlier one failed, and the
//! summary at the end says what each cost. Deliberately absent: configuration, caching, cleverness. What a stage runs
//! is printed, so anyone can run it by hand.

#![expect(
    clippy::print_stdout,
    reason = "a command-line program for developers; printing is its whole output"
)]

mod bench;
mod cargo;
mod check;
mod concurrency;
mod fuzz;
mod model;
mod sabotage;
mod sim;
mod soak;
mod stage;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo x <command>

  check                 formatting, clippy, tidy, documentation, dependencies: everything but the tests
  test [args]           every test (unit, integration, documentation, sabotage), installing the programs they call;
                        arguments go to `cargo test`, for example: cargo x test -p candor-core -- judge
  tidy                  the house rules alone; a second or two
  sabotage [--servers [word]]
                        defences taken out on purpose: the audits and the tests against servers must notice (part of
                        test); --servers leaves the audits out, a word all other defences
  sim [args]            histories of real engines over a modelled source, each answer audited: --seconds n or --hours n,
                        --seed s, --replay s, --plan line; --power takes each defence out in turn, n seconds for each
  concurrency [args]    the ledger, memory, flights and followers with a checker as the scheduler (part of test);
                        --schedules n (20000)
  soak [args]           writers and faults on a real PostgreSQL, every answer judged; --minutes n (20), --seed n, --json
  fuzz [name [args]]    one fuzzer, for --seconds n, from --seed n; without a name, the list of them
  scoreboard [args]     the usual ways to cache beside Candor, on real servers, healthy and under faults
  model [--full] [world …]
                        every interleaving of the protocol in a small world; --full takes the larger worlds too
  bench [name [args]]   one benchmark in the shipping profile; without a name, the list of them
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(ended) = sim::as_wrapper(&arguments) {
        return ended;
    }
    let mut arguments = arguments.into_iter();
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    match (command.as_deref(), rest.as_slice()) {
        (Some("check"), []) => check::run(),
        (Some("test"), arguments) => test::run(arguments),
        (Some("tidy"), []) => check::tidy_alone(),
        (Some("sabotage"), arguments) => sabotage::run(arguments),
        (Some("sim"), arguments) => sim::run(arguments),
        (Some("concurrency"), arguments) => concurrency::run(arguments),
        (Some("soak"), arguments) => soak::run(arguments),
        (Some("fuzz"), []) => fuzz::list(),
        (Some("fuzz"), [name, arguments @ ..]) => fuzz::run(name, arguments),
        (Some("scoreboard"), arguments) => bench::run("scoreboard", arguments),
        (Some("model"), arguments) => model::run(arguments),
        (Some("bench"), []) => bench::list(),
        (Some("bench"), [name, arguments @ ..]) => bench::run(name, arguments),
        (None | Some("help" | "--help" | "-h"), _) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        (Some(_), _) => {
            print!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
