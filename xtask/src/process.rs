//! Child processes, and how they end when this one does.
//!
//! * Interrupted, this process ends its children, waits for them, and removes
//!   what they and it made. Each child leads a process group of its own, so
//!   that what it started ends too.
//! * Killed, it takes the programs that it tests along ([`start`]): they must
//!   not go on in the background. A build goes on ([`run`]) and holds cargo's
//!   lock: killing cargo alone leaves compilers that write into the next build.

use anyhow::{Context as _, Result, bail};
use ringtun_lab::process::{die_with_parent, signal_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static CHILDREN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// How long children may take to end after an interrupt.
const PATIENCE: Duration = Duration::from_secs(5);

fn children() -> MutexGuard<'static, BTreeSet<u32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGINT, SIGTERM and SIGHUP end the children, remove what they
/// and this process made, and then end this process.
pub fn end_children_on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if !INTERRUPTED.swap(true, Ordering::SeqCst) {
                thread::spawn(move || end(signal));
            }
        }
    });
    Ok(())
}

/// Never returns if this process was interrupted: the signal thread ends it.
pub fn wait_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        thread::park();
    }
}

fn end(signal: i32) {
    eprintln!("\nxtask: interrupted; cleaning up");
    let groups: Vec<u32> = children().iter().copied().collect();
    for kill in [SIGINT, SIGKILL] {
        for group in &groups {
            // A group that has just ended is what is wanted.
            let _ = signal_group(*group, kill);
        }
        let begin = Instant::now();
        let is_there = |group: &u32| signal_group(*group, 0).is_ok();
        while groups.iter().any(is_there) && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
    }
    ringtun_lab::registry::release_all();
    if let Err(error) = ringtun_lab::reap() {
        eprintln!("xtask: {error:#}");
    }
    std::process::exit(128 + signal);
}

/// A running child.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Kills the child and its group.
    pub fn kill(&self) {
        let _ = signal_group(self.child.id(), SIGKILL);
    }

    /// Waits for the child's end.
    pub fn wait(mut self) -> Result<ExitStatus> {
        let status = self.child.wait();
        // Still under its id, as nobody else waits: nothing else can have it.
        children().remove(&self.child.id());
        wait_if_interrupted();
        status.with_context(|| format!("cannot wait for {}", self.name))
    }
}

/// A command in the root of the repository, without the settings that the
/// cargo which runs xtask made for xtask.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(crate::paths::root())
        .stdin(Stdio::null());
    for variable in [
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PKG_NAME",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Cargo in the root of the repository.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Starts a command that dies with this process; more exactly with the calling
/// thread, so that thread must wait for it.
pub fn start(mut command: Command) -> Result<Running> {
    die_with_parent(&mut command);
    start_lasting(command)
}

/// Starts a command that goes on when this process is killed, but not when it
/// is interrupted.
pub fn start_lasting(mut command: Command) -> Result<Running> {
    let name = line(&command);
    command.process_group(0);
    let mut children = children();
    if INTERRUPTED.load(Ordering::SeqCst) {
        drop(children);
        wait_if_interrupted();
        bail!("interrupted");
    }
    let child = command
        .spawn()
        .with_context(|| format!("cannot start `{name}`"))?;
    children.insert(child.id());
    Ok(Running { child, name })
}

/// Runs a command whose output goes where ours goes.
pub fn run(command: Command) -> Result<()> {
    let name = line(&command);
    let status = start_lasting(command)?.wait()?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// Lines of a command's standard error that an error repeats.
const REPEATED: usize = 12;

/// As [`run`], for a program that is under test: it does not go on when this
/// process is killed, and the error repeats the last lines of what it said.
pub fn run_telling(mut command: Command) -> Result<()> {
    let name = line(&command);
    command.stderr(Stdio::piped());
    let mut running = start(command)?;
    let stderr = running.child().stderr.take().context("a pipe")?;
    let forward = thread::spawn(move || {
        let mut last = VecDeque::new();
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            eprintln!("{line}");
            if last.len() == REPEATED {
                last.pop_front();
            }
            last.push_back(line);
        }
        Vec::from(last).join("\n")
    });
    let status = running.wait()?;
    if status.success() {
        return Ok(());
    }
    let said = forward.join().unwrap_or_default();
    bail!("`{name}` failed ({status}):\n{said}");
}

/// Runs a command whose output goes to `log`; the error has its last lines.
pub fn run_logged(mut command: Command, log: &Path) -> Result<()> {
    let name = line(&command);
    to_log(&mut command, log)?;
    let status = start_lasting(command)?.wait()?;
    judge(&name, status, log)
}

/// As [`run_logged`], but the child is never stopped, not even when this
/// process is interrupted: for the package manager, which must not end between two steps.
pub fn run_to_the_end(mut command: Command, log: &Path) -> Result<()> {
    let name = line(&command);
    to_log(&mut command, log)?;
    command.process_group(0);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{name}`"))?;
    wait_if_interrupted();
    judge(&name, status, log)
}

fn to_log(command: &mut Command, log: &Path) -> Result<()> {
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory)?;
    }
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    Ok(())
}

fn judge(name: &str, status: ExitStatus, log: &Path) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(30)..].join("\n");
    bail!(
        "`{name}` failed ({status}); the end of {}:\n{tail}",
        log.display()
    )
}

/// Runs a command and returns its standard output.
pub fn output(mut command: Command) -> Result<String> {
    let name = line(&command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        bail!(
            "`{name}` failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it.
pub fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
