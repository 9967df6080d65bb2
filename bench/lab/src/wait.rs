//! Waiting for what another program does, by events.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::sys;

/// Where WireGuard implementations in user space keep their sockets (one directory for all
/// namespaces).
pub const UAPI_DIRECTORY: &str = "/var/run/wireguard";

/// The UAPI socket of a device.
#[must_use]
pub fn uapi_path(device: &str) -> PathBuf {
    Path::new(UAPI_DIRECTORY).join(format!("{device}.sock"))
}

/// Waits until the UAPI socket of `device` accepts connections.
///
/// # Errors
/// `timeout` passed, or the directory cannot be watched.
pub fn uapi(device: &str, timeout: Duration) -> Result<UnixStream> {
    std::fs::create_dir_all(UAPI_DIRECTORY)?;
    let path = uapi_path(device);
    on_directory(Path::new(UAPI_DIRECTORY), timeout, || {
        UnixStream::connect(&path).ok()
    })
    .with_context(|| format!("no answer from {}", path.display()))
}

/// Waits until the UAPI socket of `device` is gone.
///
/// # Errors
/// `timeout` passed, or the directory cannot be watched.
pub fn uapi_gone(device: &str, timeout: Duration) -> Result<()> {
    let path = uapi_path(device);
    on_directory(Path::new(UAPI_DIRECTORY), timeout, || {
        (!path.exists()).then_some(())
    })
    .with_context(|| format!("{} stays", path.display()))
}

/// Calls `check` now and after each change in `directory` until it returns something.
///
/// # Errors
/// `timeout` passed, or the directory cannot be watched.
pub fn on_directory<T>(
    directory: &Path,
    timeout: Duration,
    mut check: impl FnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    let mut watch: File =
        sys::watch_directory(directory).with_context(|| format!("{}", directory.display()))?;
    loop {
        if let Some(found) = check() {
            return Ok(found);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("nothing within {timeout:?}");
        }
        // A socket exists from bind on and answers from listen on; listen makes no event, so a
        // short ceiling on the wait covers the moment between.
        let ceiling = left.min(Duration::from_millis(20));
        let wait = i32::try_from(ceiling.as_millis()).unwrap_or(20).max(1);
        if sys::wait_readable(watch.as_raw_fd(), wait)? {
            let mut events = [0; 4096];
            let _ = watch.read(&mut events);
        }
    }
}

/// Waits until the other side of `stream` has read all that was written.
///
/// # Errors
/// `timeout` passed.
pub fn until_read(stream: &UnixStream, timeout: Duration) -> Result<()> {
    let deadline = Instant::now() + timeout;
    while sys::unread_by_peer(stream.as_raw_fd())? > 0 {
        ensure!(Instant::now() < deadline, "not read within {timeout:?}");
        std::thread::yield_now();
    }
    Ok(())
}

/// What came of a descriptor that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read.
    pub readable: bool,
    /// An error or hang-up; on a TUN queue: its device is gone.
    pub error: bool,
}

/// Waits until one of `fds` can be read or has an error; what came of each.
///
/// # Errors
/// `timeout` passed.
pub fn ready(fds: &[BorrowedFd<'_>], timeout: Duration) -> Result<Vec<Ready>> {
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let events = sys::wait_for_any(&raw, millis)?;
    ensure!(
        events.iter().any(|events| *events != 0),
        "nothing came within {timeout:?}"
    );
    let ready = |events: i16| Ready {
        readable: events & libc::POLLIN != 0,
        error: events & (libc::POLLERR | libc::POLLHUP) != 0,
    };
    Ok(events.into_iter().map(ready).collect())
}

/// Calls `check` every 20 ms until it returns something: for states of the kernel or of another
/// program that announce themselves in no way.
///
/// # Errors
/// `timeout` passed, or what `check` returns.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    mut check: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = check()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {timeout:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
