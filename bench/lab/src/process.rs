//! Programs that stay while a test runs: waited for by what they say, ended by their id.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sys;
pub use crate::usage::Usage;
pub use std::process::Output;

/// A program in a process group of its own, killed when dropped and when this process dies.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    stdin: Option<ChildStdin>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<String>,
    open_outputs: usize,
    status: Option<ExitStatus>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts `command`; its standard output and error are collected line by line.
    ///
    /// Use [`crate::NetNs::command`] to make the command.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(mut command: Command) -> Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child =
            spawn_from_lasting_thread(command).with_context(|| format!("cannot start {name}"))?;
        let pid = child.id();
        let stdin = child.stdin.take();
        let state = Arc::new(State::default());
        state.lock().open_outputs = 2;
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as _),
            child.stderr.take().map(|out| Box::new(out) as _),
        ];
        for output in outputs {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                if let Some(output) = output {
                    collect(output, &state);
                }
                state.lock().open_outputs -= 1;
                state.changed.notify_all();
            });
        }
        let waiter = Arc::clone(&state);
        thread::spawn(move || {
            let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(-1));
            waiter.lock().status = Some(status);
            waiter.changed.notify_all();
        });
        Ok(Process {
            name,
            pid,
            stdin,
            state,
        })
    }

    /// Its process id, also the id of its group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Everything it wrote so far, standard output and error as they came.
    #[must_use]
    pub fn output(&self) -> String {
        self.state.lock().lines.join("\n")
    }

    /// Writes to its standard input.
    ///
    /// # Errors
    /// It has closed it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        stdin.write_all(bytes)?;
        stdin.flush()?;
        Ok(())
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// The first line for which `matches` holds, among those written and those to come.
    ///
    /// # Errors
    /// The program ended or `timeout` passed without one; the message has what it wrote.
    pub fn wait_line(&self, timeout: Duration, matches: impl Fn(&str) -> bool) -> Result<String> {
        self.wait_line_from(0, timeout, matches)
            .map(|(_, line)| line)
    }

    /// As [`Process::wait_line`] for lines from number `first` on; returns the line's number too.
    ///
    /// # Errors
    /// As [`Process::wait_line`].
    pub fn wait_line_from(
        &self,
        first: usize,
        timeout: Duration,
        matches: impl Fn(&str) -> bool,
    ) -> Result<(usize, String)> {
        let deadline = Instant::now() + timeout;
        let mut next = first;
        let mut seen = self.state.lock();
        loop {
            while let Some(line) = seen.lines.get(next) {
                if matches(line) {
                    return Ok((next, line.clone()));
                }
                next += 1;
            }
            let ended = seen.status.filter(|_| seen.open_outputs == 0);
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(status) = ended {
                bail!("{} ended ({status}):\n{}", self.name, seen.lines.join("\n"));
            }
            if left.is_zero() {
                bail!(
                    "{} did not say what was expected within {timeout:?}:\n{}",
                    self.name,
                    seen.lines.join("\n")
                );
            }
            seen = self
                .state
                .changed
                .wait_timeout(seen, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// How many lines it has written so far.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.state.lock().lines.len()
    }

    /// Its status, if it has ended.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        self.state.lock().status
    }

    /// Waits for its end and for the end of its output.
    ///
    /// # Errors
    /// It still runs after `timeout`.
    pub fn wait_exit(&self, timeout: Duration) -> Result<ExitStatus> {
        let (seen, _) = self
            .state
            .changed
            .wait_timeout_while(self.state.lock(), timeout, |seen| {
                seen.status.is_none() || seen.open_outputs > 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        seen.status.with_context(|| {
            format!(
                "{} still runs after {timeout:?}:\n{}",
                self.name,
                seen.lines.join("\n")
            )
        })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let seen = self.state.lock();
        if let Some(status) = seen.status {
            bail!("{} has ended ({status})", self.name);
        }
        sys::kill(self.pid, signal).with_context(|| format!("signal {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// It still runs after `timeout`.
    pub fn stop(&self, timeout: Duration) -> Result<ExitStatus> {
        if self.status().is_none() {
            let _ = self.signal(libc::SIGTERM);
        }
        self.wait_exit(timeout)
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn usage(&self) -> Result<Usage> {
        crate::usage::of(self.pid)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that fails shows what its programs had to say.
        if thread::panicking() {
            eprintln!("-- {} ({}):\n{}", self.name, self.pid, self.output());
        }
        // Not reaped yet as long as no status is recorded under the lock, so the id is still ours.
        let seen = self.state.lock();
        if seen.status.is_none() {
            let _ = sys::kill_group(self.pid, libc::SIGKILL);
            let _ = self
                .state
                .changed
                .wait_timeout_while(seen, Duration::from_secs(10), |seen| seen.status.is_none());
        }
    }
}

/// Makes `command` be killed when the thread that starts it ends, and so when this process dies.
pub fn die_with_parent(command: &mut Command) {
    sys::start_in(command, None);
}

/// Sends `signal` to a process group that the caller started and still waits for.
///
/// # Errors
/// The group has ended.
pub fn signal_group(group: u32, signal: i32) -> std::io::Result<()> {
    sys::kill_group(group, signal)
}

fn collect(output: Box<dyn Read + Send>, state: &State) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line)
            .trim_end_matches(['\r', '\n'])
            .to_owned();
        line.clear();
        state.lock().lines.push(text);
        state.changed.notify_all();
    }
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Spawns on a thread that lives as long as this process.
///
/// `PR_SET_PDEATHSIG` fires when the *thread* that made the child ends, not the process.
fn spawn_from_lasting_thread(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in queue {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (answer, result) = mpsc::channel();
    spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .ok()
        .context("the spawning thread is gone")?;
    Ok(result.recv().context("the spawning thread is gone")??)
}
