//! Rows of measurements, and what is made of them.
//!
//! * [`format`]: numbers, units and dates for people.
//! * [`pivot`]: rows as a table, a column for each implementation.
//! * [`markdown`], [`plot`]: tables and bars; [`svg`] has the parts of a picture.
//! * [`files`]: `target/bench/`, where all of it is written to.
//! * [`readme`]: the table between two marks of another file.

pub mod files;
pub mod format;
mod markdown;
mod pivot;
pub mod plot;
pub mod readme;
pub mod svg;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What `--json` writes.
#[derive(Debug, Deserialize, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub schema: u32,
    /// The day, of UTC.
    #[serde(default)]
    pub date: String,
    /// The machine.
    pub host: Host,
    /// Which version of each implementation ran.
    pub versions: BTreeMap<String, String>,
    /// What was the same for all of them.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The measurements.
    pub rows: Vec<Row>,
}

/// The machine that measured.
#[derive(Debug, Deserialize, Serialize)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// Processors online.
    pub cores: usize,
    /// `uname -r`.
    pub kernel: String,
}

/// One metric of one implementation in one case.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    /// The suite (`tunnel`).
    pub suite: String,
    /// The case (`tcp1`).
    pub case: String,
    /// The implementation.
    #[serde(rename = "impl")]
    pub implementation: String,
    /// The metric (`goodput`).
    pub metric: String,
    /// Its unit (`bit/s`).
    pub unit: String,
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
        suite: &str,
        case: impl Into<String>,
        implementation: impl Into<String>,
        (metric, unit): (&str, &str),
        runs: Vec<f64>,
    ) -> Row {
        Row {
            suite: suite.to_owned(),
            case: case.into(),
            implementation: implementation.into(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            value: median(&runs),
            runs,
        }
    }

    /// One run more.
    pub fn add(&mut self, run: f64) {
        self.runs.push(run);
        self.value = median(&self.runs);
    }

    /// The lowest and the highest run.
    #[must_use]
    pub fn spread(&self) -> (f64, f64) {
        let fold = |f: fn(f64, f64) -> f64| self.runs.iter().copied().fold(self.value, f);
        (fold(f64::min), fold(f64::max))
    }
}

impl Report {
    /// What this machine gave today.
    ///
    /// # Errors
    /// As [`Host::this`].
    pub fn new(versions: BTreeMap<String, String>, rows: Vec<Row>) -> Result<Report> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Report {
            schema: 1,
            date: format::date(now.as_secs()),
            host: Host::this()?,
            versions,
            settings: BTreeMap::new(),
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

    /// Reads what was written.
    ///
    /// # Errors
    /// There is no such file, or it is something else.
    pub fn read(file: &Path) -> Result<Report> {
        let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        let report: Report = serde_json::from_str(&text)
            .with_context(|| format!("{} is no report", file.display()))?;
        anyhow::ensure!(
            report.schema == 1,
            "{} has schema {}, this reads 1",
            file.display(),
            report.schema
        );
        Ok(report)
    }

    /// Writes the file, if there is to be one, and the report under `target/bench/`; says so.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, file: Option<&Path>) -> Result<()> {
        if let Some(file) = file {
            self.save(file)?;
            println!("written to {}", file.display());
        }
        let report = files::update(&files::directory(), self)?;
        println!("report: {}", report.display());
        Ok(())
    }

    fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text + "\n").with_context(|| format!("{}", file.display()))
    }

    /// One value with its runs.
    #[must_use]
    pub fn find(&self, case: &str, metric: &str, implementation: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| {
            row.case == case && row.metric == metric && row.implementation == implementation
        })
    }

    /// The suite of its rows.
    #[must_use]
    pub fn suite(&self) -> &str {
        self.rows.first().map_or("", |row| &row.suite)
    }

    /// The machine, the day, and what was the same for all, in a line.
    #[must_use]
    pub fn circumstances(&self) -> String {
        let Host { cpu, cores, kernel } = &self.host;
        let mut text = format!("{}, {cores} cores of {cpu}, Linux {kernel}", self.date);
        for (name, value) in &self.settings {
            text.push_str(&format!(", {name} {value}"));
        }
        text
    }

    /// For a terminal: a line for each measurement, and how it compares.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n", self.circumstances());
        for line in pivot::lines(&self.rows) {
            let (unit, _) = format::scale(line.unit);
            text.push_str(&format!("\n{} {}, {unit}\n", line.case, line.metric));
            for row in &line.rows {
                let (low, high) = row.spread();
                let spread = format!(
                    "({}–{})",
                    format::scaled(low, line.unit),
                    format::scaled(high, line.unit)
                );
                let ratio = line.ratio(row).map_or(String::new(), |ratio| {
                    format!("{ratio:.2} × {}", line.reference.unwrap_or_default())
                });
                text.push_str(&format!(
                    "  {:<13} {:>8} {spread:>17}  {ratio}\n",
                    row.implementation,
                    format::scaled(row.value, line.unit)
                ));
            }
        }
        text.push('\n');
        for (implementation, version) in &self.versions {
            text.push_str(&format!("{implementation}: {version}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests;
