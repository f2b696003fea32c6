//! The usual ways to cache, and Candor, under the same writes, on the same servers, judged by the same truth.
//!
//! Two instances of an application read and write through each contender in turn, healthy and under faults. A read is
//! stale if it missed a write whose commit had been acknowledged before the read began. After each turn everything rests
//! for longer than the shortest time to live; whoever answers wrongly then was left stale for good.
//!
//! `--seconds n` per turn (4), `--only text` for contenders and `--fault text` for faults whose name contains it,
//! `--write` to put the table and the picture into `docs/`.

mod faults;
mod ground;
mod instance;
mod patterns;
mod report;
mod shelf;
mod truth;

use faults::{Fault, FAULTS};
use ground::{Ground, KEYS, Trouble};
use instance::{Orders, Tally};
use patterns::{ALL, Kind, Places};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use truth::Truth;

const INSTANCES: usize = 2;

/// Longer than the shortest time to live and the delay of the delayed delete.
const REST: Duration = Duration::from_millis(2500);

/// How long an instance may take for a phase beyond its length.
const PATIENCE: Duration = Duration::from_secs(60);

struct Wish {
    seconds: u64,
    only: String,
    fault: String,
    write: bool,
}

fn main() -> ExitCode {
    let Some(wish) = read(std::env::args().skip(1)) else {
        println!("cargo x scoreboard [--seconds n] [--only contender] [--fault name] [--write]");
        return ExitCode::from(2);
    };
    let ground = Ground::lay();
    let mut rows = Vec::new();
    for fault in FAULTS.iter().filter(|fault| fault.name().contains(&wish.fault)) {
        println!("\n{}", fault.name());
        println!("{}", report::HEAD);
        for (name, kind) in ALL.iter().filter(|(name, _)| name.contains(&wish.only)) {
            match turn(&ground, *kind, *fault, Duration::from_secs(wish.seconds)) {
                Ok(tally) => {
                    let row = report::Row::of(name, fault.name(), &tally, wish.seconds);
                    println!("{row}");
                    rows.push(row);
                }
                Err(error) => {
                    println!("{name}: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    if wish.write
        && let Err(error) = report::write(&rows, wish.seconds)
    {
        println!("{error}");
        return ExitCode::FAILURE;
    }
    let broken: u64 = rows.iter().map(|row| row.broken).sum();
    println!("\npromises broken by receipts: {broken}");
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One contender under one fault.
fn turn(ground: &Ground, kind: Kind, fault: Fault, length: Duration) -> Result<Arc<Tally>, Trouble> {
    ground.level()?;
    let (truth, tally) = (Arc::new(Truth::of(KEYS)), Arc::new(Tally::default()));
    let phase = Arc::new(AtomicU8::new(instance::WAIT));
    let (told, done) = mpsc::channel();
    let mut threads = Vec::new();
    for number in 0..INSTANCES {
        let orders = Orders {
            kind,
            places: Places { database: ground.cluster.url("postgres"), redis: ground.redis.url(), instance: number },
            truth: Arc::clone(&truth),
            tally: Arc::clone(&tally),
            phase: Arc::clone(&phase),
            pauses: fault.pauses(number),
        };
        let told = told.clone();
        threads.push(thread::spawn(move || instance::run(orders, told)));
    }
    let all = |extra: Duration| -> Result<(), Trouble> {
        for _ in 0..INSTANCES {
            done.recv_timeout(PATIENCE + extra)??;
        }
        Ok(())
    };
    all(Duration::ZERO)?;
    phase.store(instance::RUN, Ordering::Release);
    let inflicted = fault.inflict(ground, &truth, length);
    phase.store(instance::REST, Ordering::Release);
    inflicted?;
    all(Duration::ZERO)?;
    fault.lift(ground);
    thread::sleep(REST);
    phase.store(instance::SWEEP, Ordering::Release);
    all(Duration::ZERO)?;
    for thread in threads {
        if thread.join().is_err() {
            return Err("an instance panicked".into());
        }
    }
    Ok(tally)
}

fn read(arguments: impl Iterator<Item = String>) -> Option<Wish> {
    let mut wish = Wish { seconds: 4, only: String::new(), fault: String::new(), write: false };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => wish.seconds = arguments.next()?.parse().ok()?,
            "--only" => wish.only = arguments.next()?,
            "--fault" => wish.fault = arguments.next()?,
            "--write" => wish.write = true,
            _ => return None,
        }
    }
    Some(wish)
}
