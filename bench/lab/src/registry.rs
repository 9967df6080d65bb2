//! What this run made, written down before it is made, so that a later run can remove it.
//!
//! One file per process, `/run/ringtun-lab/PID.STARTTIME`, one line per object:
//!
//! ```text
//! netns rt4711a0
//! file /var/run/wireguard/rt4711wg1.sock
//! dir /tmp/rt4711d2
//! ```
//!
//! A process id can be used again, a process id together with its start time cannot.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::sys;

const DIRECTORY: &str = "/run/ringtun-lab";
/// Set for every program started in a namespace, so that its descendants are known to be ours.
pub(crate) const OWNER_VARIABLE: &str = "RINGTUN_LAB_OWNER";
/// Where named namespaces live; `ip netns` looks there too.
pub(crate) const NETNS_DIRECTORY: &str = "/run/netns";

/// An object that outlives its maker unless it is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A named network namespace.
    NetNs(String),
    /// One file.
    File(PathBuf),
    /// A directory with all that is in it.
    Directory(PathBuf),
}

impl Entry {
    fn parse(line: &str) -> Option<Entry> {
        let (kind, what) = line.split_once(' ')?;
        match kind {
            "netns" if !what.contains('/') && what.starts_with("rt") => {
                Some(Entry::NetNs(what.to_owned()))
            }
            "file" if what.starts_with('/') => Some(Entry::File(what.into())),
            "dir" if what.starts_with('/') => Some(Entry::Directory(what.into())),
            _ => None,
        }
    }

    fn line(&self) -> String {
        match self {
            Entry::NetNs(name) => format!("netns {name}\n"),
            Entry::File(path) => format!("file {}\n", path.display()),
            Entry::Directory(path) => format!("dir {}\n", path.display()),
        }
    }

    /// Removes the object; one that is gone already is fine.
    fn remove(&self, owner: &str) -> io::Result<()> {
        let result = match self {
            Entry::NetNs(name) => remove_netns(name, owner),
            Entry::File(path) => fs::remove_file(path),
            Entry::Directory(path) => fs::remove_dir_all(path),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

static OWN: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

fn own() -> MutexGuard<'static, Vec<Entry>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `PID.STARTTIME` of this process.
pub(crate) fn owner() -> String {
    let pid = std::process::id();
    format!("{pid}.{}", start_time(pid).unwrap_or(0))
}

/// Field 22 of `/proc/PID/stat`: start time in clock ticks since boot. `None`: no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may itself hold blanks.
    let (_, fields) = stat.rsplit_once(") ")?;
    let state = fields.chars().next()?;
    let start = fields.split(' ').nth(19)?.parse().ok()?;
    (state != 'Z' && state != 'X').then_some(start)
}

fn store(entries: &[Entry]) -> io::Result<()> {
    let file = Path::new(DIRECTORY).join(owner());
    if entries.is_empty() {
        let _ = fs::remove_file(file);
        // Fails while other runs have files there, as it should.
        let _ = fs::remove_dir(DIRECTORY);
        return Ok(());
    }
    let text: String = entries.iter().map(Entry::line).collect();
    let temporary = Path::new(DIRECTORY).join(format!("{}.new", owner()));
    let write = || {
        fs::create_dir_all(DIRECTORY)?;
        fs::write(&temporary, &text)?;
        fs::rename(&temporary, &file)
    };
    // Another run may remove the empty directory between the two steps: once more, then.
    write().or_else(|_| write())
}

/// Writes an object down; call it before the object is made.
pub(crate) fn register(entry: Entry) -> Result<()> {
    let mut entries = own();
    entries.push(entry);
    store(&entries).with_context(|| format!("cannot write {DIRECTORY} (are you root?)"))
}

/// Removes an object that this process registered, and its line.
pub(crate) fn release(entry: &Entry) -> io::Result<()> {
    let result = entry.remove(&owner());
    let mut entries = own();
    entries.retain(|other| other != entry);
    store(&entries)?;
    result
}

/// Registers `path` to be removed at the end or by the next run, for a file that a tested program
/// makes and cannot remove when it is killed.
///
/// # Errors
/// The registry cannot be written.
pub fn adopt_file(path: impl Into<PathBuf>) -> Result<FileGuard> {
    let entry = Entry::File(path.into());
    register(entry.clone())?;
    Ok(FileGuard(entry))
}

/// Removes one file when dropped.
#[derive(Debug)]
pub struct FileGuard(Entry);

impl Drop for FileGuard {
    fn drop(&mut self) {
        if let Err(error) = release(&self.0) {
            eprintln!("ringtun-lab: {:?} stays: {error}", self.0);
        }
    }
}

/// A directory of this run, removed with its contents when dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes `/tmp/rt…`, readable by this user only.
    ///
    /// # Errors
    /// The registry or the directory cannot be made.
    pub fn new() -> Result<Directory> {
        let path = std::env::temp_dir().join(crate::names::unique("d"));
        register(Entry::Directory(path.clone()))?;
        let directory = Directory(path);
        let made = fs::DirBuilder::new().mode(0o700).create(&directory.0);
        made.with_context(|| format!("{}", directory.0.display()))?;
        Ok(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = release(&Entry::Directory(self.0.clone())) {
            eprintln!("ringtun-lab: {} stays: {error}", self.0.display());
        }
    }
}

/// Removes everything this process made and still has, newest first.
///
/// For signal handlers of programs that end without running destructors.
pub fn release_all() {
    let entries = std::mem::take(&mut *own());
    for entry in entries.iter().rev() {
        if let Err(error) = entry.remove(&owner()) {
            eprintln!("ringtun-lab: {entry:?} stays: {error}");
        }
    }
    let _ = store(&[]);
}

/// Removes what runs that are dead left behind; returns how many objects that were.
///
/// Only objects named in a registry file whose writer no longer lives are touched.
///
/// # Errors
/// The registry cannot be read.
pub fn reap() -> Result<usize> {
    let mut removed = 0;
    let files = match fs::read_dir(DIRECTORY) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).context(DIRECTORY),
    };
    for file in files.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let id = name.strip_suffix(".new").unwrap_or(&name);
        let Some((pid, start)) = id.split_once('.') else {
            continue;
        };
        let (Ok(pid), Ok(start)) = (pid.parse::<u32>(), start.parse::<u64>()) else {
            continue;
        };
        if start_time(pid) == Some(start) {
            continue;
        }
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        let entries: Vec<Entry> = text.lines().filter_map(Entry::parse).collect();
        let mut left = String::new();
        for entry in entries.iter().rev() {
            match entry.remove(id) {
                Ok(()) => removed += 1,
                Err(error) => {
                    eprintln!("ringtun-lab: {entry:?} of a dead run stays: {error}");
                    left.insert_str(0, &entry.line());
                }
            }
        }
        // What stays is for the next run to try again.
        let _ = if left.is_empty() {
            fs::remove_file(file.path())
        } else {
            fs::write(file.path(), left)
        };
    }
    let _ = fs::remove_dir(DIRECTORY);
    Ok(removed)
}

