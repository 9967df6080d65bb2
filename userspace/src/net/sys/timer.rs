//! Timers on the boot-time clock, and niceness of a thread.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// A `CLOCK_BOOTTIME` timer, non-blocking, not set.
pub(in crate::net) fn boot_timer() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe {
        libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
    })?;
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers an owned descriptor with tokio's reactor.
pub(in crate::net) fn async_fd(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open, and the same descriptor, until the
    // `AsyncFd` that owns it is dropped.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// Sets the timer to an absolute time in nanoseconds; 0 disarms it.
pub(in crate::net) fn set_boot_timer(fd: &OwnedFd, nanos: u64) -> io::Result<()> {
    let never = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let setting = libc::itimerspec {
        it_interval: never,
        it_value: libc::timespec {
            tv_sec: libc::time_t::try_from(nanos / 1_000_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
        },
    };
    // SAFETY: `setting` outlives the call; the old value is not asked for.
    check(unsafe {
        libc::timerfd_settime(
            fd.as_raw_fd(),
            libc::TFD_TIMER_ABSTIME,
            &raw const setting,
            std::ptr::null_mut(),
        )
    })?;
    Ok(())
}

/// Reads the eight bytes of a timer or event counter.
pub(in crate::net) fn read_counter(fd: &OwnedFd) -> io::Result<u64> {
    let mut count = 0u64;
    // SAFETY: `count` is eight writable bytes.
    let read = unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) };
    if read == 8 {
        Ok(count)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives the calling thread this nice value. A refusal changes nothing and is
/// no error: it only decides who goes first where CPUs are short.
pub fn set_thread_niceness(nice: i32) {
    // SAFETY: takes no pointers. On Linux 0 means the calling thread alone.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}
