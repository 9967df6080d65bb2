//! The headers of one flow.

use super::ethernet::{ETHERNET_MAX, Ethernet};
use super::hop::{Addresses, Hop};
use ringtun_common::checksum::Sum;
use ringtun_common::ip::{IPV4_LEN, IPV6_LEN, Ipv4, Ipv6, UDP, UDP_LEN, Udp};
use std::hash::{DefaultHasher, Hasher};
use thiserror::Error;

/// Bytes of the longest headers: Ethernet, two tags, IPv6, UDP. Keep as much
/// room in front of a payload.
pub const HEADERS_MAX: usize = ETHERNET_MAX + IPV6_LEN + UDP_LEN;

/// The checksum field within a UDP header.
const UDP_CHECKSUM_AT: u16 = 6;

/// What differs from packet to packet of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outer {
    /// Bytes of the UDP payload.
    pub payload_len: usize,
    /// TOS byte or traffic class: DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
    /// IPv4 identification, see [`Identifications`](super::Identifications);
    /// not used over IPv6.
    pub id: u16,
}

/// How the UDP checksum comes to be.
#[derive(Clone, Copy, Debug)]
pub enum Checksum {
    /// The NIC, or the kernel in copy mode, finishes it: the field holds the
    /// sum of the pseudo header, and [`Offload`] goes to the TX metadata.
    Partial,
    /// Here, from the sum of the payload
    /// ([`net::checksum::sum`](crate::net::checksum::sum)).
    Complete(Sum),
    /// None (zero): over IPv4 only (RFC 768; RFC 8200 section 8.1).
    Zero,
}

/// Where the NIC is to sum and to write: `csum_start` and `csum_offset` of
/// `struct xsk_tx_metadata` (`<linux/if_xdp.h>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// From this byte of the frame to its end.
    pub start: u16,
    /// The field, counted in bytes from `start`.
    pub offset: u16,
}

/// Why no headers were written. The packet is to go by the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unwritten {
    /// Fewer bytes than [`Template::len`] in front of the payload.
    #[error("there are {room} bytes in front of the payload, the headers take {len}")]
    NoRoom {
        /// Bytes there are.
        room: usize,
        /// Bytes it takes.
        len: usize,
    },
    /// Longer than the path's MTU allows: the kernel has to fragment it.
    #[error("a payload of {len} bytes exceeds the {max} that the path takes unfragmented")]
    TooLong {
        /// Bytes of the payload.
        len: usize,
        /// [`Template::payload_max`].
        max: usize,
    },
    /// [`Checksum::Zero`] over IPv6.
    #[error("a UDP packet over IPv6 needs a checksum")]
    ChecksumNeeded,
}

/// The headers of packets from one local port to one endpoint by one [`Hop`]:
/// made by control when the hop is known, shared by all workers, written by
/// [`write`](Self::write) without looking anything up.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Headers with length, traffic class, identification and checksums zero.
    bytes: [u8; HEADERS_MAX],
    /// Bytes of `bytes` that are used.
    len: u8,
    /// Where the IP header begins.
    ip_at: u8,
    v6: bool,
    payload_max: u16,
    ifindex: u32,
    /// Of the IPv4 header as it stands in `bytes`.
    ip_sum: Sum,
    /// Of the pseudo header without the length.
    pseudo_sum: Sum,
    /// Of the ports.
    ports_sum: Sum,
}

const _: () = assert!(size_of::<Template>() <= 128, "two cache lines");

impl Template {
    /// The headers of packets from `source_port` to `destination_port` by `hop`.
    #[must_use]
    pub fn new(hop: &Hop, source_port: u16, destination_port: u16) -> Self {
        let mut bytes = Writer {
            bytes: [0; HEADERS_MAX],
            len: 0,
        };
        bytes.put(Ethernet::of(hop).as_slice());
        let ip_at = bytes.len;
        let (v6, ip_len) = match hop.addresses {
            Addresses::V4 {
                source,
                destination,
            } => {
                // Version 4, five words; DF clear, no fragment.
                bytes.put(&[0x45, 0, 0, 0, 0, 0, 0, 0, hop.hop_limit, UDP, 0, 0]);
                bytes.put(&source.octets());
                bytes.put(&destination.octets());
                (false, IPV4_LEN)
            }
            Addresses::V6 {
                source,
                destination,
            } => {
                let label = flow_label(&hop.addresses, source_port, destination_port);
                bytes.put(&(6 << 28 | label).to_be_bytes());
                bytes.put(&[0, 0, UDP, hop.hop_limit]);
                bytes.put(&source.octets());
                bytes.put(&destination.octets());
                (true, IPV6_LEN)
            }
        };
        let udp_at = bytes.len;
        bytes.put(&source_port.to_be_bytes());
        bytes.put(&destination_port.to_be_bytes());
        bytes.put(&[0; 4]);
        let addresses = if v6 { ip_at + 8 } else { ip_at + 12 };
        let longest = hop.mtu.min(u16::MAX.into()) as usize;
        let payload_max = longest.saturating_sub(ip_len + UDP_LEN);
        Self {
            bytes: bytes.bytes,
            len: bytes.len as u8,
            ip_at: ip_at as u8,
            v6,
            payload_max: payload_max as u16,
            ifindex: hop.ifindex,
            ip_sum: Sum::of(&bytes.bytes[ip_at..ip_at + ip_len]),
            pseudo_sum: Sum::pseudo_header(&bytes.bytes[addresses..udp_at], UDP, 0),
            ports_sum: Sum::of(&bytes.bytes[udp_at..udp_at + 4]),
        }
    }

