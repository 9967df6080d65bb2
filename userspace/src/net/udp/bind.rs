//! Opening the outer sockets.

use super::{UdpSocket, send::GsoState, wire};
use crate::net::sys::{self, get_option, set_option};
use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use thiserror::Error;

/// Bytes asked for in each socket's buffers: room for what arrives at 10 Gb/s
/// while a worker is off the CPU for 5 ms.
const BUFFER: libc::c_int = 8 << 20;
/// How often to look for a port that is free for both families.
const PORT_ATTEMPTS: usize = 64;

/// Why there are no sockets, and what to do about it.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "UDP port {port} is in use over {family}: choose another listen port, or find the \
         holder with \"ss -ulpn sport = :{port}\""
    )]
    InUse {
        /// The port.
        port: u16,
        /// "IPv4" or "IPv6".
        family: &'static str,
    },
    /// A port below 1024, or a mark, without the capability.
    #[error(
        "{action} takes the capability {capability}: run as root, or give it to the service \
         (AmbientCapabilities={capability})"
    )]
    NoCapability {
        /// What was asked for.
        action: String,
        /// The capability's name.
        capability: &'static str,
    },
    /// No port is free for both families.
    #[error("no free UDP port was found in {PORT_ATTEMPTS} attempts: choose a listen port")]
    NoFreePort,
    /// Neither IPv4 nor IPv6.
    #[error("this kernel has neither IPv4 nor IPv6")]
    NoFamily,
    /// The kernel refused for another reason.
    #[error("the kernel refused to {action}: {source}")]
    Kernel {
        /// What was asked for.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

fn kernel(action: &'static str) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::Kernel { action, source }
}

/// The outer sockets of one worker: one per address family, on one port.
#[derive(Debug)]
pub struct UdpSockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    port: u16,
}

impl UdpSockets {
    /// Binds sockets for `workers` workers to `port` (0: one that is free for
    /// both families) on all addresses, in the calling thread's network
    /// namespace. The kernel spreads remote addresses over the workers. A
    /// family that the kernel has not is left out.
    ///
    /// # Errors
    /// [`BindError`], among others if anybody else holds the port.
    pub fn bind(port: u16, workers: usize, fwmark: u32) -> Result<Vec<Self>, BindError> {
        for _ in 0..PORT_ATTEMPTS {
            match bind_first(port) {
                Err(BindError::InUse { .. }) if port == 0 => {}
                Err(error) => return Err(error),
                Ok(first) => return bind_rest(first, workers, fwmark),
            }
        }
        Err(BindError::NoFreePort)
    }

    /// The port that all of them are bound to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The IPv4 socket, if the kernel has IPv4.
    #[must_use]
    pub fn v4(&self) -> Option<&UdpSocket> {
        self.v4.as_ref()
    }

    /// The IPv6 socket, if the kernel has IPv6.
    #[must_use]
    pub fn v6(&self) -> Option<&UdpSocket> {
        self.v6.as_ref()
    }

    /// The socket that reaches `to`.
    #[must_use]
    pub fn for_address(&self, to: SocketAddr) -> Option<&UdpSocket> {
        if to.is_ipv4() { self.v4() } else { self.v6() }
    }

    /// Both sockets.
    pub fn iter(&self) -> impl Iterator<Item = &UdpSocket> {
        self.v4.iter().chain(&self.v6)
    }

    /// More handles to the same sockets, for another thread to send by.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = |s: &Option<UdpSocket>| s.as_ref().map(UdpSocket::try_clone).transpose();
        Ok(Self {
            v4: clone(&self.v4)?,
            v6: clone(&self.v6)?,
            port: self.port,
        })
    }

    /// [`UdpSocket::set_fwmark`] of both.
    ///
    /// # Errors
    /// [`BindError::NoCapability`] without `CAP_NET_ADMIN`.
    pub fn set_fwmark(&self, mark: u32) -> Result<(), BindError> {
        for socket in self.iter() {
            socket.set_fwmark(mark).map_err(mark_error)?;
        }
        Ok(())
    }
}

