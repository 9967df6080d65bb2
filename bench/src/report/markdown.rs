//! Tables and charts of what was measured.

use super::scale::Scale;
use super::{Report, Row};

/// What ratios refer to, the first that a table has.
const REFERENCES: [&str; 5] = ["wireguard-go", "bare-aead", "bare-dh", "xdp-pass", "none"];

/// One suite: machine, versions, a chart and a table for each metric. `chart` names
/// the file of a metric's chart.
#[must_use]
pub fn suite(name: &str, report: &Report, chart: impl Fn(&str) -> String) -> String {
    let host = &report.host;
    let mut text = format!(
        "## {name}\n\n{}, {}, {} processors, Linux {}. Medians; the range of all runs in brackets.\n\n",
        report.date, host.cpu, host.cores, host.kernel
    );
    for (implementation, version) in &report.versions {
        text += &format!("- {implementation}: {version}\n");
    }
    for metric in report.metrics() {
        let rows: Vec<_> = report.of_metric(metric).collect();
        text += &format!("\n### {metric}\n\n![{metric}]({})\n\n", chart(metric));
        text += &table(&rows);
    }
    text
}

/// A line for each case and implementation.
#[must_use]
pub fn table(rows: &[&Row]) -> String {
    let largest = rows.iter().map(|row| row.value).fold(0.0, f64::max);
    let Some(first) = rows.first() else {
        return String::new();
    };
    let scale = Scale::of(&first.unit, largest);
    let has = |name: &&&str| rows.iter().any(|row| row.implementation == **name);
    let reference = REFERENCES.iter().find(has);
    let against = reference.map_or(String::new(), |name| format!(" of {name} |"));
    let mut text = format!("| case | implementation | {} | |{against}\n", scale.unit);
    text += "|---|---|---:|---|";
    text += if reference.is_some() { "---:|\n" } else { "\n" };
    for row in rows {
        let (low, high) = row.spread();
        let range = format!("({}–{})", scale.show(low), scale.show(high));
        text += &format!(
            "| {} | {} | {} | {range} |",
            row.case,
            row.implementation,
            scale.show(row.value)
        );
        if let Some(reference) = reference {
            let other = rows
                .iter()
                .find(|other| other.case == row.case && other.implementation == *reference);
            text += &match other {
                Some(other) if other.value > 0.0 => format!(" {:.2} |", row.value / other.value),
                _ => " |".to_owned(),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_ratio_to_the_reference_of_the_same_case() {
        let row = |case, implementation, value| {
            let metric = ("goodput", "bit/s");
            Row::new("tunnel", case, implementation, metric, vec![value])
        };
        let rows = [
            row("tcp1", "ringtun-udp", 4e9),
            row("tcp1", "wireguard-go", 2e9),
            row("tcp4", "ringtun-udp", 5e9),
        ];
        let text = table(&rows.iter().collect::<Vec<_>>());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "| case | implementation | Gbit/s | | of wireguard-go |"
        );
        assert_eq!(lines[1], "|---|---|---:|---|---:|");
        assert_eq!(
            lines[2],
            "| tcp1 | ringtun-udp | 4.00 | (4.00–4.00) | 2.00 |"
        );
        assert_eq!(lines[4], "| tcp4 | ringtun-udp | 5.00 | (5.00–5.00) | |");
        assert_eq!(table(&[]), "");
    }
}
