//! `ringtun doctor [NAME]`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::output::print;
use super::tunnels::locate;
use crate::control::doctor::{self, Finding, Severity, Subject};
use crate::control::names::InterfaceName;
use crate::control::uapi::socket::DIRECTORY as SOCKETS;
use crate::control::wgquick::file;

/// There are warnings, and no errors.
const WARNINGS: u8 = 3;
/// There are errors.
const ERRORS: u8 = 4;
/// Tunnels that are looked at when none is named.
const TUNNELS_MAX: usize = 256;

#[derive(Args)]
#[command(after_help = "\
Asks the machine as an administrator would (ip, nft, /proc) and the processes that serve
tunnels. Changes nothing and sends nothing. Each finding says what is wrong, where that
was seen, and the command or the line that mends it; where nothing is wrong, it says
nothing. With a name, a tunnel that is not up is a finding, too.

Exit status: 0 if nothing is wrong, 3 with warnings, 4 with errors, 2 for a mistake on
the command line.

Examples:
  sudo ringtun doctor
  sudo ringtun doctor wg0
  sudo ringtun doctor wg0 --json | jq -r '.findings[].remedies[].command // empty'")]
pub struct DoctorArgs {
    /// A file, or a name that stands for /etc/wireguard/NAME.conf; all there are without
    #[arg(value_name = "NAME or FILE")]
    name: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Looks, and says what is wrong.
pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let subjects = match &args.name {
        Some(name) => {
            let (path, name) = locate(name)?;
            vec![Subject::new(name, path, Path::new(SOCKETS))]
        }
        None => {
            let subject = |(name, path)| Subject::new(name, path, Path::new(SOCKETS));
            tunnels().into_iter().map(subject).collect()
        }
    };
    let findings = doctor::examine(&subjects, args.name.is_some());
    print(&if args.json {
        json(&findings)?
    } else {
        findings.iter().map(Finding::to_string).collect()
    })?;
    Ok(match worst(&findings) {
        None | Some(Severity::Note) => ExitCode::SUCCESS,
        Some(Severity::Warning) => ExitCode::from(WARNINGS),
        Some(Severity::Error) => ExitCode::from(ERRORS),
    })
}

fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).max()
}

/// Devices that run, and files.
pub fn tunnels() -> BTreeMap<InterfaceName, PathBuf> {
    let mut found: BTreeMap<InterfaceName, PathBuf> = BTreeMap::new();
    for (directory, suffix) in [(SOCKETS, ".sock"), (file::DIRECTORY, ".conf")] {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?
                .strip_suffix(suffix)?
                .parse::<InterfaceName>()
                .ok()
        });
        for name in names.take(TUNNELS_MAX) {
            let path = file::locate(name.as_str());
            found.insert(name, path);
        }
    }
    found.into_iter().take(TUNNELS_MAX).collect()
}

#[derive(Serialize)]
struct Outcome<'a> {
    /// The worst, if there is any.
    severity: Option<Severity>,
    findings: &'a [Finding],
}

fn json(findings: &[Finding]) -> Result<String> {
    let outcome = Outcome {
        severity: worst(findings),
        findings,
    };
    Ok(serde_json::to_string_pretty(&outcome)? + "\n")
}
