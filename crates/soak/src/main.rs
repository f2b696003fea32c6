//! `cargo x soak`: the long run by itself. `--minutes n`, `--seed n`, `--json`, `--candor path`; `--calm` breaks nothing,
//! `--lie` gives the library loaders that take their stamp after their value, which the oracle must notice.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program; printing is its output"
)]

use candor_soak::{Lie, Settings, run};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "cargo x soak [--minutes <number>] [--seed <number>] [--json] [--calm] [--lie]";

fn main() -> ExitCode {
    let mut settings = Settings {
        duration: Duration::from_secs(20 * 60),
        patience: Duration::ZERO,
        enough: |_| true,
        seed: u64::from(std::process::id()),
        candor: None,
        calm: Some(Duration::from_secs(4)),
        lie: Lie::None,
        readers: 3,
        rate: 30,
        progress: Some(|line| eprintln!("{line}")),
    };
    let mut is_json = false;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse::<f64>().ok());
        let understood = match word.as_str() {
            "--json" => {
                is_json = true;
                Some(())
            }
            "--minutes" => {
                number().map(|minutes| settings.duration = Duration::from_secs_f64(minutes * 60.0))
            }
            "--seed" => number().map(|seed| settings.seed = seed as u64),
            "--candor" => {
                let found = words.next().and_then(|path| std::fs::canonicalize(path).ok());
                found.map(|path| settings.candor = Some(path))
            }
            "--calm" => {
                settings.calm = None;
                Some(())
            }
            "--lie" => {
                settings.lie = Lie::StampAfterRead;
                Some(())
            }
            _ => None,
        };
        if understood.is_none() {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    let minutes = settings.duration.as_secs_f64() / 60.0;
    eprintln!("{minutes} minutes, seed {}", settings.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let report = runtime.block_on(run(settings));
    if is_json {
        println!("{}", report.json());
    } else {
        print!("{}", report.human());
    }
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
