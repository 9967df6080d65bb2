//! Waiting, with the tokio runtime.

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Hands a descriptor to the tokio runtime to wait on.
pub(in crate::net) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it
    // lives, and the result owns it: it is deregistered before it is closed.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}
