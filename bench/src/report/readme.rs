//! The table in `README.md`, of the last run of `tunnel`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::scale::Scale;
use super::{Report, folder};

const BEGIN: &str = "<!-- bench: begin -->\n";
const END: &str = "<!-- bench: end -->\n";
/// What the table has, and how it is called there.
const COLUMNS: [(&str, &str, &str); 7] = [
    ("tcp1", "goodput", "one TCP stream"),
    ("tcp4", "goodput", "four"),
    ("tcp1", "cpu-machine", "CPU, one stream"),
    ("udp64", "loss-free", "64 B without loss"),
    ("imix", "loss-free", "IMIX without loss"),
    ("rtt-idle", "p50", "round trip, idle"),
    ("rtt-load", "p99", "99th percentile under load"),
];
const REFERENCE: &str = "wireguard-go";

/// Options of `readme`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The README, with the two marks between which the table goes.
    #[arg(default_value = "README.md")]
    file: PathBuf,
}

/// Puts the table of the last run of `tunnel` into the README.
///
/// # Errors
/// There is no run, no README, or no place in it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let report = folder::read(&folder::default(), "tunnel")
        .context("no run of `tunnel` yet: `cargo xtask bench tunnel` makes one")?;
    let file = &arguments.file;
    let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let text = replace(&text, &table(&report)).with_context(|| format!("{}", file.display()))?;
    fs::write(file, text).with_context(|| format!("{}", file.display()))?;
    println!("{}: the table is of {}", file.display(), report.date);
    Ok(())
}

fn replace(readme: &str, table: &str) -> Result<String> {
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, behind) = rest.split_once(END)?;
        Some((before, behind))
    });
    let (before, behind) =
        parts.with_context(|| format!("no lines `{}` and `{}`", BEGIN.trim(), END.trim()))?;
    ensure!(
        !behind.contains(BEGIN),
        "`{}` stands there twice",
        BEGIN.trim()
    );
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{behind}"))
}

/// A line for each implementation; each value with its ratio to the reference.
fn table(report: &Report) -> String {
    let value = |case: &str, metric: &str, name: &str| report.find(case, metric, name);
    let mut names: Vec<&str> = Vec::new();
    for row in &report.rows {
        if !names.contains(&row.implementation.as_str()) {
            names.push(&row.implementation);
        }
    }
    let columns: Vec<_> = COLUMNS
        .iter()
        .filter(|(case, metric, _)| names.iter().any(|name| value(case, metric, name).is_some()))
        .collect();
    let mut text = "|".to_owned();
    for (.., title) in &columns {
        text += &format!(" | {title}");
    }
    text += " |\n|---";
    text += &"|---:".repeat(columns.len());
    text += "|\n";
    for name in &names {
        let version = report.versions.get(*name).map_or("", String::as_str);
        text += &match *name {
            "none" => "| no tunnel, plain veth".to_owned(),
            _ => format!("| {name} {version}"),
        };
        for (case, metric, _) in &columns {
            let row = value(case, metric, name);
            text += &row.map_or(" |".to_owned(), |row| {
                let scale = Scale::of(&row.unit, row.value);
                let shown = format!(" | {} {}", scale.show(row.value), short(scale.unit));
                match value(case, metric, REFERENCE) {
                    Some(other) if other.value > 0.0 && *name != REFERENCE => {
                        format!("{shown} ({:.2} ×)", row.value / other.value)
                    }
                    _ => shown,
                }
            });
        }
        text += " |\n";
    }
    let host = &report.host;
    let runs = report.rows.first().map_or(0, |row| row.runs.len());
    text += &format!(
        "\nMedians of {runs} alternating runs of one invocation, {}; {}, {} processors, Linux {}, both ends on this machine. In brackets: of {REFERENCE}.\n",
        report.date, host.cpu, host.cores, host.kernel
    );
    text
}

fn short(unit: &str) -> &str {
    match unit {
        "thousand packets/s" => "k/s",
        "million packets/s" => "M/s",
        "s per GB" => "s/GB",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Host, Row};
    use std::collections::BTreeMap;

    #[test]
    fn the_table_goes_between_the_marks_and_the_rest_stays() {
        let readme = format!("a\n{BEGIN}old\n{END}b\n");
        let new = replace(&readme, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n\n{END}b\n"));
        assert_eq!(replace(&new, "new\n").unwrap(), new, "again is the same");
        for bad in [
            "a\n",
            &format!("{END}{BEGIN}"),
            &format!("{BEGIN}{END}{BEGIN}{END}"),
        ] {
            assert!(replace(bad, "new").is_err(), "{bad}");
        }
    }

    #[test]
    fn values_stand_beside_their_ratio_and_what_was_not_measured_is_no_column() {
        let row = |implementation, value| {
            Row::new(
                "tunnel",
                "tcp1",
                implementation,
                ("goodput", "bit/s"),
                vec![value; 5],
            )
        };
        let report = Report {
            schema: 1,
            date: "2026-11-26".into(),
            host: Host {
                cpu: "c".into(),
                cores: 2,
                kernel: "k".into(),
            },
            versions: BTreeMap::from([("wireguard-go".into(), "0.0.1".into())]),
            rows: vec![
                row("ringtun-udp", 4e9),
                row("wireguard-go", 2e9),
                row("none", 2e10),
            ],
        };
        let text = table(&report);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "| | one TCP stream |");
        assert_eq!(lines[2], "| ringtun-udp  | 4.00 Gbit/s (2.00 ×) |");
        assert_eq!(lines[3], "| wireguard-go 0.0.1 | 2.00 Gbit/s |");
        assert_eq!(
            lines[4],
            "| no tunnel, plain veth | 20.0 Gbit/s (10.00 ×) |"
        );
        assert!(text.contains("5 alternating runs"));
    }
}
