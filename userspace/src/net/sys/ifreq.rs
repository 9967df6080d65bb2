//! Interface requests: TUN devices, MTU and flags by name.

use super::check;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An interface name as the kernel holds it: NUL-terminated, at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct IfName([u8; libc::IFNAMSIZ]);

impl IfName {
    /// Encodes a name that was checked to be of 1 to 15 bytes without NUL;
    /// what is longer is cut.
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; libc::IFNAMSIZ];
        for (to, from) in bytes[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Self(bytes)
    }

    /// The name, up to its NUL.
    pub fn to_string_lossy(self) -> String {
        CStr::from_bytes_until_nul(&self.0)
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}

pub(super) fn request(name: IfName) -> libc::ifreq {
    // SAFETY: `ifreq` is integers, arrays and raw pointers, for all of which
    // zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.0) {
        *to = from as libc::c_char;
    }
    request
}

fn name_of(request: &libc::ifreq) -> IfName {
    IfName(request.ifr_name.map(|byte| byte as u8))
}

/// Runs an interface request and gives it back as the kernel left it.
fn run(
    fd: BorrowedFd<'_>,
    operation: libc::Ioctl,
    mut request: libc::ifreq,
) -> io::Result<libc::ifreq> {
    // SAFETY: every operation passed by this module takes a pointer to one
    // `ifreq`, which is valid and writable for the whole call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), operation, &raw mut request) })?;
    Ok(request)
}

/// `TUNSETIFF`: makes a device or attaches a queue to one; gives its name.
pub(in crate::net) fn tun_attach(
    tun: BorrowedFd<'_>,
    name: IfName,
    flags: libc::c_int,
) -> io::Result<IfName> {
    let mut request = request(name);
    // The kernel reads the flags as unsigned; IFF_TUN_EXCL is the sign bit.
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    Ok(name_of(&run(tun, libc::TUNSETIFF, request)?))
}

/// `TUNGETIFF`: the device's name now; `EBADFD` once it is gone.
pub(in crate::net) fn tun_name(tun: BorrowedFd<'_>) -> io::Result<IfName> {
    let request = request(IfName([0; libc::IFNAMSIZ]));
    Ok(name_of(&run(tun, libc::TUNGETIFF, request)?))
}

/// `TUNSETOFFLOAD`: which super-packets the reader understands (`TUN_F_…`).
pub(in crate::net) fn tun_offload(tun: BorrowedFd<'_>, features: libc::c_uint) -> io::Result<()> {
    // SAFETY: this request takes its argument by value.
    check(unsafe {
        libc::ioctl(
            tun.as_raw_fd(),
            libc::TUNSETOFFLOAD,
            libc::c_ulong::from(features),
        )
    })?;
    Ok(())
}

/// `TUNGETDEVNETNS`: the network namespace that the device is in now.
pub(in crate::net) fn tun_device_namespace(tun: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: this request takes no argument and gives a new descriptor.
    let fd = check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNGETDEVNETNS) })?;
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Index of the interface of that name in the socket's namespace.
pub(in crate::net) fn link_index(socket: BorrowedFd<'_>, name: IfName) -> io::Result<u32> {
    let answer = run(socket, libc::SIOCGIFINDEX as _, request(name))?;
    // SAFETY: SIOCGIFINDEX fills this member of the union; any bits are an integer.
    Ok(unsafe { answer.ifr_ifru.ifru_ifindex } as u32)
}

/// MTU of an interface, in bytes.
pub(in crate::net) fn link_mtu(socket: BorrowedFd<'_>, name: IfName) -> io::Result<u32> {
    let answer = run(socket, libc::SIOCGIFMTU as _, request(name))?;
    // SAFETY: SIOCGIFMTU fills this member of the union; any bits are an integer.
    Ok(unsafe { answer.ifr_ifru.ifru_mtu } as u32)
}

/// Sets the MTU of an interface, in bytes.
pub(in crate::net) fn set_link_mtu(
    socket: BorrowedFd<'_>,
    name: IfName,
    mtu: u32,
) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_mtu = libc::c_int::try_from(mtu).unwrap_or(libc::c_int::MAX);
    run(socket, libc::SIOCSIFMTU as _, request)?;
    Ok(())
}

/// Flags of an interface: `IFF_UP` and so on.
pub(in crate::net) fn link_flags(socket: BorrowedFd<'_>, name: IfName) -> io::Result<libc::c_int> {
    let answer = run(socket, libc::SIOCGIFFLAGS as _, request(name))?;
    // SAFETY: SIOCGIFFLAGS fills this member of the union; any bits are an integer.
    Ok(libc::c_int::from(unsafe { answer.ifr_ifru.ifru_flags }))
}

/// Sets the flags of an interface.
pub(in crate::net) fn set_link_flags(
    socket: BorrowedFd<'_>,
    name: IfName,
    flags: libc::c_int,
) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    run(socket, libc::SIOCSIFFLAGS as _, request)?;
    Ok(())
}
