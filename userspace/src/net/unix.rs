//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use super::sys;

/// The process that listened on the socket which this one is connected to, as it was
/// then (`SO_PEERCRED`; `struct ucred` begins with its number).
///
/// # Errors
/// The kernel's; it is not in this process's namespace.
pub fn process_of(stream: &UnixStream) -> io::Result<u32> {
    let pid = sys::get_option(stream.as_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED)?;
    let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0);
    pid.ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_listener_of_this_process_is_this_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        assert_eq!(process_of(&stream).unwrap(), std::process::id());
    }
}
