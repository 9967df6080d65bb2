//! `ringtun check FILE`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::output::print;
use crate::control::wgquick::{Config, Diagnostic, Report, file};

#[derive(Args)]
#[command(after_help = "\
Exit status: 0 if the file can be used (warnings are none of the errors), else 1.

Examples:
  ringtun check wg0                        the file /etc/wireguard/wg0.conf
  ringtun check ./new.conf && wg syncconf wg0 <(wg-quick strip ./new.conf)
  ringtun check wg0 --json | jq .errors")]
pub struct CheckArgs {
    /// A file, or a name that stands for /etc/wireguard/NAME.conf
    #[arg(value_name = "FILE or NAME")]
    file: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Reads the file and says what is wrong with it.
pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    let path = file::locate(&args.file);
    let (config, report) =
        file::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    print(&if args.json {
        json(&path, &config, &report)?
    } else {
        text(&path, &config, &report)
    })?;
    Ok(if report.errors() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn text(path: &Path, config: &Config, report: &Report) -> String {
    let mut text = String::new();
    for diagnostic in report.sorted() {
        text += &format!("{}:{diagnostic}\n", path.display());
    }
    if report.omitted() > 0 {
        text += &format!("{}: and {} more\n", path.display(), report.omitted());
    }
    let count = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let verdict = match (report.errors(), report.warnings()) {
        (0, 0) => format!("good, {}", count(config.peers.len(), "peer")),
        (0, warnings) => format!(
            "can be used, {}, {}",
            count(config.peers.len(), "peer"),
            count(warnings, "warning")
        ),
        (errors, warnings) => format!(
            "cannot be used: {}, {}",
            count(errors, "error"),
            count(warnings, "warning")
        ),
    };
    text + &format!("{}: {verdict}\n", path.display())
}

#[derive(Serialize)]
struct Outcome<'a> {
    file: String,
    valid: bool,
    errors: usize,
    warnings: usize,
    /// Found beyond those listed.
    omitted: usize,
    peers: usize,
    diagnostics: Vec<&'a Diagnostic>,
}

fn json(path: &Path, config: &Config, report: &Report) -> Result<String> {
    let outcome = Outcome {
        file: path.display().to_string(),
        valid: report.errors() == 0,
        errors: report.errors(),
        warnings: report.warnings(),
        omitted: report.omitted(),
        peers: config.peers.len(),
        diagnostics: report.sorted(),
    };
    Ok(serde_json::to_string_pretty(&outcome)? + "\n")
}