/// The first pair, bound without `SO_REUSEPORT`: fails if anybody has the port,
/// whatever they allow others.
fn bind_first(port: u16) -> Result<UdpSockets, BindError> {
    let v4 = open(false)?;
    let mut port = port;
    if let Some(socket) = &v4 {
        port = bind_to(socket, port)?;
    }
    let v6 = open(true)?;
    if let Some(socket) = &v6 {
        port = bind_to(socket, port)?;
    }
    if v4.is_none() && v6.is_none() {
        return Err(BindError::NoFamily);
    }
    Ok(UdpSockets { v4, v6, port })
}

/// The other pairs. Only now that the port is ours may others of this user
/// join; the kernel lets a socket be opened up after it was bound.
fn bind_rest(first: UdpSockets, workers: usize, fwmark: u32) -> Result<Vec<UdpSockets>, BindError> {
    let port = first.port;
    let mut all = vec![first];
    while all.len() < workers {
        let pair = UdpSockets {
            v4: if all[0].v4.is_some() {
                open(false)?
            } else {
                None
            },
            v6: if all[0].v6.is_some() {
                open(true)?
            } else {
                None
            },
            port,
        };
        for socket in all[0].iter().chain(pair.iter()) {
            set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)
                .map_err(kernel("share the UDP port between workers"))?;
        }
        for socket in pair.iter() {
            bind_to(socket, port)?;
        }
        all.push(pair);
    }
    for pair in &all {
        if fwmark != 0 {
            pair.set_fwmark(fwmark)?;
        }
    }
    Ok(all)
}

fn mark_error(source: io::Error) -> BindError {
    match source.raw_os_error() {
        Some(libc::EPERM) => BindError::NoCapability {
            action: "setting a firewall mark".into(),
            capability: "CAP_NET_ADMIN",
        },
        _ => BindError::Kernel {
            action: "set the firewall mark",
            source,
        },
    }
}

/// An unbound socket with its options; `None` if the kernel has not that family.
fn open(v6: bool) -> Result<Option<UdpSocket>, BindError> {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    let fd = match sys::socket(family, libc::SOCK_DGRAM) {
        Ok(fd) => fd,
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => return Ok(None),
        Err(error) => return Err(kernel("open a UDP socket")(error)),
    };
    set_options(&fd, v6).map_err(kernel("set the options of a UDP socket"))?;
    Ok(Some(UdpSocket {
        fd,
        v6,
        gso: RefCell::new(GsoState::default()),
    }))
}

fn set_options(fd: &OwnedFd, v6: bool) -> io::Result<()> {
    let fd = fd.as_fd();
    let options: &[(libc::c_int, libc::c_int, libc::c_int)] = if v6 {
        &[
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
            (
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_DONT,
            ),
        ]
    } else {
        &[
            (libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            (libc::IPPROTO_IP, libc::IP_RECVTOS, 1),
            // DF clear: too big a packet is fragmented, not lost.
            (
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_DONT,
            ),
        ]
    };
    for &(level, name, value) in options {
        set_option(fd, level, name, value)?;
    }
    // Since Linux 5.0; without it packets come one by one.
    match set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1) {
        Err(error) if error.raw_os_error() != Some(libc::ENOPROTOOPT) => return Err(error),
        _ => {}
    }
    for (force, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        // The first goes past the limits of sysctl and takes CAP_NET_ADMIN;
        // without it what the limits allow has to do.
        if set_option(fd, libc::SOL_SOCKET, force, BUFFER).is_err() {
            set_option(fd, libc::SOL_SOCKET, plain, BUFFER)?;
        }
    }
    debug_assert_eq!(
        get_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT).ok(),
        Some(0)
    );
    Ok(())
}

/// Binds to all addresses; gives the port.
fn bind_to(socket: &UdpSocket, port: u16) -> Result<u16, BindError> {
    let any: SocketAddr = if socket.v6 {
        (Ipv6Addr::UNSPECIFIED, port).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, port).into()
    };
    let family = if socket.v6 { "IPv6" } else { "IPv4" };
    sys::bind(socket.as_fd(), &wire::encode_name(any)).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::EADDRINUSE) => BindError::InUse { port, family },
            Some(libc::EACCES) => BindError::NoCapability {
                action: format!("binding to UDP port {port}"),
                capability: "CAP_NET_BIND_SERVICE",
            },
            _ => kernel("bind a UDP socket")(source),
        }
    })?;
    let name = sys::local_name(socket.as_fd()).map_err(kernel("tell a socket's port"))?;
    Ok(wire::decode_name(&name.bytes[..name.len]).map_or(port, |addr| addr.port()))
}