    /// Bytes of the headers: 42 to [`HEADERS_MAX`].
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there are always headers")]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes of the longest payload that the path takes unfragmented.
    #[inline]
    #[must_use]
    pub const fn payload_max(&self) -> usize {
        self.payload_max as usize
    }

    /// Index of the physical device by whose ring the frames go out.
    #[inline]
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Writes the headers to the last [`len`](Self::len) bytes of `room`: what
    /// is right in front of the payload.
    ///
    /// # Errors
    /// [`Unwritten`]; nothing is written then.
    #[inline]
    pub fn write(
        &self,
        room: &mut [u8],
        outer: Outer,
        checksum: Checksum,
    ) -> Result<Option<Offload>, Unwritten> {
        let (len, max) = (self.len(), self.payload_max());
        if outer.payload_len > max {
            let len = outer.payload_len;
            return Err(Unwritten::TooLong { len, max });
        }
        let no_room = Unwritten::NoRoom {
            room: room.len(),
            len,
        };
        if self.v6 && matches!(checksum, Checksum::Zero) {
            return Err(Unwritten::ChecksumNeeded);
        }
        let start = room.len().checked_sub(len).ok_or(no_room)?;
        let frame = &mut room[start..];
        frame.copy_from_slice(&self.bytes[..len]);
        // At most `payload_max`, plus headers that were taken off a 16-bit number.
        let udp_len = (UDP_LEN + outer.payload_len) as u16;
        let (_, ip) = frame.split_at_mut(usize::from(self.ip_at));
        let udp = if self.v6 {
            let (ip, udp) = ip.split_first_chunk_mut().ok_or(no_room)?;
            let mut ip = Ipv6(ip);
            ip.set_traffic_class(outer.traffic_class);
            ip.set_payload_len(udp_len);
            udp
        } else {
            let (ip, udp) = ip.split_first_chunk_mut().ok_or(no_room)?;
            let total_len = IPV4_LEN as u16 + udp_len;
            let mut ip = Ipv4(ip);
            ip.set_tos(outer.traffic_class);
            ip.set_total_len(total_len);
            ip.set_id(outer.id);
            // The fields were zero in the sum: what they hold now is added.
            let sum = self.ip_sum
                + Sum::of_u16(outer.traffic_class.into())
                + Sum::of_u16(total_len)
                + Sum::of_u16(outer.id);
            ip.set_checksum(sum.finish());
            udp
        };
        let mut udp = Udp(udp.first_chunk_mut().ok_or(no_room)?);
        udp.set_len(udp_len);
        let pseudo_sum = self.pseudo_sum + Sum::of_u16(udp_len);
        match checksum {
            Checksum::Zero => {}
            Checksum::Partial => {
                udp.set_checksum(pseudo_sum.partial());
                return Ok(Some(Offload {
                    start: (len - UDP_LEN) as u16,
                    offset: UDP_CHECKSUM_AT,
                }));
            }
            Checksum::Complete(payload) => {
                let sum = pseudo_sum + self.ports_sum + Sum::of_u16(udp_len) + payload;
                udp.set_checksum(sum.finish_nonzero());
            }
        }
        Ok(None)
    }
}

/// Headers being put together.
struct Writer {
    bytes: [u8; HEADERS_MAX],
    len: usize,
}

impl Writer {
    /// What is put never exceeds [`HEADERS_MAX`]: tags are bounded by their type.
    fn put(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }
}

/// 20 bits, the same for all packets of a flow, other than zero, which means
/// that there is no label: routers spread flows by it (RFC 6438). Nothing
/// secret goes in: all of it can be read in the packet.
fn flow_label(addresses: &Addresses, source_port: u16, destination_port: u16) -> u32 {
    let mut hasher = DefaultHasher::new();
    if let Addresses::V6 {
        source,
        destination,
    } = addresses
    {
        hasher.write(&source.octets());
        hasher.write(&destination.octets());
    }
    hasher.write_u16(source_port);
    hasher.write_u16(destination_port);
    match hasher.finish() as u32 & 0xf_ffff {
        0 => 1,
        label => label,
    }
}
