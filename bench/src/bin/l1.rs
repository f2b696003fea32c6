//! A hit in memory with its receipt, against a bare `get` of the engines teams use.
//!
//! Latency: the key of each read depends on the answer of the one before, as in a service that does one thing at a time;
//! otherwise the processor would overlap several short lookups and measure how many fit into its window.
//!
//! All contenders hold the same million entries and answer the same Zipf(0.99) sequence of keys. Each is filled and read
//! in a process of its own, anew in every round, one after another in an order that rotates: two copies of one engine in
//! one process were seen to differ by a quarter, and where a table comes to lie in memory must not be measured as a
//! property of its engine. What is reported is the median over the rounds, and the ratio of medians to the bare engine
//! whose median is lowest. `quick_cache, again` is the same as `quick_cache`: what lies between the
//! two is what this program cannot tell apart.
//!
//! With `--hot` only the first 512 ranks are asked for, so that everything lies in the nearest caches: what is left are
//! the instructions, the least noisy figure on a shared machine.
//!
//! Before that, what an entry weighs: by how much the process grows per entry, beside quick_cache alone.

use candor::{Any, Bounded, Cache, Contract, Level, Refresh};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const KEYS: u64 = 1_000_000;
const READS: usize = 2_000_000;
const ROUNDS: usize = 7;

/// The argument that makes this program weigh one table and end.
const WEIGH: &str = "--weigh";

/// The argument that makes this program fill and read one contender and end.
const READ: &str = "--read";

const HOT: &str = "--hot";

/// Explains, and is nobody's baseline.
const HEAVIER: &str = "quick_cache, 40 bytes heavier";

const CONTENDERS: [&str; 8] = [
    "quick_cache",
    "quick_cache, again",
    HEAVIER,
    "moka",
    "foyer",
    "candor peek",
    "candor any",
    "candor bounded:1h",
];

/// How many threads read, in the two columns of the report.
const THREADS: [usize; 2] = [1, 2];

type Run = Box<dyn Fn(&[u64]) -> u64 + Send + Sync>;

fn main() {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name, kind] = wanted.as_slice()
        && first == WEIGH
    {
        return weigh_one(name, kind);
    }
    if let [first, name, ranks] = wanted.as_slice()
        && first == READ
    {
        return read_one(name, ranks.parse().expect("a number of ranks"));
    }
    let before = wanted.len();
    wanted.retain(|word| word != HOT);
    let ranks = if wanted.len() < before { 512 } else { KEYS };
    weigh();
    let is_wanted = |name: &&str| wanted.is_empty() || wanted.iter().any(|w| w == name) || *name == CONTENDERS[0];
    let contenders: Vec<&str> = CONTENDERS.into_iter().filter(is_wanted).collect();
    println!("{KEYS} entries of 8 bytes, Zipf 0.99, {READS} reads per thread, {ROUNDS} rounds in processes of their own");
    let mut nanos = vec![[const { Vec::new() }; THREADS.len()]; contenders.len()];
    for round in 0..ROUNDS {
        for turn in 0..contenders.len() {
            let which = (turn + round) % contenders.len();
            let told = child(&[READ, contenders[which], &ranks.to_string()]);
            for (seen, told) in nanos[which].iter_mut().zip(told.split_whitespace()) {
                seen.push(told.parse::<f64>().expect("nanoseconds"));
            }
        }
    }
    for (column, threads) in THREADS.iter().enumerate() {
        println!("\n{threads} thread(s)                       ns per read   lowest   highest   ratio to the fastest bare engine");
        let is_bare = |name: &str| !name.starts_with("candor") && name != HEAVIER;
        let bare = contenders.iter().zip(&nanos).filter(|(name, _)| is_bare(name));
        let fastest = bare.map(|(_, nanos)| median(&nanos[column])).fold(f64::MAX, f64::min);
        for (name, nanos) in contenders.iter().zip(&nanos) {
            let (own, seen) = (median(&nanos[column]), nanos[column].iter().copied());
            let (low, high) = (seen.clone().fold(f64::MAX, f64::min), seen.fold(0.0, f64::max));
            println!("{name:32} {own:11.1} {low:8.1} {high:9.1}   {:5.2}", own / fastest);
        }
    }
}

