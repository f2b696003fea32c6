//! The binary `candor`: the command line over the library and the server. It is the only place that prints.
//!
//! ```text
//! arguments ─► args ─► one file per command ─► terminal (stdout: what was asked for; stderr: everything else)
//!                        │            │
//!                        │ start      │ door: a running server over HTTP (client),
//!                        ▼            ▼       or the same service in this process (embedded)
//!                  candor-server, candor-sqlite
//! ```
//!
//! Rooms:
//!
//! * `exit`, `failure`: what the exit code says, and what is said about a failure: what happened, whose fault it is,
//!   what to do next.
//! * `terminal`, `progress`, `wall`: printing, colours, the clock on the wall.
//! * `start`: from the file to open sources and a running service.
//! * `door`, `client`, `embedded`, `reply`: reading through a server or without one, with the same result.
//! * One file for each command: `serve`, `check`, `setup`, `get`, `mget`, `fence`, `explain`, `audit`, `tail`, `map`,
//!   `demo`.
//!
//! Invariants: stdout holds nothing but what was asked for; with `--json` it is JSON, also for failures. No command
//! waits without a deadline, except `serve`, `tail` and `demo`, which end on Ctrl-C.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command line is the one place that prints"
)]

mod args;
mod audit;
mod check;
mod client;
mod demo;
mod door;
mod embedded;
mod exit;
mod explain;
mod failure;
mod fence;
mod get;
mod map;
mod mget;
mod progress;
mod reply;
mod serve;
mod setup;
mod signals;
mod start;
mod tail;
mod terminal;
mod wall;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use exit::Code;
use failure::Outcome;
use std::process::ExitCode;
use terminal::Terminal;

/// A request is a dozen small allocations and one of 8 KiB, which the system's allocator takes a tenth of the time for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::refused(&error),
    };
    let terminal = Terminal::new(cli.global.json, cli.global.quiet);
    match run(&cli, &terminal) {
        Ok(code) => code,
        Err(failure) => {
            failure.tell(&terminal);
            failure.code.into()
        }
    }
}

fn run(cli: &Cli, terminal: &Terminal) -> Result<ExitCode, failure::Failure> {
    let global = &cli.global;
    let outcome: Outcome = match &cli.command {
        Command::Serve(args) => serve::run(global, args, terminal),
        Command::Check(args) => start::block_on(check::run(global, args, terminal)),
        Command::Setup(args) => start::block_on(setup::run(global, args, terminal)),
        Command::Get(args) => start::block_on(get::run(global, args, terminal)),
        Command::Mget(args) => start::block_on(mget::run(global, args, terminal)),
        Command::Fence(args) => start::block_on(fence::run(global, args, terminal)),
        Command::Explain(args) => start::block_on(explain::run(global, args, terminal)),
        Command::Audit(args) => start::block_on(audit::run(global, args, terminal)),
        Command::Tail(args) => start::block_on(tail::run(global, args, terminal)),
        Command::Map(args) => map::run(global, args, terminal),
        Command::Demo(args) => demo::run(args, terminal),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "candor", &mut script);
            terminal.out(String::from_utf8_lossy(&script).trim_end());
            Ok(Code::Ok)
        }
    };
    outcome.map(ExitCode::from)
}