/// Ends what `owner` left running in the namespace, then takes the name away.
fn remove_netns(name: &str, owner: &str) -> io::Result<()> {
    let path = Path::new(NETNS_DIRECTORY).join(name);
    end_processes(&path, owner);
    match sys::unmount(&path) {
        // Not a mount: the run died between making the file and binding the namespace to it.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        other => other?,
    }
    fs::remove_file(&path)
}

/// How long to look for processes that are still there, or cannot be told yet.
const ENDING: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Kills what `owner` started in the namespace at `path`, until nothing of it is left: one process
/// may be starting another meanwhile.
fn end_processes(path: &Path, owner: &str) {
    let begin = Instant::now();
    loop {
        let (ours, unclear) = processes_of(path, owner);
        for pid in &ours {
            let _ = sys::kill(*pid, libc::SIGKILL);
        }
        // What has no environment may have been started so; what is executing gets one soon.
        let patience = match (ours.is_empty(), unclear) {
            (true, false) => return,
            (true, true) => ENDING / 10,
            (false, _) => ENDING,
        };
        if begin.elapsed() > patience {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// Processes in the namespace at `path` that `owner` started, this one excepted, and whether
/// there are others that have no environment: the kernel exchanges it while a program is executed.
fn processes_of(path: &Path, owner: &str) -> (HashSet<u32>, bool) {
    use std::os::unix::fs::MetadataExt;
    let (mut found, mut unclear) = (HashSet::new(), false);
    let Ok(ns) = fs::metadata(path) else {
        return (found, unclear);
    };
    let marker = format!("{OWNER_VARIABLE}={owner}");
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|s| s.parse().ok()) else {
            continue;
        };
        // A zombie is in no namespace any more.
        let Ok(its) = fs::metadata(entry.path().join("ns/net")) else {
            continue;
        };
        if its.ino() != ns.ino() || its.dev() != ns.dev() || pid == std::process::id() {
            continue;
        }
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let marked = environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == marker.as_bytes());
        if marked {
            found.insert(pid);
        } else if environment.is_empty() {
            unclear = true;
        }
    }
    (found, unclear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip_and_foreign_names_are_refused() {
        for entry in [
            Entry::NetNs("rt1a2".into()),
            Entry::File("/a b".into()),
            Entry::Directory("/tmp/x".into()),
        ] {
            assert_eq!(Entry::parse(entry.line().trim_end()), Some(entry));
        }
        for line in [
            "netns ../x",
            "netns other",
            "file relative",
            "dir",
            "proc 1",
            "",
        ] {
            assert_eq!(Entry::parse(line), None, "{line}");
        }
    }

    #[test]
    fn this_process_is_alive_and_no_other_has_its_start_time() {
        let start = start_time(std::process::id());
        assert!(start.is_some());
        assert_eq!(start_time(0), None);
    }
}
