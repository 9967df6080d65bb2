//! What a driver says of its device: `SIOCETHTOOL`.

use super::check;
use super::ifreq::{self, IfName};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

// include/uapi/linux/ethtool.h.
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    fw_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// `struct ethtool_channels`.
#[derive(Default)]
#[repr(C)]
struct RawChannels {
    cmd: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

const _: () = assert!(size_of::<RawChannels>() == 36);

/// The queues of a device that are in use, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct ChannelCounts {
    /// Those that only receive.
    pub rx: u32,
    /// Those that only transmit.
    pub tx: u32,
    /// Those that do both.
    pub combined: u32,
}

/// Runs an ethtool request on the interface of that name.
///
/// # Safety
/// `T` is the struct of the command that its first field names, with nothing
/// behind it that the kernel would write, and every bit pattern of it is valid.
unsafe fn run<T>(socket: BorrowedFd<'_>, name: IfName, value: &mut T) -> io::Result<()> {
    let mut request = ifreq::request(name);
    request.ifr_ifru.ifru_data = (&raw mut *value).cast();
    // SAFETY: the request is a valid `ifreq` that points to `value`, which the
    // kernel reads and writes as the struct that it is; both outlive the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) })?;
    Ok(())
}

/// `ETHTOOL_GDRVINFO`: the name of the driver.
pub(in crate::net) fn driver_name(socket: BorrowedFd<'_>, name: IfName) -> io::Result<String> {
    let mut info = DriverInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        fw_version: [0; 32],
        bus_info: [0; 32],
        erom_version: [0; 32],
        reserved: [0; 12],
        counts: [0; 5],
    };
    // SAFETY: the struct is that of the command, and all integers.
    unsafe { run(socket, name, &mut info) }?;
    let name = info.driver.split(|byte| *byte == 0).next();
    Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
}

/// `ETHTOOL_GCHANNELS`: the queues in use.
pub(in crate::net) fn channel_counts(
    socket: BorrowedFd<'_>,
    name: IfName,
) -> io::Result<ChannelCounts> {
    let mut channels = RawChannels {
        cmd: ETHTOOL_GCHANNELS,
        ..RawChannels::default()
    };
    // SAFETY: the struct is that of the command, and all integers.
    unsafe { run(socket, name, &mut channels) }?;
    Ok(ChannelCounts {
        rx: channels.rx,
        tx: channels.tx,
        combined: channels.combined,
    })
}
