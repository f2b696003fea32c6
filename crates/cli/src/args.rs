//! What can be typed. Help texts are written for somebody who has never seen Candor.

use crate::exit::{self, Code};
use crate::{audit, check, demo, door, explain, fence, get, map, mget, serve, setup, tail};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

const ABOUT: &str = "A cache that shows its receipts";

const LONG_ABOUT: &str = "\
A cache that shows its receipts.

Candor answers reads of a database from memory. Every answer says how old it may be and proves it by the \
database's own log of changes. What may be cached, and how old it may get, is declared in candor.toml.";

const AFTER: &str = "\
First steps:
  candor demo                     see it work; needs no configuration
  candor check                    hold candor.toml against the live source
  candor setup --dry-run          show the SQL that records changes; without --dry-run, run it
  candor serve                    answer reads over HTTP
  candor get user 42              read one key, with its receipt
  candor explain user 42          why a key holds what it holds
  candor audit                    hold what is served against the source";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "candor", version, about = ABOUT, long_about = LONG_ABOUT, styles = STYLES, max_term_width = 100)]
#[command(after_help = format!("{AFTER}\n\n{}", exit::HELP))]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options everywhere")]
pub(crate) struct Global {
    /// The configuration file
    #[arg(long, global = true, env = "CANDOR_CONFIG", default_value = "candor.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Print JSON for programs, also for failures
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing but what was asked for
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// The commands, in the order in which one meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer reads over HTTP until interrupted
    #[command(after_help = serve::AFTER)]
    Serve(serve::ServeArgs),
    /// Hold every view against the live source: what it reads, what invalidates it, what can be promised
    #[command(after_help = check::AFTER)]
    Check(check::CheckArgs),
    /// Install what records changes in the source (or show it, or take it out)
    #[command(after_help = setup::AFTER)]
    Setup(setup::SetupArgs),
    /// Read one key
    #[command(after_help = get::AFTER)]
    Get(get::GetArgs),
    /// Read several keys of a view, also as one snapshot
    #[command(after_help = mget::AFTER)]
    Mget(mget::MgetArgs),
    /// Take the session token for "everything up to now"
    #[command(after_help = fence::AFTER)]
    Fence(fence::FenceArgs),
    /// Tell the life of a key: fills, changes, judgements, refusals
    #[command(after_help = explain::AFTER)]
    Explain(explain::ExplainArgs),
    /// Hold what a running server serves against its sources, and count false receipts
    #[command(after_help = audit::AFTER)]
    Audit(audit::AuditArgs),
    /// Follow a source's log and print each change
    #[command(after_help = tail::AFTER)]
    Tail(tail::TailArgs),
    /// Show every layer a view's answers live in, and how old they can get there
    #[command(after_help = map::AFTER)]
    Map(map::MapArgs),
    /// Watch a TTL cache, cache-aside and Candor read the same shop while somebody else writes to it
    Demo(demo::DemoArgs),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const COMPLETIONS: &str = "\
Examples:
  candor completions bash > /etc/bash_completion.d/candor
  candor completions zsh > \"${fpath[1]}/_candor\"
  candor completions fish > ~/.config/fish/completions/candor.fish";

/// How a read is to be made; shared by the commands that read.
#[derive(Args, Debug)]
pub(crate) struct ReadArgs {
    /// How old the answer may be: strong, bounded:500ms, session or any; the view's own level if left out
    #[arg(long, value_name = "LEVEL", value_parser = candor_core::Level::parse)]
    pub(crate) level: Option<candor_core::Level>,
    /// A token the answer must not be behind; from an earlier read, or from `candor fence`
    #[arg(long, value_name = "TOKEN")]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) door: door::DoorArgs,
}

/// Says why the arguments cannot be understood; also prints `--help` and `--version`, which arrive the same way.
pub(crate) fn refused(error: &clap::Error) -> ExitCode {
    let is_wish = !error.use_stderr();
    if !is_wish && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let told = serde_json::json!({ "error": {
            "code": Code::Usage as u8,
            "kind": Code::Usage.word(),
            "what": what,
            "whose": "caller",
            "next": "see candor --help",
        }});
        println!("{told}");
    }
    // A terminal that has gone needs no help.
    let _ = error.print();
    if is_wish { Code::Ok.into() } else { Code::Usage.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
