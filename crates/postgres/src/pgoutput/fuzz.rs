//! A fuzzer that needs no special compiler: it changes what servers really sent, byte by byte and message by message.
//!
//! `cargo x fuzz pgoutput --seconds 600` runs it for long; as an ordinary test it runs for two seconds. Nothing may
//! panic, and whatever is still understood must be understood as the other decoder understands it.

use super::oracle;
use super::samples::{corpus, encode, transaction};
use super::{Decoder, Event};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Changed forms of one message, before the stream goes on.
const FORMS: usize = 8;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the time a fuzzer runs for is the time of whoever waits for it"
)]
fn changed_messages_are_refused_or_understood_as_another_decoder_does() {
    let seconds = number("CANDOR_FUZZ_SECONDS").unwrap_or(2);
    let seed = number("CANDOR_FUZZ_SEED").unwrap_or(1);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut streams = corpus();
    streams.push(transaction().iter().map(encode).collect());
    let all: Vec<Bytes> = streams.iter().flatten().cloned().collect();
    let mut random = Random(seed);
    let (mut tried, mut understood) = (0_u64, 0_u64);
    while Instant::now() < until {
        for stream in &streams {
            let mut decoder = Decoder::default();
            for message in stream {
                for _ in 0..FORMS {
                    let form = random.form_of(message, &all);
                    tried += 1;
                    understood += u64::from(holds(&decoder, &form, seed));
                }
                let event = decoder.decode(message.clone());
                assert!(event.is_ok(), "{event:?}");
            }
        }
    }
    println!("{tried} changed messages, {understood} of them still understood; seed {seed}");
    assert!(tried > 1000 && understood > 0, "the fuzzer did nothing: {tried} tried, {understood} understood");
}

/// Whether a message was understood, after looking that it was understood rightly.
fn holds(decoder: &Decoder, message: &[u8], seed: u64) -> bool {
    let mut decoder = decoder.clone();
    let read = || match decoder.decode(Bytes::copy_from_slice(message)) {
        Ok(event) => {
            look(&event, message);
            true
        }
        Err(_) => false,
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| panic!("seed {seed}, message {message:?}"))
}

/// The other decoder refuses some names and texts for reasons of its own; what both understand must be the same.
fn look(event: &Event, message: &[u8]) {
    if oracle::read(message).is_ok() {
        oracle::agree(event, message);
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// SplitMix64: every run with one seed is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        const TELLING: &[u8] = b"\x00\x01\x7f\x80\xffBCORYIUDTMKNOntub";
        if self.below(2) == 0 { TELLING[self.below(TELLING.len())] } else { self.next().to_le_bytes()[0] }
    }

    /// One to four changes.
    fn form_of(&mut self, message: &[u8], all: &[Bytes]) -> Vec<u8> {
        let mut form = message.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut form, all);
        }
        form
    }

    fn change(&mut self, form: &mut Vec<u8>, all: &[Bytes]) {
        let at = self.below(form.len());
        match self.below(8) {
            0 if !form.is_empty() => form[at] ^= 1 << self.below(8),
            1 if !form.is_empty() => form[at] = self.byte(),
            2 => {
                let byte = self.byte();
                form.insert(at, byte);
            }
            3 if !form.is_empty() => drop(form.remove(at)),
            4 => form.truncate(at),
            // A number somewhere becomes an extreme one.
            5 if form.len() >= at + 4 => {
                let extreme: u32 = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff][self.below(5)];
                form[at..at + 4].copy_from_slice(&extreme.to_be_bytes());
            }
            // The end of another message, or all of it.
            6 => {
                let other = &all[self.below(all.len())];
                form.truncate(at);
                form.extend_from_slice(&other[self.below(other.len())..]);
            }
            7 => *form = all[self.below(all.len())].to_vec(),
            _ => {}
        }
    }
}