/// What a process of this program with these arguments prints.
fn child(arguments: &[&str]) -> String {
    let program = std::env::current_exe().expect("this program");
    let child = std::process::Command::new(program).args(arguments).output().expect("a child");
    assert!(child.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&child.stderr));
    String::from_utf8_lossy(&child.stdout).into_owned()
}

/// What such a process does: fills one contender, reads it once unmeasured, and prints nanoseconds per read for each
/// number of threads.
fn read_one(name: &str, ranks: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
    let _inside = runtime.enter();
    let run = match name {
        "quick_cache" | "quick_cache, again" => quick_cache(),
        HEAVIER => quick_cache_heavier(),
        "moka" => moka(),
        "foyer" => foyer(),
        "candor peek" => candor(How::Peek),
        "candor any" => candor(How::Any),
        "candor bounded:1h" => candor(How::Bounded),
        other => panic!("nobody is called {other:?}"),
    };
    let most = THREADS.into_iter().max().unwrap_or(1);
    let sequences: Vec<Arc<[u64]>> = (0..most).map(|seed| zipf(seed as u64 + 1, ranks)).collect();
    black_box(run(&sequences[0]));
    let nanos: Vec<String> = THREADS.iter().map(|threads| measure(&run, &sequences[..*threads]).to_string()).collect();
    println!("{}", nanos.join(" "));
}

fn measure(run: &Run, sequences: &[Arc<[u64]>]) -> f64 {
    let barrier = Barrier::new(sequences.len());
    let spent: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = sequences
            .iter()
            .map(|sequence| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let start = Instant::now();
                    black_box(run(sequence));
                    start.elapsed()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let total: f64 = spent.iter().map(|time| time.as_nanos() as f64).sum();
    total / (sequences.len() * READS) as f64
}

/// A table that is told how many entries to expect is no different: quick_cache 0.7 takes that number for its number of
/// shards and the keys it remembers of what it evicted, and lets the table itself grow.
fn quick_cache() -> Run {
    let cache = bare::<u64>(|key| key);
    Box::new(move |keys| chained(keys, |key| cache.get(&key).unwrap_or(0)))
}

/// No contender: what the forty bytes that prove an entry cost by their weight alone. Six numbers and not five: a slot of
/// an eight-byte value is padded to 40 bytes, and it takes 48 bytes of value more to make it 80, as ours is.
fn quick_cache_heavier() -> Run {
    let cache = bare::<(u64, [u64; 6])>(|key| (key, [key; 6]));
    Box::new(move |keys| chained(keys, |key| black_box(cache.get(&key)).map_or(0, |value| value.0)))
}

fn bare<V: Clone>(value: impl Fn(u64) -> V) -> quick_cache::sync::Cache<u64, V> {
    let parts = (Default::default(), Default::default(), Default::default());
    let cache = quick_cache::sync::Cache::with(KEYS as usize, 2 * KEYS, parts.0, parts.1, parts.2);
    (0..KEYS).for_each(|key| cache.insert(key, value(key)));
    cache
}

/// Resident bytes per entry: candor's tier beside quick_cache alone, filled with the same million entries. Each in a
/// process of its own, because an allocator hands memory that was freed to whoever asks next.
fn weigh() {
    println!("resident bytes per entry      quick_cache   candor's tier   more");
    for name in ["u64", "arc"] {
        let [bare, tier] = ["bare", "tier"].map(|kind| {
            child(&[WEIGH, name, kind]).trim().parse::<f64>().expect("a number")
        });
        println!("{name:28} {bare:12.1} {tier:15.1} {:6.1}", tier - bare);
    }
    println!();
}

/// What such a process does. The target of an `Arc` is not counted: all entries share one.
fn weigh_one(name: &str, kind: &str) {
    let shared = Arc::new(0_u64);
    let bytes = match (name, kind) {
        ("u64", "bare") => resident_growth(|| bare(|key| key)),
        ("u64", _) => resident_growth(|| tier(|key| key)),
        (_, "bare") => resident_growth(|| bare(|_| Arc::clone(&shared))),
        _ => resident_growth(|| tier(|_| Arc::clone(&shared))),
    };
    println!("{bytes}");
}

fn tier<V: Clone + Send + Sync>(value: impl Fn(u64) -> V) -> candor::Memory<u64, V> {
    // Room for all of them, so that nothing is evicted; the tables grow with what they hold.
    let slot = (size_of::<candor::core::Entry<V>>() + 40) as u64;
    let tier = candor::Memory::new(KEYS * slot * 4, |_, _| 0);
    let epoch = candor::core::Epoch { log: candor::core::LogId(1), era: 0 };
    for key in 0..KEYS {
        let parts = candor::core::EntryParts {
            value: Some(value(key)),
            filled_at: candor::Moment::ZERO,
            stamp: candor::Stamp::Sequence(candor::Position { epoch, at: 1 }),
            tags: vec![candor::Tag(key)],
            generation: 2,
            ttl: Duration::from_secs(3600),
        };
        candor::Tier::put(&tier, key, candor::core::Entry::new(parts));
    }
    tier
}

/// Bytes per entry by which the process grew while `fill` made what it returns; zero where the system does not tell.
fn resident_growth<T>(fill: impl FnOnce() -> T) -> f64 {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0) * 4096.0
    };
    let before = resident();
    let filled = black_box(fill());
    let after = resident();
    drop(filled);
    (after - before) / KEYS as f64
}

