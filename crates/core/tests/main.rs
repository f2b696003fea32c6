//! The core held against brute force.
//!
//! * [`world`]: a simulated source, a ledger that follows it through a bad relay, and a model that knows the truth.
//! * [`sequence`] and [`snapshot`]: random histories of the two kinds of source, every verdict compared with the truth.
//! * [`readers`]: the lock-free reads under a writer at full speed.
//! * [`laws`]: the algebra of the small nouns.
//!
//! Histories are drawn from a fixed seed, so that a run says the same everywhere. `PROPTEST_RNG_SEED` and
//! `PROPTEST_CASES` widen the search.

mod laws;
mod readers;
mod sequence;
mod snapshot;
mod world;

use proptest::test_runner::{Config, RngSeed};

/// Any number would do; it only has to stay.
const SEED: u64 = 20_261_121;

fn config(cases: u32) -> Config {
    let ambient = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { ambient.cases } else { cases };
    let rng_seed = match ambient.rng_seed {
        RngSeed::Random => RngSeed::Fixed(SEED),
        chosen => chosen,
    };
    Config { cases, rng_seed, failure_persistence: None, ..ambient }
}
