//! The changes a fuzzer makes to an input.

use crate::Random;

/// Bytes that decide something in many formats.
const TELLING: &[u8] = b"\x00\x01\x7f\x80\xff \t\r\n\"'`\\/%&=+-.,:;#@$?!*()[]{}<>|~^_019aAzZ";

/// What inputs are made of.
#[derive(Clone, Debug)]
pub struct Words(Vec<Vec<u8>>);

impl Words {
    pub(crate) fn new(words: &[&str]) -> Self {
        Self(words.iter().map(|word| word.as_bytes().to_vec()).collect())
    }

    /// One change. `pool` are other inputs to take parts from.
    pub(crate) fn change(&self, input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Random) {
        let at = random.below(input.len() + 1);
        let span = at..(at + random.below(24)).min(input.len());
        match random.below(10) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = byte(random),
            2 => input.insert(at, byte(random)),
            3 => drop(input.drain(span)),
            4 => input.truncate(at),
            5 if !self.0.is_empty() => {
                let word = random.one_of(&self.0);
                drop(input.splice(at..at, word.iter().copied()));
            }
            6 if !self.0.is_empty() => {
                let word = random.one_of(&self.0);
                drop(input.splice(span, word.iter().copied()));
            }
            // The end of another input, or a piece of it in the middle.
            7 => {
                let other = random.one_of(pool);
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            8 => {
                let other = random.one_of(pool);
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                drop(input.splice(at..at, other[from..to].iter().copied()));
            }
            // A piece again and again.
            _ => {
                let piece = input[span].to_vec();
                let many = piece.repeat(1 + random.below(8));
                drop(input.splice(at..at, many));
            }
        }
    }
}

fn byte(random: &mut Random) -> u8 {
    if random.below(4) == 0 { random.draw().to_le_bytes()[0] } else { *random.one_of(TELLING) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_the_same_changes_and_none_of_them_fails() {
        let words = Words::new(&["word", "another"]);
        let pool = vec![b"one input".to_vec(), Vec::new(), b"x".to_vec()];
        let changed = |seed| {
            let mut random = Random::seeded(seed);
            let mut input = Vec::new();
            for _ in 0..2000 {
                words.change(&mut input, &pool, &mut random);
                input.truncate(200);
            }
            input
        };
        assert_eq!(changed(7), changed(7));
        assert_ne!(changed(7), changed(8));
    }
}
