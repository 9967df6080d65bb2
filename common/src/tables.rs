//! What the XDP program for the WAN side looks things up in: names and layouts
//! of its maps, which the agent fills, and the trait by which the one verdict
//! function reads them in the kernel and on the host.

use crate::hash::halves;
use crate::packet::Address;
use crate::steer::{Group, Steering};

/// Name of the XDP program for the WAN side in the BPF object.
pub const WAN_PROGRAM: &str = "ringtun_wan";
/// Name of the program that passes everything unseen, for benches to compare with.
pub const PASS_PROGRAM: &str = "ringtun_pass";
/// Name of the per-CPU array of [`Counter`]s, indexed by verdict.
pub const VERDICTS_MAP: &str = "VERDICTS";
/// Name of the per-CPU array of [`Counter`]s, indexed by class.
pub const CLASSES_MAP: &str = "CLASSES";
/// Name of the hash of [`Interface`]s, by interface index (`u32`).
pub const INTERFACES_MAP: &str = "INTERFACES";
/// Name of the hash whose keys are the [`LocalEndpoint`]s that devices listen on.
pub const ENDPOINTS_MAP: &str = "ENDPOINTS";
/// Name of the array of [`Seat`](crate::seats::Seat)s in front of the hash of interfaces.
pub const INTERFACE_SEATS_MAP: &str = "INTERFACE_SEATS";
/// Name of the array of [`Seat`](crate::seats::Seat)s in front of the hash of endpoints.
pub const ENDPOINT_SEATS_MAP: &str = "ENDPOINT_SEATS";
/// Name of the array of `u64` that together are a bit per port: whether there is
/// an endpoint with it. See [`port_bit`].
pub const PORTS_MAP: &str = "PORTS";
/// Name of the XSKMAP: sockets by [`Interface::first_socket`] plus queue.
pub const SOCKETS_MAP: &str = "SOCKETS";

/// Interfaces that one process may own.
pub const INTERFACES_MAX: u32 = 64;
/// Local addresses times listen ports.
pub const ENDPOINTS_MAX: u32 = 16 * 1024;
/// AF_XDP sockets of all interfaces together.
pub const SOCKETS_MAX: u32 = 1024;

/// Elements of the array of ports.
pub const PORTS_LEN: u32 = (u16::MAX as u32 + 1) / u64::BITS;

/// The element of the array of ports that has the bit of `port`, and the bit.
#[must_use]
#[inline]
pub const fn port_bit(port: u16) -> (u32, u64) {
    (port as u32 / u64::BITS, 1 << (port as u32 % u64::BITS))
}

/// Packets and bytes, from the Ethernet header on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// An interface that carries the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Interface {
    /// The interface's own hardware address.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: [u8; 2],
    /// The longest frame that its AF_XDP sockets take, in bytes.
    pub frame_max: u32,
    /// Place of the socket of queue 0 in the XSKMAP.
    pub first_socket: u32,
    /// Queues with a place in the XSKMAP.
    pub sockets: u32,
}

impl Interface {
    /// The place of `queue`'s socket in the XSKMAP.
    #[must_use]
    #[inline]
    pub const fn socket(&self, queue: u32) -> Option<u32> {
        if queue < self.sockets {
            Some(self.first_socket.wrapping_add(queue))
        } else {
            None
        }
    }
}

/// A local address with a port that a device listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct LocalEndpoint {
    /// The address.
    pub address: Address,
    /// The port, in network byte order.
    pub port: [u8; 2],
    /// Zero.
    pub reserved: [u8; 2],
}

impl LocalEndpoint {
    /// An address with a port in host byte order.
    #[must_use]
    #[inline]
    pub const fn new(address: Address, port: u16) -> Self {
        Self {
            address,
            port: port.to_be_bytes(),
            reserved: [0; 2],
        }
    }

    /// The port, in host byte order.
    #[must_use]
    #[inline]
    pub const fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }

    /// All of it, to be hashed.
    #[inline(always)]
    pub(crate) fn words(&self) -> [u64; 3] {
        let [high, low] = halves(&self.address);
        [high, low, u64::from(u16::from_le_bytes(self.port))]
    }
}

/// The maps, as the verdict function needs them for one frame.
pub trait Tables {
    /// The interface that the frame came in by.
    fn interface(&self) -> Option<Interface>;

    /// Whether a device of ours listens on this port of some address: asked
    /// first, as it costs least and is true of next to no foreign packet.
    fn has_port(&self, port: u16) -> bool;

    /// Whether a device of ours listens there.
    fn is_ours(&self, endpoint: &LocalEndpoint) -> bool;

    /// Hands the frame to the AF_XDP socket of its queue; false if there is none.
    fn to_socket(&mut self, interface: &Interface) -> bool;

    /// Where packets of `group` go that are for no device of ours.
    fn steering(&self, group: Group) -> Option<&Steering>;

    /// Hands the frame, of `len` bytes, to the kernel's stack on `cpu`; false if
    /// that takes none.
    fn to_cpu(&mut self, cpu: u32, len: usize) -> bool;
}
