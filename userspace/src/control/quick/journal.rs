//! The undo journal `/run/ringtun/NAME.json`: what `up` changed, written before
//! each change.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::dns::Resolver;
use super::files::replace;
use crate::control::names::InterfaceName;

/// Where journals are.
pub const DIRECTORY: &str = "/run/ringtun";
/// The layout of this version.
pub const VERSION: u32 = 1;
/// Largest journal that is read, in bytes: hooks are of any number and length.
const LARGEST: u64 = 16 * 1024 * 1024;
/// How long another `up` or `down` of the same tunnel is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One change of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// `PreUp` commands began.
    PreUp,
    /// The device; addresses and routes over it go with it.
    Device,
    /// DNS servers were given to this resolver.
    Dns {
        /// Which.
        resolver: Resolver,
    },
    /// `unreachable default` in a table.
    Unreachable {
        /// Of IPv6, else IPv4.
        v6: bool,
        /// The table.
        table: u32,
    },
    /// `not fwmark TABLE lookup TABLE`.
    MarkRule {
        /// Of IPv6, else IPv4.
        v6: bool,
        /// The mark and the table.
        table: u32,
        /// Its preference.
        pref: u32,
    },
    /// `lookup main suppress_prefixlength 0`.
    MainRule {
        /// Of IPv6, else IPv4.
        v6: bool,
        /// Its preference.
        pref: u32,
    },
    /// `net.ipv4.conf.all.src_valid_mark` was set to 1.
    SrcValidMark {
        /// What it was.
        before: u8,
    },
    /// The nftables table `wg-quick-NAME`.
    Nft {
        /// Of IPv6, else IPv4.
        v6: bool,
    },
    /// `PostUp` commands began.
    PostUp,
}

/// What was done for one tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// [`VERSION`].
    pub version: u32,
    /// The device.
    pub name: String,
    /// The file it was made from.
    pub file: PathBuf,
    /// The network namespace, as (device, inode) of `/proc/self/ns/net`.
    pub namespace: (u64, u64),
    /// Whether all was done.
    pub complete: bool,
    /// `SaveConfig`.
    pub save: bool,
    /// The process that serves the device goes on without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// `PreDown`.
    pub pre_down: Vec<String>,
    /// `PostDown`.
    pub post_down: Vec<String>,
    /// In the order in which they were made.
    pub steps: Vec<Step>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system said no.
    #[error("{path}: cannot {action}: {error}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// It is not what ringtun wrote.
    #[error(
        "{path}: {reason}; what it says cannot be trusted: look at it, take back by hand what is \
         left (`ip rule`, `nft list tables`, `ip link`), then remove it", path = .path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Somebody else is at work.
    #[error("another `ringtun up` or `down` of `{0}` is at work (or a hook of it runs one)")]
    Busy(InterfaceName),
}

/// Where the journal of a tunnel is.
#[derive(Clone, Debug)]
pub struct Place {
    directory: PathBuf,
    name: InterfaceName,
}

/// Held while a tunnel is brought up or taken down.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Place {
    /// Of this device, in [`DIRECTORY`].
    #[must_use]
    pub fn new(name: &InterfaceName) -> Self {
        Self::in_directory(Path::new(DIRECTORY), name)
    }

    /// Of this device, in another directory.
    #[must_use]
    pub fn in_directory(directory: &Path, name: &InterfaceName) -> Self {
        Self {
            directory: directory.to_owned(),
            name: name.clone(),
        }
    }

    /// The journal's path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.json", self.name))
    }

    /// Makes the directory and waits its turn.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn lock(&self) -> Result<Lock, JournalError> {
        let failed = |action| io_error(&self.directory, action);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.directory)
            .map_err(failed("make it"))?;
        let found = fs::symlink_metadata(&self.directory).map_err(failed("look at it"))?;
        let own = nix::unistd::geteuid().as_raw();
        if !found.is_dir() || found.uid() != own || found.mode() & 0o022 != 0 {
            return Err(JournalError::Unusable {
                path: self.directory.clone(),
                reason: "not a directory that only its owner, who runs this, can write to".into(),
            });
        }
        let path = self.directory.join(format!("{}.lock", self.name));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(io_error(&path, "open it"))?;
        let end = Instant::now() + PATIENCE;
        // flock has no time limit of its own.
        while file.try_lock().is_err() {
            if Instant::now() >= end {
                return Err(JournalError::Busy(self.name.clone()));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(Lock(file))
    }

    /// The journal, if there is one.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn load(&self) -> Result<Option<Journal>, JournalError> {
        let path = self.path();
        let unusable = |reason: &str| JournalError::Unusable {
            path: path.clone(),
            reason: reason.to_owned(),
        };
        // Not a fifo's open, which waits for a writer.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(unusable("it is a symbolic link"));
            }
            Err(error) => return Err(io_error(&path, "open it")(error)),
        };
        let metadata = file.metadata().map_err(io_error(&path, "look at it"))?;
        if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(unusable("it is no file of the user who runs this"));
        }
        let mut text = Vec::new();
        file.take(LARGEST + 1)
            .read_to_end(&mut text)
            .map_err(io_error(&path, "read it"))?;
        let journal = parse(&text, &self.name).map_err(|reason| unusable(&reason))?;
        Ok(Some(journal))
    }

    /// Replaces the journal as a whole; it is on the disk on return.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn store(&self, journal: &Journal) -> Result<(), JournalError> {
        let text = serde_json::to_vec_pretty(journal).unwrap_or_default();
        replace(&self.path(), &text).map_err(io_error(&self.path(), "write it"))
    }

    /// Removes the journal.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn remove(&self) -> Result<(), JournalError> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error(&self.path(), "remove it")(error))
            }
            _ => Ok(()),
        }
    }

    /// The journals of other tunnels that can be read.
    #[must_use]
    pub fn others(&self) -> Vec<Journal> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        let names = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".json")?.parse::<InterfaceName>().ok()
        });
        names
            .filter(|name| *name != self.name)
            .filter_map(|name| Self::in_directory(&self.directory, &name).load().ok()?)
            .collect()
    }
}

/// Reads a journal of `name`. Pure.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &[u8], name: &InterfaceName) -> Result<Journal, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if text.len() as u64 > LARGEST {
        return Err(format!("it has more than {LARGEST} bytes"));
    }
    let broken = |error: serde_json::Error| format!("it is broken: {error}");
    let Versioned { version } = serde_json::from_slice(text).map_err(broken)?;
    if version != VERSION {
        return Err(format!(
            "it is of version {version}, this ringtun knows {VERSION}"
        ));
    }
    let journal: Journal = serde_json::from_slice(text).map_err(broken)?;
    if journal.name != name.as_str() {
        return Err("it is of another device than its name says".to_owned());
    }
    Ok(journal)
}

fn io_error(path: &Path, action: &'static str) -> impl Fn(io::Error) -> JournalError {
    move |error| JournalError::Io {
        path: path.to_owned(),
        action,
        error,
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
