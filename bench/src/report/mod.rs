//! Rows of measurements: medians, the JSON file, the table with ratios, and what is
//! made of them under `target/bench/`.
//!
//! * `scale`: values in the unit that they are read in.
//! * `plot`: a chart of one metric, as SVG.
//! * `markdown`: tables and charts of all suites that were run.
//! * `folder`: the files.
//! * `readme`: the table in `README.md`.

mod folder;
mod markdown;
mod plot;
pub mod readme;
mod scale;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What `--json` writes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Version of this shape.
    pub schema: u32,
    /// When it was measured, UTC.
    #[serde(default)]
    pub date: String,
    /// The machine.
    pub host: Host,
    /// Which version of each implementation ran.
    pub versions: BTreeMap<String, String>,
    /// The measurements.
    pub rows: Vec<Row>,
}

/// The machine that measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// Processors online.
    pub cores: usize,
    /// `uname -r`.
    pub kernel: String,
}

/// One metric of one implementation in one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The suite (`tunnel`).
    pub suite: Cow<'static, str>,
    /// The case (`tcp1`).
    pub case: String,
    /// The implementation.
    #[serde(rename = "impl")]
    pub implementation: String,
    /// The metric (`goodput`).
    pub metric: Cow<'static, str>,
    /// Its unit (`bit/s`).
    pub unit: Cow<'static, str>,
    /// The median of `runs`.
    pub value: f64,
    /// Each run, in order.
    pub runs: Vec<f64>,
}

impl Host {
    /// This machine.
    ///
    /// # Errors
    /// `/proc` is not readable.
    pub fn this() -> Result<Host> {
        let info = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
        let cpu = info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, name)| name)
            .to_owned();
        Ok(Host {
            cpu,
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
        })
    }
}

/// The day, as `2026-11-26`.
fn today() -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "+%F"])
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

/// The middle value; the mean of the two middle ones of an even number; 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

impl Row {
    /// What runs gave.
    #[must_use]
    pub fn new(
        suite: &'static str,
        case: impl Into<String>,
        implementation: impl Into<String>,
        (metric, unit): (&'static str, &'static str),
        runs: Vec<f64>,
    ) -> Row {
        Row {
            suite: suite.into(),
            case: case.into(),
            implementation: implementation.into(),
            metric: metric.into(),
            unit: unit.into(),
            value: median(&runs),
            runs,
        }
    }

    /// The least and the most that a run gave.
    #[must_use]
    pub fn spread(&self) -> (f64, f64) {
        let (low, high) = (f64::min, f64::max);
        let runs = || self.runs.iter().copied();
        (runs().fold(self.value, low), runs().fold(self.value, high))
    }
}

impl Report {
    /// What this machine gave.
    ///
    /// # Errors
    /// As [`Host::this`].
    pub fn new(versions: BTreeMap<String, String>, rows: Vec<Row>) -> Result<Report> {
        Ok(Report {
            schema: 1,
            date: today(),
            host: Host::this()?,
            versions,
            rows,
        })
    }

    /// Of ringtun beside what has no version.
    ///
    /// # Errors
    /// As [`Host::this`].
    pub fn of_ringtun(name: &str, rows: Vec<Row>) -> Result<Report> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Report::new(BTreeMap::from([(name.to_owned(), version)]), rows)
    }

    /// Writes the file, if there is to be one, and what is made of it under
    /// `target/bench/`, and says so.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, file: Option<&Path>) -> Result<()> {
        let told = folder::add(&folder::default(), self)?;
        println!("report: {}", told.display());
        let Some(file) = file else { return Ok(()) };
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text + "\n").with_context(|| format!("{}", file.display()))?;
        println!("written to {}", file.display());
        Ok(())
    }

    /// Its metrics, in the order of the rows.
    #[must_use]
    pub fn metrics(&self) -> Vec<&str> {
        let mut metrics = Vec::new();
        for row in &self.rows {
            if !metrics.contains(&&*row.metric) {
                metrics.push(&*row.metric);
            }
        }
        metrics
    }

    /// The rows of one metric.
    pub fn of_metric<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.metric == metric)
    }

    /// One value with its runs.
    #[must_use]
    pub fn find(&self, case: &str, metric: &str, implementation: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| {
            row.case == case && row.metric == metric && row.implementation == implementation
        })
    }

    /// A table per case: each implementation's metrics, and its goodput relative to `reference`.
    #[must_use]
    pub fn table(&self, reference: &str) -> String {
        let value = |case: &str, implementation: &str, metric: &str| {
            self.find(case, metric, implementation).map(|row| row.value)
        };
        let spread = |case: &str, implementation: &str| {
            let row = self.find(case, "goodput", implementation);
            row.map_or(String::new(), |row| {
                let (low, high) = row.spread();
                format!("{:.2}–{:.2}", low / 1e9, high / 1e9)
            })
        };
        let mut text = format!(
            "{} ({} cores), kernel {}\n{:<6} {:<13} {:>8} {:>13} {:>12} {:>15} {:>15}\n",
            self.host.cpu,
            self.host.cores,
            self.host.kernel,
            "case",
            "impl",
            "Gbit/s",
            "(min–max)",
            format!("vs {}", short(reference)),
            "machine s/GB",
            "process s/GB"
        );
        let mut seen = Vec::new();
        for row in &self.rows {
            let key = (&row.case, &row.implementation);
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let (case, implementation) = (row.case.as_str(), row.implementation.as_str());
            let goodput = value(case, implementation, "goodput").unwrap_or(0.0);
            let ratio = value(case, reference, "goodput")
                .filter(|other| *other > 0.0)
                .map_or("-".into(), |other| format!("{:.2}", goodput / other));
            let seconds = |metric: &str| {
                value(case, implementation, metric).map_or("-".into(), |s| format!("{s:.2}"))
            };
            text.push_str(&format!(
                "{case:<6} {implementation:<13} {:>8.2} {:>13} {ratio:>12} {:>15} {:>15}\n",
                goodput / 1e9,
                spread(case, implementation),
                seconds("cpu-machine"),
                seconds("cpu-process"),
            ));
        }
        for (implementation, version) in &self.versions {
            text.push_str(&format!("{implementation}: {version}\n"));
        }
        text
    }
}

fn short(reference: &str) -> &str {
    match reference {
        "wireguard-go" => "wg-go",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_file_has_the_agreed_names() {
        let report = Report {
            schema: 1,
            date: "2026-11-26".into(),
            host: Host {
                cpu: "c".into(),
                cores: 2,
                kernel: "k".into(),
            },
            versions: BTreeMap::new(),
            rows: vec![Row {
                suite: "tunnel".into(),
                case: "tcp1".into(),
                implementation: "none".into(),
                metric: "goodput".into(),
                unit: "bit/s".into(),
                value: 1e9,
                runs: vec![1e9],
            }],
        };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["host"]["cores"], 2);
        assert_eq!(json["rows"][0]["impl"], "none");
        assert_eq!(json["rows"][0]["value"], 1e9);
        assert!(report.table("none").contains("1.00"));
    }
}
