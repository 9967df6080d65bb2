//! System calls that the standard library has not: all `unsafe` of [`net`](super).
//!
//! Every function takes owned or borrowed descriptors and slices, and gives an
//! `io::Result`; none of them keeps a pointer past its return.

mod ethtool;
mod ifreq;
mod mmsg;
mod ns;
mod poll;
mod socket;
mod timer;
mod wide;

pub(super) use ethtool::{channel_counts, driver_name};
pub(super) use ifreq::{IfName, tun_attach, tun_device_namespace, tun_name, tun_offload};
pub(super) use ifreq::{link_flags, link_index, link_mtu, set_link_flags, set_link_mtu};
pub(super) use mmsg::{Control, Messages, NAME_LEN, Name, send_message};
pub(super) use ns::{set_namespace, socket_namespace, unshare_network};
pub(super) use poll::register;
pub(super) use socket::{bind, get_option, local_name, set_option, socket};
pub use timer::set_thread_niceness;
pub(super) use timer::{async_fd, boot_timer, read_counter, set_boot_timer};
pub(super) use wide::wide_sum;

use std::io;

/// The result of a system call that answers -1 on failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// As [`check`], for calls that answer with a length.
fn check_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Seconds and nanoseconds of a clock that exists on every kernel.
pub(super) fn clock(id: libc::clockid_t) -> (u64, u32) {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable timespec for the whole call.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    // Never negative: boot time starts at zero, and the wall clock cannot be
    // set before 1970. A clock that does not exist would leave zeros.
    (
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
