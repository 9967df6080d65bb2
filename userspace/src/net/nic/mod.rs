//! What a NIC is and can do, asked before its rings are opened: the driver, its
//! queues, which parts of XDP it has, and whose program it carries.
//!
//! All of it is about the network namespace of the calling thread. The kernel
//! answers within the system call, so none of this waits for anybody but it.
//!
//! * [`driver`], [`channels`]: by ethtool.
//! * [`XdpFeatures`]: by the generic netlink family `netdev`.
//! * [`XdpProgram`]: by rtnetlink, and the program's name by `bpf(2)`.
//! * `exchange`, [`wire`]: one question to netlink, and its answer.

mod exchange;
mod features;
mod program;
pub mod wire;

pub use features::{XdpFeatures, xdp_features};
pub use program::{XdpMode, XdpProgram, xdp_program};

use super::sys::{self, IfName};
use std::io;
use std::os::fd::AsFd as _;

/// The queues of a NIC that are in use; each number is at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Queues that receive: an AF_XDP socket on each sees all that comes in.
    pub rx: u32,
    /// Queues that transmit.
    pub tx: u32,
}

impl Channels {
    /// What a device has whose driver does not tell.
    const ONE: Self = Self { rx: 1, tx: 1 };
}

/// The name of the driver of an interface: `mlx5_core`, `veth`.
///
/// # Errors
/// `ENODEV` without such an interface; `EOPNOTSUPP` if it has no driver that
/// tells its name (the loopback device).
pub fn driver(name: &str) -> io::Result<String> {
    let name = if_name(name)?;
    let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    sys::driver_name(socket.as_fd(), name)
}

/// The queues in use of an interface.
///
/// # Errors
/// `ENODEV` without such an interface.
pub fn channels(name: &str) -> io::Result<Channels> {
    let name = if_name(name)?;
    let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    match sys::channel_counts(socket.as_fd(), name) {
        Ok(counts) => Ok(Channels {
            rx: counts.combined.saturating_add(counts.rx).max(1),
            tx: counts.combined.saturating_add(counts.tx).max(1),
        }),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Channels::ONE),
        Err(error) => Err(error),
    }
}

/// A name that no interface can have is one that no interface has.
fn if_name(name: &str) -> io::Result<IfName> {
    let possible = (1..libc::IFNAMSIZ).contains(&name.len()) && !name.contains('\0');
    if possible {
        Ok(IfName::new(name))
    } else {
        Err(io::Error::from_raw_os_error(libc::ENODEV))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_names_are_names_of_nothing() {
        for name in ["", "sixteen-bytes-xx", "a\0b", "nosuchdevice"] {
            let error = channels(name).expect_err("no such device");
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{name:?}");
            let error = driver(name).expect_err("no such device");
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{name:?}");
        }
    }

    #[test]
    fn a_device_whose_driver_does_not_tell_has_one_queue() {
        assert_eq!(channels("lo").expect("the loopback device"), Channels::ONE);
    }
}
