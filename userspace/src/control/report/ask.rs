//! How the machine is asked: each question in a thread of its own, with an end to how
//! long that may take and to how much may come.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::page::{Asked, Missing};
use crate::control::quick::program;

/// How long a program may take.
const PROGRAM_TIME: Duration = Duration::from_secs(5);
/// How long all answers together may take. What follows takes well below the rest of
/// the 10 s that a report may.
pub const ALL_TIME: Duration = Duration::from_secs(7);
/// Bytes of a program's output.
pub const OUTPUT_MAX: usize = 8 << 20;
/// Bytes of a file of the kernel.
const FILE_MAX: u64 = 64 << 10;

/// An answer that comes, or not.
pub struct Answer<T>(Receiver<T>);

/// Asks in a thread. One that never answers ends with the process.
pub fn begin<T: Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
    let (tell, heard) = channel();
    // Without a thread there is no answer, which is what is told then.
    let _ = thread::Builder::new().spawn(move || tell.send(question()));
    Answer(heard)
}

impl<T> Answer<Asked<T>> {
    /// The answer, if it comes in time.
    ///
    /// # Errors
    /// Why there is none.
    pub fn until(self, end: Instant) -> Asked<T> {
        let left = end.saturating_duration_since(Instant::now());
        self.0.recv_timeout(left).unwrap_or(Err(Missing::Late))
    }
}

/// What a program prints, whatever its status is if it prints something.
///
/// # Errors
/// Why there is nothing.
pub fn output(program: &Path, arguments: &[&str]) -> Asked<Vec<u8>> {
    output_within(program, arguments, PROGRAM_TIME)
}

fn output_within(program: &Path, arguments: &[&str], time: Duration) -> Asked<Vec<u8>> {
    let mut command: Command = program::command(&program.to_string_lossy());
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // With all that it starts itself.
        .process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Missing::NotInstalled,
        _ => Missing::of(&error),
    })?;
    let Some(stdout) = child.stdout.take() else {
        return Err(Missing::NotUnderstood);
    };
    let (tell, heard) = channel();
    let reader = move || {
        let mut bytes = Vec::new();
        let read = stdout.take(OUTPUT_MAX as u64 + 1).read_to_end(&mut bytes);
        let _ = tell.send(read.map(|_| bytes));
    };
    let read = thread::Builder::new()
        .spawn(reader)
        .map(|_| heard.recv_timeout(time));
    let ended = end(&mut child, read.as_ref().is_ok_and(Result::is_ok));
    match read {
        Ok(Ok(Ok(bytes))) if bytes.len() > OUTPUT_MAX => Err(Missing::TooMuch),
        Ok(Ok(Ok(bytes))) if bytes.is_empty() && ended != Some(0) => Err(Missing::Failed(ended)),
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(error))) | Err(error) => Err(Missing::of(&error)),
        Ok(Err(_)) => Err(Missing::Late),
    }
}

/// Its status; none if it had to be killed.
fn end(child: &mut Child, has_said_all: bool) -> Option<i32> {
    // Standard output ends a moment before the process does.
    let patience = Instant::now() + Duration::from_millis(100);
    while has_said_all && Instant::now() < patience {
        if let Ok(Some(status)) = child.try_wait() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(1));
    }
    // It was not waited for, so the number is still that of its group.
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    child.wait().ok()?.code()
}

/// What a program prints as JSON.
///
/// # Errors
/// Why there is nothing.
pub fn json(program: &Path, arguments: &[&str]) -> Asked<serde_json::Value> {
    let bytes = output(program, arguments)?;
    // `ip` prints nothing where it finds nothing.
    if bytes.is_empty() {
        return Ok(serde_json::Value::Array(Vec::new()));
    }
    serde_json::from_slice(&bytes).map_err(|_| Missing::NotUnderstood)
}

/// A file of the kernel or of the system, if it is text.
///
/// # Errors
/// Why there is nothing.
pub fn file(path: &Path) -> Asked<String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| Missing::of(&error))?;
    let read = file.take(FILE_MAX).read_to_string(&mut text);
    read.map_err(|error| Missing::of(&error))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(script: &str, time: Duration) -> Asked<Vec<u8>> {
        output_within(Path::new("sh"), &["-c", script], time)
    }

    #[test]
    fn a_program_is_heard_within_bounds_and_leaves_nothing_behind() {
        let long = Duration::from_secs(20);
        assert_eq!(say("echo a; exit 3", long), Ok(b"a\n".to_vec()));
        assert_eq!(say("exit 3", long), Err(Missing::Failed(Some(3))));
        assert_eq!(say("", long), Ok(Vec::new()));
        assert_eq!(say("yes", long), Err(Missing::TooMuch));
        let nothing = output(Path::new("no-such-program-here"), &[]);
        assert_eq!(nothing, Err(Missing::NotInstalled));

        // What it started has the pipe, and goes with it.
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("child");
        let script = format!("sleep 1000 & echo $! > {}; wait", path.display());
        let begun = Instant::now();
        let short = Duration::from_secs(1);
        assert_eq!(say(&script, short), Err(Missing::Late));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let pid = std::fs::read_to_string(&path).unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        let until = Instant::now() + Duration::from_secs(10);
        while stat().is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < until, "it runs on");
            thread::yield_now();
        }
    }

    #[test]
    fn an_answer_that_does_not_come_is_late() {
        let (hold, held) = channel::<()>();
        let answer = begin(move || {
            let _ = held.recv();
            Ok(1)
        });
        let end = Instant::now() + Duration::from_millis(10);
        assert_eq!(answer.until(end), Err(Missing::Late));
        drop(hold);
        let answer = begin(|| Ok(1));
        assert_eq!(answer.until(Instant::now() + ALL_TIME), Ok(1));
    }
}
