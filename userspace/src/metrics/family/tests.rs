use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder as _, TextEncoder};
use proptest::prelude::*;

use super::*;

fn text(family: Family) -> String {
    let mut all = Exposition::default();
    all.push(family);
    String::from_utf8(all.chunks().concat()).unwrap()
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
fn families_are_sorted_by_name() {
    let mut all = Exposition::default();
    for name in ["b", "a_b", "a"] {
        let mut family = Family::gauge(name, "Help.", &[]);
        family.add(&[], 1_u64);
        all.push(family);
    }
    let text = String::from_utf8(all.chunks().concat()).unwrap();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, ["a 1", "a_b 1", "b 1"]);
}

/// What the encoder of the crate `prometheus` makes of one sample of each family.
fn encoded(
    kind: MetricType,
    name: &str,
    labels: &[(&str, &str)],
    set: impl Fn(&mut Metric),
) -> String {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = Metric::default();
    metric.set_label(labels.iter().map(pair).collect());
    set(&mut metric);
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help("Help.".to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    let mut out = Vec::new();
    TextEncoder::new().encode(&[family], &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Small ones, large ones, and those around the last that is exact.
fn whole() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..1000_u64, EXACT - 3..EXACT + 3]
}

proptest! {
    #[test]
    fn what_is_written_is_what_the_reference_encoder_writes(
        a in "\\PC*|[\\\\\"\n a]*", b in ".*", n in whole(), x in any::<f64>(),
    ) {
        const NAMES: &[&str] = &["a", "b"];
        let values = [a.as_str(), b.as_str()];
        let labels = [("a", a.as_str()), ("b", b.as_str())];
        let mut family = Family::counter("n_total", "Help.", NAMES);
        family.add(&values, n);
        let counter = encoded(MetricType::COUNTER, "n_total", &labels, |metric| {
            let mut counter = Counter::default();
            counter.set_value(n as f64);
            metric.set_counter(counter);
        });
        prop_assert_eq!(text(family), &*counter);
        let mut written = Labels::new(NAMES);
        written.set(&["before", "it"]);
        written.set(&values);
        let mut family = Family::counter("n_total", "Help.", NAMES);
        family.add_to(&written, n);
        prop_assert_eq!(text(family), counter);

        let mut family = Family::gauge("x", "Help.", &[]);
        family.add(&[], x);
        let gauge = encoded(MetricType::GAUGE, "x", &[], |metric| {
            let mut gauge = Gauge::default();
            gauge.set_value(x);
            metric.set_gauge(gauge);
        });
        prop_assert_eq!(text(family), gauge);
    }

    #[test]
    fn histograms_are_those_of_the_reference_encoder(
        a in ".*", counts in prop::array::uniform3(0..1_u64 << 50), sum in any::<u64>(),
    ) {
        let reading = Reading { bounds: &[250, 1000], counts: counts.to_vec(), sum };
        let mut family = Family::histogram("t_seconds", "Help.", &["a"]);
        family.add_histogram(&[&a], &reading, 1e9);
        let histogram = encoded(MetricType::HISTOGRAM, "t_seconds", &[("a", a.as_str())], |metric| {
            let bucket = |(bound, count): (f64, u64)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(count);
                bucket
            };
            let below = [(250.0 / 1e9, counts[0]), (1000.0 / 1e9, counts[0] + counts[1])];
            let mut histogram = Histogram::default();
            histogram.set_bucket(below.map(bucket).into());
            histogram.set_sample_count(counts.iter().sum());
            histogram.set_sample_sum(sum as f64 / 1e9);
            metric.set_histogram(histogram);
        });
        prop_assert_eq!(text(family), histogram);
    }
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
