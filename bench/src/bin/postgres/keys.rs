//! Which keys are read: Zipf's law with exponent 0.99, scattered so that hot keys are no neighbours.

use std::sync::Arc;

/// Keys drawn beforehand, so that drawing costs the clients nothing. Shared by all; each client begins somewhere else.
pub struct Keys {
    drawn: Arc<[i64]>,
}

/// One client's walk through the drawn keys.
pub struct Walk {
    drawn: Arc<[i64]>,
    at: usize,
}

const DRAWN: usize = 1 << 21;

impl Keys {
    /// Draws keys in `1..=rows`.
    pub fn new(rows: u64) -> Self {
        let mut cumulated = Vec::with_capacity(rows as usize);
        let mut total = 0.0;
        for rank in 1..=rows {
            total += 1.0 / (rank as f64).powf(0.99);
            cumulated.push(total);
        }
        let mut random = Random(1);
        let drawn = (0..DRAWN)
            .map(|_| {
                let rank = cumulated.partition_point(|sum| *sum < random.unit() * total) as u64;
                (rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % rows) as i64 + 1
            })
            .collect();
        Self { drawn }
    }

    /// The walk of client number `client`.
    pub fn walk(&self, client: usize) -> Walk {
        Walk { drawn: Arc::clone(&self.drawn), at: client.wrapping_mul(0x51_7cc1) % DRAWN }
    }
}

impl Walk {
    /// The next key.
    pub fn next(&mut self) -> i64 {
        self.at = (self.at + 1) % DRAWN;
        self.drawn[self.at]
    }
}

/// A small generator with a fixed seed: every run asks for the same keys.
pub struct Random(pub u64);

impl Random {
    /// A number in `0..1`.
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
