//! `target/bench/`: a JSON file of the last run of each suite, its charts, and
//! `report.md` of all of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ringtun_lab::peers;

use super::{Report, markdown, plot};

/// In the order of the report.
const SUITES: [&str; 6] = ["tunnel", "gateway", "pipeline", "scale", "ring", "ebpf"];

/// The folder of this workspace.
#[must_use]
pub fn default() -> PathBuf {
    peers::default_cache().with_file_name("bench")
}

/// Puts a report into the folder, in place of the one before of its suite; returns
/// where the report of all suites is.
///
/// # Errors
/// A file cannot be written.
pub fn add(folder: &Path, report: &Report) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let write = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("{}", file.display()))
    };
    if let Some(suite) = report.rows.first().map(|row| row.suite.clone()) {
        write(&json(&suite), serde_json::to_string_pretty(report)? + "\n")?;
        let host = &report.host;
        let about = format!(
            "{}, {}, {} processors, Linux {}; median of the runs, and their range",
            report.date, host.cpu, host.cores, host.kernel
        );
        for metric in report.metrics() {
            let rows: Vec<_> = report.of_metric(metric).collect();
            let title = format!("{suite}: {metric}");
            write(&chart(&suite, metric), plot::draw(&title, &about, &rows))?;
        }
    }
    let mut text = "# What was measured\n".to_owned();
    for suite in SUITES {
        // One that cannot be read is of another version.
        if let Some(report) = read(folder, suite) {
            text.push('\n');
            text += &markdown::suite(suite, &report, |metric| chart(suite, metric));
        }
    }
    write("report.md", text)?;
    Ok(folder.join("report.md"))
}

/// The last report of a suite, if there is one.
#[must_use]
pub fn read(folder: &Path, suite: &str) -> Option<Report> {
    let text = fs::read_to_string(folder.join(json(suite))).ok()?;
    serde_json::from_str(&text).ok()
}

fn json(suite: &str) -> String {
    format!("{suite}.json")
}

fn chart(suite: &str, metric: &str) -> String {
    format!("{suite}-{metric}.svg")
}

#[cfg(test)]
mod tests {
    use super::super::{Host, Row};
    use super::*;
    use std::collections::BTreeMap;

    fn report(suite: &'static str, metric: &'static str) -> Report {
        Report {
            schema: 1,
            date: "2026-11-26".into(),
            host: Host {
                cpu: "a cpu".into(),
                cores: 2,
                kernel: "6.18".into(),
            },
            versions: BTreeMap::from([("wireguard-go".into(), "0.1".into())]),
            rows: vec![Row::new(suite, "c", "ringtun", (metric, "s"), vec![1e-6])],
        }
    }

    #[test]
    fn each_suite_has_its_last_run_in_the_report() {
        let folder = std::env::temp_dir().join(format!("ringtun-bench-{}", std::process::id()));
        add(&folder, &report("ring", "p50")).unwrap();
        add(&folder, &report("tunnel", "p50")).unwrap();
        let all = add(&folder, &report("tunnel", "p99")).unwrap();
        let text = fs::read_to_string(all).unwrap();
        assert!(text.find("## tunnel") < text.find("## ring"), "{text}");
        assert!(text.contains("![p99](tunnel-p99.svg)") && !text.contains("tunnel-p50"));
        assert!(folder.join("ring-p50.svg").exists());
        assert_eq!(read(&folder, "tunnel").unwrap().rows[0].metric, "p99");
        fs::write(folder.join("ring.json"), "{").unwrap();
        assert!(read(&folder, "ring").is_none(), "no report is no failure");
        fs::remove_dir_all(folder).unwrap();
    }
}
