//! Programs of the system, run and heard.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// What is this process's alone: that it is the daemon or its keeper, and what it tells a
/// service manager.
const OURS: [&str; 5] = [
    "RINGTUN_IN_BACKGROUND",
    super::keeper::MARK,
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// Why a program did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started.
    #[error("cannot run `{program}`: {error}; is it installed and in PATH?")]
    Start {
        /// Its name.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// It ended with an error.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// With its arguments.
        command: String,
        /// Its standard error, or its status.
        said: String,
    },
}

impl ProgramError {
    /// Whether what was to be removed is not there.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        const ABSENT: [&str; 5] = [
            "No such file or directory",
            "No such process",
            "No such device",
            "does not exist",
            "Cannot find device",
        ];
        matches!(self, Self::Failed { said, .. } if ABSENT.iter().any(|a| said.contains(a)))
    }
}

/// A command with an environment that suits programs we read.
#[must_use]
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for ours in OURS {
        command.env_remove(ours);
    }
    command.env("LC_ALL", "C");
    command
}

/// Runs it with arguments; its standard output.
///
/// # Errors
/// [`ProgramError`].
pub fn run<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Result<String, ProgramError> {
    feed(program, arguments, "")
}

/// The same, with something to read.
///
/// # Errors
/// [`ProgramError`].
pub fn feed<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    input: &str,
) -> Result<String, ProgramError> {
    let start = |error| ProgramError::Start {
        program: program.to_owned(),
        error,
    };
    let mut command = command(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read it says itself what is wrong.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    Err(ProgramError::Failed {
        command: words.join(" "),
        said: if said.is_empty() {
            output.status.to_string()
        } else {
            said
        },
    })
}

/// `ip` with these words, separated by blanks.
///
/// # Errors
/// [`ProgramError`].
pub fn ip(words: &str) -> Result<String, ProgramError> {
    run("ip", words.split_ascii_whitespace())
}

/// `ip -j` with these words: the objects that it lists, none where it fails.
#[must_use]
pub fn ip_json(words: &str) -> Vec<serde_json::Value> {
    let text = ip(&format!("-j {words}")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Whether there is such a program.
#[must_use]
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| is_program(&directory.join(program)))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
