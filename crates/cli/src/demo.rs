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

use board::Board;
use contenders::Contender;
use std::path::PathBuf;
use std::process::ExitCode;
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
pub(crate) fn run(args: &DemoArgs, json: bool) -> ExitCode {
    let outcome = match &args.writer {
        Some(database) => writer::run(database, args),
        None => demonstrate(args, json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("candor demo: {trouble}");
            ExitCode::from(70)
        }
    }
}

fn demonstrate(args: &DemoArgs, json: bool) -> Result<(), Trouble> {
    if !args.no_serve && !args.http.ip().is_loopback() {
        let address = args.http;
        return Err(format!(
            "the demonstration has no access control and only listens on loopback, not on {address}"
        )
        .into());
    }
    let folder = shop::Folder::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let sqlite = shop::open(&folder, args.products).await?;
        let world = candor::World::exact();
        let truth = Arc::new(Truth::new(args.products));
        let contenders = contenders::all(&sqlite, &world, args.products).await?;
        let writer = writer::Process::start(&folder.database(), args, Arc::clone(&truth), &contenders)?;
        truth.wait_for_first(&world).await?;
        if !json {
            println!("{}", board::headline(args));
        }
        let board = measure(args, json, &world, &truth, &contenders).await;
        if json {
            println!("{}", board.json());
        } else {
            println!("{}", board.verdict());
        }
        for contender in &contenders {
            contender.close().await;
        }
        if args.no_serve {
            drop(writer);
            return Ok(());
        }
        door::serve(args, &folder, writer, json).await
    })
}

/// Lets everybody read for the agreed time, and shows how it goes.
async fn measure(
    args: &DemoArgs,
    json: bool,
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
        if !json {
            shown = board.show(shown, second == args.seconds);
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
