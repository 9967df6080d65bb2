//! Tables of Markdown.

use super::format::{scale, scaled};
use super::{Report, pivot};

/// How each case reads for somebody who does not know its name.
const CASES: [(&str, &str); 8] = [
    ("tcp1", "one TCP stream"),
    ("tcp4", "four TCP streams"),
    ("udp64", "UDP in IP payloads of 64 bytes"),
    ("udp512", "UDP in IP payloads of 512 bytes"),
    ("udp1400", "UDP in IP payloads of 1400 bytes"),
    ("imix", "UDP, 7:4:1 of 64, 576 and 1400 bytes"),
    ("rtt-idle", "round trip, idle"),
    ("rtt-load", "round trip beside a TCP stream"),
];

/// How each metric does.
const METRICS: [(&str, &str); 3] = [
    ("loss-free", "loss-free"),
    ("cpu-machine", "CPU of the machine"),
    ("cpu-process", "CPU of both ends' programs"),
];

/// What a name stands for; itself, if that is not known.
fn plain<'a>(name: &'a str, of: &[(&str, &'static str)]) -> &'a str {
    of.iter()
        .find(|(known, _)| *known == name)
        .map_or(name, |(_, text)| text)
}

/// Text that a cell of a table can hold.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace('<', "&lt;")
}

/// A line for each case and metric, a column for each implementation: the median, how it compares,
/// and the lowest and highest run.
pub fn table(report: &Report) -> String {
    let implementations = pivot::implementations(&report.rows);
    let mut text = String::from("| |");
    for name in &implementations {
        let version = report.versions.get(*name).map_or("", String::as_str);
        text.push_str(&format!(" {} |", cell(format!("{name} {version}").trim())));
    }
    text.push_str(&format!(
        "\n|---|{}\n",
        "---|".repeat(implementations.len())
    ));
    for line in pivot::lines(&report.rows) {
        let (unit, _) = scale(line.unit);
        text.push_str(&format!(
            "| {}: {}, {} |",
            cell(plain(line.case, &CASES)),
            cell(plain(line.metric, &METRICS)),
            cell(unit)
        ));
        for name in &implementations {
            let Some(row) = line.of(name) else {
                text.push_str(" |");
                continue;
            };
            let (low, high) = row.spread();
            text.push_str(&format!(" {}", scaled(row.value, line.unit)));
            if let Some(ratio) = line.ratio(row) {
                text.push_str(&format!(", {ratio:.2} ×"));
            }
            if row.runs.len() > 1 {
                text.push_str(&format!(
                    " ({}–{})",
                    scaled(low, line.unit),
                    scaled(high, line.unit)
                ));
            }
            text.push_str(" |");
        }
        text.push('\n');
    }
    text
}

/// A suite: what it was measured on, pictures, and the table.
pub fn section(report: &Report, pictures: &[String]) -> String {
    let mut text = format!(
        "## {}\n\n{}.\n\n",
        report.suite(),
        cell(&report.circumstances())
    );
    for picture in pictures {
        text.push_str(&format!("![{picture}]({picture})\n\n"));
    }
    let references: Vec<_> = pivot::lines(&report.rows)
        .iter()
        .filter_map(|line| line.reference)
        .collect();
    if let Some(reference) = references.first() {
        text.push_str(&format!("Medians; × is against {reference}"));
        if references.iter().any(|other| other != reference) {
            text.push_str(" or what a case has in its place");
        }
        text.push_str("; in brackets the lowest and the highest run.\n\n");
    }
    text + &table(report)
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn a_table_has_medians_ratios_and_spreads() {
        let expected = "\
| | ringtun-udp | wireguard-go 0.0.1 |
|---|---|---|
| one TCP stream: goodput, Gbit/s | 5.00, 2.50 × (4.00–6.00) | 2.00 (2.00–3.00) |
| round trip, idle: p50, µs | 100 | |
";
        assert_eq!(table(&example()), expected);
    }

    #[test]
    fn a_section_names_the_machine_and_shows_its_pictures() {
        let text = section(&example(), &["tunnel-goodput.svg".into()]);
        assert!(
            text.starts_with("## tunnel\n\n2026-11-26, 2 cores of A & B &lt;1>, Linux 6.18"),
            "{text}"
        );
        assert!(text.contains("![tunnel-goodput.svg](tunnel-goodput.svg)"));
        assert!(text.contains("× is against wireguard-go;"));
    }

    #[test]
    fn a_cell_ends_where_it_should() {
        assert_eq!(cell("a|b\\"), "a\\|b\\\\");
    }
}
