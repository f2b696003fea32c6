//! `candor serve`: the doors, until interrupted. Ctrl-C or SIGTERM drains; a second one does not wait.

use crate::args::Global;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::signals::Signals;
use crate::start;
use crate::terminal::{Terminal, count};
use candor_server::{Config, Gate, Listener, Service, process_environment};
use clap::Args;
use serde_json::json;
use std::net::SocketAddr;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

pub(crate) const AFTER: &str = "\
Prints its address once it listens, and `ready` once the log of every source is followed. Logs go to stderr.

Examples:
  candor serve
  candor serve --config shop/candor.toml --log debug
  RUST_LOG=candor_server=debug candor serve --json

Then:
  curl http://127.0.0.1:7070/v1/views/user/42
  curl http://127.0.0.1:7070/readyz";

/// What `candor serve` takes.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// What to log: error, warn, info, debug, trace, or a filter such as candor_server=debug,warn
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

/// Serves until interrupted.
pub(crate) fn run(global: &Global, args: &ServeArgs, terminal: &Terminal) -> Outcome {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| {
        Failure::usage(format!("`{}` is not a filter for logs: {error}", args.log), "write --log info")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal.err().is_on())
        .init();
    let config = start::config(global)?;
    let gate = Gate::of(&config, &process_environment).map_err(Failure::config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(format!("no runtime: {error}")))?;
    let outcome = runtime.block_on(serve(&config, gate, terminal));
    runtime.shutdown_background();
    outcome
}

async fn serve(config: &Config, gate: Gate, terminal: &Terminal) -> Outcome {
    let mut signals = Signals::listen()?;
    let service = start::service(config, terminal).await?;
    let listener = Listener::bind(config, service.clone(), gate).await?;
    announce(config, listener.address(), terminal);

    let (stop, stopped) = oneshot::channel::<()>();
    let serving = listener.run(async {
        // The sender is only dropped with this future.
        let _ = stopped.await;
    });
    let told = async {
        service.followed().await;
        ready(&service, terminal);
        std::future::pending::<()>().await;
    };
    let orders = async {
        signals.next().await;
        terminal.note("stopping: requests in progress may finish; once more to stop at once");
        // Whoever would hear it has stopped already.
        let _ = stop.send(());
        signals.next().await;
    };
    let drained = tokio::select! {
        drained = serving => drained,
        () = told => false,
        () = orders => false,
    };
    if terminal.is_json() {
        terminal.banner(json!({ "event": "stopped", "drained": drained }));
    }
    if drained {
        terminal.note("stopped; every request was answered");
        return Ok(Code::Ok);
    }
    terminal.note("stopped; some requests were cut off");
    Ok(Code::No)
}

fn announce(config: &Config, address: SocketAddr, terminal: &Terminal) {
    if terminal.is_json() {
        let views: Vec<&str> = config.views.iter().map(|view| &*view.name).collect();
        terminal.banner(json!({ "event": "listening", "http": format!("http://{address}"), "views": views }));
        return;
    }
    let paint = terminal.paint();
    let mut text = format!("candor {} listens on http://{address}\n", env!("CARGO_PKG_VERSION"));
    let width = config.views.iter().map(|view| view.name.chars().count()).max().unwrap_or(0);
    for view in &config.views {
        let mut path = format!("/v1/views/{}", view.name);
        for (at, column) in view.query.key.iter().enumerate() {
            if view.private != Some(at) {
                path.push_str(&format!("/{{{}}}", column.name));
            }
        }
        let name = paint.name(&format!("{:width$}", view.name));
        text.push_str(&format!("  {name}  {path}  {}\n", paint.dim(&view.contract.level.to_string())));
    }
    terminal.banner(text.trim_end());
}

fn ready(service: &Service, terminal: &Terminal) {
    let logs = service.sources().iter().filter(|source| source.is_logged()).count();
    if terminal.is_json() {
        return terminal.banner(json!({ "event": "ready", "logs": logs }));
    }
    let what = if logs == 0 {
        "no source has a log to follow".to_owned()
    } else {
        format!("{} followed", count(logs, "log"))
    };
    terminal.banner(format!("{} {what}; stop with Ctrl-C", terminal.paint().good("ready:")));
}
