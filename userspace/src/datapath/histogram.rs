//! Histograms of one worker: how many packets went together, how long one took.
//!
//! Written by the worker that owns them, once per batch: no lock, no allocation,
//! and a clock only for every [`SAMPLED`]th batch.

use std::time::Duration;

use super::stats::Counter;
use crate::net::clock;
use crate::tunnel::time::BootTime;

/// One batch in so many is timed. Two clock readings cost some 50 ns, of the
/// several µs that even a batch of one packet takes.
const SAMPLED: u64 = 16;

/// Upper bounds of batch sizes, packets; one more counter for what is larger.
pub const SIZES: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Upper bounds of times, nanoseconds per packet; one more counter for longer.
/// A packet of 64 bytes takes 0.2 µs and one of 1420 bytes 1 µs on a CPU of today.
pub const TIMES: [u64; 10] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 64_000, 256_000, 1_000_000,
];

/// Counts by upper bound, and the sum of what was observed.
#[derive(Debug)]
pub struct Histogram<const BUCKETS: usize> {
    buckets: [Counter; BUCKETS],
    above: Counter,
    sum: Counter,
}

impl<const BUCKETS: usize> Default for Histogram<BUCKETS> {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Counter::default()),
            above: Counter::default(),
            sum: Counter::default(),
        }
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    fn observe(&self, value: u64, bounds: &[u64; BUCKETS]) {
        let at = bounds.iter().position(|bound| value <= *bound);
        at.map_or(&self.above, |at| &self.buckets[at]).add(1);
        self.sum.add(value);
    }

    fn reading(&self, bounds: &'static [u64; BUCKETS]) -> Reading {
        let buckets = self.buckets.iter().chain([&self.above]);
        Reading {
            bounds,
            counts: buckets.map(Counter::get).collect(),
            sum: self.sum.get(),
        }
    }
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Upper bounds, ascending.
    pub bounds: &'static [u64],
    /// Observations in each bucket, not added up; the last is above all bounds.
    pub counts: Vec<u64>,
    /// The observed values added up.
    pub sum: u64,
}

impl Reading {
    /// Adds another one of the same bounds.
    pub fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            *self = other.clone();
            return;
        }
        for (mine, more) in self.counts.iter_mut().zip(&other.counts) {
            *mine += more;
        }
        self.sum += other.sum;
    }
}

/// How many packets went together.
#[derive(Debug, Default)]
pub struct BatchSizes(Histogram<{ SIZES.len() }>);

impl BatchSizes {
    /// A batch of so many packets; only the owning worker may call this.
    pub fn observe(&self, packets: u64) {
        self.0.observe(packets, &SIZES);
    }

    /// As of now, in packets.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.0.reading(&SIZES)
    }
}

/// How long a packet took, the mean of its batch, of the batches that are timed.
#[derive(Debug, Default)]
pub struct BatchTimes {
    batches: Counter,
    times: Histogram<{ TIMES.len() }>,
}

impl BatchTimes {
    /// A batch begins; the time, if it is one that is timed. Only the owning
    /// worker may call this.
    #[must_use]
    pub fn start(&self) -> Option<BootTime> {
        let number = self.batches.get();
        self.batches.add(1);
        number.is_multiple_of(SAMPLED).then(clock::boot)
    }

    /// It ended, and had so many packets.
    pub fn stop(&self, started: Option<BootTime>, packets: u64) {
        if let Some(started) = started
            && packets > 0
        {
            self.add(clock::boot().since(started), packets);
        }
    }

    fn add(&self, took: Duration, packets: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.times.observe(nanos / packets, &TIMES);
    }

    /// As of now, in nanoseconds per packet.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.times.reading(&TIMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_larger_to_the_last() {
        let sizes = BatchSizes::default();
        for packets in [1, 2, 3, 4, 64, 65, 512] {
            sizes.observe(packets);
        }
        let mut reading = sizes.reading();
        assert_eq!(reading.counts, [1, 1, 2, 0, 0, 0, 1, 2]);
        assert_eq!(reading.sum, 651);
        reading.add(&sizes.reading());
        assert_eq!((reading.counts[2], reading.sum), (4, 1302));
    }

    #[test]
    fn every_sixteenth_batch_is_timed_and_counts_its_mean() {
        let times = BatchTimes::default();
        let timed = (0..33).filter(|_| times.start().is_some()).count();
        assert_eq!(timed, 3);
        times.add(Duration::from_micros(64), 64);
        times.add(Duration::from_secs(1), 1);
        times.stop(None, 5);
        times.stop(Some(clock::boot()), 0);
        let reading = times.reading();
        assert_eq!((reading.counts[2], reading.counts[TIMES.len()]), (1, 1));
        assert_eq!(reading.sum, 1_000 + 1_000_000_000);
    }
}