fn moka() -> Run {
    let cache = moka::sync::Cache::<u64, u64>::new(2 * KEYS);
    (0..KEYS).for_each(|key| cache.insert(key, key));
    cache.run_pending_tasks();
    Box::new(move |keys| chained(keys, |key| cache.get(&key).unwrap_or(0)))
}

fn foyer() -> Run {
    let cache = foyer_memory::CacheBuilder::new(2 * KEYS as usize).with_name("bench").build();
    (0..KEYS).for_each(|key| {
        cache.insert(key, key);
    });
    let cache: foyer_memory::Cache<u64, u64> = cache;
    Box::new(move |keys| chained(keys, |key| cache.get(&key).map_or(0, |entry| *entry.value())))
}

#[derive(Copy, Clone)]
enum How {
    Peek,
    Any,
    Bounded,
}

/// Filled through its own read path; every read is checked to be a hit with a receipt.
fn candor(how: How) -> Run {
    let contract = Contract {
        ttl: Duration::from_secs(24 * 3600),
        level: Level::Bounded(Duration::from_secs(3600)),
        refresh: Refresh::Early,
        ..Contract::default()
    };
    let cache = Cache::<u64, u64>::builder().contract(contract).capacity(2 * KEYS * 104).build();
    let runtime = tokio::runtime::Handle::current();
    // As a task of the runtime, so that its worker loads each key without waking another thread.
    let filling = cache.clone();
    let filled = runtime.spawn(async move {
        for key in 0..KEYS {
            let _ = filling.get(&key, |context| async move { Ok::<u64, String>(*context.key()) }).await;
        }
    });
    runtime.block_on(filled).expect("the cache is filled");
    let hour = Duration::from_secs(3600);
    Box::new(move |keys| {
        chained(keys, |key| {
            let loader = |_| async { Err::<u64, _>("a bench read must hit") };
            let answer = match how {
                How::Peek => cache.peek(&key),
                How::Any => {
                    let at = cache.at(Any);
                    poll(at.read(&key, loader))
                }
                How::Bounded => {
                    let at = cache.at(Bounded(hour));
                    poll(at.read(&key, loader)).map(candor::Answer::weaken)
                }
            };
            let Some(answer) = answer else { panic!("key {key} was not a hit") };
            black_box(answer.receipt());
            answer.into_value().unwrap_or(0)
        })
    })
}

/// Reads all keys, one after the other: every value equals its key, so that `value ^ key` is zero, which only the
/// processor does not know.
#[inline]
fn chained(keys: &[u64], mut get: impl FnMut(u64) -> u64) -> u64 {
    let mut zero = 0;
    for key in keys {
        let key = key ^ zero;
        zero = get(key) ^ key;
    }
    zero
}

fn poll<T>(future: impl Future<Output = Result<T, candor::ReadError>>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.ok(),
        Poll::Pending => None,
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Keys by Zipf's law with exponent 0.99, scattered so that hot keys are no neighbours.
fn zipf(seed: u64, ranks: u64) -> Arc<[u64]> {
    let mut cumulated = Vec::with_capacity(KEYS as usize);
    let mut total = 0.0;
    for rank in 1..=KEYS {
        total += 1.0 / (rank as f64).powf(0.99);
        cumulated.push(total);
    }
    let mut state = seed;
    let mut draw = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..READS)
        .map(|_| {
            let point = draw() * total;
            let rank = cumulated.partition_point(|sum| *sum < point) as u64 % ranks;
            rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS
        })
        .collect()
}
