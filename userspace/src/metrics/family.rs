//! One metric family under construction, and the exposition they make up.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder, TextEncoder};

use crate::datapath::histogram::Reading;

/// Name, help and labels of a family, and its samples so far.
///
/// Made anew for each scrape and filled in one pass: the registry's own vectors
/// would look up each series by its labels, and 10,000 peers have many.
#[derive(Debug)]
pub(super) struct Family {
    family: MetricFamily,
    labels: &'static [&'static str],
    metrics: Vec<Metric>,
}

impl Family {
    /// Values that only ever grow while the process lives.
    pub(super) fn counter(name: &str, help: &str, labels: &'static [&'static str]) -> Self {
        Self::new(MetricType::COUNTER, name, help, labels)
    }

    /// Values as they are now.
    pub(super) fn gauge(name: &str, help: &str, labels: &'static [&'static str]) -> Self {
        Self::new(MetricType::GAUGE, name, help, labels)
    }

    /// Distributions.
    pub(super) fn histogram(name: &str, help: &str, labels: &'static [&'static str]) -> Self {
        Self::new(MetricType::HISTOGRAM, name, help, labels)
    }

    fn new(kind: MetricType, name: &str, help: &str, labels: &'static [&'static str]) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self {
            family,
            labels,
            metrics: Vec::new(),
        }
    }

    /// A sample of a counter or gauge; the values in the order of the labels.
    pub(super) fn add(&mut self, values: &[&str], value: impl Number) {
        let mut metric = self.labelled(values);
        if self.family.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value.number());
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value.number());
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// A histogram of whose values `per_unit` make a base unit.
    pub(super) fn add_histogram(&mut self, values: &[&str], reading: &Reading, per_unit: f64) {
        let mut count = 0;
        let mut below = |n: &u64| {
            count += n;
            count
        };
        let bucket = |(bound, n): (&u64, &u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound.number() / per_unit);
            bucket.set_cumulative_count(below(n));
            bucket
        };
        let buckets = reading.bounds.iter().zip(&reading.counts).map(bucket);
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(reading.counts.iter().sum());
        histogram.set_sample_sum(reading.sum.number() / per_unit);
        let mut metric = self.labelled(values);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    fn labelled(&self, values: &[&str]) -> Metric {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.family.name());
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut metric = Metric::default();
        metric.set_label(self.labels.iter().zip(values).map(pair).collect());
        metric
    }
}

/// What a sample can be made of.
pub(super) trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus has no other numbers; exact up to 9 PB"
    )]
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for &u64 {
    fn number(self) -> f64 {
        (*self).number()
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        (self as u64).number()
    }
}

impl Number for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}

/// All families of a scrape.
#[derive(Debug, Default)]
pub(super) struct Exposition(Vec<MetricFamily>);

impl Exposition {
    /// Adds a family, unless it has no sample.
    pub(super) fn push(&mut self, of: Family) {
        let mut family = of.family;
        if !of.metrics.is_empty() {
            family.set_metric(of.metrics);
            self.0.push(family);
        }
    }

    /// Adds several.
    pub(super) fn extend(&mut self, families: impl IntoIterator<Item = Family>) {
        families.into_iter().for_each(|family| self.push(family));
    }

    /// In Prometheus' text format, by name.
    pub(super) fn text(mut self) -> prometheus::Result<Vec<u8>> {
        self.0.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0, &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(family: Family) -> String {
        let mut all = Exposition::default();
        all.push(family);
        String::from_utf8(all.text().unwrap()).unwrap()
    }

    #[test]
    fn labels_are_escaped_and_a_family_without_samples_is_left_out() {
        let mut family = Family::gauge("a_info", "Help.", &["name"]);
        family.add(&["a \"b\"\n\\"], 1_u64);
        assert_eq!(
            text(family),
            "# HELP a_info Help.\n# TYPE a_info gauge\na_info{name=\"a \\\"b\\\"\\n\\\\\"} 1\n"
        );
        assert_eq!(text(Family::counter("b_total", "Help.", &[])), "");
    }

    #[test]
    fn buckets_are_added_up_and_in_base_units() {
        let reading = Reading {
            bounds: &[250, 1000],
            counts: vec![1, 2, 4],
            sum: 5000,
        };
        let mut family = Family::histogram("t_seconds", "Help.", &["device"]);
        family.add_histogram(&["wg0"], &reading, 1e9);
        let text = text(family);
        for line in [
            "t_seconds_bucket{device=\"wg0\",le=\"0.00000025\"} 1\n",
            "t_seconds_bucket{device=\"wg0\",le=\"0.000001\"} 3\n",
            "t_seconds_bucket{device=\"wg0\",le=\"+Inf\"} 7\n",
            "t_seconds_sum{device=\"wg0\"} 0.000005",
            "t_seconds_count{device=\"wg0\"} 7\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
