//! Files written so that a crash leaves the old or the new, and whose namespace it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The network namespace of this thread.
///
/// # Errors
/// `/proc` is not there.
pub fn namespace() -> io::Result<(u64, u64)> {
    fs::metadata("/proc/thread-self/ns/net").map(|m| (m.dev(), m.ino()))
}

/// Writes a file of mode 0600 beside the path and puts it in its place.
///
/// # Errors
/// The system's.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    // One that a crash left, or a link that somebody laid.
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
