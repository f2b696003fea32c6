//! A fuzzer that needs no special compiler.
//!
//! It changes inputs of its corpus, byte by byte and word by word, and gives them to a *look*: a function that panics
//! when something is wrong and otherwise says in a few words how the input was taken. An input that was taken in a way
//! not seen before joins the pool, so that the next changes start from there; what a compiler's coverage would tell, the
//! behaviour tells here, as far as behaviour is what we care for.
//!
//! The corpus of a fuzzer is the folder `corpus/<name>`: every run looks at all of it first. A run that was given time
//! (`cargo x fuzz`) writes there what failed and, with `--keep`, what was taken in a new way.

mod change;
mod random;

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

pub use change::Words;
pub use random::Random;

/// For how long, as an ordinary test.
const SECONDS: u64 = 2;

/// So many at least, however slow the machine: the same seed shall look at the same inputs there.
const INPUTS_MIN: u64 = 400;

/// Inputs that changes start from; beyond it a new one replaces an old one.
const POOL_MAX: usize = 4096;

/// One input is never longer: what is beyond it, limits of size are for, and these have tests of their own.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// One fuzzer, before its run.
#[derive(Debug)]
pub struct Fuzzer {
    folder: PathBuf,
    words: Words,
    pool: Vec<Vec<u8>>,
}

/// What a run came to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Inputs looked at.
    pub tried: u64,
    /// Ways in which inputs were taken.
    pub ways: usize,
}

impl Fuzzer {
    /// The fuzzer of that name. `words` are what its inputs are made of, beside single bytes.
    ///
    /// # Panics
    ///
    /// If its corpus cannot be read or is empty: a fuzzer that starts from nothing finds nothing.
    pub fn new(name: &str, words: &[&str]) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        // The order of a directory is nobody's promise, and one seed shall mean one run.
        paths.sort();
        let read =
            |path: &PathBuf| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let pool: Vec<_> = paths.iter().map(read).collect();
        assert!(!pool.is_empty(), "{} holds no input to start from", folder.display());
        Self { folder, words: Words::new(words), pool }
    }

    /// Looks at the corpus and then at changed inputs, for two seconds or as long as `CANDOR_FUZZ_SECONDS` says, from
    /// the seed `CANDOR_FUZZ_SEED`.
    ///
    /// # Panics
    ///
    /// Where a look panicked, after saying with which input.
    #[expect(clippy::disallowed_methods, reason = "a fuzzer runs for the time of whoever waits for it")]
    #[expect(clippy::print_stdout, reason = "whoever started it wants to know what it did")]
    pub fn run(mut self, mut look: impl FnMut(&[u8]) -> String) -> Tally {
        let (seconds, seed) = (number("CANDOR_FUZZ_SECONDS"), number("CANDOR_FUZZ_SEED").unwrap_or(1));
        let (is_given_time, is_keeping) = (seconds.is_some(), number("CANDOR_FUZZ_KEEP").is_some());
        let mut seen = HashSet::new();
        for input in &self.pool {
            seen.insert(xxh3_64(self.look_at(input, &mut look, false).as_bytes()));
        }
        let (mut random, mut tried) = (Random::seeded(seed), self.pool.len() as u64);
        let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
        while tried < INPUTS_MIN || Instant::now() < until {
            let mut input = random.one_of(&self.pool).clone();
            for _ in 0..=random.below(4) {
                self.words.change(&mut input, &self.pool, &mut random);
            }
            input.truncate(INPUT_BYTES_MAX);
            let way = self.look_at(&input, &mut look, is_given_time);
            tried += 1;
            if seen.insert(xxh3_64(way.as_bytes())) {
                if is_keeping {
                    self.write("kept", &input);
                }
                if self.pool.len() < POOL_MAX {
                    self.pool.push(input);
                } else {
                    *random.one_of_mut(&mut self.pool) = input;
                }
            }
        }
        println!("{tried} inputs, taken in {} ways; seed {seed}", seen.len());
        Tally { tried, ways: seen.len() }
    }

    fn look_at(&self, input: &[u8], look: &mut impl FnMut(&[u8]) -> String, is_written: bool) -> String {
        catch_unwind(AssertUnwindSafe(|| look(input))).unwrap_or_else(|panic| {
            eprint_input(input);
            if is_written {
                self.write("failed", input);
            }
            resume_unwind(panic)
        })
    }

    fn write(&self, what: &str, input: &[u8]) {
        let path = self.folder.join(format!("{what}-{:016x}", xxh3_64(input)));
        // Nothing is lost with it but a convenience: the input was printed.
        let _ = fs::write(path, input);
    }
}

#[expect(clippy::print_stderr, reason = "the input that failed is the finding")]
fn eprint_input(input: &[u8]) {
    eprintln!("it failed with: b\"{}\"", input.escape_ascii());
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
