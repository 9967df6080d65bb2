//! Values with the units of Grafana, as it shows them.

/// Prefixes of a thousand, and of 1024.
const SI: [&str; 5] = ["", "k", "M", "G", "T"];
const SHORT: [&str; 5] = ["", " K", " Mil", " Bil", " Tri"];
const IEC: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// The units that are known here.
#[cfg(test)]
pub const KNOWN: [&str; 6] = ["short", "bps", "pps", "ops", "s", "bytes"];

/// A value with its unit; three digits that count.
pub fn format(value: f64, unit: &str) -> String {
    match unit {
        "bps" => scaled(value, 1000.0, SI, |n, p| format!("{n} {p}b/s")),
        "pps" => scaled(value, 1000.0, SI, |n, p| format!("{n} {p}p/s")),
        "ops" => scaled(value, 1000.0, SI, |n, p| format!("{n}{p} ops/s")),
        "bytes" => scaled(value, 1024.0, IEC, |n, p| format!("{n} {p}")),
        "s" => seconds(value),
        _ => scaled(value, 1000.0, SHORT, |n, p| format!("{n}{p}")),
    }
}

fn scaled(
    value: f64,
    base: f64,
    prefixes: [&str; 5],
    text: impl Fn(String, &str) -> String,
) -> String {
    let mut value = value;
    let mut at = 0;
    while value.abs() >= base && at + 1 < prefixes.len() {
        value /= base;
        at += 1;
    }
    text(digits(value), prefixes[at])
}

fn seconds(value: f64) -> String {
    let of = |factor: f64, name: &str| format!("{} {name}", digits(value * factor));
    match value.abs() {
        0.0 => "0 s".into(),
        v if v < 1e-6 => of(1e9, "ns"),
        v if v < 1e-3 => of(1e6, "µs"),
        v if v < 1.0 => of(1e3, "ms"),
        v if v < 60.0 => of(1.0, "s"),
        v if v < 3600.0 => of(1.0 / 60.0, "mins"),
        _ => of(1.0 / 3600.0, "hours"),
    }
}

fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn values_are_as_grafana_shows_them() {
        for (value, unit, shown) in [
            (0.0, "short", "0"),
            (2.0, "short", "2"),
            (1500.0, "short", "1.5 K"),
            (160e6, "bps", "160 Mb/s"),
            (100.0, "pps", "100 p/s"),
            (15_250.0, "pps", "15.2 kp/s"),
            (0.0000021, "s", "2.1 µs"),
            (95.0, "s", "1.58 mins"),
            (25.0 * 1024.0 * 1024.0, "bytes", "25 MiB"),
            (-0.0001, "short", "0"),
        ] {
            assert_eq!(format(value, unit), shown);
        }
    }
}
