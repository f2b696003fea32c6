//! The seeded world as a test: a fixed budget of histories, the corpus, and that one seed is one history.

use candor_sim::seeded::corpus::corpus;
use candor_sim::seeded::history::run;
use candor_sim::seeded::mutant::Mutant;
#[cfg(not(candor_sabotage))]
use candor_sim::seeded::{plan::Plan, search::search};
use std::time::Duration;

/// Where the fixed budget begins. Any number will do; this one is the same every time.
const ROOT: u64 = 20_261_121;

#[cfg(not(candor_sabotage))]
#[test]
fn a_plan_is_read_back_from_its_line() {
    for seed in 0..200 {
        let plan = Plan::of_seed(seed);
        assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
    }
}

#[cfg(not(candor_sabotage))]
#[test]
fn one_seed_is_one_history_step_by_step_and_answer_by_answer() {
    for seed in ROOT..ROOT + 24 {
        let plan = Plan::of_seed(seed);
        let (one, other) = (run(&plan), run(&plan));
        assert!(one.figures.answers > 0, "{plan}");
        assert_eq!(
            (one.trace, one.steps, &one.figures),
            (other.trace, other.steps, &other.figures),
            "{plan}"
        );
    }
    let different = run(&Plan { millis: 60, ..Plan::of_seed(ROOT + 1) });
    assert_ne!(run(&Plan { millis: 60, ..Plan::of_seed(ROOT) }).trace, different.trace);
}

/// Prints the digests of some histories; run by the test below in a process of its own.
#[cfg(not(candor_sabotage))]
#[test]
fn digests() {
    if std::env::var_os("CANDOR_SIM_DIGESTS").is_some() {
        let digests: Vec<String> = traces().iter().map(|trace| format!("{trace:016x}")).collect();
        println!("digests: {}", digests.join(" "));
    }
}

#[cfg(not(candor_sabotage))]
fn traces() -> Vec<u64> {
    (0..3).map(|number| run(&Plan { millis: 40, ..Plan::of_seed(ROOT + number) }).trace).collect()
}

#[cfg(not(candor_sabotage))]
#[test]
fn another_process_runs_the_same_histories() {
    let program = std::env::current_exe().expect("a test knows its own program");
    let mut command = std::process::Command::new(program);
    command.args(["seeded::digests", "--exact", "--nocapture"]).env("CANDOR_SIM_DIGESTS", "1");
    let output = command.output().expect("the test program can be run again");
    let expected: Vec<String> = traces().iter().map(|trace| format!("{trace:016x}")).collect();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains(&expected.join(" ")), "{} not in {printed}", expected.join(" "));
}

#[cfg(not(candor_sabotage))]
#[test]
fn histories_that_failed_once_break_no_promise() {
    let kept = corpus().expect("the corpus can be read");
    assert!(kept.len() > 20, "the corpus is not there");
    for kept in kept {
        let outcome = run(&kept.plan);
        assert!(
            outcome.violation.is_none(),
            "once failed without {}: {}\n{}",
            kept.defence,
            kept.plan,
            outcome.story
        );
    }
}

#[cfg(not(candor_sabotage))]
#[test]
fn a_fixed_budget_of_histories_breaks_no_promise_and_is_not_bought_by_refusing() {
    let found = search(ROOT, Duration::from_secs(8), 60, 2, &|_| {});
    if let Some(plan) = &found.failed {
        panic!("seed {}: {plan}\n{}", plan.seed, run(plan).story);
    }
    let figures = &found.figures;
    println!("{} histories\n{figures}", found.histories);
    assert!(figures.answers > 1000 && figures.commits > 20, "{figures}");
    assert!(figures.hits * 2 > figures.answers, "memory answers too little: {figures}");
    assert!(figures.refused_all() * 5 < figures.answers, "too much is refused: {figures}");
}

/// What the model leaves out is noticed in every build; the switches in the real code need theirs, and are of the whole
/// process, so there nothing else may run beside it.
///
/// The history that missed a defence once is tried first. Where the engine has changed since, so has that history, and a
/// new one is searched for.
#[cfg_attr(not(candor_sabotage), test)]
pub(crate) fn every_defence_that_is_taken_out_is_missed() {
    let kept = corpus().expect("the corpus can be read");
    let is_missed = |mutant: Mutant| {
        let known = kept.iter().filter(|kept| kept.defence == mutant.name());
        let is_known = mutant
            .without(|| known.map(|kept| run(&mutant.plan(&kept.plan))).any(|it| it.violation.is_some()));
        is_known || {
            let found = mutant.search(ROOT, Duration::from_secs(60), u64::MAX, 2);
            println!(
                "{}: the kept history passes; searched {} others, {:?}",
                mutant.name(),
                found.histories,
                found.took
            );
            found.failed.is_some()
        }
    };
    let unnoticed: Vec<&str> =
        Mutant::all().into_iter().filter(|mutant| !is_missed(*mutant)).map(Mutant::name).collect();
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
