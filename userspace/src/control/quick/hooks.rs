//! `PreUp`, `PostUp`, `PreDown`, `PostDown`.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::Stdio;

use super::program::{self, ProgramError};
use crate::control::names::InterfaceName;

/// Runs commands in order by bash, as wg-quick does, `%i` being the device.
///
/// # Errors
/// The first that fails; none after it is run.
pub fn run(commands: &[String], name: &InterfaceName) -> Result<(), ProgramError> {
    commands.iter().try_for_each(|command| one(command, name))
}

/// Runs them all, and says which failed.
#[must_use]
pub fn run_all(commands: &[String], name: &InterfaceName) -> Vec<ProgramError> {
    let results = commands.iter().map(|command| one(command, name));
    results.filter_map(Result::err).collect()
}

fn one(command: &str, name: &InterfaceName) -> Result<(), ProgramError> {
    let command = command.replace("%i", name.as_str());
    let _ = writeln!(io::stderr(), "[#] {command}");
    let shell = if program::exists("bash") {
        "bash"
    } else {
        "sh"
    };
    let start = |error| ProgramError::Start {
        program: shell.to_owned(),
        error,
    };
    // Standard output of a daemon is how it says that it is ready.
    let out = io::stderr().as_fd().try_clone_to_owned().map_err(start)?;
    let status = program::command(shell)
        .args(["-c", &command])
        .stdin(Stdio::null())
        .stdout(out)
        .status()
        .map_err(start)?;
    if status.success() {
        return Ok(());
    }
    Err(ProgramError::Failed {
        command,
        said: status.to_string(),
    })
}
