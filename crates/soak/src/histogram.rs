//! Percentiles in bounded memory: buckets that are five percent wide.

/// Milliseconds, counted.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: f64,
}

const STEP: f64 = 1.05;
/// A microsecond.
const LEAST: f64 = 0.001;

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; 512], count: 0, max: 0.0 }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, value: f64) {
        let bucket = ((value.max(LEAST) / LEAST).ln() / STEP.ln()) as usize;
        let last = self.buckets.len() - 1;
        self.buckets[bucket.min(last)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn max(&self) -> f64 {
        self.max
    }

    /// The upper end of the bucket in which this share of the values has been reached.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut passed = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            passed += count;
            if *count > 0 && passed >= wanted {
                return (LEAST * STEP.powi(bucket as i32 + 1)).min(self.max);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_five_percent() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.add(f64::from(value)));
        assert!((histogram.at(0.5) - 500.0).abs() < 30.0, "{}", histogram.at(0.5));
        assert!((histogram.at(0.99) - 990.0).abs() < 55.0 && histogram.max() > 999.0);
    }
}
