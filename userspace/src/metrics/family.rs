//! One metric family under construction, and the exposition they make up.
//!
//! Samples are written as text at once: ten thousand peers have 170,000 of them
//! with all families, and a structure for each, with strings of its own for
//! every label, took longer than all the rest of a scrape.

use std::io::Write as _;

use hyper::body::Bytes;

use super::labels::{self, Labels};
use crate::datapath::histogram::Reading;

/// What the values of a family mean.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Name, help and labels of a family, and its samples so far.
///
/// Made anew for each scrape and filled in one pass: the vectors of a registry
/// would look up each series by its labels, and 10,000 peers have many.
#[derive(Debug)]
pub(super) struct Family {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    /// In Prometheus' text format.
    samples: Vec<u8>,
}

impl Family {
    /// Values that only ever grow while the process lives.
    pub(super) fn counter(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self::new(Kind::Counter, name, help, labels)
    }

    /// Values as they are now.
    pub(super) fn gauge(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self::new(Kind::Gauge, name, help, labels)
    }

    /// Distributions.
    pub(super) fn histogram(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self::new(Kind::Histogram, name, help, labels)
    }

    fn new(
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self {
            kind,
            name,
            help,
            labels,
            samples: Vec::new(),
        }
    }

    /// A sample of a counter or gauge; the values in the order of the labels.
    pub(super) fn add(&mut self, values: &[&str], value: impl Number) {
        self.begin("");
        labels::write(&mut self.samples, self.labels, values, None);
        self.end(value);
    }

    /// One whose labels are written already, for other families, too.
    pub(super) fn add_to(&mut self, labels: &Labels, value: impl Number) {
        debug_assert_eq!(self.labels, labels.names(), "{}", self.name);
        self.begin("");
        self.samples.extend_from_slice(labels.text());
        self.end(value);
    }

    /// A histogram of whose values `per_unit` make a base unit.
    pub(super) fn add_histogram(&mut self, values: &[&str], reading: &Reading, per_unit: f64) {
        let mut count = 0;
        for (bound, n) in reading.bounds.iter().zip(&reading.counts) {
            count += n;
            let bound = (bound.number() / per_unit).to_string();
            self.bucket(values, &bound, count);
        }
        let all: u64 = reading.counts.iter().sum();
        self.bucket(values, "+Inf", all);
        self.part("_sum", values, None, reading.sum.number() / per_unit);
        self.part("_count", values, None, all);
    }

    fn bucket(&mut self, values: &[&str], bound: &str, count: u64) {
        self.part("_bucket", values, Some(("le", bound)), count);
    }

    fn part(
        &mut self,
        suffix: &str,
        values: &[&str],
        more: Option<(&str, &str)>,
        value: impl Number,
    ) {
        self.begin(suffix);
        labels::write(&mut self.samples, self.labels, values, more);
        self.end(value);
    }

    fn begin(&mut self, suffix: &str) {
        self.samples.extend_from_slice(self.name.as_bytes());
        self.samples.extend_from_slice(suffix.as_bytes());
    }

    fn end(&mut self, value: impl Number) {
        self.samples.push(b' ');
        value.write(&mut self.samples);
        self.samples.push(b'\n');
    }

    /// The lines before its samples. No help has a backslash or a line's end.
    fn head(&self) -> Vec<u8> {
        let (name, help, kind) = (self.name, self.help, self.kind.label());
        debug_assert!(!help.contains(['\\', '\n']), "{name}");
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n").into_bytes()
    }
}

/// What a sample can be made of.
pub(super) trait Number: Copy {
    fn number(self) -> f64;

    /// As Prometheus reads it: shortest digits that give the number back, no
    /// exponent.
    fn write(self, out: &mut Vec<u8>) {
        // A `Vec` takes everything.
        let _ = write!(out, "{}", self.number());
    }
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

/// Whole numbers below it are all there among floating-point numbers.
const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

impl Number for u64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus has no other numbers; exact up to 9 PB"
    )]
    fn number(self) -> f64 {
        self as f64
    }

    /// Almost all samples are whole numbers, and these digits are made faster.
    fn write(self, out: &mut Vec<u8>) {
        let _ = if self < EXACT {
            write!(out, "{self}")
        } else {
            write!(out, "{}", self.number())
        };
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        (self as u64).number()
    }

    fn write(self, out: &mut Vec<u8>) {
        (self as u64).write(out);
    }
}

/// All families of a scrape.
#[derive(Debug, Default)]
pub(super) struct Exposition(Vec<Family>);

impl Exposition {
    /// Adds a family, unless it has no sample.
    pub(super) fn push(&mut self, family: Family) {
        if !family.samples.is_empty() {
            self.0.push(family);
        }
    }

    /// Adds several.
    pub(super) fn extend(&mut self, families: impl IntoIterator<Item = Family>) {
        families.into_iter().for_each(|family| self.push(family));
    }

    /// In Prometheus' text format, by name, in pieces: 20 MB that are put
    /// together would be 20 MB more.
    pub(super) fn chunks(mut self) -> Vec<Bytes> {
        self.0.sort_by_key(|family| family.name);
        let pieces = |family: Family| [family.head().into(), family.samples.into()];
        self.0.into_iter().flat_map(pieces).collect()
    }
}

#[cfg(test)]
mod tests;
