//! Going to the background: the program starts itself again, in a session of
//! its own, and the first process stays until the second is ready or fails.
//!
//! Nothing is forked that has threads or sockets. The second process says over
//! its standard output how it went: a zero byte when it is ready, else the
//! text of the error.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

/// Tells the second process which one it is. What that starts must not inherit it.
pub const MARK: &str = "RINGTUN_IN_BACKGROUND";

/// As wireguard-go has it, for scripts that set it.
const FOREGROUND: &str = "WG_PROCESS_FOREGROUND";

const READY: u8 = 0;

/// Which process this is.
pub enum Role {
    /// It stays in the foreground.
    Foreground,
    /// It starts the daemon and waits for it.
    Starter,
    /// It is the daemon.
    Daemon,
}

/// What this process is to be. `foreground` is what the command line says.
pub fn role(foreground: bool) -> Role {
    if env::var_os(MARK).is_some() {
        Role::Daemon
    } else if foreground || env::var_os(FOREGROUND).is_some_and(|v| v == "1") {
        Role::Foreground
    } else {
        Role::Starter
    }
}

/// Starts the daemon with the same arguments, and returns when it is ready.
/// With `log`, it keeps standard error.
pub fn start(log: bool) -> Result<ExitCode> {
    start_in("/", log)
}

/// The same, in another working directory than the root.
pub fn start_in(directory: &str, log: bool) -> Result<ExitCode> {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| "ringtun".into());
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut child = Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(MARK, "1")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(if log { Stdio::inherit() } else { Stdio::null() })
        .spawn()
        .context("cannot start the daemon")?;
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // An error is a few lines; a daemon that says more is broken.
        const LONGEST: u64 = 64 * 1024;
        stdout
            .take(LONGEST)
            .read_to_end(&mut said)
            .context("cannot hear the daemon")?;
    }
    if said.last() == Some(&READY) {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait().context("cannot wait for the daemon")?;
    match String::from_utf8_lossy(&said).trim_end() {
        "" => bail!("the daemon ended before it was ready ({status}); see it with --foreground"),
        error => bail!("{error}"),
    }
}

/// In the daemon: leaves the terminal, so that closing it does not end us.
pub fn detach() -> Result<()> {
    // It fails only for the leader of a process group, which needs no detaching.
    let _ = nix::unistd::setsid();
    Ok(())
}

/// In the daemon: lets the first process end well.
///
/// # Errors
/// It has gone: whoever started us gave up waiting.
pub fn ready() -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&[READY])
        .and_then(|()| out.flush())
        .context("nobody waits for this daemon")?;
    close_stdout()
}

/// In the daemon: lets the first process print the error.
pub fn failed(error: &anyhow::Error) {
    let mut out = io::stdout().lock();
    // If nobody listens there is nobody to tell that either.
    let _ = write!(out, "{error:#}").and_then(|()| out.flush());
}

/// In the daemon: lets go of the terminal that standard error may be.
pub fn quiet() -> Result<()> {
    let null = File::options()
        .write(true)
        .open("/dev/null")
        .context("/dev/null")?;
    nix::unistd::dup2_stderr(&null).context("cannot close standard error")
}

/// The pipe has to be closed for its reader to go on.
fn close_stdout() -> Result<()> {
    let null = File::options()
        .write(true)
        .open("/dev/null")
        .context("/dev/null")?;
    nix::unistd::dup2_stdout(&null).context("cannot close standard output")
}
