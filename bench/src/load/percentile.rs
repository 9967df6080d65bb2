//! How long most take.

/// The smallest value that `part` (0 to 1) of all do not exceed; `None` of none.
pub fn percentile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn nearest_rank() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let cases = [
            (0.0, 1.0),
            (0.5, 50.0),
            (0.501, 51.0),
            (0.99, 99.0),
            (1.0, 100.0),
        ];
        for (part, expected) in cases {
            assert_eq!(percentile(&values, part), Some(expected), "{part}");
        }
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
