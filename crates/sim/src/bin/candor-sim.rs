//! The simulation as a program: `cargo x sim` builds it and passes its arguments on.

#![expect(clippy::print_stdout, reason = "a program for developers; printing is its whole output")]

use candor_sim::seeded::history::run;
use candor_sim::seeded::mutant::Mutant;
use candor_sim::seeded::plan::{Flaw, Plan};
use candor_sim::seeded::search::{Found, search};
use candor_sim::seeded::shrink::shrink;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const USAGE: &str = "\
candor-sim [--seconds n | --hours n] [--seed s] [--seeds n] [--jobs n]   histories, from a seed on
candor-sim --power [--seconds n] [--seed s] [--jobs n] [--small]         with each defence taken out; n seconds for each
           [--defence name]                                              with this one
candor-sim --twice [--seconds n] [--seed s]                              each history twice: both must be the same
candor-sim --replay s | --plan \"…\" [--defence name]                    one history, and its story
";

/// How long a defence is searched for, unless `--seconds` after `--power` says otherwise.
const POWER: Duration = Duration::from_secs(120);

struct Options {
    limit: Duration,
    seed: u64,
    seeds: u64,
    jobs: usize,
    power: bool,
    small: bool,
    twice: bool,
    plan: Option<Plan>,
    defence: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match read(&arguments) {
        Ok(options) if options.power => power(&options),
        Ok(options) if options.twice => twice(&options),
        Ok(Options { plan: Some(plan), defence, .. }) => replay(&plan, defence.as_deref()),
        Ok(Options { defence: Some(_), .. }) => {
            println!("`--defence` takes nothing out by itself: say `--power` or `--replay` with it\n{USAGE}");
            ExitCode::from(2)
        }
        Ok(options) => simulate(&options),
        Err(why) => {
            println!("{why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn read(arguments: &[String]) -> Result<Options, String> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        limit: Duration::from_secs(20),
        seed: RandomState::new().hash_one(0) >> 20,
        seeds: u64::MAX,
        jobs,
        power: false,
        small: false,
        twice: false,
        plan: None,
        defence: None,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--power" => (options.power, options.limit) = (true, options.limit.max(POWER)),
            "--small" => options.small = true,
            "--twice" => options.twice = true,
            _ => {}
        }
        if matches!(word.as_str(), "--power" | "--small" | "--twice") {
            continue;
        }
        let value = words.next().ok_or_else(|| format!("`{word}` lacks its value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("`{value}` is no whole number"));
        match word.as_str() {
            "--seconds" => options.limit = Duration::from_secs(number()?),
            "--hours" => options.limit = Duration::from_secs(number()? * 3600),
            "--seed" => options.seed = number()?,
            "--seeds" => options.seeds = number()?,
            "--jobs" => options.jobs = number()? as usize,
            "--replay" => options.plan = Some(Plan::of_seed(number()?)),
            "--plan" => options.plan = Some(value.parse()?),
            "--defence" => options.defence = Some(value.clone()),
            _ => return Err(format!("`{word}` is no option")),
        }
    }
    Ok(options)
}

fn simulate(options: &Options) -> ExitCode {
    println!("root seed {}, {} jobs", options.seed, options.jobs);
    let found = search(options.seed, options.limit, options.seeds, options.jobs, &|_| {});
    let seconds = found.took.as_secs_f64();
    let (answers, histories) = (found.figures.answers, found.histories);
    println!("{histories} histories, {} faults, {} steps, {seconds:.1} s", found.faults, found.steps);
    print!("{}", found.figures);
    let rate = answers as f64 / seconds / options.jobs as f64 / 1e6;
    println!("{rate:.2} million audited answers per second and core");
    match &found.failed {
        None => {
            let most = 3e9 / answers.max(1) as f64;
            println!(
                "no promise broken: with 95 % confidence fewer than {most:.3} in a thousand million answers of this kind"
            );
            ExitCode::SUCCESS
        }
        Some(plan) => {
            tell(plan);
            ExitCode::FAILURE
        }
    }
}

/// Whether one seed is one history.
fn twice(options: &Options) -> ExitCode {
    println!("root seed {}", options.seed);
    let different = AtomicU64::new(0);
    let found = search(options.seed, options.limit, options.seeds, options.jobs, &|plan| {
        let (one, other) = (run(plan), run(plan));
        if (one.trace, one.steps) != (other.trace, other.steps) {
            println!("seed {} is two histories", plan.seed);
            different.fetch_add(1, Ordering::Relaxed);
        }
        // The search would run it a third time.
        plan.millis = 0;
    });
    let different = different.into_inner();
    println!("{} histories run twice, {different} of them differed", found.histories);
    if different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The failing history made small, and its story.
fn tell(plan: &Plan) {
    println!("\nFAILED: seed {}\n  {plan}", plan.seed);
    let Some(violation) = run(plan).violation else {
        println!("it does not fail again: something in this world is not seeded");
        return;
    };
    let (small, outcome) = shrink(plan, violation.broken, 400);
    println!("smaller:\n  {small}\n{}", outcome.story);
    println!("again: cargo x sim --plan \"{small}\"");
}

fn power(options: &Options) -> ExitCode {
    let is_wanted = |mutant: &Mutant| options.defence.as_deref().is_none_or(|name| mutant.name() == name);
    let mutants: Vec<Mutant> = Mutant::all().into_iter().filter(is_wanted).collect();
    if mutants.is_empty() {
        println!("no defence of this build is called `{}`", options.defence.as_deref().unwrap_or_default());
        return ExitCode::from(2);
    }
    println!("root seed {}, {} jobs, {} defences", options.seed, options.jobs, mutants.len());
    let mut unnoticed = Vec::new();
    for mutant in mutants {
        let found = mutant.search(options.seed, options.limit, options.seeds, options.jobs);
        println!("{}", line(mutant, &found));
        match &found.failed {
            Some(plan) if options.small => println!("{}: {}", mutant.name(), small(mutant, plan)),
            Some(_) => {}
            None => unnoticed.push(mutant.name()),
        }
    }
    if unnoticed.is_empty() {
        println!("every defence was missed when it was taken out");
        ExitCode::SUCCESS
    } else {
        println!("NOT NOTICED: {}", unnoticed.join(", "));
        ExitCode::FAILURE
    }
}

/// The history made small, with the defence back in place.
fn small(mutant: Mutant, plan: &Plan) -> Plan {
    let (small, _) = mutant.without(|| match run(plan).violation {
        Some(violation) => shrink(plan, violation.broken, 400),
        None => (plan.clone(), run(plan)),
    });
    Plan { flaw: Flaw::None, ..small }
}

fn line(mutant: Mutant, found: &Found) -> String {
    let (name, place) = (mutant.name(), mutant.place());
    let histories = found.histories;
    let seconds = found.took.as_secs_f64();
    match &found.failed {
        Some(plan) => {
            let broken = mutant.without(|| run(plan)).violation.map(|violation| violation.broken);
            let broken = broken.map_or_else(String::new, |broken| format!("{broken:?}"));
            let seed = plan.seed;
            format!(
                "{name:28} {place:5} {broken:9} after {histories:6} histories, {seconds:6.2} s: seed {seed}"
            )
        }
        None => format!("{name:28} {place:5} NOT NOTICED in {histories} histories, {seconds:.2} s"),
    }
}

fn replay(plan: &Plan, defence: Option<&str>) -> ExitCode {
    let Some(name) = defence else { return again(plan) };
    match Mutant::all().into_iter().find(|mutant| mutant.name() == name) {
        Some(mutant) => mutant.without(|| again(&mutant.plan(plan))),
        None => {
            println!("no defence of this build is called `{name}`");
            ExitCode::from(2)
        }
    }
}

fn again(plan: &Plan) -> ExitCode {
    let outcome = run(plan);
    println!("{plan}\ntrace {:016x}, {} steps", outcome.trace, outcome.steps);
    print!("{}", outcome.figures);
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(_) => {
            tell(plan);
            ExitCode::FAILURE
        }
    }
}
