//! Network namespaces.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Moves the calling thread, and it alone, into a network namespace.
pub(in crate::net) fn set_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
    Ok(())
}

/// Moves the calling thread, and it alone, into a new network namespace.
pub(in crate::net) fn unshare_network() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    Ok(())
}

/// The network namespace that a socket belongs to.
pub(in crate::net) fn socket_namespace(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: this request takes no argument and gives a new descriptor.
    let fd = check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGSKNS as _) })?;
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
