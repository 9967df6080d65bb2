//! Who owns a NIC: its XDP program and rings belong to one process.
//!
//! A lock file per NIC, `/run/ringtun/nics/NAMESPACE-INDEX`, with one line:
//!
//! ```text
//! {"pid":4711,"devices":["wg0"]}
//! ```
//!
//! What counts is the lock (`flock`), which ends with the process in whatever
//! way; the line only tells others whom to name. The file is removed under the
//! lock, and who has locked a file looks whether it is still the one of that
//! name: so nobody removes another's, and no two hold locks on two files.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::names::InterfaceName;
use crate::net::netns::Namespace;

/// Where the lock files are.
pub const DIRECTORY: &str = "/run/ringtun/nics";

/// Bytes of a file that are read at most: room for thousands of devices.
const CONTENT_MAX: u64 = 64 * 1024;
/// How often a file may vanish between its opening and its lock. Each time
/// another process has ended at that very moment.
const TRIES: u32 = 100;
/// Devices that a message names before it counts the others.
const NAMED: usize = 3;

/// A NIC, as one network namespace sees it.
#[derive(Clone, Copy, Debug)]
pub struct Nic<'a> {
    /// The namespace that it is in.
    pub namespace: &'a Namespace,
    /// Its index there.
    pub ifindex: u32,
    /// Its name there, for messages.
    pub name: &'a str,
}

impl Nic<'_> {
    /// Its file in `directory`. Namespaces are told apart by inode, as `lsns`
    /// shows them: all of them are files of one file system.
    fn path(&self, directory: &Path) -> PathBuf {
        let (_, inode) = self.namespace.identity();
        directory.join(format!("{inode}-{}", self.ifindex))
    }
}

/// The process that has a NIC, as far as its file tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its number, in its own PID namespace.
    pub pid: Option<u32>,
    /// Its tunnel devices.
    pub devices: Vec<InterfaceName>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pid) = self.pid else {
            return f.write_str("another process");
        };
        write!(f, "ringtun process {pid}")?;
        let names: Vec<_> = self.devices.iter().map(InterfaceName::as_str).collect();
        match names.len().checked_sub(NAMED) {
            _ if names.is_empty() => Ok(()),
            None | Some(0) => write!(f, " ({})", names.join(", ")),
            Some(more) => write!(f, " ({} and {more} more)", names[..NAMED].join(", ")),
        }
    }
}

/// Why a NIC cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process has it.
    #[error("{nic} belongs to {holder}; stop that process, or use `--io udp` (`lslocks` shows who holds {path})",
        path = .path.display())]
    Taken {
        /// Name of the NIC.
        nic: String,
        /// Who has it.
        holder: Holder,
        /// Its lock file.
        path: PathBuf,
    },
    /// There is something else of that name, which is not ours to remove.
    #[error("{path} is in the way and is no plain file; move it elsewhere", path = .0.display())]
    InTheWay(PathBuf),
    /// The system said no.
    #[error("{path}: cannot {action}: {error}", path = .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// A NIC that is this process's until this is dropped.
#[derive(Debug)]
pub struct Owner {
    /// Locked.
    file: File,
    path: PathBuf,
}

impl Owner {
    /// Takes a NIC for the tunnel devices `devices`, and makes `directory` if
    /// there is none. Does not wait.
    ///
    /// Once per NIC and process: a second claim is refused as that of another
    /// process is; see [`Owner::set_devices`].
    ///
    /// # Errors
    /// [`ClaimError::Taken`] names the process that has it.
    pub fn claim(
        directory: &Path,
        nic: &Nic<'_>,
        devices: &[InterfaceName],
    ) -> Result<Self, ClaimError> {
        let path = nic.path(directory);
        let failed = |action| {
            let path = path.clone();
            move |error| ClaimError::Io {
                path,
                action,
                error,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(failed("make its directory"))?;
        for _ in 0..TRIES {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(ClaimError::Taken {
                        nic: nic.name.to_owned(),
                        holder: read(&file),
                        path,
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock it")(error)),
            }
            if !is_at(&file, &path) {
                // Its owner removed it between our opening and its unlocking.
                continue;
            }
            let owner = Self { file, path };
            return match owner.set_devices(devices) {
                Ok(()) => Ok(owner),
                Err(error) => Err(ClaimError::Io {
                    path: owner.path.clone(),
                    action: "write to it",
                    error,
                }),
            };
        }
        Err(failed("lock it")(io::Error::other(
            "it is removed again and again",
        )))
    }

    /// Tells others that the NIC is in use for these tunnel devices.
    ///
    /// # Errors
    /// No room on the file system. The NIC stays this process's.
    pub fn set_devices(&self, devices: &[InterfaceName]) -> io::Result<()> {
        let line = Line {
            pid: std::process::id(),
            devices: devices.iter().map(|name| name.as_str().into()).collect(),
        };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Under the lock: who opened it before finds, with the lock, that it is
        // the file of that name no more.
        if is_at(&self.file, &self.path)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(event = "lock_stays", path = %self.path.display(), %error, "the lock file of a NIC stays behind");
        }
    }
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Line {
    pid: u32,
    devices: Vec<String>,
}

/// Opens the lock file, which is made if there is none.
///
/// For root alone: who may open a file, be it for reading, may lock it too, and
/// could keep ringtun from a NIC.
fn open(path: &Path) -> Result<File, ClaimError> {
    let failed = |error: io::Error| match error.raw_os_error() {
        // A symbolic link, a directory, a socket.
        Some(libc::ELOOP | libc::EISDIR | libc::ENXIO) => ClaimError::InTheWay(path.to_owned()),
        _ => ClaimError::Io {
            path: path.to_owned(),
            action: "open it",
            error,
        },
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(ClaimError::InTheWay(path.to_owned()));
    }
    // Somebody may have made it readable.
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(failed)?;
    Ok(file)
}

/// Whether an open file is still the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |m: fs::Metadata| (m.dev(), m.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(found)) => identity(ours) == identity(found),
        _ => false,
    }
}

/// Who wrote a file, if it says so in a way that can be read.
fn read(file: &File) -> Holder {
    let mut text = String::new();
    if file.take(CONTENT_MAX).read_to_string(&mut text).is_err() {
        return Holder::default();
    }
    let line = text.lines().next().unwrap_or_default();
    let Ok(Line { pid, devices }) = serde_json::from_str(line) else {
        return Holder::default();
    };
    Holder {
        pid: Some(pid),
        // What no device can be called has no place in a message either.
        devices: devices
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect(),
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
