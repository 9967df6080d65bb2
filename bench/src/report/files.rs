//! `target/bench/`: rows and pictures of the last run of each suite, and one report of all.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ringtun_lab::peers;

use super::{Report, markdown, pivot, plot};

/// The suites, in the order of the report.
const SUITES: [&str; 6] = ["tunnel", "gateway", "pipeline", "ebpf", "scale", "ring"];

/// `target/bench` of this workspace.
pub fn directory() -> PathBuf {
    peers::default_cache().with_file_name("bench")
}

/// Writes the rows of a run, and the report of all suites that have rows there; where that is.
///
/// # Errors
/// A file cannot be written, or the rows of another suite not be read.
pub fn update(directory: &Path, new: &Report) -> Result<PathBuf> {
    let suite = new.suite();
    ensure!(SUITES.contains(&suite), "no suite {suite}");
    fs::create_dir_all(directory).with_context(|| format!("{}", directory.display()))?;
    new.save(&directory.join(format!("{suite}.json")))?;
    let mut text = String::from("# ringtun's benches\n\n");
    text.push_str("Trust ratios of one invocation, not rates of different ones.\n");
    for suite in SUITES {
        let file = directory.join(format!("{suite}.json"));
        if !file.exists() {
            continue;
        }
        let report = Report::read(&file)
            .with_context(|| format!("run the suite {suite} again, or remove the file"))?;
        let mut pictures = Vec::new();
        for metric in pivot::metrics(&report.rows) {
            let name = format!("{suite}-{metric}.svg");
            if let Some(picture) = plot::plot(&report, metric) {
                write(&directory.join(&name), &picture)?;
                pictures.push(name);
            }
        }
        text.push('\n');
        text.push_str(&markdown::section(&report, &pictures));
    }
    let file = directory.join("report.md");
    write(&file, &text)?;
    Ok(file)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("{}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn a_report_has_every_suite_that_was_run() {
        let directory = std::env::temp_dir().join(format!("ringtun-report-{}", std::process::id()));
        let mut other = example();
        for row in &mut other.rows {
            row.suite = "scale".into();
        }
        update(&directory, &other).unwrap();
        let file = update(&directory, &example()).unwrap();
        let text = fs::read_to_string(file).unwrap();
        let pictures: Vec<_> = text
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap())
            .collect();
        let expected = [
            "tunnel-goodput.svg",
            "tunnel-p50.svg",
            "scale-goodput.svg",
            "scale-p50.svg",
        ];
        assert_eq!(pictures, expected);
        assert!(
            pictures
                .iter()
                .all(|picture| directory.join(picture).is_file())
        );
        fs::remove_dir_all(directory).unwrap();
    }
}
