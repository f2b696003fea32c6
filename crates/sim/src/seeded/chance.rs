//! Seeded randomness. Every decision of a history comes from a stream that was forked from the root seed under a name, so
//! that one part of the world drawing more numbers does not change what another part draws.

use candor::seams::Entropy;
use parking_lot::Mutex;

/// A stream of random numbers (xorshift64*, seeded through SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)).max(1))
    }

    /// The stream of a part of the world, by its name and number.
    pub fn of_part(seed: u64, part: &str, number: u64) -> Self {
        let name = part.bytes().fold(seed, |hash, byte| mix(hash ^ u64::from(byte)));
        Self::new(mix(name ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Sixty-four bits.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`; zero if that is zero.
    #[inline]
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True once in `n`; never for zero.
    #[inline]
    pub fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// The finaliser of SplitMix64.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The same stream as the engine receives it.
pub(super) struct SeededEntropy(Mutex<Chance>);

impl SeededEntropy {
    pub(super) fn new(chance: Chance) -> Self {
        Self(Mutex::new(chance))
    }
}

impl Entropy for SeededEntropy {
    fn draw(&self) -> u64 {
        self.0.lock().draw()
    }
}
