//! Numbers, units, dates: as people read them.

/// A unit for people, and what a value is divided by for it.
pub fn scale(unit: &str) -> (&str, f64) {
    match unit {
        "bit/s" => ("Gbit/s", 1e9),
        "packet/s" => ("million packets/s", 1e6),
        "s" => ("µs", 1e-6),
        other => (other, 1.0),
    }
}

/// Three digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A value in the unit for people, without it.
pub fn scaled(value: f64, unit: &str) -> String {
    number(value / scale(unit).1)
}

/// With it.
pub fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {}", scaled(value, unit), scale(unit).0)
}

/// A day of UTC, from seconds since 1970.
pub fn date(seconds: u64) -> String {
    // Years begin in March, so that a leap day is the last of its year.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{}-{month:02}-{day:02}", era * 400 + year + carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_unit() {
        assert_eq!(with_unit(2.4567e9, "bit/s"), "2.46 Gbit/s");
        assert_eq!(with_unit(123_456.0, "packet/s"), "0.123 million packets/s");
        assert_eq!(with_unit(0.000_123_4, "s"), "123 µs");
        assert_eq!(with_unit(41.25, "ns"), "41.2 ns");
        assert_eq!(number(0.0), "0");
    }

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (1_740_787_200, "2025-03-01"),
            (1_798_761_599, "2026-12-31"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
