//! `candor demo`: a shop in SQLite, a second process that writes to it, and the same keys read without a cache, through a
//! TTL cache, through cache-aside, and through Candor at each level, side by side. Every answer is checked against the truth.
//!
//! Nothing is scripted: the competitors are what teams write, with a time to live, single-flight loads and (for
//! cache-aside) a delete after every write of the application. The figures are what happened on this machine.

mod board;
mod contenders;
mod door;
mod shop;
mod truth;
mod writer;

use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::signals::Signals;
use crate::terminal::Terminal;
use board::Board;
use candor_server::StartError;
use contenders::Contender;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use truth::Truth;

/// What `candor demo` can be told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// How long to measure, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Products in the shop
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    products: u32,
    /// Transactions per second of the writing process
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    writes: u32,
    /// Of a hundred writes, how many come from a script that knows of no cache (a migration, a nightly job)
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=100))]
    others: u32,
    /// Where the service listens after the measurement
    #[arg(long, default_value = "127.0.0.1:7070")]
    http: std::net::SocketAddr,
    /// Only measure; do not stay up afterwards
    #[arg(long)]
    no_serve: bool,
    /// Run as the writing process, on this database
    #[arg(long, hide = true, value_name = "DATABASE")]
    writer: Option<PathBuf>,
}

/// Why the demonstration stopped. Its message says what happened and what to do.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Runs the demonstration, or its writing process.
pub(crate) fn run(args: &DemoArgs, terminal: &Terminal) -> Outcome {
    match &args.writer {
        Some(database) => writer::run(database, args).map(|()| Code::Ok).map_err(failure),
        None => demonstrate(args, terminal),
    }
}

/// Most of what can go wrong is the machine's: no room for the shop, an address that is taken.
fn failure(trouble: Trouble) -> Failure {
    match trouble.downcast::<StartError>().map(|error| *error) {
        Ok(StartError::Listen(error)) => error.into(),
        Ok(StartError::Config(complaints)) => Failure::config(complaints),
        Err(trouble) => Failure::internal(trouble.to_string()),
    }
}

fn demonstrate(args: &DemoArgs, terminal: &Terminal) -> Outcome {
    if !args.no_serve && !args.http.ip().is_loopback() {
        let address = args.http;
        return Err(Failure::usage(
            format!("the demonstration has no access control and only listens on loopback, not on {address}"),
            "leave --http out, or name a port of 127.0.0.1",
        ));
    }
    let folder = shop::Folder::new().map_err(failure)?;
    // Dropped before the folder, and with it whatever still reads there.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        // From here on an order to stop ends this function, and so removes the folder.
        let mut signals = Signals::listen()?;
        let writer = tokio::select! {
            writer = compare(args, terminal, &folder) => writer.map_err(failure)?,
            () = signals.next() => {
                terminal.note("interrupted before the measurement ended");
                return Ok(Code::No);
            }
        };
        if args.no_serve {
            return Ok(Code::Ok);
        }
        door::serve(args, &folder, writer, &mut signals, terminal).await.map_err(failure)
    })
}

/// Measures and shows. Returns the writing process, which goes on.
async fn compare(
    args: &DemoArgs,
    terminal: &Terminal,
    folder: &shop::Folder,
) -> Result<writer::Process, Trouble> {
    let sqlite = shop::open(folder, args.products).await?;
    let world = candor::World::system();
    let truth = Arc::new(Truth::new(args.products));
    let contenders = contenders::all(&sqlite, &world, args.products).await?;
    let writer = writer::Process::start(&folder.database(), args, Arc::clone(&truth), &contenders)?;
    truth.wait_for_first(&world).await?;
    if is_chatty(terminal) {
        terminal.out(board::headline(args));
    }
    let board = measure(args, terminal, &world, &truth, &contenders).await;
    if terminal.is_json() {
        terminal.json(&board.json());
    } else {
        terminal.out(board.verdict());
    }
    for contender in &contenders {
        contender.close().await;
    }
    Ok(writer)
}

/// Whether more is shown than the result.
fn is_chatty(terminal: &Terminal) -> bool {
    !terminal.is_json() && !terminal.is_quiet()
}

/// Lets everybody read for the agreed time, and shows how it goes.
async fn measure(
    args: &DemoArgs,
    terminal: &Terminal,
    world: &candor::World,
    truth: &Arc<Truth>,
    contenders: &[Arc<Contender>],
) -> Board {
    let reading = Arc::new(AtomicBool::new(true));
    let begun = world.now();
    let readers: Vec<_> = contenders
        .iter()
        .map(|contender| {
            let (contender, truth) = (Arc::clone(contender), Arc::clone(truth));
            let (world, reading) = (world.clone(), Arc::clone(&reading));
            #[expect(clippy::disallowed_methods, reason = "the demonstration is the outside world")]
            tokio::spawn(async move { contender.read_on(&world, &truth, &reading).await })
        })
        .collect();
    let mut shown = 0;
    for second in 1..=args.seconds {
        world.sleep_until(begun.plus(Duration::from_secs(second))).await;
        let board = Board::of(contenders, truth, world.now().since(begun));
        let is_last = second == args.seconds;
        if is_chatty(terminal) || (is_last && !terminal.is_json()) {
            shown = board.show(shown, is_last);
        }
    }
    reading.store(false, Ordering::Release);
    let took = world.now().since(begun);
    for reader in readers {
        // A reader that panicked shows as one that read nothing more.
        let _ = reader.await;
    }
    Board::of(contenders, truth, took)
}
