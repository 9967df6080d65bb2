//! Programs this needs from the distribution, installed when they are missing.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::netns::finish;

/// Where a program is, looking where root's programs live too.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Makes sure that each `(program, package)` is there, installing packages by apt.
///
/// # Errors
/// Something is missing and cannot be installed; the message has the command that would.
pub fn need(tools: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> = tools
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    if find("apt-get").is_none() {
        bail!("missing, and there is no apt here: {}", missing.join(" "));
    }
    eprintln!("installing {}", missing.join(" "));
    if install(&missing).is_err() {
        apt(&["update"]).with_context(|| by_hand.clone())?;
        install(&missing).with_context(|| by_hand.clone())?;
    }
    for (program, package) in tools {
        find(program).with_context(|| format!("{package} is installed and has no {program}"))?;
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)
}

/// Runs `apt-get`, waiting for others that use it.
pub(crate) fn apt(arguments: &[&str]) -> Result<()> {
    finish(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["--quiet", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .stdin(Stdio::null()),
    )
    .map(drop)
}
