//! Sockets: create, options, bind, own address.

use super::{NAME_LEN, Name, check};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A non-blocking, close-on-exec socket in the calling thread's network namespace.
pub(in crate::net) fn socket(family: libc::c_int, kind: libc::c_int) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option whose value is one `int`.
pub(in crate::net) fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// Reads an option whose value is one `int`.
pub(in crate::net) fn get_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to locals that outlive the call, and `len`
    // holds the room at `value`.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    })?;
    Ok(value)
}

/// Binds to an address encoded as `struct sockaddr_in` or `sockaddr_in6`.
pub(in crate::net) fn bind(fd: BorrowedFd<'_>, name: &Name) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `name`, whose bytes are an
    // address of the family that its first two bytes name.
    check(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            name.bytes.as_ptr().cast(),
            name.len as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// The address that the socket is bound to.
pub(in crate::net) fn local_name(fd: BorrowedFd<'_>) -> io::Result<Name> {
    let mut name = Name::default();
    let mut len = NAME_LEN as libc::socklen_t;
    // SAFETY: `len` holds the room at `bytes`; both outlive the call.
    check(unsafe {
        libc::getsockname(fd.as_raw_fd(), name.bytes.as_mut_ptr().cast(), &raw mut len)
    })?;
    name.len = (len as usize).min(NAME_LEN);
    Ok(name)
}
