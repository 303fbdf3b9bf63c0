//! How values are spread, counted where they occur: two relaxed additions an event, no lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds in microseconds for how long a disk or a queue takes: 50 us to 5 s.
pub const TIMES_US: &[u64] = &[
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000,
];
/// Upper bounds for how many rows or commands go together.
pub const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];

/// Counts values by size.
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Nothing counted. `bounds` are upper bounds, each part of its bucket, in rising order.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Counts one value.
    pub fn note(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// What was counted so far. A value that is being counted may be in the buckets but not in the sum yet.
    pub fn spread(&self) -> Spread {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Spread { bounds: self.bounds, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spread().fmt(f)
    }
}

/// What a [`Histogram`] has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// As given to [`Histogram::new`].
    pub bounds: &'static [u64],
    /// Values in each bucket; the last are those above all bounds.
    pub counts: Vec<u64>,
    /// Of all values.
    pub sum: u64,
}

impl Spread {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_part_of_their_bucket_and_nothing_is_lost() {
        let histogram = Histogram::new(&[1, 10]);
        [0, 1, 2, 10, 11, 1_000].into_iter().for_each(|value| histogram.note(value));
        let spread = histogram.spread();
        assert_eq!((spread.counts.as_slice(), spread.sum, spread.count()), (&[2, 2, 2][..], 1_024, 6));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [TIMES_US, SIZES] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
