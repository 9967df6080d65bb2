//! One queue of a TUN device: opening it, reading and writing packets.

use super::{DEVICE, TunError};
use crate::net::sys::{self, IfName};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes that a read may give: vnet header and a packet of 64 KiB.
pub const READ_MAX: usize = crate::datapath::offload::VNET_LEN + 65_575;

/// Whether an error of a queue means that the device is gone: removed with
/// `ip link delete`, or with its namespace. A device that was moved to another
/// namespace is not gone.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADFD)
}

/// Whether an error of a write means that the device is down.
#[must_use]
pub fn is_down(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

/// One queue of a TUN device, non-blocking. A packet with its vnet header is
/// one read or one write.
#[derive(Debug)]
pub struct TunQueue(File);

impl TunQueue {
    /// Reads a vnet header and a packet into `buffer`, which should hold
    /// [`READ_MAX`] bytes (the rest of a longer packet is lost); `None` if
    /// there is none.
    ///
    /// # Errors
    /// [`is_gone`] if the device was removed.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match (&self.0).read(buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a vnet header and a packet, gathered from `slices`; `false` if
    /// the device takes no more at the moment.
    ///
    /// # Errors
    /// [`is_gone`] if the device was removed, [`is_down`] if it is down,
    /// `EINVAL` if the kernel finds vnet header and packet at odds.
    pub fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<bool> {
        loop {
            match (&self.0).write_vectored(slices) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A queue that was opened elsewhere, non-blocking. A pair of datagram sockets
/// will do: what counts is that a read or write is one packet.
impl From<OwnedFd> for TunQueue {
    fn from(fd: OwnedFd) -> Self {
        Self(File::from(fd))
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens a queue of the device `name`; with `IFF_TUN_EXCL`, the first of a new one.
pub(super) fn open(name: &str, wire_name: IfName, flags: libc::c_int) -> Result<OwnedFd, TunError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(Path::new(DEVICE))
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::NoDeviceNode,
            _ => TunError::NotPermitted(error),
        })?;
    let flags =
        libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE | flags;
    sys::tun_attach(file.as_fd(), wire_name, flags).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::EBUSY) => TunError::NameTaken(name.into()),
            Some(libc::EPERM) => TunError::NoCapability,
            _ => TunError::Kernel {
                action: "create",
                name: name.into(),
                source,
            },
        }
    })?;
    Ok(file.into())
}

/// Asks for super-packets; whether UDP ones are among them.
pub(super) fn set_offloads(tun: BorrowedFd<'_>) -> io::Result<bool> {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    match sys::tun_offload(tun, tcp | udp) {
        Ok(()) => Ok(true),
        // Kernels before 6.2 refuse bits that they do not know.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            sys::tun_offload(tun, tcp)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
